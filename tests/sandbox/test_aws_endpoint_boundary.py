"""Permissions boundaries, MFA and session lengths at the endpoint."""

from __future__ import annotations

import json
from typing import Any

import pytest
from botocore.exceptions import ClientError

from sandbox.aws_endpoint import mfa
from tests.support.aws import AwsEndpoint, AwsUser, error_code, put_bucket_policy
from tests.support.sessions import codes_now, new_device, session


def document(*statements: dict[str, Any]) -> str:
    return json.dumps({"Version": "2012-10-17", "Statement": list(statements)})


def allowing(*actions: str, resource: str = "*") -> dict[str, Any]:
    return {"Effect": "Allow", "Action": list(actions), "Resource": resource}


def managed(endpoint: AwsEndpoint, name: str, *statements: dict[str, Any]) -> str:
    """A managed policy's ARN."""
    made = endpoint.client("iam").create_policy(PolicyName=name, PolicyDocument=document(*statements))
    return str(made["Policy"]["Arn"])


def assert_refused(call: Any, **arguments: Any) -> str:
    with pytest.raises(ClientError) as caught:
        call(**arguments)
    assert error_code(caught) in ("AccessDenied", "AccessDeniedException")
    return str(caught.value)


def test_a_user_can_do_what_both_its_policies_and_its_boundary_allow(aws_endpoint: AwsEndpoint) -> None:
    bucket, iam = aws_endpoint.new_bucket(), aws_endpoint.client("iam")
    everything = {"Version": "2012-10-17", "Statement": [allowing("*")]}
    user = aws_endpoint.new_user(everything)
    s3, objects = user.client("s3"), f"arn:aws:s3:::{bucket}/*"
    limit = managed(aws_endpoint, user.name, allowing("s3:PutObject", "s3:GetObject", resource=objects))
    s3.put_object(Bucket=bucket, Key="a", Body=b"1")
    iam.put_user_permissions_boundary(UserName=user.name, PermissionsBoundary=limit)
    assert iam.get_user(UserName=user.name)["User"]["PermissionsBoundary"]["PermissionsBoundaryArn"] == limit
    s3.put_object(Bucket=bucket, Key="a", Body=b"2")
    assert "permissions boundary" in assert_refused(s3.delete_object, Bucket=bucket, Key="a")
    assert_refused(s3.list_objects_v2, Bucket=bucket)
    assert_refused(user.client("iam").list_users)
    assert_refused(user.client("iam").delete_user_permissions_boundary, UserName=user.name)
    # A boundary allows nothing by itself.
    iam.put_user_policy(
        UserName=user.name, PolicyName="test", PolicyDocument=document(allowing("iam:ListUsers"))
    )
    assert_refused(s3.put_object, Bucket=bucket, Key="a", Body=b"3")
    iam.put_user_policy(UserName=user.name, PolicyName="test", PolicyDocument=json.dumps(everything))
    # What it denies is denied whatever else allows it.
    deny = {"Effect": "Deny", "Action": "s3:GetObject", "Resource": objects}
    iam.create_policy_version(
        PolicyArn=limit, PolicyDocument=document(allowing("*"), deny), SetAsDefault=True
    )
    s3.list_objects_v2(Bucket=bucket)
    assert "explicit deny" in assert_refused(s3.get_object, Bucket=bucket, Key="a")
    iam.delete_user_permissions_boundary(UserName=user.name)
    assert "PermissionsBoundary" not in iam.get_user(UserName=user.name)["User"]
    s3.delete_object(Bucket=bucket, Key="a")


def test_a_user_can_be_made_with_a_boundary(aws_endpoint: AwsEndpoint) -> None:
    bucket, iam = aws_endpoint.new_bucket(), aws_endpoint.client("iam")
    limit = managed(aws_endpoint, bucket, allowing("sts:AssumeRole"))
    iam.create_user(UserName=bucket, PermissionsBoundary=limit)
    assert iam.get_user(UserName=bucket)["User"]["PermissionsBoundary"]["PermissionsBoundaryArn"] == limit
    iam.put_user_policy(UserName=bucket, PolicyName="p", PolicyDocument=document(allowing("s3:*")))
    key = iam.create_access_key(UserName=bucket)["AccessKey"]
    s3 = aws_endpoint.client("s3", key["AccessKeyId"], key["SecretAccessKey"])
    assert_refused(s3.list_objects_v2, Bucket=bucket)


