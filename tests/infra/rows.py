"""What every row of the stand-in must do against a real endpoint."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sandbox import stack_repair
from sandbox.aws_plugin.registry import RESOURCES
from sandbox.aws_plugin.resource import ResourceType
from sandbox.aws_plugin.settings import Aws
from tests.support.aws import REGION, AwsEndpoint


def aws_of(endpoint: AwsEndpoint) -> Aws:
    """The endpoint as the stand-in's rows see it."""
    services = ("events", "iam", "kms", "s3", "secretsmanager", "sts")
    return Aws(
        {
            "region": REGION,
            "accessKey": endpoint.admin_access_key_id,
            "secretKey": endpoint.admin_secret_access_key,
            "customCaBundle": str(endpoint.bundle_file),
            "endpoints": [dict.fromkeys(services, endpoint.https_url)],
        }
    )


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
