"""Who may do what at the endpoint: users, groups, roles, keys, and policies that are refused."""

from __future__ import annotations

import json
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.support.aws import REGION, AwsEndpoint, error_code, put_bucket_policy


def writer_policy(bucket: str) -> dict[str, Any]:
    return {
        "Version": "2012-10-17",
        "Statement": [
            {
                "Effect": "Allow",
                "Action": ["s3:PutObject", "s3:GetObject", "s3:AbortMultipartUpload"],
                "Resource": f"arn:aws:s3:::{bucket}/${{aws:username}}/*",
            },
            {
                "Effect": "Allow",
                "Action": "s3:ListBucket",
                "Resource": f"arn:aws:s3:::{bucket}",
                "Condition": {"StringLike": {"s3:prefix": ["${aws:username}/*"]}},
            },
        ],
    }


def test_a_put_only_user_stays_in_its_prefix_and_deletes_nothing(aws_endpoint: AwsEndpoint) -> None:
    bucket = aws_endpoint.new_bucket()
    user = aws_endpoint.new_user(writer_policy(bucket))
    s3, admin = user.client("s3"), aws_endpoint.client("s3")
    own = f"{user.name}/one"
    s3.put_object(Bucket=bucket, Key=own, Body=b"data")
    admin.put_object(Bucket=bucket, Key="other/one", Body=b"data")
    assert s3.get_object(Bucket=bucket, Key=own)["Body"].read() == b"data"
    assert [o["Key"] for o in s3.list_objects_v2(Bucket=bucket, Prefix=f"{user.name}/")["Contents"]] == [own]
    upload = s3.create_multipart_upload(Bucket=bucket, Key=own)["UploadId"]
    s3.abort_multipart_upload(Bucket=bucket, Key=own, UploadId=upload)
    refused = [
        lambda: s3.put_object(Bucket=bucket, Key="other/two", Body=b"x"),
        lambda: s3.get_object(Bucket=bucket, Key="other/one"),
        lambda: s3.list_objects_v2(Bucket=bucket),
        lambda: s3.list_objects_v2(Bucket=bucket, Prefix="other/"),
        lambda: s3.list_object_versions(Bucket=bucket, Prefix=f"{user.name}/"),
        lambda: s3.delete_object(Bucket=bucket, Key=own),
        lambda: s3.put_object_tagging(Bucket=bucket, Key=own, Tagging={"TagSet": []}),
        lambda: s3.put_object(Bucket=bucket, Key=own, Body=b"x", Tagging="a=b"),
        lambda: s3.copy_object(Bucket=bucket, Key=own, CopySource=f"{bucket}/other/one"),
        lambda: s3.put_bucket_policy(Bucket=bucket, Policy="{}"),
        lambda: s3.delete_bucket(Bucket=bucket),
        lambda: s3.list_buckets(),
        lambda: user.client("iam").list_users(),
        lambda: user.client("iam").create_access_key(UserName=user.name),
        lambda: user.client("secretsmanager").list_secrets(),
    ]
    for call in refused:
        with pytest.raises(ClientError) as caught:
            call()
        assert error_code(caught) in ("AccessDenied", "AccessDeniedException")
    answer = s3.delete_objects(Bucket=bucket, Delete={"Objects": [{"Key": own}]})
    assert [e["Code"] for e in answer["Errors"]] == ["AccessDenied"]
    assert admin.get_object(Bucket=bucket, Key=own)["Body"].read() == b"data"


def test_who_may_not_list_is_not_told_what_is_missing(aws_endpoint: AwsEndpoint) -> None:
    bucket = aws_endpoint.new_bucket()
    statement = {"Effect": "Allow", "Action": "s3:GetObject", "Resource": f"arn:aws:s3:::{bucket}/*"}
    user = aws_endpoint.new_user({"Version": "2012-10-17", "Statement": [statement]})
    with pytest.raises(ClientError) as caught:
        user.client("s3").head_object(Bucket=bucket, Key="nothing")
    assert error_code(caught) == "403"
    with pytest.raises(ClientError) as caught:
        aws_endpoint.client("s3").head_object(Bucket=bucket, Key="nothing")
    assert error_code(caught) == "404"