def test_a_role_can_do_what_both_its_policies_and_its_boundary_allow(aws_endpoint: AwsEndpoint) -> None:
    bucket, iam = aws_endpoint.new_bucket(), aws_endpoint.client("iam")
    user = aws_endpoint.new_user({"Version": "2012-10-17", "Statement": [allowing("sts:AssumeRole")]})
    trust = {"Effect": "Allow", "Principal": {"AWS": user.arn}, "Action": "sts:AssumeRole"}
    objects = f"arn:aws:s3:::{bucket}/*"
    limit = managed(aws_endpoint, bucket, allowing("s3:PutObject", resource=objects))
    role = iam.create_role(
        RoleName=bucket, AssumeRolePolicyDocument=document(trust), PermissionsBoundary=limit
    )["Role"]
    iam.put_role_policy(RoleName=bucket, PolicyName="p", PolicyDocument=document(allowing("s3:*")))
    s3 = session(aws_endpoint, user, role["Arn"], "s3")
    s3.put_object(Bucket=bucket, Key="a", Body=b"1")
    assert_refused(s3.get_object, Bucket=bucket, Key="a")
    # A bucket's policy that names the role does not lift the boundary; the session's own name would.
    by_role = {"Effect": "Allow", "Principal": {"AWS": role["Arn"]}, "Action": "s3:*", "Resource": objects}
    put_bucket_policy(aws_endpoint, bucket, by_role)
    assert_refused(s3.get_object, Bucket=bucket, Key="a")
    itself = f"arn:aws:sts::123456789012:assumed-role/{bucket}/tests"
    put_bucket_policy(aws_endpoint, bucket, {**by_role, "Principal": {"AWS": itself}})
    assert s3.get_object(Bucket=bucket, Key="a")["Body"].read() == b"1"


def test_a_bucket_policy_that_names_a_user_is_not_limited_by_its_boundary(aws_endpoint: AwsEndpoint) -> None:
    bucket, iam, user = aws_endpoint.new_bucket(), aws_endpoint.client("iam"), aws_endpoint.new_user()
    limit = managed(aws_endpoint, user.name, allowing("iam:ListUsers"))
    iam.put_user_permissions_boundary(UserName=user.name, PermissionsBoundary=limit)
    grant = {"Effect": "Allow", "Action": "s3:GetObject", "Resource": f"arn:aws:s3:::{bucket}/*"}
    aws_endpoint.client("s3").put_object(Bucket=bucket, Key="a", Body=b"1")
    assert_refused(user.client("s3").get_object, Bucket=bucket, Key="a")
    put_bucket_policy(aws_endpoint, bucket, {**grant, "Principal": {"AWS": user.arn}})
    user.client("s3").get_object(Bucket=bucket, Key="a")
    limited = document({"Effect": "Deny", "Action": "s3:GetObject", "Resource": "*"})
    iam.create_policy_version(PolicyArn=limit, PolicyDocument=limited, SetAsDefault=True)
    assert_refused(user.client("s3").get_object, Bucket=bucket, Key="a")


def test_boundaries_that_do_not_exist(aws_endpoint: AwsEndpoint) -> None:
    iam, user = aws_endpoint.client("iam"), aws_endpoint.new_user()
    missing = "arn:aws:iam::123456789012:policy/no-such-policy"
    trust = document({"Effect": "Allow", "Principal": {"AWS": user.arn}, "Action": "sts:AssumeRole"})
    role = f"{user.name}-role"
    for call, arguments in (
        (iam.put_user_permissions_boundary, {"UserName": user.name}),
        (iam.create_user, {"UserName": f"{user.name}-2"}),
        (iam.create_role, {"RoleName": role, "AssumeRolePolicyDocument": trust}),
    ):
        with pytest.raises(ClientError) as caught:
            call(PermissionsBoundary=missing, **arguments)
        assert error_code(caught) == "NoSuchEntity"
    # One that went away afterwards allows nothing.
    bucket = aws_endpoint.new_bucket()
    limit = managed(aws_endpoint, bucket, allowing("*"))
    iam.put_user_permissions_boundary(UserName=user.name, PermissionsBoundary=limit)
    iam.put_user_policy(UserName=user.name, PolicyName="p", PolicyDocument=document(allowing("*")))
    user.client("s3").list_objects_v2(Bucket=bucket)
    iam.delete_policy(PolicyArn=limit)
    assert_refused(user.client("s3").list_objects_v2, Bucket=bucket)


