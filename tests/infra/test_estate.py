"""Whole stacks as the engine would see them, and what the SDK and the stand-in say about them."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import pytest

from sandbox.aws_plugin import schema
from sandbox.aws_plugin.errors import StandInError
from sandbox.aws_plugin.registry import RESOURCES
from steward.appfile import ENVIRONMENTS, Environment
from tests.infra.conftest import APP_NAMES, stack_config
from tests.infra.recording import Registered, record_estate

# The SDK warns about its own old classes when it is imported.
pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning:pulumi_aws.*"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning:pulumi_gcp.*"),
    pytest.mark.usefixtures("mocked_pulumi"),
]


STACKS = list(itertools.product(APP_NAMES, ENVIRONMENTS))


def clouds(seen: list[Registered]) -> list[Registered]:
    """Resources of a cloud: no components, and nothing of Pulumi's own."""
    return [r for r in seen if not r.type.startswith(("steward:", "pulumi:", "pulumi-python:"))]


def estate(app: str = "bitesbay", environment: Environment = "local") -> list[Registered]:
    """Everything a stack registers."""
    stack = stack_config(app, environment)
    return record_estate(stack)


def test_every_local_type_has_a_row_and_every_row_a_user() -> None:
    used = {r.type for app in APP_NAMES for r in estate(app) if r.type.startswith("aws:")}
    assert used == set(RESOURCES)


def test_the_stand_in_carries_out_every_argument() -> None:
    for resource in estate():
        if resource.type.startswith("aws:"):
            assert not list(RESOURCES[resource.type].check(resource.inputs)), resource.name


@pytest.mark.parametrize(("app", "environment"), STACKS)
def test_the_genuine_sdk_has_every_type_and_argument(app: str, environment: Environment) -> None:
    """What a stack of AWS itself would say, for the environments that no stand-in ever builds as well."""
    for resource in clouds(estate(app, environment)):
        problems = list(schema.check(schema.arguments_class(resource.type), resource.inputs))
        assert not problems, (resource.type, resource.name, problems)


@pytest.mark.parametrize("environment", ENVIRONMENTS)
def test_the_genuine_sdk_refuses_every_misspelled_argument(environment: Environment) -> None:
    count = 0
    for resource in clouds(estate(environment=environment)):
        for name, inputs in misspellings(resource.inputs):
            problems = list(schema.check(schema.arguments_class(resource.type), inputs))
            assert any(p.path.endswith(f"{name}x") for p in problems), (resource.name, name)
            count += 1
    assert count > 50


@pytest.mark.parametrize(
    ("token", "arguments", "reason"),
    [
        ("gcp:storage/bucket:Bucket", {"location": "EU", "uniformBucketLevelAcces": True}, "did you mean"),
        ("gcp:storage/bucket:Bucket", {}, "is required"),
        (
            "gcp:storage/bucket:Bucket",
            {"location": "EU", "retentionPolicy": {"days": 7}},
            "is not an argument",
        ),
        ("mongodbatlas:index/cloudBackupSchedule:CloudBackupSchedule", {"projectId": 1}, "must be str"),
    ],
)
def test_other_clouds_are_checked_by_their_own_sdks(
    token: str, arguments: dict[str, Any], reason: str
) -> None:
    assert any(reason in p.reason for p in schema.check(schema.arguments_class(token), arguments))


@pytest.mark.parametrize("token", ["gcp:storage/buckets:Buckets", "azure:storage/account:Account"])
def test_a_type_that_no_sdk_has_is_named(token: str) -> None:
    with pytest.raises(StandInError, match=f"{token} is not a resource type"):
        schema.arguments_class(token)


@pytest.mark.parametrize(("app", "environment"), STACKS)
def test_every_resource_belongs_to_a_component_and_is_named_after_its_stack(
    app: str, environment: Environment
) -> None:
    seen = estate(app, environment)
    components = {r.name for r in seen if r.type.startswith("steward:")}
    for resource in seen:
        assert resource.name.startswith(f"{app}-{environment}-")
        if resource.type.startswith("aws:"):
            assert resource.parent in components, resource.name
    names = [(r.type, r.name) for r in seen]
    assert len(names) == len(set(names))


@pytest.mark.parametrize("environment", ENVIRONMENTS)
def test_every_resource_that_can_carry_tags_does(environment: Environment) -> None:
    tags = {"App": "bitesbay", "Environment": environment, "ManagedBy": "pulumi"}
    for resource in estate(environment=environment):
        if resource.type in RESOURCES and RESOURCES[resource.type].tagged:
            assert tags.items() <= resource.inputs["tags"].items(), resource.name


def misspellings(values: Any) -> Iterator[tuple[str, Any]]:
    """Every argument at any depth once with a wrong name, tags and documents left out."""
    if isinstance(values, dict):
        for key, value in values.items():
            if key in ("tags", "labels", "dimensions", "inputPaths"):
                continue
            yield key, {**{k: v for k, v in values.items() if k != key}, f"{key}x": value}
            for name, changed in misspellings(value):
                yield name, {**values, key: changed}
    elif isinstance(values, list):
        for index, value in enumerate(values):
            for name, changed in misspellings(value):
                yield name, [*values[:index], changed, *values[index + 1 :]]


def test_every_misspelled_argument_is_refused_by_its_name() -> None:
    count = 0
    for resource in estate():
        if resource.type not in RESOURCES:
            continue
        for name, inputs in misspellings(resource.inputs):
            problems = [(p.path, p.reason) for p in RESOURCES[resource.type].check(inputs)]
            assert any(
                path.endswith(f"{name}x") and f"did you mean {name}?" in reason for path, reason in problems
            ), (resource.name, name)
            count += 1
    assert count > 50
