"""The life of one resource of the stand-in at a real endpoint, from its creation on."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from typing import Any

from sandbox.aws_plugin.resource import ResourceType
from sandbox.aws_plugin.settings import Aws
from tests.support.aws import AwsEndpoint

TAGS = {"App": "x", "Environment": "local"}


def aws_with_default_tags(aws_endpoint: AwsEndpoint) -> Aws:
    """The stand-in's settings for the endpoint, with default tags as a program may have."""
    services = ("sns", "events", "cloudwatch", "budgets", "sts")
    return Aws(
        {
            "region": "us-east-1",
            "accessKey": aws_endpoint.admin_access_key_id,
            "secretKey": aws_endpoint.admin_secret_access_key,
            "customCaBundle": str(aws_endpoint.bundle_file),
            "endpoints": [dict.fromkeys(services, aws_endpoint.https_url)],
            "defaultTags": {"tags": {"Team": "t"}},
        }
    )


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
        state = self.state()
        assert state is not None
        assert set(state) <= self.row.arguments | self.row.made
        assert self.row.differences(self.aws, state, self.inputs) == []
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


def name() -> str:
    """A name that no other test has."""
    return f"row-{secrets.token_hex(4)}"
