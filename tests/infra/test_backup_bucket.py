"""What the component registers: inputs, order, protection. A recording monitor instead of an engine."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pulumi
import pytest
from pulumi.provider.experimental.property_value import PropertyValue
from pulumi.runtime import mocks, settings

from infra.components.backup_bucket import BackupBucket, BackupBucketArgs
from infra.config import StackConfig
from infra.lifecycle import default_lock_days
from sandbox.aws_plugin.registry import RESOURCES
from sandbox.aws_plugin.values import to_properties
from steward.appfile import BACKUP_CLASSES, ENVIRONMENTS, Environment
from tests.infra.conftest import APP_NAMES, stack_config

ACCOUNT = "123456789012"

# The SDK warns about its own old classes when it is imported.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:pulumi_aws.*")


class Answers(mocks.Mocks):
    """Outputs that a provider would compute."""

    def new_resource(self, args: mocks.MockResourceArgs) -> tuple[str | None, dict[str, Any]]:
        arns = {
            "aws:s3/bucket:Bucket": f"arn:aws:s3:::{args.inputs.get('bucket')}",
            "aws:kms/key:Key": f"arn:aws:kms:us-east-1:{ACCOUNT}:key/k",
            "aws:iam/user:User": f"arn:aws:iam::{ACCOUNT}:user/{args.inputs.get('name')}",
        }
        made = {"arn": arns[args.typ], "keyId": "k"} if args.typ in arns else {}
        return f"{args.name}-id", {**args.inputs, **made}

    def call(self, args: mocks.MockCallArgs) -> tuple[dict[str, Any], list[tuple[str, str]] | None]:
        raise AssertionError(f"the component calls {args.token}")


@dataclass(frozen=True)
class Registered:
    """One resource as the engine would see it."""

    type: str
    name: str
    inputs: dict[str, Any]
    protect: bool
    dependencies: frozenset[str]
    parent: str


class Recorder(mocks.MockMonitor):
    """Keeps every registration, with the options that the SDK's mocks hide."""

    def __init__(self) -> None:
        super().__init__(Answers())
        self.seen: list[Registered] = []

    def RegisterResource(self, request: Any) -> Any:  # noqa: N802 - the protocol's name
        self.seen.append(
            Registered(
                request.type,
                request.name,
                to_properties(PropertyValue.unmarshal_map(request.object)),
                request.protect,
                frozenset(urn.split("::")[-1] for urn in request.dependencies),
                request.parent.split("::")[-1],
            )
        )
        return super().RegisterResource(request)  # type: ignore[no-untyped-call]


