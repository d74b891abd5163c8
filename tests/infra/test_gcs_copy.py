"""What the second copy at Google Cloud Storage registers, and what Google may read here."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from typing import Any

import pytest

from infra.config import REPOSITORY, StackConfig
from infra.documents import gcs
from infra.gcs_lifecycle import copied_for_seconds
from infra.watch import RUNBOOK
from sandbox.aws_endpoint.policy import Result
from steward.appfile import BACKUP_CLASSES, Environment
from tests.infra.conftest import APP_NAMES, stack_config
from tests.infra.decisions import decision
from tests.infra.recording import ACCOUNT, Registered, record_estate
from tests.infra.sdk import problems

# The SDK warns about its own old classes when it is imported.
pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning:pulumi_aws.*"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning:pulumi_gcp.*"),
    pytest.mark.usefixtures("mocked_pulumi"),
]

DAY = 86_400


def gcs_stack(app: str = "bitesbay", environment: Environment = "production", **more: object) -> StackConfig:
    """A stack whose second copy lies at Google."""
    stack = stack_config(
        app, environment, gcs_project="steward-copies", **{"gcs_location": "europe-west3", **more}
    )
    cloud = stack.app.cloud.model_copy(update={"offsite": dict.fromkeys(stack.app.cloud.offsite, "gcs")})
    return dataclasses.replace(stack, app=stack.app.model_copy(update={"cloud": cloud}))


def register(**settings: Any) -> dict[str, Registered]:
    """The copy's resources by the last part of their names."""
    stack = gcs_stack(**settings)
    seen = record_estate(stack)
    start = f"{stack.name}-gcs"
    return {r.name.removeprefix(start).lstrip("-"): r for r in seen if r.name.startswith(start)}


def test_it_is_there_only_where_the_app_file_asks_for_it() -> None:
    assert register()
    stack = stack_config(environment="production", gcs_project="p", gcs_location="EU")
    assert not [r for r in record_estate(stack) if r.type.startswith("gcp:")]


@pytest.mark.parametrize("app", APP_NAMES)
def test_the_copy_is_kept_as_the_app_file_says(app: str) -> None:
    retention = gcs_stack(app).app.backup.retention
    bucket = register(app=app)["bucket"].inputs
    days = {
        rule["condition"]["matchesPrefixes"][0]: rule["condition"]["age"]
        for rule in bucket["lifecycleRules"]
        if rule["action"]["type"] == "Delete"
    }
    kept = {f"{c}/": retention.keep_days(c) for c in BACKUP_CLASSES}
    assert days == {**kept, "evidence/": retention.keep_days("monthly")}
    assert bucket["retentionPolicy"]["retentionPeriod"] == str(min(days.values()) * DAY)
    assert bucket["softDeletePolicy"] == {"retentionDurationSeconds": 7 * DAY}
    assert "versioning" not in bucket


@pytest.mark.parametrize(("mode", "locked"), [("GOVERNANCE", False), ("COMPLIANCE", True)])
def test_only_compliance_locks_for_ever(mode: str, *, locked: bool) -> None:
    assert register(object_lock_mode=mode)["bucket"].inputs["retentionPolicy"]["isLocked"] is locked


def test_the_copy_is_closed_and_encrypted_with_its_own_key() -> None:
    resources = register()
    bucket = resources["bucket"]
    assert bucket.inputs["uniformBucketLevelAccess"] is True
    assert bucket.inputs["publicAccessPrevention"] == "enforced"
    assert bucket.inputs["encryption"] == {"defaultKmsKeyName": "bitesbay-production-gcs-key-id"}
    assert "bitesbay-production-gcs-key-user" in bucket.dependencies, "the key must be usable before"
    key, user = resources["key"].inputs, resources["key-user"].inputs
    assert (key["rotationPeriod"], key["destroyScheduledDuration"]) == (f"{90 * DAY}s", f"{30 * DAY}s")
    assert (user["role"], user["member"]) == (
        "roles/cloudkms.cryptoKeyEncrypterDecrypter",
        "serviceAccount:storage-agent",
    )


@pytest.mark.parametrize(
    ("bucket", "key"),
    [
        ("EU", "europe"),
        ("us", "us"),
        ("ASIA", "asia"),
        ("EUR4", "eur4"),
        ("europe-west3", "europe-west3"),
    ],
)
def test_bucket_and_key_lie_together(bucket: str, key: str) -> None:
    resources = register(gcs_location=bucket)
    assert resources["bucket"].inputs["location"] == bucket
    assert resources["key-ring"].inputs["location"] == key


def test_the_transfer_adds_and_never_takes_away() -> None:
    resources = register()
    transfer = resources["transfer"]
    spec = transfer.inputs["transferSpec"]
    assert spec["transferOptions"] == {
        "deleteObjectsUniqueInSink": False,
        "deleteObjectsFromSourceAfterTransfer": False,
        "overwriteWhen": "NEVER",
    }
    assert spec["awsS3DataSource"] == {
        "bucketName": f"bitesbay-production-backups-{ACCOUNT}",
        "roleArn": f"arn:aws:iam::{ACCOUNT}:role/steward/bitesbay-production-gcs",
    }
    assert spec["gcsDataSink"] == {"bucketName": f"bitesbay-production-gcs-{ACCOUNT}"}
    # Locks change every few minutes and are about hosts, not about backups.
    copied = [*(f"{c}/" for c in BACKUP_CLASSES), "evidence/"]
    assert spec["objectConditions"]["includePrefixes"] == copied
    policy = json.loads(resources["role-policy"].inputs["policy"])
    assert {f"{p}*" for p in copied} == {
        arn.partition("/")[2]
        for statement in policy["Statement"]
        if "s3:GetObject" in statement["Action"]
        for arn in statement["Resource"]
    }
    window = copied_for_seconds(gcs_stack().app.backup.retention)
    assert spec["objectConditions"]["maxTimeElapsedSinceLastModification"] == f"{window}s"
    assert transfer.inputs["schedule"]["repeatInterval"] == "3600s"
    roles = {r.inputs["role"] for n, r in resources.items() if n.startswith("transfer-")}
    assert roles == {f"roles/storage.{r}" for r in ("legacyBucketReader", "objectCreator", "objectViewer")}, (
        "none of these may delete"
    )
    for part in ("role-policy", "transfer-objectCreator", "bucket"):
        assert f"bitesbay-production-gcs-{part}" in transfer.dependencies


