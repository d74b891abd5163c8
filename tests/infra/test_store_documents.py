"""The policies decide as they should, by an evaluator of IAM's rules."""

from __future__ import annotations

import json
from collections.abc import Mapping

import pytest

from infra import names
from infra.documents import Document, store
from infra.lifecycle import host_prefixes
from sandbox.aws_endpoint.policy import Result
from steward.appfile import BACKUP_CLASSES
from tests.infra.decisions import ABSENT, EVERYTHING, TLS, assert_well_formed, decision
from tests.infra.recording import ACCOUNT

BUCKET = "arn:aws:s3:::backups"
KEY = f"arn:aws:kms:us-east-1:{ACCOUNT}:key/right"
OTHER_KEY = f"arn:aws:kms:us-east-1:{ACCOUNT}:key/wrong"
STACK = "bitesbay-production"
WRITER = names.user_arn(ACCOUNT, names.writer_user(STACK))
HOST_ROLE = names.role_arn(ACCOUNT, names.host_role(STACK))
BREAK_GLASS = names.role_arn(ACCOUNT, names.break_glass_role(STACK))
ADMIN = f"arn:aws:iam::{ACCOUNT}:user/admin"
LONGEST = 187

BUCKET_POLICY = store.bucket_policy(
    bucket_arn=BUCKET,
    kms_key_arn=KEY,
    host_arns=names.host_arns(ACCOUNT, STACK),
    deleter_arns=[BREAK_GLASS],
    object_lock_mode="GOVERNANCE",
    longest_lock_days=LONGEST,
)
HOST_POLICY = store.host_policy(
    bucket_arn=BUCKET, kms_key_arn=KEY, region="us-east-1", prefixes=host_prefixes()
)
KEY_POLICY = store.key_policy(account_id=ACCOUNT, region="us-east-1")

OBJECT = f"{BUCKET}/daily/20260101T000000Z-abcdef/manifest.json"


def decide(
    action: str,
    resource: str,
    context: Mapping[str, str] | None = None,
    *,
    caller: str = WRITER,
    identity: Document | None = None,
) -> Result:
    """The decision on a request to the bucket over TLS 1.3, unless ``context`` says otherwise."""
    values = {**TLS, "aws:principalarn": caller, **(context or {})}
    return decision(
        caller, action, resource, values, identity=identity or HOST_POLICY, of_resource=BUCKET_POLICY
    )


@pytest.mark.parametrize("folder", [*BACKUP_CLASSES, "lock"])
@pytest.mark.parametrize("action", store.HOST_OBJECT_ACTIONS)
def test_hosts_put_and_read_every_class(action: str, folder: str) -> None:
    assert decide(action, f"{BUCKET}/{folder}/id/dump.archive.zst") is Result.ALLOWED


@pytest.mark.parametrize("backup_class", BACKUP_CLASSES)
def test_hosts_list_every_class(backup_class: str) -> None:
    assert decide("s3:ListBucket", BUCKET, {"s3:prefix": f"{backup_class}/"}) is Result.ALLOWED


@pytest.mark.parametrize("listed", ["", "other/", "dail", "absent"])
def test_hosts_list_nothing_else(listed: str) -> None:
    assert decide("s3:ListBucket", BUCKET, {"s3:prefix": listed}) is Result.NOT_ALLOWED


@pytest.mark.parametrize("key", ["x", "other/x", "dailyx", "../daily/x"])
def test_hosts_write_nowhere_else(key: str) -> None:
    assert decide("s3:PutObject", f"{BUCKET}/{key}") is Result.NOT_ALLOWED


# Written out here, so that a shorter list in the program is noticed.
REMOVALS = ("s3:BypassGovernanceRetention", "s3:DeleteObject", "s3:DeleteObjectVersion")
SETTINGS = (
    "s3:DeleteBucket",
    "s3:DeleteBucketPolicy",
    "s3:PutBucketAcl",
    "s3:PutBucketObjectLockConfiguration",
    "s3:PutBucketOwnershipControls",
    "s3:PutBucketPolicy",
    "s3:PutBucketPublicAccessBlock",
    "s3:PutBucketVersioning",
    "s3:PutEncryptionConfiguration",
    "s3:PutLifecycleConfiguration",
    "s3:PutReplicationConfiguration",
)


@pytest.mark.parametrize("action", REMOVALS)
@pytest.mark.parametrize("caller", [WRITER, HOST_ROLE, ADMIN, f"{BREAK_GLASS}2", "absent"])
def test_nobody_but_break_glass_deletes_whatever_else_they_may(action: str, caller: str) -> None:
    assert decide(action, OBJECT, identity=EVERYTHING, caller=caller) is Result.DENIED
    assert decide(action, OBJECT, identity=EVERYTHING, caller=BREAK_GLASS) is Result.ALLOWED


@pytest.mark.parametrize("action", REMOVALS)
def test_services_of_aws_are_not_bound(action: str) -> None:
    service = {"aws:principalarn": "absent", "aws:principalisawsservice": "true"}
    assert decide(action, OBJECT, service, identity=EVERYTHING) is Result.ALLOWED


@pytest.mark.parametrize("action", SETTINGS)
@pytest.mark.parametrize("caller", [WRITER, HOST_ROLE])
def test_hosts_change_no_setting_even_as_administrators(action: str, caller: str) -> None:
    assert decide(action, BUCKET) is Result.DENIED
    assert decide(action, BUCKET, identity=EVERYTHING, caller=caller) is Result.DENIED
    assert decide("s3:PutObjectLegalHold", OBJECT, identity=EVERYTHING, caller=caller) is Result.DENIED


