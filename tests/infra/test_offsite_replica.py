"""What the second copy on S3 registers, in the account of the store and in another one."""

from __future__ import annotations

import json
from typing import Any

import pytest

from infra.components.offsite_replica import OffsiteReplica
from infra.components.secure_bucket import SecureBucket
from infra.lifecycle import LOCK_PREFIX, default_lock_days
from steward.appfile import BACKUP_CLASSES, ENVIRONMENTS, Environment
from tests.infra.conftest import APP_NAMES, stack_config
from tests.infra.recording import ACCOUNT, Registered, record_estate
from tests.infra.sdk import problems

# The SDK warns about its own old classes when it is imported.
pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning:pulumi_aws.*"),
    pytest.mark.usefixtures("mocked_pulumi"),
]

OTHER = "210987654321"
OTHER_ROLE = f"arn:aws:iam::{OTHER}:role/steward-replica"
REGION = "eu-central-1"


def register(
    app: str = "bitesbay", environment: Environment = "production", **settings: object
) -> dict[str, Registered]:
    """A stack's store and second copy, by the last part of their names."""
    stack = stack_config(app, environment, **settings)
    seen = record_estate(stack)
    return {r.name.removeprefix(f"{stack.name}-"): r for r in seen}


def rule(resources: dict[str, Registered]) -> dict[str, Any]:
    """The only replication rule."""
    (found,) = resources["replication-rules"].inputs["rules"]
    assert isinstance(found, dict)
    return found


def statements(resource: Registered, argument: str = "policy") -> dict[str, Any]:
    """A policy's statements by their ids."""
    return {s["Sid"]: s for s in json.loads(resource.inputs[argument])["Statement"]}


@pytest.mark.parametrize("environment", ENVIRONMENTS)
def test_it_is_there_where_the_app_file_asks_for_it(environment: Environment) -> None:
    names = set(register(environment=environment))
    wanted = {"replica", "replica-bucket", "replica-key", "replication", "replication-rules"}
    asked = stack_config(environment=environment).offsite == "s3"
    assert (names >= wanted) if asked else not [n for n in names if n.startswith("repl")]


@pytest.mark.parametrize("app", APP_NAMES)
def test_the_copy_is_kept_and_locked_as_the_store(app: str) -> None:
    resources = register(app)
    for part in ("lifecycle", "lock", "versioning", "public-access", "ownership"):
        store, copy = (
            {k: v for k, v in resources[f"{side}-{part}"].inputs.items() if k not in ("bucket", "region")}
            for side in ("backups", "replica")
        )
        assert copy == store, part
    retention = stack_config(app).app.backup.retention
    assert resources["replica-lock"].inputs["rule"]["defaultRetention"]["days"] == default_lock_days(
        retention
    )
    days = {
        r["filter"]["prefix"]: r["expiration"]["days"]
        for r in resources["replica-lifecycle"].inputs["rules"]
        if r["filter"]["prefix"]
    }
    assert days == {
        **{f"{c}/": retention.keep_days(c) for c in BACKUP_CLASSES},
        "evidence/": retention.keep_days("monthly"),
        LOCK_PREFIX: default_lock_days(retention),
    }


def test_all_of_the_copy_lies_in_its_region_and_nothing_else_does() -> None:
    for name, resource in register().items():
        if name.startswith(("replica-", "replogs-")):
            assert resource.inputs["region"] == REGION, name
        elif name.startswith(("backups-", "replication-")):
            assert "region" not in resource.inputs, name


def test_the_copy_is_encrypted_with_its_own_key() -> None:
    resources = register()
    own = f"arn:aws:kms:{REGION}:{ACCOUNT}:key/k"
    (encryption,) = resources["replica-encryption"].inputs["rules"]
    assert encryption["applyServerSideEncryptionByDefault"] == {
        "sseAlgorithm": "aws:kms",
        "kmsMasterKeyId": own,
    }
    assert rule(resources)["destination"]["encryptionConfiguration"] == {"replicaKmsKeyId": own}
    assert rule(resources)["sourceSelectionCriteria"] == {"sseKmsEncryptedObjects": {"status": "Enabled"}}
    assert resources["replica-key"].inputs["enableKeyRotation"] is True
    assert statements(resources["replica-key"])["UseThroughS3Only"]["Condition"] == {
        "StringNotEquals": {"kms:ViaService": f"s3.{REGION}.amazonaws.com"}
    }


