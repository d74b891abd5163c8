"""Who may do what in a built store, asked of the store itself; the stacks are those of test_stacks."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import pytest

from infra.config import REPOSITORY
from infra.lifecycle import default_lock_days
from sandbox.stacks import Stacks
from steward.appfile import load
from tests.infra.conftest import NEEDS_PULUMI
from tests.infra.decisions import EVERYTHING
from tests.support.aws import AwsEndpoint, AwsUser, refused

pytestmark = [NEEDS_PULUMI, pytest.mark.timeout(600)]


def test_a_host_puts_and_reads(host: AwsUser, bucket: str, built: Stacks) -> None:
    s3 = host.client("s3")
    s3.put_object(Bucket=bucket, Key="daily/a/manifest.json", Body=b"{}")
    head = s3.head_object(Bucket=bucket, Key="daily/a/manifest.json")
    assert head["ServerSideEncryption"] == "aws:kms"
    assert head["SSEKMSKeyId"] == built.outputs("bitesbay-local")["backup_kms_key_arn"]
    days = default_lock_days(load(REPOSITORY / "apps/bitesbay.yml").backup.retention)
    left = head["ObjectLockRetainUntilDate"] - datetime.now(UTC)
    assert timedelta(days=days - 1) < left <= timedelta(days=days)
    assert s3.get_object(Bucket=bucket, Key="daily/a/manifest.json")["Body"].read() == b"{}"
    upload = s3.create_multipart_upload(Bucket=bucket, Key="monthly/a/dump")["UploadId"]
    part = s3.upload_part(Bucket=bucket, Key="monthly/a/dump", UploadId=upload, PartNumber=1, Body=b"part")
    s3.complete_multipart_upload(
        Bucket=bucket,
        Key="monthly/a/dump",
        UploadId=upload,
        MultipartUpload={"Parts": [{"PartNumber": 1, "ETag": part["ETag"]}]},
    )
    listed = s3.list_objects_v2(Bucket=bucket, Prefix="monthly/")["Contents"]
    assert [o["Key"] for o in listed] == ["monthly/a/dump"]


def test_a_host_lengthens_a_lock_within_the_retention(host: AwsUser, bucket: str) -> None:
    s3 = host.client("s3")
    s3.put_object(Bucket=bucket, Key="weekly/a/dump", Body=b"x")
    days = load(REPOSITORY / "apps/bitesbay.yml").backup.retention.keep_days("weekly")

    def retain(days: float, mode: str = "GOVERNANCE") -> None:
        until = datetime.now(UTC) + timedelta(days=days)
        s3.put_object_retention(
            Bucket=bucket, Key="weekly/a/dump", Retention={"Mode": mode, "RetainUntilDate": until}
        )

    retain(days)
    assert refused(retain, days=1) == "AccessDenied", "a lock must not be shortened"
    assert refused(retain, days=days, mode="COMPLIANCE") == "AccessDenied"
    assert refused(retain, days=3000) == "AccessDenied", "no lock may outlive the longest retention"


def test_a_host_never_deletes(host: AwsUser, bucket: str) -> None:
    s3 = host.client("s3")
    version = s3.put_object(Bucket=bucket, Key="daily/keep/dump", Body=b"x")["VersionId"]
    assert refused(s3.delete_object, Bucket=bucket, Key="daily/keep/dump") == "AccessDenied"
    assert (
        refused(
            s3.delete_object,
            Bucket=bucket,
            Key="daily/keep/dump",
            VersionId=version,
            BypassGovernanceRetention=True,
        )
        == "AccessDenied"
    )
    assert refused(s3.delete_bucket_policy, Bucket=bucket) == "AccessDenied"
    assert refused(s3.delete_bucket_lifecycle, Bucket=bucket) == "AccessDenied"
    assert s3.head_object(Bucket=bucket, Key="daily/keep/dump")["VersionId"] == version


def test_what_the_bucket_refuses_everybody(
    host: AwsUser, bucket: str, aws_endpoint: AwsEndpoint, built: Stacks
) -> None:
    other = built.outputs("kampyn-local")["backup_kms_key_arn"]
    for s3 in (host.client("s3"), aws_endpoint.client("s3")):
        for wrong in (
            {"ServerSideEncryption": "AES256"},
            {"ServerSideEncryption": "aws:kms", "SSEKMSKeyId": other},
            {
                "ObjectLockMode": "COMPLIANCE",
                "ObjectLockRetainUntilDate": datetime.now(UTC) + timedelta(days=9),
            },
        ):
            put = refused(s3.put_object, Bucket=bucket, Key="daily/w", Body=b"x", **wrong)
            assert put == "AccessDenied"
    for plain in (host.client("s3", plain=True), aws_endpoint.client("s3", plain=True)):
        assert refused(plain.list_objects_v2, Bucket=bucket, Prefix="daily/") == "AccessDenied"
        assert refused(plain.put_object, Bucket=bucket, Key="daily/w", Body=b"x") == "AccessDenied"


def test_a_host_stays_in_its_own_store(host: AwsUser, bucket: str, built: Stacks) -> None:
    s3 = host.client("s3")
    other = built.outputs("kampyn-local")["backup_bucket"]
    assert refused(s3.put_object, Bucket=other, Key="daily/x", Body=b"x") == "AccessDenied"
    assert refused(s3.put_object, Bucket=bucket, Key="elsewhere/x", Body=b"x") == "AccessDenied"
    assert refused(s3.list_objects_v2, Bucket=bucket) == "AccessDenied"


def test_an_administrator_deletes_nothing_but_manages_the_settings(
    built: Stacks, aws_endpoint: AwsEndpoint
) -> None:
    """Somebody else than who runs the stack, with every right of IAM."""
    outputs = built.outputs("bitesbay-local")
    administrator = aws_endpoint.new_user(EVERYTHING).client("s3")
    for output, key in (
        ("backup_bucket", "daily/adm/dump"),
        ("log_bucket", "access/x"),
        ("log_archive_bucket", "logs/x"),
    ):
        bucket = outputs[output]
        version = administrator.put_object(Bucket=bucket, Key=key, Body=b"x")["VersionId"]
        assert refused(administrator.delete_object, Bucket=bucket, Key=key) == "AccessDenied"
        assert (
            refused(administrator.delete_object, Bucket=bucket, Key=key, VersionId=version) == "AccessDenied"
        )
        assert administrator.head_object(Bucket=bucket, Key=key)["VersionId"] == version
        found = administrator.get_bucket_lifecycle_configuration(Bucket=bucket)
        administrator.put_bucket_lifecycle_configuration(
            Bucket=bucket,
            LifecycleConfiguration={"Rules": found["Rules"]},
            TransitionDefaultMinimumObjectSize=found["TransitionDefaultMinimumObjectSize"],
        )
    lock = {"Bucket": outputs["backup_bucket"], "Key": "daily/adm/dump", "BypassGovernanceRetention": True}
    version = administrator.head_object(Bucket=lock["Bucket"], Key=lock["Key"])["VersionId"]
    assert refused(administrator.delete_object, **lock, VersionId=version) == "AccessDenied"
    # Who runs a disposable stack empties its buckets.
    aws_endpoint.client("s3").delete_object(**lock, VersionId=version)


def test_what_happens_is_written_down(built: Stacks, aws_endpoint: AwsEndpoint) -> None:
    s3, outputs = aws_endpoint.client("s3"), built.outputs("bitesbay-local")
    for output in ("backup_bucket", "log_archive_bucket"):
        logging = s3.get_bucket_logging(Bucket=outputs[output])["LoggingEnabled"]
        assert logging["TargetBucket"] == outputs["log_bucket"]
        assert logging["TargetObjectKeyFormat"]["PartitionedPrefix"] == {"PartitionDateSource": "EventTime"}
    assert "LoggingEnabled" not in s3.get_bucket_logging(Bucket=outputs["log_bucket"])
    (inventory,) = s3.list_bucket_inventory_configurations(Bucket=outputs["backup_bucket"])[
        "InventoryConfigurationList"
    ]
    assert inventory["IsEnabled"]
    assert "ObjectLockRetainUntilDate" in inventory["OptionalFields"]
    events = s3.get_bucket_notification_configuration(Bucket=outputs["backup_bucket"])
    assert "EventBridgeConfiguration" in events


def test_the_archive_is_cold_has_its_own_key_and_no_reader_among_hosts(
    built: Stacks, aws_endpoint: AwsEndpoint, host: AwsUser
) -> None:
    s3, outputs = aws_endpoint.client("s3"), built.outputs("bitesbay-local")
    bucket = outputs["log_archive_bucket"]
    archive = load(REPOSITORY / "apps/bitesbay.yml").logs.archive
    found = s3.get_bucket_lifecycle_configuration(Bucket=bucket)
    assert found["TransitionDefaultMinimumObjectSize"] == "varies_by_storage_class"
    (rule,) = [r for r in found["Rules"] if r["ID"] == "archive"]
    assert rule["Expiration"] == {"Days": archive.keep_days}
    assert rule["Transitions"] == [{"Days": 0, "StorageClass": archive.storage_class}]
    s3.put_object(Bucket=bucket, Key="logs/api1/access.log.gz", Body=b"x")
    head = s3.head_object(Bucket=bucket, Key="logs/api1/access.log.gz")
    assert head["SSEKMSKeyId"] == outputs["log_archive_kms_key_arn"]
    put = refused(
        s3.put_object,
        Bucket=bucket,
        Key="logs/x",
        Body=b"x",
        ServerSideEncryption="aws:kms",
        SSEKMSKeyId=outputs["backup_kms_key_arn"],
    )
    assert put == "AccessDenied"
    wide = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "s3:*", "Resource": "*"}]}
    iam = aws_endpoint.client("iam")
    iam.put_user_policy(UserName=host.name, PolicyName="wide", PolicyDocument=json.dumps(wide))
    try:
        get = refused(host.client("s3").get_object, Bucket=bucket, Key="logs/api1/access.log.gz")
        assert get == "AccessDenied"
    finally:
        iam.delete_user_policy(UserName=host.name, PolicyName="wide")
    assert refused(aws_endpoint.client("s3", plain=True).list_objects_v2, Bucket=bucket) == "AccessDenied"