@pytest.mark.parametrize("app", APP_NAMES)
def test_the_critical_contacts_are_told_what_this_transfer_could_not_copy(app: str) -> None:
    resources = register(app=app)
    logged = resources["transfer"].inputs["loggingConfig"]
    assert logged == {"logActions": ["COPY", "FIND"], "logActionStates": ["FAILED"]}
    alarm = resources["failed"]
    (condition,) = alarm.inputs["conditions"]
    assert condition["conditionMatchedLog"]["filter"].split(" AND ") == [
        'resource.type="storage_transfer_job"',
        'resource.labels.job_id="transferJobs/7876"',
        'jsonPayload.status.statusCode!="OK"',
    ]
    assert alarm.inputs["alertStrategy"]["notificationRateLimit"] == {"period": f"{DAY}s"}
    section = alarm.inputs["documentation"]["content"].rpartition("#")[2]
    assert f"\n## {section}\n" in (REPOSITORY / RUNBOOK).read_text(encoding="utf-8")
    channels = {r.inputs["labels"].get("email_address"): r for n, r in resources.items() if "contact" in n}
    assert list(channels) == gcs_stack(app).app.contacts.critical
    assert {r.inputs["type"] for r in channels.values()} == {"email"}
    assert {r.name for r in channels.values()} <= alarm.dependencies
    assert alarm.inputs["notificationChannels"] == [f"{r.name}-id" for r in channels.values()]


def test_a_contact_that_is_a_url_is_called() -> None:
    stack = gcs_stack()
    url = "https://alerts.example/steward"
    contacts = stack.app.contacts.model_copy(update={"critical": [url, url]})
    seen = record_estate(dataclasses.replace(stack, app=stack.app.model_copy(update={"contacts": contacts})))
    (channel,) = [r.inputs for r in seen if r.type.endswith(":NotificationChannel")]
    assert (channel["type"], channel["labels"]) == ("webhook_tokenauth", {"url": url})


@pytest.mark.parametrize("environment", ["staging", "production"])
def test_only_production_is_protected_and_everything_is_labelled(environment: Environment) -> None:
    resources = register(environment=environment)
    assert {n for n, r in resources.items() if r.protect} == (
        {"bucket", "key"} if environment == "production" else set()
    )
    assert resources["bucket"].inputs["forceDestroy"] is False
    for name in ("bucket", "key"):
        assert resources[name].inputs["labels"] == {
            "app": "bitesbay",
            "environment": environment,
            "managedby": "pulumi",
        }
    for name in ("bucket", "key-ring", "transfer", "failed"):
        assert resources[name].inputs["project"] == "steward-copies"


def test_the_sdk_knows_every_argument() -> None:
    for name, resource in register().items():
        if not resource.type.startswith("steward:"):
            assert problems(resource) == [], name


STORE = "arn:aws:s3:::store"
KEY = f"arn:aws:kms:us-east-1:{ACCOUNT}:key/k"
READER = gcs.role_policy(
    bucket_arn=STORE, kms_key_arn=KEY, region="us-east-1", prefixes=[f"{c}/" for c in BACKUP_CLASSES]
)


def decide(action: str, resource: str, context: Mapping[str, str] | None = None) -> Result:
    """The decision on a request of Google's."""
    return decision("google", action, resource, context or {}, identity=READER)


def test_google_reads_backups_and_does_nothing_else() -> None:
    assert decide("s3:ListBucket", STORE) is Result.ALLOWED
    for backup_class in BACKUP_CLASSES:
        assert decide("s3:GetObject", f"{STORE}/{backup_class}/x") is Result.ALLOWED
    assert decide("s3:GetObject", f"{STORE}/other/x") is Result.NOT_ALLOWED
    for action in ("s3:PutObject", "s3:DeleteObject", "s3:DeleteObjectVersion", "s3:PutObjectRetention"):
        assert decide(action, f"{STORE}/daily/x") is Result.NOT_ALLOWED


def test_google_decrypts_through_s3_alone() -> None:
    via = {
        "kms:viaservice": "s3.us-east-1.amazonaws.com",
        "kms:encryptioncontext:aws:s3:arn": STORE,
    }
    assert decide("kms:Decrypt", KEY, via) is Result.ALLOWED
    assert decide("kms:GenerateDataKey", KEY, via) is Result.NOT_ALLOWED
    for name in via:
        assert decide("kms:Decrypt", KEY, {**via, name: "other"}) is Result.NOT_ALLOWED
    assert decide("kms:Decrypt", KEY) is Result.NOT_ALLOWED


def test_the_role_is_for_one_service_agent() -> None:
    trust = json.loads(register()["role"].inputs["assumeRolePolicy"])
    (statement,) = trust["Statement"]
    assert statement["Action"] == "sts:AssumeRoleWithWebIdentity"
    assert statement["Principal"] == {"Federated": "accounts.google.com"}
    assert statement["Condition"] == {"StringEquals": {"accounts.google.com:sub": "100200300"}}
