"""What the backups of an Atlas cluster register, and what Atlas may write here."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from typing import Any

import pytest

from infra.config import StackConfig
from infra.documents import Document, atlas
from infra.lifecycle import default_lock_days
from sandbox.aws_endpoint.policy import Result
from steward.appfile import Environment
from steward.appmongodb import Atlas
from tests.infra.conftest import APP_NAMES, stack_config
from tests.infra.decisions import EVERYTHING, TLS, decision
from tests.infra.recording import ACCOUNT, Registered, record_estate
from tests.infra.sdk import problems

# The SDK warns about its own old classes when it is imported.
pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning:pulumi_aws.*"),
    pytest.mark.usefixtures("mocked_pulumi"),
]

PROJECT = "0123456789abcdef01234567"
CONTACT = {"email": "security@bitesbay.example", "first_name": "Asha", "last_name": "Rao"}


def atlas_stack(
    app: str = "bitesbay", environment: Environment = "production", *, compliance: bool = False
) -> StackConfig:
    """A stack whose database is an Atlas cluster."""
    stack = stack_config(
        app,
        environment,
        atlas_project_id=PROJECT,
        atlas_cluster="main",
        atlas_compliance_contact=CONTACT,
    )
    own = Atlas(restore_window_days=5, compliance_policy=compliance)
    mongodb = stack.app.mongodb.model_copy(update={"atlas": own})
    return dataclasses.replace(stack, app=stack.app.model_copy(update={"mongodb": mongodb}))


def register(**choices: Any) -> dict[str, Registered]:
    """The resources of a stack by the last part of their names."""
    stack = atlas_stack(**choices)
    seen = record_estate(stack)
    return {r.name.removeprefix(f"{stack.name}-"): r for r in seen}


def of_atlas(resources: Mapping[str, Registered]) -> dict[str, Registered]:
    """What is there for Atlas alone."""
    return {name: r for name, r in resources.items() if name.startswith("atlas")}


def test_it_is_there_only_where_the_database_is_atlas_and_the_cloud_is_one() -> None:
    assert of_atlas(register())
    assert not of_atlas(register(environment="local"))
    stack = stack_config(environment="production", atlas_project_id=PROJECT, atlas_cluster="main")
    assert not [r for r in record_estate(stack) if "mongodb" in r.type]


@pytest.mark.parametrize("app", APP_NAMES)
def test_the_schedule_is_the_app_files(app: str) -> None:
    backup = atlas_stack(app).app.backup
    schedule = register(app=app)["atlas-backup-schedule"].inputs
    assert (schedule["projectId"], schedule["clusterName"]) == (PROJECT, "main")
    assert schedule["referenceHourOfDay"] == backup.full.hour
    assert schedule["referenceMinuteOfHour"] == backup.full.minute
    assert schedule["restoreWindowDays"] == 5

    def item(interval: int, unit: str, value: int) -> dict[str, object]:
        return {"frequencyInterval": interval, "retentionUnit": unit, "retentionValue": value}

    assert schedule["policyItemHourly"] == item(1, "days", 5)
    assert schedule["policyItemDaily"] == item(1, "days", backup.retention.daily_days)
    assert schedule["policyItemWeeklies"] == [item(1, "weeks", backup.retention.weekly_weeks)]
    assert schedule["policyItemMonthlies"] == [item(1, "months", backup.retention.monthly_months)]


def test_every_month_is_exported_to_a_bucket_of_its_own() -> None:
    resources = register()
    schedule = resources["atlas-backup-schedule"].inputs
    assert schedule["autoExportEnabled"] is True
    assert schedule["export"] == {"exportBucketId": "export-bucket", "frequencyType": "monthly"}
    target = resources["atlas-target"]
    bucket = f"bitesbay-production-atlas-{ACCOUNT}"
    assert target.inputs == {
        "projectId": PROJECT,
        "cloudProvider": "AWS",
        "bucketName": bucket,
        "iamRoleId": "atlas-role",
    }
    assert resources["atlas-bucket"].inputs["bucket"] == bucket
    for part in ("ownership", "access-granted"):
        assert f"bitesbay-production-atlas-{part}" in target.dependencies
    retention = atlas_stack().app.backup.retention
    first = resources["atlas-lifecycle"].inputs["rules"][0]
    assert first["filter"] == {"prefix": ""}
    assert first["expiration"] == {"days": retention.keep_days("monthly")}
    lock = resources["atlas-lock"].inputs["rule"]["defaultRetention"]
    assert lock == {"mode": "GOVERNANCE", "days": default_lock_days(retention)}


def test_atlas_learns_of_the_role_when_the_role_can_write() -> None:
    resources = register()
    granted = resources["atlas-access-granted"]
    assert granted.inputs["roleId"] == "atlas-role"
    assert granted.inputs["aws"] == {
        "iamAssumedRoleArn": f"arn:aws:iam::{ACCOUNT}:role/steward/bitesbay-production-atlas"
    }
    assert "bitesbay-production-atlas-role-policy" in granted.dependencies
    (statement,) = json.loads(resources["atlas-role"].inputs["assumeRolePolicy"])["Statement"]
    assert statement["Principal"] == {"AWS": "arn:aws:iam::210987654321:root"}
    assert statement["Condition"] == {"StringEquals": {"sts:ExternalId": "external"}}


def test_its_access_is_logged_and_s3_may_write_the_log() -> None:
    resources = register()
    assert resources["atlas-logging"].inputs["targetBucket"] == f"bitesbay-production-logs-{ACCOUNT}"
    assert f"arn:aws:s3:::bitesbay-production-atlas-{ACCOUNT}" in resources["logs-policy"].inputs["policy"]


def test_the_compliance_policy_is_a_choice_and_equals_the_schedule() -> None:
    assert "atlas-backup-compliance" not in register()
    assert register()["atlas-backup-schedule"].inputs["skipDestroy"] is False
    resources = register(compliance=True)
    compliance, schedule = resources["atlas-backup-compliance"], resources["atlas-backup-schedule"]
    shared = {
        name: value
        for name, value in schedule.inputs.items()
        if name.startswith("policyItem") or name == "restoreWindowDays"
    }
    assert len(shared) == 5
    assert shared.items() <= compliance.inputs.items()
    assert compliance.inputs["pitEnabled"] is True
    assert compliance.inputs["authorizedEmail"] == CONTACT["email"]
    assert compliance.inputs["authorizedUserFirstName"] == CONTACT["first_name"]
    assert compliance.inputs["authorizedUserLastName"] == CONTACT["last_name"]
    assert "bitesbay-production-atlas-backup-schedule" in compliance.dependencies
    assert schedule.inputs["skipDestroy"] is True


def test_the_sdks_know_every_argument() -> None:
    for name, resource in of_atlas(register(compliance=True)).items():
        if not resource.type.startswith("steward:"):
            assert problems(resource) == [], name


EXPORTS = "arn:aws:s3:::exports"
KEY = f"arn:aws:kms:us-east-1:{ACCOUNT}:key/k"
OF_ATLAS = atlas.role_policy(bucket_arn=EXPORTS, kms_key_arn=KEY, region="us-east-1")
ROLE = f"arn:aws:iam::{ACCOUNT}:role/steward/atlas"
BREAK_GLASS = f"arn:aws:iam::{ACCOUNT}:role/steward/break-glass"
HOST = f"arn:aws:iam::{ACCOUNT}:role/steward/host"
OF_BUCKET = atlas.bucket_policy(bucket_arn=EXPORTS, deleter_arns=[BREAK_GLASS], host_arns=[HOST])


def decide(
    action: str,
    resource: str,
    *,
    caller: str = ROLE,
    identity: Document = OF_ATLAS,
    context: Mapping[str, str] | None = None,
) -> Result:
    """The decision on a request over TLS 1.3."""
    values = {
        **TLS,
        "aws:principalarn": caller,
        "aws:principalisawsservice": "false",
        **(context or {}),
    }
    bucket = OF_BUCKET if "s3" in action else None
    return decision(caller, action, resource, values, identity=identity, of_resource=bucket)


def test_atlas_writes_exports_and_neither_reads_nor_deletes() -> None:
    assert decide("s3:GetBucketLocation", EXPORTS) is Result.ALLOWED
    assert decide("s3:PutObject", f"{EXPORTS}/exported_snapshots/x") is Result.ALLOWED
    assert decide("s3:PutObject", "arn:aws:s3:::store/daily/x") is Result.NOT_ALLOWED
    for action in ("s3:GetObject", "s3:PutObjectRetention"):
        assert decide(action, f"{EXPORTS}/x") is Result.NOT_ALLOWED
    for action in ("s3:DeleteObject", "s3:DeleteObjectVersion", "s3:BypassGovernanceRetention"):
        assert decide(action, f"{EXPORTS}/x", identity=EVERYTHING) is Result.DENIED
        assert decide(action, f"{EXPORTS}/x", caller=BREAK_GLASS, identity=EVERYTHING) is Result.ALLOWED


def test_the_bucket_takes_good_transport_only() -> None:
    for context in ({"aws:securetransport": "false"}, {"s3:tlsversion": "1.1"}):
        assert decide("s3:PutObject", f"{EXPORTS}/x", context=context) is Result.DENIED


def test_atlas_encrypts_through_s3_alone() -> None:
    via = {
        "kms:viaservice": "s3.us-east-1.amazonaws.com",
        "kms:encryptioncontext:aws:s3:arn": EXPORTS,
    }
    for action in ("kms:GenerateDataKey", "kms:Decrypt"):
        assert decide(action, KEY, context=via) is Result.ALLOWED
        for name in via:
            assert decide(action, KEY, context={**via, name: "other"}) is Result.NOT_ALLOWED
    assert decide("kms:Encrypt", KEY, context=via) is Result.NOT_ALLOWED