@pytest.mark.parametrize("action", SETTINGS)
def test_who_runs_the_program_manages_the_settings(action: str) -> None:
    assert decide(action, BUCKET, identity=EVERYTHING, caller=ADMIN) is Result.ALLOWED


def test_the_hosts_own_policy_allows_no_removal() -> None:
    text = json.dumps(HOST_POLICY)
    assert "Delete" not in text
    assert "Bypass" not in text
    actions = [a for s in HOST_POLICY["Statement"] for a in s["Action"]]
    assert not [a for a in actions if "*" in a]


@pytest.mark.parametrize("caller", [WRITER, ADMIN])
@pytest.mark.parametrize("action", ["s3:GetObject", "s3:PutObject"])
@pytest.mark.parametrize(
    "context",
    [
        {"aws:securetransport": "false", "s3:tlsversion": "absent"},
        {"s3:tlsversion": "1.1"},
        {"s3:tlsversion": "1.0"},
    ],
)
def test_weak_transport_is_refused_to_everybody(context: dict[str, str], action: str, caller: str) -> None:
    assert decide(action, OBJECT, context, identity=EVERYTHING, caller=caller) is Result.DENIED


@pytest.mark.parametrize("version", ["1.2", "1.3"])
def test_good_transport_is_served(version: str) -> None:
    assert decide("s3:GetObject", OBJECT, {"s3:tlsversion": version}) is Result.ALLOWED


ENCRYPTION = "s3:x-amz-server-side-encryption"


@pytest.mark.parametrize(
    ("context", "expected"),
    [
        pytest.param({}, Result.ALLOWED, id="the bucket's default"),
        pytest.param({ENCRYPTION: "aws:kms"}, Result.ALLOWED, id="kms, default key"),
        pytest.param(
            {ENCRYPTION: "aws:kms", f"{ENCRYPTION}-aws-kms-key-id": KEY}, Result.ALLOWED, id="kms, right key"
        ),
        pytest.param({ENCRYPTION: "AES256"}, Result.DENIED, id="S3's own key"),
        pytest.param({f"{ENCRYPTION}-aws-kms-key-id": OTHER_KEY}, Result.DENIED, id="wrong key"),
        pytest.param({f"{ENCRYPTION}-customer-algorithm": "AES256"}, Result.DENIED, id="customer's key"),
        pytest.param({"s3:object-lock-mode": "GOVERNANCE"}, Result.ALLOWED, id="the stack's lock mode"),
        pytest.param({"s3:object-lock-mode": "COMPLIANCE"}, Result.DENIED, id="another lock mode"),
        pytest.param(
            {"s3:object-lock-remaining-retention-days": str(LONGEST)}, Result.ALLOWED, id="longest lock"
        ),
        pytest.param(
            {"s3:object-lock-remaining-retention-days": str(LONGEST + 1)}, Result.DENIED, id="longer lock"
        ),
    ],
)
def test_uploads_by_what_they_ask_for(context: dict[str, str], expected: Result) -> None:
    assert decide("s3:PutObject", OBJECT, context) is expected


def decide_key(
    action: str, via: str | None, context_arn: str | None = BUCKET, caller: str = WRITER
) -> Result:
    """The decision on a use of the key by a host, or by an administrator with every right."""
    values = {"kms:viaservice": via or ABSENT, "kms:encryptioncontext:aws:s3:arn": context_arn or ABSENT}
    identity = HOST_POLICY if caller == WRITER else EVERYTHING
    return decision(
        caller, action, KEY, values, identity=identity, of_resource=KEY_POLICY, resource_must_allow=True
    )


S3 = "s3.us-east-1.amazonaws.com"


@pytest.mark.parametrize("action", ["kms:GenerateDataKey", "kms:Decrypt"])
def test_hosts_use_the_key_through_s3_for_their_bucket(action: str) -> None:
    assert decide_key(action, S3) is Result.ALLOWED
    assert decide_key(action, S3, OBJECT) is Result.ALLOWED
    assert decide_key(action, S3, "arn:aws:s3:::other") is Result.NOT_ALLOWED
    assert decide_key(action, S3, None) is Result.NOT_ALLOWED
    assert decide_key(action, "s3.eu-west-1.amazonaws.com") is Result.DENIED
    assert decide_key(action, None) is Result.DENIED


def test_nobody_decrypts_directly_but_administrators_administer() -> None:
    assert decide_key("kms:Decrypt", None, caller=ADMIN) is Result.DENIED
    assert decide_key("kms:Decrypt", S3, caller=ADMIN) is Result.ALLOWED
    assert decide_key("kms:PutKeyPolicy", None, caller=ADMIN) is Result.ALLOWED
    assert decide_key("kms:ScheduleKeyDeletion", None, caller=WRITER) is Result.NOT_ALLOWED


@pytest.mark.parametrize("document", [BUCKET_POLICY, HOST_POLICY, KEY_POLICY])
def test_documents_are_well_formed(document: Document) -> None:
    assert_well_formed(document)


def test_sizes_stay_within_the_limits_of_aws() -> None:
    # Inline policies of a user 2,048 characters without spaces; bucket policies 20 KB
    # (IAM user guide, "IAM and AWS STS quotas"; S3 user guide, "Bucket policies").
    assert len(json.dumps(HOST_POLICY, separators=(",", ":"))) < 2048
    assert len(json.dumps(BUCKET_POLICY)) < 20_000
