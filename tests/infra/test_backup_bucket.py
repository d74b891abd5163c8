"""What the component registers: inputs, order, protection. A recording monitor instead of an engine."""

from __future__ import annotations

import json

import pytest

from infra.components.backup_bucket import BackupBucket, BackupBucketArgs
from infra.components.log_bucket import LogBucket, LogBucketArgs
from infra.config import StackConfig
from infra.lifecycle import default_lock_days
from sandbox.aws_plugin import schema
from steward.appfile import BACKUP_CLASSES, ENVIRONMENTS, Environment
from tests.infra.conftest import APP_NAMES, stack_config
from tests.infra.recording import ACCOUNT, CALLER, Registered, record

# The SDK warns about its own old classes when it is imported.
pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning:pulumi_aws.*"),
    pytest.mark.usefixtures("mocked_pulumi"),
]


def register(stack: StackConfig) -> dict[str, Registered]:
    """Build the component; its resources by the last part of their name."""

    def make() -> None:
        logs = LogBucket("l", LogBucketArgs(stack, ACCOUNT, CALLER, (f"b-{ACCOUNT}",)))
        BackupBucket("b", BackupBucketArgs(stack, ACCOUNT, CALLER, logs))

    seen = [r for r in record(stack, make) if r.name.startswith("b")]
    return {r.name.removeprefix("b-"): r for r in seen}


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


def test_what_happens_in_the_bucket_is_written_down() -> None:
    resources = register(stack_config())
    assert resources["logging"].inputs["targetBucket"] == f"l-{ACCOUNT}"
    inventory = resources["inventory"].inputs
    assert inventory["includedObjectVersions"] == "All"
    assert inventory["schedule"] == {"frequency": "Daily"}
    assert inventory["destination"]["bucket"] == {
        "accountId": ACCOUNT,
        "bucketArn": f"arn:aws:s3:::l-{ACCOUNT}",
        "format": "CSV",
        "prefix": "inventory",
    }
    fields = inventory["optionalFields"]
    assert {"EncryptionStatus", "ObjectLockMode", "ObjectLockRetainUntilDate", "ReplicationStatus"} <= set(
        fields
    )
    assert fields == sorted(set(fields)), "the provider keeps a set"
    assert resources["events"].inputs["eventbridge"] is True
    for name in ("logging", "inventory"):
        assert "l-policy" in resources[name].dependencies, "S3 checks the target's policy"


def test_requests_are_measured_where_the_endpoint_can() -> None:
    measured = {
        n: r.inputs
        for n, r in register(stack_config(environment="production")).items()
        if r.type == "aws:s3/bucketMetric:BucketMetric"
    }
    # One filter: each costs as ten custom metrics do, and the alarm needs the whole alone.
    assert [(i["name"], i.get("filter")) for i in measured.values()] == [("whole-bucket", None)]
    assert not [n for n in register(stack_config()) if n.startswith("metrics")]


@pytest.mark.parametrize("environment", ENVIRONMENTS)
def test_who_runs_the_program_deletes_in_a_disposable_stack_only(environment: Environment) -> None:
    policy = json.loads(register(stack_config(environment=environment))["policy"].inputs["policy"])
    (deletes,) = [s for s in policy["Statement"] if s["Sid"] == "OnlyBreakGlassDeletes"]
    break_glass = f"arn:aws:iam::{ACCOUNT}:role/steward/bitesbay-{environment}-break-glass"
    expected = [break_glass, CALLER] if environment == "local" else [break_glass]
    assert deletes["Condition"]["ArnNotEquals"]["aws:PrincipalArn"] == expected


@pytest.mark.parametrize("environment", ENVIRONMENTS)
def test_the_sdk_knows_every_argument(environment: Environment) -> None:
    for resource in register(stack_config(environment=environment)).values():
        if resource.type.startswith("aws:"):
            arguments = schema.arguments_class(resource.type)
            assert not list(schema.check(arguments, resource.inputs)), resource.name


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
        ("encryption", "key"),
        ("logging", "ownership"),
        ("inventory", "ownership"),
        ("events", "ownership"),
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
    assert resources["bucket"].inputs["forceDestroy"] is (environment == "local")
    assert resources["key"].inputs["deletionWindowInDays"] == (7 if environment == "local" else 30)
    for name in ("bucket", "key"):
        assert resources[name].inputs["tags"] == {
            "App": "bitesbay",
            "Environment": environment,
            "ManagedBy": "pulumi",
        }
