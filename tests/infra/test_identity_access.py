"""Who may do what in a built stack, asked of the endpoint itself; the stacks are those of test_stacks."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from botocore.exceptions import ClientError

from sandbox.stacks import Stacks
from steward.cloudwatch_names import NAMESPACE
from tests.infra.conftest import NEEDS_PULUMI
from tests.support.aws import AwsEndpoint, AwsUser, error_code
from tests.support.sessions import codes_now, new_device, session

pytestmark = [NEEDS_PULUMI, pytest.mark.timeout(600)]

STACK = "bitesbay-local"


def assert_refused(call: Callable[..., Any], **arguments: Any) -> None:
    with pytest.raises(ClientError) as caught:
        call(**arguments)
    assert error_code(caught) in ("AccessDenied", "AccessDeniedException"), arguments


def everything() -> dict[str, Any]:
    statement = {"Effect": "Allow", "Action": "*", "Resource": "*"}
    return {"Version": "2012-10-17", "Statement": [statement]}


@pytest.fixture
def corrupted(host: AwsUser, aws_endpoint: AwsEndpoint) -> Iterator[AwsUser]:
    """The hosts' identity after somebody has attached every permission to it."""
    iam = aws_endpoint.client("iam")
    iam.put_user_policy(UserName=host.name, PolicyName="mistake", PolicyDocument=json.dumps(everything()))
    yield host
    iam.delete_user_policy(UserName=host.name, PolicyName="mistake")


@pytest.fixture
def person(aws_endpoint: AwsEndpoint) -> AwsUser:
    """Somebody who may take every role that lets them."""
    statement = {"Effect": "Allow", "Action": "sts:AssumeRole", "Resource": "*"}
    return aws_endpoint.new_user({"Version": "2012-10-17", "Statement": [statement]})


def test_a_host_publishes_its_metrics_and_no_others(host: AwsUser) -> None:
    metric = [{"MetricName": "m", "Value": 1.0}]
    host.client("cloudwatch").put_metric_data(Namespace=NAMESPACE, MetricData=metric)
    assert_refused(host.client("cloudwatch").put_metric_data, Namespace="AWS/S3", MetricData=metric)


def test_the_boundary_holds_whatever_is_attached(corrupted: AwsUser, bucket: str, built: Stacks) -> None:
    s3, iam = corrupted.client("s3"), corrupted.client("iam")
    outputs = built.outputs(STACK)
    s3.put_object(Bucket=bucket, Key="daily/boundary", Body=b"x")
    assert_refused(s3.delete_object, Bucket=bucket, Key="daily/boundary")
    assert_refused(s3.put_bucket_policy, Bucket=bucket, Policy="{}")
    assert_refused(s3.list_objects_v2, Bucket=built.outputs("kampyn-local")["backup_bucket"])
    assert_refused(iam.create_access_key, UserName=corrupted.name)
    assert_refused(iam.delete_user_permissions_boundary, UserName=corrupted.name)
    assert_refused(iam.create_policy_version, PolicyArn=_boundary(corrupted), PolicyDocument="{}")
    assert_refused(
        corrupted.client("sts").assume_role, RoleArn=outputs["restore_role_arn"], RoleSessionName="host"
    )
    manager = corrupted.client("secretsmanager")
    assert_refused(manager.get_secret_value, SecretId="steward/bitesbay/local/jwt")


def _boundary(user: AwsUser) -> str:
    told = user.endpoint.client("iam").get_user(UserName=user.name)["User"]
    return str(told["PermissionsBoundary"]["PermissionsBoundaryArn"])


def test_hosts_do_not_get_secrets_even_without_a_boundary(
    corrupted: AwsUser, aws_endpoint: AwsEndpoint
) -> None:
    admin, name = aws_endpoint.client("iam"), "steward/bitesbay/local/jwt"
    aws_endpoint.client("secretsmanager").put_secret_value(SecretId=name, SecretString="{}")
    boundary = _boundary(corrupted)
    admin.delete_user_permissions_boundary(UserName=corrupted.name)
    try:
        assert_refused(corrupted.client("secretsmanager").get_secret_value, SecretId=name)
        corrupted.client("iam").list_users()  # so it is the secret's own policy that refused
    finally:
        admin.put_user_permissions_boundary(UserName=corrupted.name, PermissionsBoundary=boundary)


def test_restore_reads_every_version_and_writes_nothing(
    host: AwsUser, bucket: str, built: Stacks, person: AwsUser, aws_endpoint: AwsEndpoint
) -> None:
    versions = [
        host.client("s3").put_object(Bucket=bucket, Key="weekly/r", Body=body)["VersionId"]
        for body in (b"1", b"2")
    ]
    role = built.outputs(STACK)["restore_role_arn"]
    s3 = session(aws_endpoint, person, role, "s3")
    read = [s3.get_object(Bucket=bucket, Key="weekly/r", VersionId=v)["Body"].read() for v in versions]
    assert read == [b"1", b"2"]
    assert s3.list_object_versions(Bucket=bucket, Prefix="weekly/r")["Versions"]
    assert_refused(s3.put_object, Bucket=bucket, Key="weekly/r", Body=b"3")
    assert_refused(s3.delete_object, Bucket=bucket, Key="weekly/r")
    assert_refused(s3.list_objects_v2, Bucket=built.outputs("kampyn-local")["backup_bucket"])


def test_break_glass_needs_a_device_and_removes_nothing_but_backups(
    host: AwsUser, bucket: str, built: Stacks, person: AwsUser, aws_endpoint: AwsEndpoint
) -> None:
    version = host.client("s3").put_object(Bucket=bucket, Key="daily/g", Body=b"x")["VersionId"]
    role = built.outputs(STACK)["break_glass_role_arn"]
    take = {"RoleArn": role, "RoleSessionName": "person"}
    assert_refused(person.client("sts").assume_role, **take)
    assert_refused(aws_endpoint.client("sts").assume_role, **take)

    serial, seed = new_device(aws_endpoint, person)
    first, second = codes_now(seed)
    aws_endpoint.client("iam").enable_mfa_device(
        UserName=person.name, SerialNumber=serial, AuthenticationCode1=first, AuthenticationCode2=second
    )
    shown = {"SerialNumber": serial, "TokenCode": codes_now(seed)[0]}
    s3 = session(aws_endpoint, person, role, "s3", **shown)
    assert_refused(s3.get_object, Bucket=bucket, Key="daily/g")
    assert_refused(s3.put_object, Bucket=bucket, Key="daily/g", Body=b"y")
    one = {"Bucket": bucket, "Key": "daily/g", "VersionId": version}
    assert_refused(s3.delete_object, **one)  # its lock holds unless it is bypassed on purpose
    s3.delete_object(**one, BypassGovernanceRetention=True)
    assert "Versions" not in s3.list_object_versions(Bucket=bucket, Prefix="daily/g")
    assert_refused(session(aws_endpoint, person, role, "iam", **shown).list_users)
