"""What every row of the stand-in must do against a real endpoint, and the life of one resource there."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sandbox import stack_repair
from sandbox.aws_plugin.registry import RESOURCES
from sandbox.aws_plugin.resource import ResourceType
from sandbox.aws_plugin.settings import Aws
from tests.support.aws import REGION, AwsEndpoint

TAGS = {"App": "x", "Environment": "local"}

#: Services of the endpoint that rows ask.
SERVICES = (
    "budgets",
    "cloudwatch",
    "events",
    "iam",
    "kms",
    "route53",
    "s3",
    "secretsmanager",
    "sns",
    "sts",
)


def aws_of(endpoint: AwsEndpoint, **more: Any) -> Aws:
    """The endpoint as the stand-in's rows see it; ``more`` are further settings of the provider."""
    return Aws(
        {
            "region": REGION,
            "accessKey": endpoint.admin_access_key_id,
            "secretKey": endpoint.admin_secret_access_key,
            "customCaBundle": str(endpoint.ca_file),
            "endpoints": [dict.fromkeys(SERVICES, endpoint.https_url)],
            **more,
        }
    )


def aws_with_default_tags(endpoint: AwsEndpoint) -> Aws:
    """:func:`aws_of` with default tags, as a program may have."""
    return aws_of(endpoint, defaultTags={"tags": {"Team": "t"}})


def name() -> str:
    """A name that no other test has."""
    return f"row-{secrets.token_hex(6)}"


def read(row: ResourceType, aws: Aws, resource_id: str, inputs: Mapping[str, Any]) -> dict[str, Any]:
    """The state of a resource that must be there, and whose next preview must be empty."""
    state = row.read(aws, resource_id, dict(inputs))
    assert state is not None, f"{row.type_name} {resource_id} is gone"
    found = [d.path for d in row.differences(aws, state, dict(inputs))]
    assert not found, found  # outside of a test module pytest explains nothing by itself
    return state


def live(endpoint: AwsEndpoint, token: str, *versions: Mapping[str, Any]) -> None:
    """Create a resource, take it from each set of arguments to the next, delete it.

    After every step what AWS has must be what was asked for, and nothing may be left.
    """
    row, aws = RESOURCES[token], aws_of(endpoint)
    first, *later = versions
    assert not list(row.check(dict(first)))
    resource_id = row.create(aws, dict(first))
    state = read(row, aws, resource_id, first)
    for inputs in later:
        assert row.differences(aws, state, dict(inputs)), "the next arguments must differ"
        row.update(aws, resource_id, state, dict(inputs))
        state = read(row, aws, resource_id, inputs)
    row.delete(aws, resource_id, state)
    assert row.read(aws, resource_id, state) is None
    row.delete(aws, resource_id, state)  # one that is gone already is fine
    if row.named_by:  # a creation that was seen to begin and not to end is undone by its arguments
        again = row.create(aws, dict(first))
        row.delete(aws, row.identify(aws, dict(first)), stack_repair.known_without_state(dict(first)))
        assert row.read(aws, again, dict(first)) is None


@dataclass
class Life:
    """One resource from its creation on, as the engine would lead it."""

    aws: Aws
    row: ResourceType
    inputs: dict[str, Any]
    id: str = ""

    def create(self) -> dict[str, Any]:
        assert not list(self.row.check(self.inputs))
        self.id = self.row.create(self.aws, self.inputs)
        if self.row.named_by:
            assert self.row.identify(self.aws, self.inputs) == self.id
        return self.settled()

    def settled(self) -> dict[str, Any]:
        """The state, which a second preview finds equal to the arguments."""
        state = read(self.row, self.aws, self.id, self.inputs)
        assert set(state) <= self.row.arguments | self.row.made
        return state

    def state(self) -> dict[str, Any] | None:
        return self.row.read(self.aws, self.id, self.inputs)

    def drift(self) -> list[str]:
        """What an update would change now."""
        return [d.path for d in self.row.differences(self.aws, self.state() or {}, self.inputs)]

    def update(self, **changes: Any) -> dict[str, Any]:
        before = self.state()
        assert before is not None
        self.inputs = {k: v for k, v in {**self.inputs, **changes}.items() if v is not None}
        assert self.row.differences(self.aws, before, self.inputs), "the change would not be noticed"
        self.row.update(self.aws, self.id, before, self.inputs)
        return self.settled()

    def delete(self) -> None:
        state = self.state()
        assert state is not None
        # After a killed run the region is all that is known.
        self.row.delete(self.aws, self.id, {"region": state.get("region")})
        assert self.state() is None
        self.row.delete(self.aws, self.id, state)  # gone already is fine
