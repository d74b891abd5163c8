"""The policies of log bucket and archive decide as they should, by an evaluator of IAM's rules."""

from __future__ import annotations

import json

import pytest

from infra import names
from infra.documents import Document
from infra.documents.archive import ARCHIVE_PREFIX, archive_bucket_policy, host_archive_policy
from infra.documents.logs import log_bucket_policy
from sandbox.aws_endpoint.policy import Result
from tests.infra.decisions import EVERYTHING, TLS, assert_well_formed, decision
from tests.infra.recording import ACCOUNT

STACK = "bitesbay-production"
LOGS, ARCHIVE, STORE = "arn:aws:s3:::logs", "arn:aws:s3:::archive", "arn:aws:s3:::store"
KEY = f"arn:aws:kms:us-east-1:{ACCOUNT}:key/right"
USER = names.user_arn(ACCOUNT, names.writer_user(STACK))
ROLE = names.role_arn(ACCOUNT, names.host_role(STACK))
BREAK_GLASS = names.role_arn(ACCOUNT, names.break_glass_role(STACK))
ADMIN = f"arn:aws:iam::{ACCOUNT}:user/admin"
BOTH = {"host_arns": names.host_arns(ACCOUNT, STACK), "deleter_arns": [BREAK_GLASS]}

LOG_POLICY = log_bucket_policy(bucket_arn=LOGS, account_id=ACCOUNT, source_arns=[STORE, ARCHIVE], **BOTH)
ARCHIVE_POLICY = archive_bucket_policy(bucket_arn=ARCHIVE, kms_key_arn=KEY, **BOTH)
HOST_POLICY = host_archive_policy(bucket_arn=ARCHIVE, kms_key_arn=KEY, region="us-east-1")


def by(caller: str, action: str, resource: str, **context: str) -> Result:
    """A request of an identity of the account with every right of IAM, over TLS 1.3."""
    of_bucket = LOG_POLICY if resource.startswith(LOGS) else ARCHIVE_POLICY
    keys = {**TLS, "aws:principalarn": caller, **context}
    return decision(caller, action, resource, keys, identity=EVERYTHING, of_resource=of_bucket)


def by_host(action: str, resource: str, prefix: str | None = None, caller: str = USER) -> Result:
    """A request of a host with its own rights."""
    keys = {**TLS, "aws:principalarn": caller, **({"s3:prefix": prefix} if prefix is not None else {})}
    return decision(caller, action, resource, keys, identity=HOST_POLICY, of_resource=ARCHIVE_POLICY)


def delivery(service: str, key: str, source: str = STORE, account: str = ACCOUNT, **changes: str) -> Result:
    """A delivery by a service of AWS, which has no rights but those of the bucket's policy."""
    context = {
        **TLS,
        "aws:principalisawsservice": "true",
        "aws:sourcearn": source,
        "aws:sourceaccount": account,
        **changes,
    }
    return decision(
        f"Service:{service}",
        "s3:PutObject",
        f"{LOGS}/{key}",
        context,
        account="amazonaws",
        of_resource=LOG_POLICY,
        resource_must_allow=True,
    )


LOGGING, REPORTS = "logging.s3.amazonaws.com", "s3.amazonaws.com"


@pytest.mark.parametrize("source", [STORE, ARCHIVE])
def test_s3_delivers_for_the_buckets_of_the_stack(source: str) -> None:
    assert delivery(LOGGING, "access/x", source) is Result.ALLOWED
    assert delivery(REPORTS, "inventory/store/daily/x", source) is Result.ALLOWED


@pytest.mark.parametrize("service", [LOGGING, REPORTS])
def test_s3_delivers_for_nobody_else(service: str) -> None:
    key = "access/x" if service == LOGGING else "inventory/x"
    other = "inventory/x" if service == LOGGING else "access/x"
    assert delivery(service, other) is Result.NOT_ALLOWED
    assert delivery(service, "x") is Result.NOT_ALLOWED
    assert delivery(service, key, "arn:aws:s3:::store2") is Result.NOT_ALLOWED
    assert delivery(service, key, account="000000000001") is Result.NOT_ALLOWED
    assert delivery("sns.amazonaws.com", key) is Result.NOT_ALLOWED
    assert delivery(service, key, **{"aws:securetransport": "false"}) is Result.DENIED