@pytest.fixture(autouse=True)
def _strict_outputs(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """An Output in a string is an error; nothing of the mocks stays behind."""
    monkeypatch.setenv("PULUMI_ERROR_OUTPUT_STRING", "true")
    loop = asyncio.new_event_loop()  # an asyncio.run of another test leaves the thread without one
    asyncio.set_event_loop(loop)
    yield
    settings.reset_options()
    loop.close()
    asyncio.set_event_loop(None)


def register(stack: StackConfig) -> dict[str, Registered]:
    """Build the component; its resources by the last part of their name."""
    recorder = Recorder()
    mocks.set_mocks(
        Answers(),
        project="steward",
        stack=f"{stack.app.name}-{stack.environment}",
        preview=False,
        monitor=recorder,
    )

    @pulumi.runtime.test  # type: ignore[untyped-decorator]
    def build() -> None:
        BackupBucket("b", BackupBucketArgs(stack, ACCOUNT))

    build()
    by_name = {r.name.removeprefix("b-"): r for r in recorder.seen if r.type != "pulumi:pulumi:Stack"}
    assert len(by_name) > 1
    return by_name


@pytest.mark.parametrize("app", APP_NAMES)
def test_rules_and_lock_come_from_the_app_file(app: str) -> None:
    stack = stack_config(app)
    retention = stack.app.backup.retention
    resources = register(stack)
    rules = {
        rule["filter"]["prefix"]: rule
        for rule in resources["lifecycle"].inputs["rules"]
        if rule["filter"]["prefix"]
    }
    for backup_class in BACKUP_CLASSES:
        assert rules[f"{backup_class}/"]["expiration"]["days"] == retention.keep_days(backup_class)
    assert resources["lock"].inputs["rule"]["defaultRetention"] == {
        "mode": "GOVERNANCE",
        "days": default_lock_days(retention),
    }


def test_the_bucket_is_closed_versioned_and_encrypted_with_its_key() -> None:
    resources = register(stack_config())
    bucket = f"b-{ACCOUNT}"
    assert resources["bucket"].inputs["objectLockEnabled"] is True
    assert resources["versioning"].inputs["versioningConfiguration"] == {"status": "Enabled"}
    assert resources["ownership"].inputs["rule"] == {"objectOwnership": "BucketOwnerEnforced"}
    block = resources["public-access"].inputs
    assert [
        block[k]
        for k in ("blockPublicAcls", "blockPublicPolicy", "ignorePublicAcls", "restrictPublicBuckets")
    ] == [True] * 4
    (rule,) = resources["encryption"].inputs["rules"]
    assert rule["bucketKeyEnabled"] is True
    assert rule["applyServerSideEncryptionByDefault"] == {
        "sseAlgorithm": "aws:kms",
        "kmsMasterKeyId": f"arn:aws:kms:us-east-1:{ACCOUNT}:key/k",
    }
    for name in ("versioning", "lock", "lifecycle", "encryption", "public-access", "policy", "ownership"):
        assert resources[name].inputs["bucket"] == bucket
    policy = json.loads(resources["policy"].inputs["policy"])
    assert {s["Effect"] for s in policy["Statement"]} == {"Deny"}
    assert resources["key"].inputs["enableKeyRotation"] is True
    assert json.loads(resources["key"].inputs["policy"])["Statement"][0]["Principal"]["AWS"].endswith(":root")


def test_no_access_key_enters_the_state() -> None:
    assert not [r.type for r in register(stack_config()).values() if "accessKey" in r.type]


def test_settings_that_must_not_run_together_are_ordered() -> None:
    resources = register(stack_config())
    for later, earlier in [
        ("lock", "versioning"),
        ("lifecycle", "versioning"),
        ("lifecycle", "lock"),
        ("policy", "public-access"),
        ("ownership", "policy"),
        ("writer-policy", "writer"),
        ("encryption", "key"),
    ]:
        assert f"b-{earlier}" in resources[later].dependencies, f"{later} must wait for {earlier}"


def test_every_resource_belongs_to_the_component() -> None:
    resources = register(stack_config())
    assert {r.parent for name, r in resources.items() if name != "b"} == {"b"}


@pytest.mark.parametrize("environment", ENVIRONMENTS)
def test_only_a_disposable_stack_can_lose_backups(environment: Environment) -> None:
    resources = register(stack_config(environment=environment))
    assert {n for n, r in resources.items() if r.protect} == (
        {"bucket", "key"} if environment == "production" else set()
    )
    for name in ("bucket", "writer"):
        assert resources[name].inputs["forceDestroy"] is (environment == "local")
    assert resources["key"].inputs["deletionWindowInDays"] == (7 if environment == "local" else 30)
    for name in ("bucket", "key", "writer"):
        assert resources[name].inputs["tags"] == {
            "App": "bitesbay",
            "Environment": environment,
            "ManagedBy": "pulumi",
        }


def test_every_argument_exists_in_the_sdk_and_is_carried_out_by_the_stand_in() -> None:
    custom = [r for r in register(stack_config()).values() if r.type.startswith("aws:")]
    assert {r.type for r in custom} == set(RESOURCES), "a row without a user, or a type without a row"
    for resource in custom:
        assert not list(RESOURCES[resource.type].check(resource.inputs)), resource.name


def misspellings(values: Any) -> Iterator[tuple[str, Any]]:
    """Every argument at any depth once with a wrong name, tags and documents left out."""
    if isinstance(values, dict):
        for key, value in values.items():
            if key == "tags":
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
    for resource in register(stack_config()).values():
        if resource.type not in RESOURCES:
            continue
        for name, inputs in misspellings(resource.inputs):
            problems = [(p.path, p.reason) for p in RESOURCES[resource.type].check(inputs)]
            assert any(
                path.endswith(f"{name}x") and f"did you mean {name}?" in reason for path, reason in problems
            )
            count += 1
    assert count > 50
