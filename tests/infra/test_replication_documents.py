"""The policies of the second copy decide as they should, by an evaluator of IAM's rules."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

import pytest

from infra.documents import Document, document, replication, store
from infra.documents.identity import LIST_ACTIONS
from sandbox.aws_endpoint.policy import Result
from tests.infra.decisions import EVERYTHING, TLS, assert_well_formed, decision
from tests.infra.recording import ACCOUNT

OTHER = "210987654321"
HOME, AWAY = "us-east-1", "eu-central-1"
SOURCE = replication.Place("arn:aws:s3:::store", f"arn:aws:kms:{HOME}:{ACCOUNT}:key/store", HOME)
REPLICA = replication.Place("arn:aws:s3:::copy", f"arn:aws:kms:{AWAY}:{ACCOUNT}:key/copy", AWAY)
ROLE = f"arn:aws:iam::{ACCOUNT}:role/steward/replication"
BREAK_GLASS = f"arn:aws:iam::{ACCOUNT}:role/steward/break-glass"
RESTORE = f"arn:aws:iam::{ACCOUNT}:role/steward/restore"
HOST = f"arn:aws:iam::{ACCOUNT}:role/steward/host"
ADMIN = f"arn:aws:iam::{ACCOUNT}:user/admin"

ROLE_POLICY = replication.role_policy(source=SOURCE, replica=REPLICA)


FOREIGN = replication.Foreign(ACCOUNT, ROLE, RESTORE)


def bucket_policy(foreign: replication.Foreign | None = None) -> Document:
    return replication.bucket_policy(
        bucket_arn=REPLICA.bucket_arn,
        deleter_arns=[BREAK_GLASS],
        host_arns=[HOST],
        foreign=foreign,
    )


def key_policy(region: str, account: str, grants: Sequence[dict[str, object]] = ()) -> Document:
    return document([*store.key_policy(account_id=account, region=region)["Statement"], *grants])


FOREIGN_KEY = key_policy(
    AWAY,
    OTHER,
    replication.key_grants(bucket_arn=REPLICA.bucket_arn, region=AWAY, foreign=FOREIGN),
)


def decide(
    caller: str,
    action: str,
    resource: str,
    *,
    identity: Document,
    of_resource: Document | None = None,
    context: Mapping[str, str] | None = None,
    resource_must_allow: bool = False,
) -> Result:
    """The decision on a request over TLS 1.3."""
    values = {
        **TLS,
        "aws:principalarn": caller,
        "aws:principalisawsservice": "false",
        **(context or {}),
    }
    return decision(
        caller,
        action,
        resource,
        values,
        identity=identity,
        of_resource=of_resource,
        resource_must_allow=resource_must_allow,
    )


# Written out here, so that a shorter list in the program is noticed.
READS = (
    "s3:GetObjectLegalHold",
    "s3:GetObjectRetention",
    "s3:GetObjectVersionAcl",
    "s3:GetObjectVersionForReplication",
    "s3:GetObjectVersionTagging",
)


@pytest.mark.parametrize("action", READS)
def test_the_role_reads_the_store_and_not_the_copy(action: str) -> None:
    assert decide(ROLE, action, f"{SOURCE.bucket_arn}/daily/x", identity=ROLE_POLICY) is Result.ALLOWED
    for elsewhere in (REPLICA.bucket_arn, "arn:aws:s3:::other"):
        assert decide(ROLE, action, f"{elsewhere}/daily/x", identity=ROLE_POLICY) is Result.NOT_ALLOWED


@pytest.mark.parametrize("action", ["s3:GetReplicationConfiguration", "s3:ListBucket"])
def test_the_role_reads_the_rules_of_the_store(action: str) -> None:
    assert decide(ROLE, action, SOURCE.bucket_arn, identity=ROLE_POLICY) is Result.ALLOWED
    assert decide(ROLE, action, "arn:aws:s3:::other", identity=ROLE_POLICY) is Result.NOT_ALLOWED


@pytest.mark.parametrize("action", ["s3:ReplicateObject", "s3:ReplicateTags"])
@pytest.mark.parametrize("foreign", [None, FOREIGN])
def test_the_role_writes_the_copy_and_not_the_store(action: str, foreign: replication.Foreign | None) -> None:
    of_copy = bucket_policy(foreign)
    copy = f"{REPLICA.bucket_arn}/daily/x"
    assert decide(ROLE, action, copy, identity=ROLE_POLICY, of_resource=of_copy) is Result.ALLOWED
    assert decide(ROLE, action, f"{SOURCE.bucket_arn}/daily/x", identity=ROLE_POLICY) is Result.NOT_ALLOWED


CHANGES = (
    "s3:BypassGovernanceRetention",
    "s3:DeleteObject",
    "s3:DeleteObjectVersion",
    "s3:PutObject",
    "s3:PutObjectLegalHold",
    "s3:ReplicateDelete",
)


@pytest.mark.parametrize("action", CHANGES)
@pytest.mark.parametrize("caller", [ROLE, HOST, ADMIN])
def test_nobody_changes_the_copy_but_break_glass(action: str, caller: str) -> None:
    copy = f"{REPLICA.bucket_arn}/daily/x"
    assert decide(ROLE, action, copy, identity=ROLE_POLICY) is Result.NOT_ALLOWED, "not granted at all"
    for foreign in (None, FOREIGN):
        of_copy = bucket_policy(foreign)
        assert decide(caller, action, copy, identity=EVERYTHING, of_resource=of_copy) is Result.DENIED
        assert decide(BREAK_GLASS, action, copy, identity=EVERYTHING, of_resource=of_copy) is Result.ALLOWED


def test_hosts_change_no_setting_of_the_copy() -> None:
    for action in ("s3:PutBucketPolicy", "s3:PutLifecycleConfiguration", "s3:PutBucketVersioning"):
        for caller, expected in ((HOST, Result.DENIED), (ADMIN, Result.ALLOWED)):
            found = decide(
                caller, action, REPLICA.bucket_arn, identity=EVERYTHING, of_resource=bucket_policy()
            )
            assert found is expected, action


def test_weak_transport_is_refused() -> None:
    for context in ({"aws:securetransport": "false"}, {"s3:tlsversion": "1.1"}):
        found = decide(
            ADMIN,
            "s3:GetObject",
            f"{REPLICA.bucket_arn}/x",
            identity=EVERYTHING,
            of_resource=bucket_policy(),
            context=context,
        )
        assert found is Result.DENIED


def via(region: str, scope: str) -> dict[str, str]:
    """The context of a use of a key by S3."""
    return {
        "kms:viaservice": f"s3.{region}.amazonaws.com",
        "kms:encryptioncontext:aws:s3:arn": scope,
    }


def test_the_role_decrypts_with_the_stores_key_through_s3_only() -> None:
    of_key = key_policy(HOME, ACCOUNT)

    def use(action: str, context: Mapping[str, str]) -> Result:
        return decide(
            ROLE,
            action,
            SOURCE.kms_key_arn,
            identity=ROLE_POLICY,
            of_resource=of_key,
            context=context,
            resource_must_allow=True,
        )

    for scope in (SOURCE.bucket_arn, f"{SOURCE.bucket_arn}/daily/x"):
        assert use("kms:Decrypt", via(HOME, scope)) is Result.ALLOWED
        assert use("kms:GenerateDataKey", via(HOME, scope)) is Result.NOT_ALLOWED
    assert use("kms:Decrypt", via(HOME, "arn:aws:s3:::other")) is Result.NOT_ALLOWED
    assert use("kms:Decrypt", via(AWAY, SOURCE.bucket_arn)) is Result.DENIED
    assert use("kms:Decrypt", {}) is Result.DENIED


@pytest.mark.parametrize("foreign", [False, True])
def test_the_role_encrypts_with_the_copys_key_through_s3_only(*, foreign: bool) -> None:
    account = OTHER if foreign else ACCOUNT
    key_arn = f"arn:aws:kms:{AWAY}:{account}:key/copy"
    identity = replication.role_policy(
        source=SOURCE, replica=replication.Place(REPLICA.bucket_arn, key_arn, AWAY)
    )
    of_key = FOREIGN_KEY if foreign else key_policy(AWAY, ACCOUNT)

    def use(action: str, context: Mapping[str, str], caller: str = ROLE) -> Result:
        return decide(
            caller,
            action,
            key_arn,
            identity=identity if caller == ROLE else EVERYTHING,
            of_resource=of_key,
            context=context,
            resource_must_allow=True,
        )

    for action in ("kms:Encrypt", "kms:GenerateDataKey"):
        for scope in (REPLICA.bucket_arn, f"{REPLICA.bucket_arn}/daily/x"):
            assert use(action, via(AWAY, scope)) is Result.ALLOWED
        assert use(action, via(AWAY, "arn:aws:s3:::other")) is Result.NOT_ALLOWED
        assert use(action, via(HOME, REPLICA.bucket_arn)) is Result.DENIED
        if foreign:
            found = use(action, via(AWAY, REPLICA.bucket_arn), caller=ADMIN)
            assert found is Result.NOT_ALLOWED, "the store's account has no say over the copy's key"
    assert use("kms:Decrypt", via(AWAY, REPLICA.bucket_arn)) is Result.NOT_ALLOWED


def test_the_role_is_for_s3_and_this_bucket_alone() -> None:
    (statement,) = replication.trust(account_id=ACCOUNT, source_bucket_arn=SOURCE.bucket_arn)["Statement"]
    assert statement["Principal"] == {"Service": "s3.amazonaws.com"}
    assert statement["Condition"] == {
        "StringEqualsIfExists": {"aws:SourceAccount": ACCOUNT},
        "ArnEqualsIfExists": {"aws:SourceArn": SOURCE.bucket_arn},
    }


def test_another_accounts_bucket_lets_two_roles_in_and_nobody_else() -> None:
    copy = f"{REPLICA.bucket_arn}/daily/x"
    for action, resource, let_in in (
        ("s3:ReplicateObject", copy, ROLE),
        ("s3:ReplicateTags", copy, ROLE),
        ("s3:GetBucketVersioning", REPLICA.bucket_arn, ROLE),
        ("s3:ListBucketVersions", REPLICA.bucket_arn, RESTORE),
        ("s3:GetObject", copy, RESTORE),
        ("s3:GetObjectVersion", copy, RESTORE),
        ("s3:PutObjectRetention", copy, None),
        ("s3:PutBucketPolicy", REPLICA.bucket_arn, None),
    ):
        for caller in (ROLE, RESTORE, ADMIN):
            for foreign in (FOREIGN, None):
                # Across accounts both sides must allow.
                found = decide(
                    caller,
                    action,
                    resource,
                    identity=EVERYTHING,
                    of_resource=bucket_policy(foreign),
                    resource_must_allow=True,
                )
                allowed = foreign is not None and (
                    caller == let_in or (caller == RESTORE and action in LIST_ACTIONS)
                )
                assert (found is Result.ALLOWED) is allowed, (action, caller, foreign)


def test_a_restore_decrypts_the_copy_of_another_account() -> None:
    for caller, context, expected in (
        (RESTORE, via(AWAY, REPLICA.bucket_arn), Result.ALLOWED),
        (ROLE, via(AWAY, REPLICA.bucket_arn), Result.NOT_ALLOWED),
        (RESTORE, via(AWAY, "arn:aws:s3:::other"), Result.NOT_ALLOWED),
        (RESTORE, {}, Result.DENIED),
    ):
        found = decide(
            caller,
            "kms:Decrypt",
            f"arn:aws:kms:{AWAY}:{OTHER}:key/copy",
            identity=EVERYTHING,
            of_resource=FOREIGN_KEY,
            context=context,
            resource_must_allow=True,
        )
        assert found is expected, (caller, context)


@pytest.mark.parametrize("found", [ROLE_POLICY, bucket_policy(), bucket_policy(FOREIGN), FOREIGN_KEY])
def test_documents_are_well_formed(found: Document) -> None:
    assert_well_formed(found)
    # Inline policies of a role: 10,240 characters without spaces (IAM user guide, "IAM and AWS STS quotas").
    assert len(json.dumps(ROLE_POLICY, separators=(",", ":"))) < 10_240
