"""Who signs requests: the administrator of the key file, IAM users, and role sessions of moto."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from typing import Any

from sandbox.aws_endpoint import moto_backend, policy
from sandbox.aws_endpoint.errors import AwsError
from sandbox.aws_endpoint.moto_backend import ACCOUNT

ADMIN_NAME = "sandbox-admin"


@dataclass(frozen=True)
class AdminKey:
    """The access key of the sandbox's administrator."""

    access_key_id: str
    secret_access_key: str


@dataclass(frozen=True)
class Identity:
    """A caller and the secret its signature is checked with."""

    admin: bool
    name: str
    kind: str  # User or AssumedRole, as aws:PrincipalType says it
    user_id: str
    principal: policy.Principal
    secret: str
    token: str = ""

    @property
    def arn(self) -> str:
        return self.principal.arns[0]


def read_admin(path: Path) -> AdminKey:
    """Read ``aws-admin.json``.

    Raises:
        ValueError: one line saying what is wrong with the file.
    """
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ValueError(f"{path}: cannot be read as JSON: {error}") from error
    keys = [
        data.get(name) if isinstance(data, dict) else None for name in ("access_key_id", "secret_access_key")
    ]
    if not all(isinstance(key, str) and key for key in keys):
        raise ValueError(f"{path}: must hold access_key_id and secret_access_key")
    return AdminKey(str(keys[0]), str(keys[1]))


def find(access_key_id: str, admin: AdminKey) -> Identity:
    """The identity of an access key.

    Raises:
        AwsError: ``UnknownKey`` when there is none, or it is inactive or expired.
    """
    if access_key_id == admin.access_key_id:
        principal = policy.Principal((f"arn:aws:iam::{ACCOUNT}:user/{ADMIN_NAME}",), ACCOUNT)
        return Identity(True, ADMIN_NAME, "User", "AIDASANDBOXADMINXXXX", principal, admin.secret_access_key)
    for user in moto_backend.iam().users.values():
        for key in user.access_keys:
            if key.access_key_id == access_key_id:
                if key.status != "Active":
                    raise AwsError("UnknownKey", "The access key is inactive.")
                principal = policy.Principal((user.arn,), ACCOUNT)
                return Identity(False, user.name, "User", user.id, principal, key.secret_access_key)
    for session in moto_backend.sts().assumed_roles:
        if session.access_key_id == access_key_id:
            if session.expiration.replace(tzinfo=UTC) < datetime.now(UTC):
                raise AwsError("ExpiredToken", "The provided token has expired.", 400)
            principal = policy.Principal((session.arn, session.role_arn), ACCOUNT)
            return Identity(
                False,
                session.role_arn.rsplit("/", 1)[-1],
                "AssumedRole",
                session.user_id,
                principal,
                session.secret_access_key,
                session.session_token,
            )
    raise AwsError("UnknownKey", "The AWS Access Key Id you provided does not exist in our records.")


@lru_cache(maxsize=512)
def parsed(text: str | bytes, kind: policy.Kind, name: str) -> policy.Document:
    """:func:`policy.parse`, remembered: documents are read at every request."""
    return policy.parse(text, kind, name)


def as_text(document: Any) -> str:
    """A policy document of moto, which keeps some as text and some as objects."""
    return document if isinstance(document, str) else json.dumps(document)


def boundary(identity: Identity) -> policy.Document | None:
    """The permissions boundary of a user or role, ``None`` when it has none.

    Raises:
        MalformedPolicyError: when it cannot be evaluated, or its policy is gone.
    """
    iam = moto_backend.iam()
    if identity.kind == "User":
        arn = iam.get_user(identity.name).permissions_boundary_arn
    else:
        arn = iam.get_role_by_arn(identity.principal.arns[1]).permissions_boundary_arn
    if not arn:
        return None
    managed = iam.managed_policies.get(arn)
    if managed is None:
        raise policy.MalformedPolicyError(f"the permissions boundary {arn} is gone")
    return parsed(_default_version(managed), "identity", f"permissions boundary {managed.name}")


def _default_version(managed: Any) -> str:
    """The text of a managed policy."""
    return as_text(next(v for v in managed.versions if v.version_id == managed.default_version_id).document)


def policies(identity: Identity) -> list[policy.Document]:
    """The identity-based policies of a user (own, attached, of groups) or of a role.

    Raises:
        MalformedPolicyError: when one of them cannot be evaluated.
    """
    iam = moto_backend.iam()
    if identity.kind == "User":
        user = iam.get_user(identity.name)
        holders = [user, *(group for group in iam.groups.values() if user in group.users)]
    else:
        holders = [iam.get_role_by_arn(identity.principal.arns[1])]
    documents = []
    for holder in holders:
        for name, text in holder.policies.items():
            documents.append(parsed(as_text(text), "identity", f"{holder.name}/{name}"))
        for managed in holder.managed_policies.values():
            documents.append(parsed(_default_version(managed), "identity", managed.name))
    return documents
