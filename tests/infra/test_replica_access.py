"""What the copy's own policy does at a real endpoint, in the copy's region."""

from __future__ import annotations

import json
import secrets
from typing import Any

import pytest

from infra.documents import replication
from sandbox.aws_plugin.registry import RESOURCES
from sandbox.aws_plugin.settings import Aws
from tests.infra.decisions import EVERYTHING
from tests.infra.rows import aws_of, read
from tests.support.aws import AwsEndpoint, AwsUser, refused

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:pulumi_aws.*")

REGION = "eu-central-1"


def put(aws: Aws, token: str, **inputs: Any) -> None:
    """Create a resource in the copy's region and see that a preview after it is empty."""
    row = RESOURCES[token]
    own = {**inputs, "region": REGION}
    assert not list(row.check(own))
    read(row, aws, row.create(aws, own), own)


def test_only_the_deleters_touch_the_copy(aws_endpoint: AwsEndpoint) -> None:
    aws = aws_of(aws_endpoint)
    bucket = f"copy-{secrets.token_hex(6)}"
    arn = f"arn:aws:s3:::{bucket}"
    deleter, admin, host = (
        aws_endpoint.new_user(EVERYTHING, prefix) for prefix in ("glass", "admin", "host")
    )
    put(aws, "aws:s3/bucket:Bucket", bucket=bucket, objectLockEnabled=True, forceDestroy=True)
    put(
        aws,
        "aws:s3/bucketVersioning:BucketVersioning",
        bucket=bucket,
        versioningConfiguration={"status": "Enabled"},
    )
    foreign = replication.Foreign("123456789012", admin.arn, host.arn)
    for policy in (
        # Also the form for another account: the endpoint refuses what IAM's grammar does.
        replication.bucket_policy(
            bucket_arn=arn, deleter_arns=[deleter.arn], host_arns=[host.arn], foreign=foreign
        ),
        replication.bucket_policy(
            bucket_arn=arn, deleter_arns=[deleter.arn], host_arns=[host.arn], foreign=None
        ),
    ):
        put(aws, "aws:s3/bucketPolicy:BucketPolicy", bucket=bucket, policy=json.dumps(policy))

    def s3(user: AwsUser) -> Any:
        return user.client("s3")

    version = s3(deleter).put_object(Bucket=bucket, Key="daily/x", Body=b"x")["VersionId"]
    for user in (admin, host):
        assert refused(s3(user).put_object, Bucket=bucket, Key="daily/y", Body=b"y") == "AccessDenied"
        assert refused(s3(user).delete_object, Bucket=bucket, Key="daily/x") == "AccessDenied"
        assert (
            refused(s3(user).delete_object, Bucket=bucket, Key="daily/x", VersionId=version) == "AccessDenied"
        )
        assert s3(user).get_object(Bucket=bucket, Key="daily/x")["Body"].read() == b"x"
    assert refused(s3(host).delete_bucket_policy, Bucket=bucket) == "AccessDenied"
    plain = admin.client("s3", plain=True)
    assert refused(plain.get_object, Bucket=bucket, Key="daily/x") == "AccessDenied"
    s3(deleter).delete_object(Bucket=bucket, Key="daily/x", VersionId=version)
    s3(admin).delete_bucket_policy(Bucket=bucket)
    s3(admin).delete_bucket(Bucket=bucket)


def test_the_keys_policy_for_another_account_is_taken(aws_endpoint: AwsEndpoint) -> None:
    aws = aws_of(aws_endpoint)
    foreign = replication.Foreign("123456789012", "arn:aws:iam::123456789012:role/w", "arn:aws:iam::1:role/r")
    grants = replication.key_grants(bucket_arn="arn:aws:s3:::copy", region=REGION, foreign=foreign)
    assert len(grants) == 2
    policy = {"Version": "2012-10-17", "Statement": grants}
    put(aws, "aws:kms/key:Key", enableKeyRotation=True, policy=json.dumps(policy))
