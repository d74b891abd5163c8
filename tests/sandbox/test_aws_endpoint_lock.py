"""Object Lock at the endpoint, rule by rule."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.support.aws import AwsEndpoint


def ahead(days: float) -> datetime:
    return (datetime.now(UTC) + timedelta(days=days)).replace(microsecond=0)


def refusal(call: Callable[..., Any], **arguments: Any) -> str:
    """The error code of a call that must be refused."""
    with pytest.raises(ClientError) as caught:
        call(**arguments)
    return str(caught.value.response["Error"]["Code"])


@pytest.fixture
def locked(aws_endpoint: AwsEndpoint) -> str:
    """A bucket with Object Lock and no default retention."""
    return aws_endpoint.new_bucket("lock", ObjectLockEnabledForBucket=True)


def put(endpoint: AwsEndpoint, bucket: str, mode: str, days: float = 7, key: str = "x") -> str:
    answer = endpoint.client("s3").put_object(
        Bucket=bucket, Key=key, Body=b"data", ObjectLockMode=mode, ObjectLockRetainUntilDate=ahead(days)
    )
    return str(answer["VersionId"])


@pytest.mark.parametrize("mode", ["GOVERNANCE", "COMPLIANCE"])
def test_a_locked_version_is_not_deleted_and_a_marker_hides_it_only(
    aws_endpoint: AwsEndpoint, locked: str, mode: str
) -> None:
    s3 = aws_endpoint.client("s3")
    version = put(aws_endpoint, locked, mode)
    assert refusal(s3.delete_object, Bucket=locked, Key="x", VersionId=version) == "AccessDenied"
    answer = s3.delete_objects(Bucket=locked, Delete={"Objects": [{"Key": "x", "VersionId": version}]})
    assert [(e["Code"], e["VersionId"]) for e in answer["Errors"]] == [("AccessDenied", version)]
    marker = s3.delete_object(Bucket=locked, Key="x")
    assert marker["DeleteMarker"] is True
    assert refusal(s3.get_object, Bucket=locked, Key="x") == "NoSuchKey"
    assert s3.get_object(Bucket=locked, Key="x", VersionId=version)["Body"].read() == b"data"
    s3.delete_object(Bucket=locked, Key="x", VersionId=marker["VersionId"])
    assert s3.get_object(Bucket=locked, Key="x")["VersionId"] == version
    assert refusal(s3.delete_bucket, Bucket=locked) == "BucketNotEmpty"


def test_governance_yields_to_the_header_only(aws_endpoint: AwsEndpoint, locked: str) -> None:
    s3 = aws_endpoint.client("s3")
    version = put(aws_endpoint, locked, "GOVERNANCE")
    no = {"Bucket": locked, "Key": "x", "VersionId": version, "BypassGovernanceRetention": False}
    assert refusal(s3.delete_object, **no) == "AccessDenied"
    s3.delete_object(Bucket=locked, Key="x", VersionId=version, BypassGovernanceRetention=True)
    assert refusal(s3.get_object, Bucket=locked, Key="x", VersionId=version) == "NoSuchVersion"


def test_the_header_needs_the_permission(aws_endpoint: AwsEndpoint, locked: str) -> None:
    version = put(aws_endpoint, locked, "GOVERNANCE")
    rule = {"Effect": "Allow", "Action": ["s3:DeleteObject*"], "Resource": f"arn:aws:s3:::{locked}/*"}
    user = aws_endpoint.new_user({"Version": "2012-10-17", "Statement": [rule]})
    arguments = {"Bucket": locked, "Key": "x", "VersionId": version, "BypassGovernanceRetention": True}
    assert refusal(user.client("s3").delete_object, **arguments) == "AccessDenied"
    answer = user.client("s3").delete_objects(
        Bucket=locked,
        Delete={"Objects": [{"Key": "x", "VersionId": version}]},
        BypassGovernanceRetention=True,
    )
    assert [e["Code"] for e in answer["Errors"]] == ["AccessDenied"]
    bypass = {**rule, "Action": ["s3:DeleteObjectVersion", "s3:BypassGovernanceRetention"]}
    aws_endpoint.client("iam").put_user_policy(
        UserName=user.name,
        PolicyName="test",
        PolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": [bypass]}),
    )
    user.client("s3").delete_object(**arguments)


def test_compliance_yields_to_nothing(aws_endpoint: AwsEndpoint, locked: str) -> None:
    s3 = aws_endpoint.client("s3")
    version = put(aws_endpoint, locked, "COMPLIANCE", days=7)
    one = {"Bucket": locked, "Key": "x", "VersionId": version}
    assert refusal(s3.delete_object, **one, BypassGovernanceRetention=True) == "AccessDenied"
    for retention in (
        {"Mode": "COMPLIANCE", "RetainUntilDate": ahead(6)},
        {"Mode": "GOVERNANCE", "RetainUntilDate": ahead(30)},
        {},
    ):
        call = {**one, "Retention": retention, "BypassGovernanceRetention": True}
        assert refusal(s3.put_object_retention, **call) == "AccessDenied"
    s3.put_object_retention(**one, Retention={"Mode": "COMPLIANCE", "RetainUntilDate": ahead(8)})
    assert s3.get_object_retention(**one)["Retention"]["RetainUntilDate"] > ahead(7)


def test_governance_may_be_lengthened_but_shortened_only_with_a_bypass(
    aws_endpoint: AwsEndpoint, locked: str
) -> None:
    s3 = aws_endpoint.client("s3")
    version = put(aws_endpoint, locked, "GOVERNANCE", days=7)
    one = {"Bucket": locked, "Key": "x", "VersionId": version}
    s3.put_object_retention(**one, Retention={"Mode": "GOVERNANCE", "RetainUntilDate": ahead(28)})
    shorter = {"Mode": "GOVERNANCE", "RetainUntilDate": ahead(1)}
    assert refusal(s3.put_object_retention, **one, Retention=shorter) == "AccessDenied"
    assert refusal(s3.put_object_retention, **one, Retention={}) == "AccessDenied"
    s3.put_object_retention(**one, Retention=shorter, BypassGovernanceRetention=True)
    assert s3.get_object_retention(**one)["Retention"]["Mode"] == "GOVERNANCE"
    s3.put_object_retention(**one, Retention={}, BypassGovernanceRetention=True)
    assert refusal(s3.get_object_retention, **one) == "NoSuchObjectLockConfiguration"
    s3.delete_object(**one)


def test_a_legal_hold_holds_until_it_is_lifted(aws_endpoint: AwsEndpoint, locked: str) -> None:
    s3 = aws_endpoint.client("s3")
    version = s3.put_object(Bucket=locked, Key="x", Body=b"x", ObjectLockLegalHoldStatus="ON")["VersionId"]
    one = {"Bucket": locked, "Key": "x", "VersionId": version}
    assert refusal(s3.delete_object, **one, BypassGovernanceRetention=True) == "AccessDenied"
    assert s3.get_object_legal_hold(**one)["LegalHold"]["Status"] == "ON"
    s3.put_object_legal_hold(**one, LegalHold={"Status": "OFF"})
    s3.delete_object(**one)


def test_dates_and_headers_that_make_no_sense(aws_endpoint: AwsEndpoint, locked: str) -> None:
    s3, plain = aws_endpoint.client("s3"), aws_endpoint.new_bucket()
    body: dict[str, Any] = {"Key": "x", "Body": b"x"}
    full = {"ObjectLockMode": "GOVERNANCE", "ObjectLockRetainUntilDate": ahead(1)}
    assert refusal(s3.put_object, Bucket=locked, **body, ObjectLockMode="GOVERNANCE") == "InvalidArgument"
    assert (
        refusal(s3.put_object, Bucket=locked, **body, ObjectLockRetainUntilDate=ahead(1)) == "InvalidArgument"
    )
    past = full | {"ObjectLockRetainUntilDate": ahead(-1)}
    for call in (s3.put_object, s3.create_multipart_upload):
        arguments = body if call == s3.put_object else {"Key": "x"}
        assert refusal(call, Bucket=locked, **arguments, **past) == "InvalidArgument"
        assert refusal(call, Bucket=plain, **arguments, **full) == "InvalidRequest"
    s3.put_object(Bucket=plain, **body)
    assert (
        refusal(
            s3.put_object_retention,
            Bucket=plain,
            Key="x",
            Retention={"Mode": "GOVERNANCE", "RetainUntilDate": ahead(1)},
        )
        == "InvalidRequest"
    )
    assert refusal(s3.get_object_retention, Bucket=locked, Key="none") == "NoSuchKey"


def test_default_retention_reaches_puts_and_multipart_uploads(aws_endpoint: AwsEndpoint, locked: str) -> None:
    s3 = aws_endpoint.client("s3")

    def default(days: int) -> None:
        rule = {"DefaultRetention": {"Mode": "GOVERNANCE", "Days": days}}
        s3.put_object_lock_configuration(
            Bucket=locked, ObjectLockConfiguration={"ObjectLockEnabled": "Enabled", "Rule": rule}
        )

    default(7)
    s3.put_object(Bucket=locked, Key="put", Body=b"x")
    upload = s3.create_multipart_upload(Bucket=locked, Key="parts")["UploadId"]
    default(8)  # on AWS also for a bucket that has objects
    found = s3.get_object_lock_configuration(Bucket=locked)["ObjectLockConfiguration"]
    assert found["Rule"]["DefaultRetention"] == {"Mode": "GOVERNANCE", "Days": 8}
    part = s3.upload_part(Bucket=locked, Key="parts", UploadId=upload, PartNumber=1, Body=b"x")
    s3.complete_multipart_upload(
        Bucket=locked,
        Key="parts",
        UploadId=upload,
        MultipartUpload={"Parts": [{"PartNumber": 1, "ETag": part["ETag"]}]},
    )
    for key, days in (("put", 7), ("parts", 8)):
        head = s3.head_object(Bucket=locked, Key=key)
        assert head["ObjectLockMode"] == "GOVERNANCE"
        assert ahead(days - 0.1) < head["ObjectLockRetainUntilDate"] < ahead(days + 0.1)
        assert (
            refusal(s3.delete_object, Bucket=locked, Key=key, VersionId=head["VersionId"]) == "AccessDenied"
        )


def test_the_lock_of_a_multipart_upload_is_the_one_it_began_with(
    aws_endpoint: AwsEndpoint, locked: str
) -> None:
    s3, until = aws_endpoint.client("s3"), ahead(28)
    upload = s3.create_multipart_upload(
        Bucket=locked, Key="x", ObjectLockMode="COMPLIANCE", ObjectLockRetainUntilDate=until
    )["UploadId"]
    part = s3.upload_part(Bucket=locked, Key="x", UploadId=upload, PartNumber=1, Body=b"x")
    s3.complete_multipart_upload(
        Bucket=locked,
        Key="x",
        UploadId=upload,
        MultipartUpload={"Parts": [{"PartNumber": 1, "ETag": part["ETag"]}]},
    )
    found = s3.get_object_retention(Bucket=locked, Key="x")["Retention"]
    assert found == {"Mode": "COMPLIANCE", "RetainUntilDate": until}


def test_versioning_of_a_locked_bucket_stays(aws_endpoint: AwsEndpoint, locked: str) -> None:
    s3 = aws_endpoint.client("s3")
    call = {"Bucket": locked, "VersioningConfiguration": {"Status": "Suspended"}}
    assert refusal(s3.put_bucket_versioning, **call) == "InvalidBucketState"


def test_retention_can_be_bounded_by_policy(aws_endpoint: AwsEndpoint, locked: str) -> None:
    statement = {
        "Effect": "Deny",
        "Principal": "*",
        "Action": ["s3:PutObject", "s3:PutObjectRetention"],
        "Resource": f"arn:aws:s3:::{locked}/*",
        "Condition": {"NumericGreaterThan": {"s3:object-lock-remaining-retention-days": "10"}},
    }
    s3 = aws_endpoint.client("s3")
    s3.put_bucket_policy(
        Bucket=locked, Policy=json.dumps({"Version": "2012-10-17", "Statement": [statement]})
    )
    version = put(aws_endpoint, locked, "GOVERNANCE", days=9.5)
    with pytest.raises(ClientError, match="AccessDenied"):
        put(aws_endpoint, locked, "GOVERNANCE", days=10.5)
    longer = {"Mode": "GOVERNANCE", "RetainUntilDate": ahead(12)}
    one = {"Bucket": locked, "Key": "x", "VersionId": version}
    assert refusal(s3.put_object_retention, **one, Retention=longer) == "AccessDenied"