def test_groups_managed_policies_and_bucket_policies_allow(aws_endpoint: AwsEndpoint) -> None:
    bucket, iam = aws_endpoint.new_bucket(), aws_endpoint.client("iam")
    user = aws_endpoint.new_user()
    s3 = user.client("s3")

    def refused() -> bool:
        try:
            s3.put_object(Bucket=bucket, Key="x", Body=b"x")
        except ClientError as error:
            return bool(error.response["Error"]["Code"] == "AccessDenied")
        return False

    document = json.dumps(
        {
            "Version": "2012-10-17",
            "Statement": {
                "Effect": "Allow",
                "Action": "s3:PutObject",
                "Resource": f"arn:aws:s3:::{bucket}/*",
            },
        }
    )
    assert refused()
    group = user.name + "-group"
    iam.create_group(GroupName=group)
    iam.put_group_policy(GroupName=group, PolicyName="p", PolicyDocument=document)
    assert refused()
    iam.add_user_to_group(GroupName=group, UserName=user.name)
    assert not refused()
    iam.remove_user_from_group(GroupName=group, UserName=user.name)
    assert refused()
    arn = iam.create_policy(PolicyName=user.name, PolicyDocument=document)["Policy"]["Arn"]
    iam.attach_user_policy(UserName=user.name, PolicyArn=arn)
    assert not refused()
    iam.detach_user_policy(UserName=user.name, PolicyArn=arn)
    assert refused()
    put_bucket_policy(
        aws_endpoint,
        bucket,
        {
            "Effect": "Allow",
            "Principal": {"AWS": user.arn},
            "Action": "s3:PutObject",
            "Resource": f"arn:aws:s3:::{bucket}/*",
        },
    )
    assert not refused()


def test_encryption_with_a_key_needs_permission_on_the_key(aws_endpoint: AwsEndpoint) -> None:
    bucket, iam, kms = aws_endpoint.new_bucket(), aws_endpoint.client("iam"), aws_endpoint.client("kms")
    arn = kms.create_key()["KeyMetadata"]["Arn"]
    aws_endpoint.client("s3").put_bucket_encryption(
        Bucket=bucket,
        ServerSideEncryptionConfiguration={
            "Rules": [
                {
                    "ApplyServerSideEncryptionByDefault": {"SSEAlgorithm": "aws:kms", "KMSMasterKeyID": arn},
                    "BucketKeyEnabled": True,
                }
            ]
        },
    )
    own = {
        "Effect": "Allow",
        "Action": ["s3:PutObject", "s3:GetObject"],
        "Resource": f"arn:aws:s3:::{bucket}/*",
    }
    user = aws_endpoint.new_user({"Version": "2012-10-17", "Statement": [own]})
    s3 = user.client("s3")

    def allow(*actions: str, **condition: Any) -> None:
        key = {"Effect": "Allow", "Action": list(actions), "Resource": arn, **condition}
        document = json.dumps({"Version": "2012-10-17", "Statement": [own, key]})
        iam.put_user_policy(UserName=user.name, PolicyName="test", PolicyDocument=document)

    with pytest.raises(ClientError, match="kms:GenerateDataKey"):
        s3.put_object(Bucket=bucket, Key="x", Body=b"x")
    through_s3 = {
        "StringEquals": {
            "kms:ViaService": f"s3.{REGION}.amazonaws.com",
            "kms:EncryptionContext:aws:s3:arn": f"arn:aws:s3:::{bucket}",
        }
    }
    allow("kms:GenerateDataKey", Condition=through_s3)
    answer = s3.put_object(Bucket=bucket, Key="x", Body=b"x")
    assert (answer["ServerSideEncryption"], answer["SSEKMSKeyId"]) == ("aws:kms", arn)
    with pytest.raises(ClientError, match="kms:GenerateDataKey"):
        user.client("kms").generate_data_key(KeyId=arn, KeySpec="AES_256")
    with pytest.raises(ClientError, match="kms:Decrypt"):
        s3.get_object(Bucket=bucket, Key="x")
    allow("kms:Decrypt", Condition=through_s3)
    assert s3.get_object(Bucket=bucket, Key="x")["Body"].read() == b"x"
    # A key policy that does not let the account decide takes the identity policy's word away.
    closed = {
        "Effect": "Allow",
        "Principal": {"AWS": f"arn:aws:iam::123456789012:user/{user.name}-x"},
        "Action": "kms:*",
        "Resource": "*",
    }
    document = json.dumps({"Version": "2012-10-17", "Statement": [closed]})
    kms.put_key_policy(KeyId=arn, PolicyName="default", Policy=document)
    with pytest.raises(ClientError, match="does not let the account decide"):
        s3.get_object(Bucket=bucket, Key="x")