@pytest.mark.parametrize("bucket", [LOGS, ARCHIVE])
@pytest.mark.parametrize("action", ["s3:DeleteObject", "s3:DeleteObjectVersion"])
def test_only_break_glass_removes_logs(bucket: str, action: str) -> None:
    for caller in (ADMIN, USER, ROLE):
        assert by(caller, action, f"{bucket}/logs/x") is Result.DENIED
    assert by(BREAK_GLASS, action, f"{bucket}/logs/x") is Result.ALLOWED


@pytest.mark.parametrize("bucket", [LOGS, ARCHIVE])
def test_settings_are_for_who_runs_the_program_and_not_for_hosts(bucket: str) -> None:
    for action in ("s3:PutLifecycleConfiguration", "s3:PutBucketPolicy", "s3:PutBucketVersioning"):
        assert by(ADMIN, action, bucket) is Result.ALLOWED
        for caller in (USER, ROLE):
            assert by(caller, action, bucket) is Result.DENIED


@pytest.mark.parametrize("bucket", [LOGS, ARCHIVE])
def test_weak_transport_is_refused(bucket: str) -> None:
    for weak in ({"aws:securetransport": "false"}, {"s3:tlsversion": "1.1"}):
        assert by(ADMIN, "s3:GetObject", f"{bucket}/x", **weak) is Result.DENIED


def test_hosts_put_and_list_and_nothing_more() -> None:
    key = f"{ARCHIVE}/{ARCHIVE_PREFIX}api1/access.log-20260101.gz"
    assert by_host("s3:PutObject", key) is Result.ALLOWED
    assert by_host("s3:AbortMultipartUpload", key) is Result.ALLOWED
    assert by_host("s3:ListBucket", ARCHIVE, ARCHIVE_PREFIX) is Result.ALLOWED
    assert by_host("s3:ListBucket", ARCHIVE, "") is Result.NOT_ALLOWED
    assert by_host("s3:ListBucket", ARCHIVE) is Result.NOT_ALLOWED
    assert by_host("s3:PutObject", f"{ARCHIVE}/elsewhere/x") is Result.NOT_ALLOWED
    for action in ("s3:GetObject", "s3:GetObjectVersion", "s3:DeleteObject", "s3:RestoreObject"):
        assert by_host(action, key) is Result.DENIED


@pytest.mark.parametrize("caller", [USER, ROLE])
def test_hosts_read_no_log_even_as_administrators(caller: str) -> None:
    for action in ("s3:GetObject", "s3:GetObjectAttributes", "s3:GetObjectVersion", "s3:RestoreObject"):
        assert by(caller, action, f"{ARCHIVE}/logs/x") is Result.DENIED
        assert by(ADMIN, action, f"{ARCHIVE}/logs/x") is Result.ALLOWED


def test_the_archive_takes_its_own_key_only() -> None:
    sse = "s3:x-amz-server-side-encryption"
    put = ("s3:PutObject", f"{ARCHIVE}/logs/x")
    assert by(ADMIN, *put, **{sse: "aws:kms", f"{sse}-aws-kms-key-id": KEY}) is Result.ALLOWED
    assert by(ADMIN, *put, **{sse: "AES256"}) is Result.DENIED
    assert by(ADMIN, *put, **{f"{sse}-aws-kms-key-id": f"{KEY}2"}) is Result.DENIED
    assert by(ADMIN, *put, **{f"{sse}-customer-algorithm": "AES256"}) is Result.DENIED


@pytest.mark.parametrize("found", [LOG_POLICY, ARCHIVE_POLICY, HOST_POLICY])
def test_documents_are_well_formed(found: Document) -> None:
    assert_well_formed(found)
    assert len(json.dumps(found)) < 20_000
