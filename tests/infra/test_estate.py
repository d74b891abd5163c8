"""Whole stacks as the engine would see them, and what the SDK and the stand-in say about them."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import pytest

from infra.estate import build
from sandbox.aws_plugin.registry import RESOURCES
from steward.appfile import ENVIRONMENTS, Environment
from tests.infra.conftest import APP_NAMES, stack_config
from tests.infra.recording import ACCOUNT, CALLER, Registered, record

# The SDK warns about its own old classes when it is imported.
pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning:pulumi_aws.*"),
    pytest.mark.usefixtures("mocked_pulumi"),
]


def estate(app: str = "bitesbay", environment: Environment = "local") -> list[Registered]:
    """Everything a stack registers."""
    stack = stack_config(app, environment)
    return record(stack, lambda: build(stack, ACCOUNT, CALLER))


def test_every_local_type_has_a_row_and_every_row_a_user() -> None:
    used = {r.type for app in APP_NAMES for r in estate(app) if r.type.startswith("aws:")}
    assert used == set(RESOURCES)


def test_the_stand_in_carries_out_every_argument() -> None:
    for resource in estate():
        if resource.type.startswith("aws:"):
            assert not list(RESOURCES[resource.type].check(resource.inputs)), resource.name


@pytest.mark.parametrize(("app", "environment"), list(itertools.product(APP_NAMES, ENVIRONMENTS)))
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
            if key in ("tags", "dimensions", "inputPaths"):
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