def test_other_services_are_decided_by_action_and_resource(aws_endpoint: AwsEndpoint) -> None:
    secrets_admin = aws_endpoint.client("secretsmanager")
    bucket = aws_endpoint.new_bucket()  # its name serves as a unique one
    mine = secrets_admin.create_secret(Name=f"steward/{bucket}/mine", SecretString="s1")["ARN"]
    secrets_admin.create_secret(Name=f"steward/{bucket}/other", SecretString="s2")
    user = aws_endpoint.new_user(
        {
            "Version": "2012-10-17",
            "Statement": [
                {"Effect": "Allow", "Action": "secretsmanager:GetSecretValue", "Resource": mine},
                {"Effect": "Allow", "Action": "cloudwatch:PutMetricData", "Resource": "*"},
                {"Effect": "Allow", "Action": "scheduler:ListSchedules", "Resource": "*"},
            ],
        }
    )
    client = user.client("secretsmanager")
    assert client.get_secret_value(SecretId=f"steward/{bucket}/mine")["SecretString"] == "s1"
    assert client.get_secret_value(SecretId=mine)["SecretString"] == "s1"
    for call in (
        lambda: client.get_secret_value(SecretId=f"steward/{bucket}/other"),
        lambda: client.put_secret_value(SecretId=mine, SecretString="x"),
        lambda: user.client("cloudwatch").describe_alarms(),
        lambda: user.client("scheduler").list_schedule_groups(),
        lambda: user.client("sns").list_topics(),
    ):
        with pytest.raises(ClientError) as caught:
            call()
        assert error_code(caught) in ("AccessDenied", "AccessDeniedException")
    user.client("cloudwatch").put_metric_data(Namespace="t", MetricData=[{"MetricName": "m", "Value": 1}])
    user.client("scheduler").list_schedules()


def test_the_caller_is_who_signed_even_under_a_deny_for_everything(aws_endpoint: AwsEndpoint) -> None:
    nothing = {"Effect": "Deny", "Action": "*", "Resource": "*"}
    user = aws_endpoint.new_user({"Version": "2012-10-17", "Statement": [nothing]})
    found = user.client("sts").get_caller_identity()
    assert (found["Arn"], found["Account"]) == (user.arn, "123456789012")
    assert aws_endpoint.client("sts").get_caller_identity()["Arn"].endswith(":user/sandbox-admin")


def test_a_role_is_assumed_only_as_its_trust_policy_says(aws_endpoint: AwsEndpoint) -> None:
    iam, bucket = aws_endpoint.client("iam"), aws_endpoint.new_bucket()
    assume = {"Effect": "Allow", "Action": "sts:AssumeRole", "Resource": "*"}
    trusted = aws_endpoint.new_user({"Version": "2012-10-17", "Statement": [assume]})
    stranger = aws_endpoint.new_user({"Version": "2012-10-17", "Statement": [assume]})
    trust = {"Effect": "Allow", "Principal": {"AWS": trusted.arn}, "Action": "sts:AssumeRole"}
    arn = iam.create_role(
        RoleName=bucket, AssumeRolePolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": [trust]})
    )["Role"]["Arn"]
    read = {"Effect": "Allow", "Action": "s3:ListBucket", "Resource": f"arn:aws:s3:::{bucket}"}
    iam.put_role_policy(
        RoleName=bucket,
        PolicyName="p",
        PolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": [read]}),
    )
    with pytest.raises(ClientError) as caught:
        stranger.client("sts").assume_role(RoleArn=arn, RoleSessionName="night")
    assert error_code(caught) == "AccessDenied"
    keys = trusted.client("sts").assume_role(RoleArn=arn, RoleSessionName="night")["Credentials"]

    def session(service: str, token: str) -> Any:
        return aws_endpoint.client(service, keys["AccessKeyId"], keys["SecretAccessKey"], session_token=token)

    assert (
        session("sts", keys["SessionToken"])
        .get_caller_identity()["Arn"]
        .endswith(f":assumed-role/{bucket}/night")
    )
    session("s3", keys["SessionToken"]).list_objects_v2(Bucket=bucket)
    with pytest.raises(ClientError) as caught:
        session("s3", keys["SessionToken"]).put_object(Bucket=bucket, Key="x", Body=b"")
    assert error_code(caught) == "AccessDenied"
    with pytest.raises(ClientError) as caught:
        session("s3", "wrong").list_objects_v2(Bucket=bucket)
    assert error_code(caught) == "InvalidToken"


