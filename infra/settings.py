"""The settings of one stack: what depends on an account and not on a backend.

They stand in ``infra/stacks/Pulumi.<stack>.yaml`` as ``steward:<name>``; what a backend
decides stands in its app file.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic.alias_generators import to_camel

from steward.appfile import one_line

ObjectLockMode = Literal["GOVERNANCE", "COMPLIANCE"]

#: What an endpoint other than AWS may not have; the stack then does without, or takes the fallback.
Lacking = Literal["audit_trail", "composite_alarms", "request_metrics"]

Region = Annotated[str, Field(pattern=r"^[a-z]{2}(-[a-z]+)+-\d$")]
Arn = Annotated[str, Field(pattern=r"^arn:aws[a-z-]*:iam::\d{12}:.+$")]
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$")]


class ComplianceContact(BaseModel):
    """Who at the company answers for Atlas' compliance policy; Atlas' support asks for this person."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, strict=True, alias_generator=to_camel, populate_by_name=True
    )

    email: Annotated[str, Field(pattern=r"^[^@\s]+@[^@\s]+$")]
    first_name: Annotated[str, Field(min_length=1)]
    last_name: Annotated[str, Field(min_length=1)]


class StackError(ValueError):
    """A stack cannot be used; the message is one line for the user."""


class StackSettings(BaseModel):
    """Every ``steward:`` key of a stack file, under its name in snake case."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, strict=True, alias_generator=to_camel, populate_by_name=True
    )

    object_lock_mode: ObjectLockMode = "GOVERNANCE"
    """COMPLIANCE lets nobody delete before the time, not even the account's root user."""
    break_glass_principals: list[Arn] = []
    """Who may take the break-glass role, with MFA; the account's own administrators when empty."""
    replica_region: Region | None = None
    """Region of the second copy; needed where the app file's ``cloud.offsite`` is ``s3``."""
    replica_role_arn: Arn | None = None
    """Role of another account that the second copy is built with; this account when absent."""
    gcs_project: Name | None = None
    """Google Cloud project of the second copy; needed where ``cloud.offsite`` is ``gcs``."""
    gcs_location: Name | None = None
    """Location of the second copy, as ``EU`` or ``europe-west3``."""
    ci_repository: Annotated[str, Field(pattern=r"^[\w.-]+/[\w.-]+$")] | None = None
    """``owner/name`` of the GitHub repository whose workflows may run this stack; none when absent."""
    roles_anywhere_ca: Annotated[str, Field(pattern=r"^-----BEGIN CERTIFICATE-----")] | None = None
    """PEM of the CA that signs the hosts' certificates; needed for ``roles_anywhere``."""
    ec2_instances: dict[Name, Annotated[str, Field(pattern=r"^i-[0-9a-f]{8,17}$")]] = {}
    """Host name -> instance, for alarms on CPU and status checks."""
    endpoint_lacks: list[Lacking] = []
    """Features that the endpoint of this stack does not have; empty on AWS itself."""
    atlas_project_id: Annotated[str, Field(pattern=r"^[0-9a-f]{24}$")] | None = None
    atlas_cluster: Name | None = None
    atlas_compliance_contact: ComplianceContact | None = None
    """``email``, ``firstName``, ``lastName``; needed where ``mongodb.atlas.compliance_policy`` is true."""


def parse(stack: str, given: Mapping[str, str]) -> StackSettings:
    """Read the settings of a stack.

    Args:
        stack: the stack's name.
        given: key without its namespace -> value as Pulumi hands it over: text, or JSON of lists and objects.

    Raises:
        StackError: with one line that names the file, the key, what is wrong and the value.
    """
    values = {key: _decoded(text) for key, text in given.items()}
    try:
        return StackSettings.model_validate(values, by_alias=True, by_name=False)
    except ValidationError as error:
        line = one_line(stack_file(stack), error)
        if error.errors(include_url=False)[0]["type"] == "extra_forbidden":
            line += f"; known are {', '.join(sorted(map(to_camel, StackSettings.model_fields)))}"
        raise StackError(line) from error


def stack_file(stack: str) -> Path:
    """Where the settings of a stack stand, from the repository's root."""
    return Path(f"infra/stacks/Pulumi.{stack}.yaml")


def _decoded(text: str) -> object:
    if text[:1] in "[{":
        try:
            return json.loads(text)
        except ValueError:
            return text
    return text