def test_everything_is_copied_within_a_measured_time_and_no_deletion_is() -> None:
    resources = register()
    found = rule(resources)
    assert (found["status"], found["filter"]) == ("Enabled", {"prefix": ""})
    assert found["deleteMarkerReplication"] == {"status": "Disabled"}
    destination = found["destination"]
    assert destination["bucket"] == f"arn:aws:s3:::bitesbay-production-replica-{ACCOUNT}"
    assert destination["replicationTime"] == {"status": "Enabled", "time": {"minutes": 15}}
    assert destination["metrics"] == {"status": "Enabled", "eventThreshold": {"minutes": 15}}
    rules = resources["replication-rules"]
    assert rules.inputs["bucket"] == f"bitesbay-production-backups-{ACCOUNT}"
    assert rules.inputs["role"] == f"arn:aws:iam::{ACCOUNT}:role/steward/bitesbay-production-replication"


def test_the_rule_waits_for_both_versionings_and_for_who_may_copy() -> None:
    waits = register()["replication-rules"].dependencies
    for part in (
        "backups-versioning",
        "backups-ownership",
        "replica-versioning",
        "replica-ownership",
        "replication-role-policy",
    ):
        assert f"bitesbay-production-{part}" in waits


@pytest.mark.parametrize("environment", ["local", "production"])
def test_only_a_disposable_stack_can_lose_the_copy(environment: Environment) -> None:
    resources = register(environment=environment)
    for name in ("replica-bucket", "replica-key"):
        assert resources[name].protect is (environment == "production")
        assert resources[name].inputs["tags"]["Environment"] == environment
    assert resources["replica-bucket"].inputs["forceDestroy"] is (environment == "local")
    assert resources["replica-key"].inputs["deletionWindowInDays"] == (7 if environment == "local" else 30)


def test_in_the_same_account_no_provider_and_no_grant_is_made() -> None:
    resources = register()
    assert "replica-account" not in resources
    assert {s["Effect"] for s in statements(resources["replica-policy"]).values()} == {"Deny"}
    assert set(statements(resources["replica-key"])) == {"AccountAdministers", "UseThroughS3Only"}


def test_another_account_gets_the_copy_and_lets_only_the_replication_in() -> None:
    resources = register(replica_role_arn=OTHER_ROLE)
    provider = resources["replica-account"].inputs
    assert provider["region"] == REGION
    assert json.loads(provider["assumeRoles"]) == [{"roleArn": OTHER_ROLE, "sessionName": "steward"}]
    assert json.loads(provider["allowedAccountIds"]) == [OTHER]
    for name, resource in resources.items():
        if resource.type.startswith("aws:"):
            there = "bitesbay-production-replica-account"
            assert (resource.provider == there) is name.startswith(("replica-", "replogs-")), name
    assert resources["replica-bucket"].inputs["bucket"] == f"bitesbay-production-replica-{OTHER}"
    grants = [
        s
        for r in ("replica-policy", "replica-key")
        for s in statements(resources[r]).values()
        if s["Effect"] == "Allow" and s["Sid"] != "AccountAdministers"
    ]
    # Not the roles themselves: AWS refuses a principal that does not exist yet.
    assert {str(s["Principal"]) for s in grants} == {str({"AWS": f"arn:aws:iam::{ACCOUNT}:root"})}
    assert {s["Condition"]["ArnEquals"]["aws:PrincipalArn"] for s in grants} == {
        f"arn:aws:iam::{ACCOUNT}:role/steward/bitesbay-production-{role}"
        for role in ("replication", "restore")
    }
    administrators = statements(resources["replica-key"])["AccountAdministers"]["Principal"]
    assert administrators == {"AWS": f"arn:aws:iam::{OTHER}:root"}
    assert resources["replication-role"].inputs["name"] == "bitesbay-production-replication"
    assert resources["roles-restore"].inputs["name"] == "bitesbay-production-restore"


def test_a_restore_may_read_the_copy_and_only_where_there_is_one() -> None:
    policy = register()["roles-restore-replica-policy"].inputs
    assert policy["role"] == "bitesbay-production-restore"
    text = policy["policy"]
    assert f"arn:aws:s3:::bitesbay-production-replica-{ACCOUNT}/*" in text
    assert f"arn:aws:kms:{REGION}:{ACCOUNT}:key/k" in text
    assert f"s3.{REGION}.amazonaws.com" in text
    assert "roles-restore-replica-policy" not in register(environment="staging")


def test_a_role_of_the_same_account_needs_no_grant() -> None:
    resources = register(replica_role_arn=f"arn:aws:iam::{ACCOUNT}:role/builder")
    assert {s["Effect"] for s in statements(resources["replica-policy"]).values()} == {"Deny"}


def test_the_sdk_knows_every_argument() -> None:
    for role in (None, OTHER_ROLE):
        for name, resource in register(replica_role_arn=role).items():
            if resource.type.startswith("aws:") and name.startswith("repl"):
                assert problems(resource) == [], name


def test_the_copy_is_a_bucket_like_every_other() -> None:
    assert issubclass(OffsiteReplica, SecureBucket)