# --- policies that cannot be evaluated ---


def test_unknown_conditions_are_refused_when_the_policy_is_put(aws_endpoint: AwsEndpoint) -> None:
    bucket, iam = aws_endpoint.new_bucket(), aws_endpoint.client("iam")
    user = aws_endpoint.new_user()
    for condition, name in (
        ({"StringSounds": {"aws:username": "x"}}, "StringSounds"),
        ({"StringEquals": {"aws:PrincipalShoeSize": "x"}}, "aws:PrincipalShoeSize"),
    ):
        statement = {
            "Effect": "Deny",
            "Action": "s3:*",
            "Resource": f"arn:aws:s3:::{bucket}/*",
            "Condition": condition,
        }
        with pytest.raises(ClientError, match=name) as caught:
            put_bucket_policy(aws_endpoint, bucket, {**statement, "Principal": "*"})
        assert error_code(caught) == "MalformedPolicy"
        document = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
        with pytest.raises(ClientError, match=name) as caught:
            iam.put_user_policy(UserName=user.name, PolicyName="p", PolicyDocument=document)
        assert error_code(caught) == "MalformedPolicyDocument"


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"Resource": "arn:aws:s3:::some-other-bucket/*"}, "invalid resource"),
        ({"Action": "ec2:*"}, "invalid action"),
        ({"Action": "s3:PutObject", "Resource": "arn:aws:s3:::{bucket}"}, "does not apply"),
        ({"Principal": {"AWS": "arn:aws:iam::123456789012:user/nobody"}}, "Invalid principal"),
        ({"Principal": {"AWS": "arn:aws:iam::123456789012:user/*"}}, "Invalid principal"),
    ],
)
def test_bucket_policies_aws_would_refuse(
    aws_endpoint: AwsEndpoint, change: dict[str, Any], word: str
) -> None:
    bucket = aws_endpoint.new_bucket()
    statement = {
        "Effect": "Deny",
        "Principal": "*",
        "Action": "s3:*",
        "Resource": "arn:aws:s3:::{bucket}/*",
    } | change
    text = json.dumps(statement).replace("{bucket}", bucket)
    with pytest.raises(ClientError, match=word) as caught:
        put_bucket_policy(aws_endpoint, bucket, json.loads(text))
    assert error_code(caught) == "MalformedPolicy"


def test_a_public_policy_is_blocked_on_a_new_bucket(aws_endpoint: AwsEndpoint) -> None:
    bucket = aws_endpoint.new_bucket()
    public = {
        "Effect": "Allow",
        "Principal": "*",
        "Action": "s3:GetObject",
        "Resource": f"arn:aws:s3:::{bucket}/*",
    }
    with pytest.raises(ClientError, match="BlockPublicPolicy"):
        put_bucket_policy(aws_endpoint, bucket, public)


def test_encryption_headers_can_be_demanded(aws_endpoint: AwsEndpoint) -> None:
    bucket = aws_endpoint.new_bucket()
    put_bucket_policy(
        aws_endpoint,
        bucket,
        {
            "Effect": "Deny",
            "Principal": "*",
            "Action": "s3:PutObject",
            "Resource": f"arn:aws:s3:::{bucket}/*",
            "Condition": {
                "StringNotEquals": {"s3:x-amz-server-side-encryption": "aws:kms"},
                "Null": {"s3:x-amz-server-side-encryption": "false"},
            },
        },
    )
    s3 = aws_endpoint.client("s3")
    s3.put_object(Bucket=bucket, Key="default", Body=b"x")
    s3.put_object(Bucket=bucket, Key="kms", Body=b"x", ServerSideEncryption="aws:kms")
    for call in (s3.put_object, s3.create_multipart_upload):
        with pytest.raises(ClientError) as caught:
            call(Bucket=bucket, Key="wrong", ServerSideEncryption="AES256")
        assert error_code(caught) == "AccessDenied"