def test_a_role_that_asks_for_mfa_is_taken_with_a_device_only(aws_endpoint: AwsEndpoint) -> None:
    bucket, iam = aws_endpoint.new_bucket(), aws_endpoint.client("iam")
    assume = {"Version": "2012-10-17", "Statement": [allowing("sts:AssumeRole")]}
    user, other = aws_endpoint.new_user(assume), aws_endpoint.new_user(assume)
    trust = {
        "Effect": "Allow",
        "Principal": {"AWS": "arn:aws:iam::123456789012:root"},
        "Action": "sts:AssumeRole",
        "Condition": {
            "Bool": {"aws:MultiFactorAuthPresent": "true"},
            "NumericLessThan": {"aws:MultiFactorAuthAge": "900"},
        },
    }
    arn = iam.create_role(RoleName=bucket, AssumeRolePolicyDocument=document(trust))["Role"]["Arn"]
    iam.put_role_policy(RoleName=bucket, PolicyName="p", PolicyDocument=document(allowing("s3:*")))
    serial, seed = new_device(aws_endpoint, user)
    first, second = codes_now(seed)
    codes = {"AuthenticationCode1": first, "AuthenticationCode2": second}
    enable = {"UserName": user.name, "SerialNumber": serial}
    for wrong in ({**codes, "AuthenticationCode2": first}, {**codes, "AuthenticationCode1": "000000"}):
        with pytest.raises(ClientError) as caught:
            iam.enable_mfa_device(**enable, **wrong)
        assert error_code(caught) == "InvalidAuthenticationCode"
    iam.enable_mfa_device(**enable, **codes)
    code, _ = codes_now(seed)

    def take(who: AwsUser, **how: str) -> None:
        session(aws_endpoint, who, arn, "s3", **how).list_objects_v2(Bucket=bucket)

    assert_refused(take, who=user)
    assert_refused(take, who=user, SerialNumber=serial, TokenCode=f"{(int(code) + 1) % 10**6:06}")
    assert_refused(take, who=user, SerialNumber=f"{serial}-x", TokenCode=code)
    assert_refused(take, who=other, SerialNumber=serial, TokenCode=code)
    # Not even the administrator, whose key has no device.
    assert_refused(aws_endpoint.client("sts").assume_role, RoleArn=arn, RoleSessionName="ss")
    take(user, SerialNumber=serial, TokenCode=code)
    assert_refused(user.client("sts").get_session_token)


def test_codes_are_those_of_rfc_6238() -> None:
    seed = "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ"  # the RFC's "12345678901234567890", appendix B
    for seconds, expected in ((59, "287082"), (1111111109, "081804"), (20000000000, "353130")):
        assert mfa.code(seed, seconds // mfa.STEP_SECONDS) == expected


def test_a_session_does_not_outlast_what_its_role_allows(aws_endpoint: AwsEndpoint) -> None:
    bucket, iam = aws_endpoint.new_bucket(), aws_endpoint.client("iam")
    root = {"AWS": "arn:aws:iam::123456789012:root"}
    trust = document({"Effect": "Allow", "Principal": root, "Action": "sts:AssumeRole"})
    sts = aws_endpoint.client("sts")
    for name, limit in ((bucket, 3600), (f"{bucket}-long", 7200)):
        arn = iam.create_role(RoleName=name, AssumeRolePolicyDocument=trust, MaxSessionDuration=limit)
        how = {"RoleArn": arn["Role"]["Arn"], "RoleSessionName": "ss"}
        sts.assume_role(**how, DurationSeconds=limit)
        with pytest.raises(ClientError, match="MaxSessionDuration"):
            sts.assume_role(**how, DurationSeconds=limit + 1)


def test_the_policy_of_a_secret_refuses_and_allows(aws_endpoint: AwsEndpoint) -> None:
    name = aws_endpoint.new_bucket()  # serves as a name nobody has
    manager = aws_endpoint.client("secretsmanager")
    manager.create_secret(Name=name, SecretString="v")
    reading = {"Version": "2012-10-17", "Statement": [allowing("secretsmanager:GetSecretValue")]}
    able, stranger = aws_endpoint.new_user(reading), aws_endpoint.new_user()
    statement = {"Action": "secretsmanager:GetSecretValue", "Resource": "*"}

    def put(*statements: dict[str, Any]) -> None:
        manager.put_resource_policy(SecretId=name, ResourcePolicy=document(*statements))

    able.client("secretsmanager").get_secret_value(SecretId=name)
    put(
        {
            **statement,
            "Effect": "Deny",
            "Principal": "*",
            "Condition": {"ArnEquals": {"aws:PrincipalArn": able.arn}},
        },
        {**statement, "Effect": "Allow", "Principal": {"AWS": stranger.arn}},
    )
    assert_refused(able.client("secretsmanager").get_secret_value, SecretId=name)
    assert stranger.client("secretsmanager").get_secret_value(SecretId=name)["SecretString"] == "v"
    with pytest.raises(ClientError, match="StringSounds"):
        put({**statement, "Effect": "Deny", "Principal": "*", "Condition": {"StringSounds": {"a": "b"}}})
