"""The stand-in's row of Route 53's health checks, against a real endpoint."""

from __future__ import annotations

from typing import Any

import pytest

from sandbox.aws_plugin.route53 import HealthCheck
from sandbox.aws_plugin.settings import Aws
from tests.infra.rows import aws_of
from tests.support.aws import AwsEndpoint

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:pulumi_aws.*")

INPUTS: dict[str, Any] = {
    "type": "HTTPS_STR_MATCH",
    "fqdn": "api.shop.example",
    "port": 443,
    "resourcePath": "/api/health",
    "searchString": '"status":"ok"',
    "requestInterval": 30,
    "failureThreshold": 3,
    "measureLatency": True,
    "enableSni": True,
    "tags": {"Name": "shop", "App": "shop"},
}


@pytest.fixture
def aws(aws_endpoint: AwsEndpoint) -> Aws:
    return aws_of(aws_endpoint)


def changed(row: HealthCheck, aws: Aws, check: str, state: dict[str, Any], inputs: dict[str, Any]) -> bool:
    """Whether a preview after a refresh would show something."""
    read = row.read(aws, check, state)
    assert read is not None
    return bool(row.differences(aws, read, inputs))


def test_a_check_lives_through_create_update_drift_and_delete(aws: Aws, aws_endpoint: AwsEndpoint) -> None:
    row, route53 = HealthCheck(), aws_endpoint.client("route53")
    assert not list(row.check(INPUTS))
    check = row.create(aws, INPUTS)
    state = row.read(aws, check, INPUTS)
    assert state is not None
    assert INPUTS.items() <= state.items()
    assert state["arn"].endswith(f":healthcheck/{check}")
    assert not row.differences(aws, state, INPUTS)

    wanted = {
        **INPUTS,
        "fqdn": "www.shop.example",
        "searchString": "fine",
        "failureThreshold": 5,
        "tags": {"App": "x"},
    }
    assert {d.path for d in row.differences(aws, state, wanted)} >= {"fqdn", "searchString", "tags.App"}
    row.update(aws, check, state, wanted)
    assert not changed(row, aws, check, state, wanted)

    route53.update_health_check(HealthCheckId=check, SearchString="anything")
    assert changed(row, aws, check, state, wanted)
    route53.update_health_check(HealthCheckId=check, SearchString="fine")
    assert not changed(row, aws, check, state, wanted)
    route53.change_tags_for_resource(ResourceType="healthcheck", ResourceId=check, RemoveTagKeys=["App"])
    assert changed(row, aws, check, state, wanted)

    row.delete(aws, check, state)
    assert row.read(aws, check, state) is None
    row.delete(aws, check, state)


@pytest.mark.parametrize("name", ["type", "requestInterval", "measureLatency"])
def test_what_route_53_cannot_change_replaces(aws: Aws, name: str) -> None:
    new = {"type": "HTTPS", "requestInterval": 10, "measureLatency": False}
    differences = HealthCheck().differences(aws, INPUTS, {**INPUTS, name: new[name]})
    assert [(d.path, d.kind.name.endswith("REPLACE")) for d in differences if d.path == name] == [
        (name, True)
    ]


def test_what_the_row_does_not_do_is_refused() -> None:
    reasons = [f"{p.path}: {p.reason}" for p in HealthCheck().check({**INPUTS, "regions": ["us-east-1"]})]
    assert reasons == [f"regions: the stand-in does not do this argument of {HealthCheck.type_name}"]
