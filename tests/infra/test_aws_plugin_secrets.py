"""The stand-in's row of secrets against a real endpoint."""

from __future__ import annotations

import json
import secrets
from typing import Any

import pytest
from botocore.exceptions import ClientError

from sandbox.aws_plugin.registry import RESOURCES
from tests.infra.rows import aws_of, live, read
from tests.support.aws import AwsEndpoint, error_code

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:pulumi_aws.*")

SECRET = "aws:secretsmanager/secret:Secret"


def named(**more: Any) -> dict[str, Any]:
    return {"name": f"steward/{secrets.token_hex(6)}/x", "recoveryWindowInDays": 0, **more}


def refusing(action: str) -> str:
    statement = {
        "Effect": "Deny",
        "Principal": "*",
        "Action": action,
        "Resource": "*",
        "Condition": {"StringEquals": {"aws:PrincipalAccount": "000000000001"}},
    }
    return json.dumps({"Version": "2012-10-17", "Statement": [statement]})


def key(endpoint: AwsEndpoint) -> str:
    return str(endpoint.client("kms").create_key()["KeyMetadata"]["Arn"])


def test_a_secret(aws_endpoint: AwsEndpoint) -> None:
    secret = named(kmsKeyId=key(aws_endpoint), policy=refusing("secretsmanager:GetSecretValue"))
    live(
        aws_endpoint,
        SECRET,
        secret,
        {**secret, "description": "one", "tags": {"App": "a"}, "policy": refusing("secretsmanager:*")},
        # moto cannot take a description away again.
        {**secret, "description": "two", "kmsKeyId": key(aws_endpoint), "tags": {"App": "b"}},
    )


def test_a_secret_is_made_empty_and_keeps_the_value_that_is_put(aws_endpoint: AwsEndpoint) -> None:
    row, aws, manager = RESOURCES[SECRET], aws_of(aws_endpoint), aws_endpoint.client("secretsmanager")
    secret = named(description="one")
    arn = row.create(aws, secret)
    with pytest.raises(ClientError) as caught:
        manager.get_secret_value(SecretId=secret["name"])
    assert error_code(caught) == "ResourceNotFoundException"
    manager.put_secret_value(SecretId=secret["name"], SecretString="v")
    state = read(row, aws, arn, secret)
    assert "v" not in state.values()
    row.update(aws, arn, state, {**secret, "description": "two"})
    assert manager.get_secret_value(SecretId=secret["name"])["SecretString"] == "v"


def test_what_others_change_is_seen(aws_endpoint: AwsEndpoint) -> None:
    row, aws, manager = RESOURCES[SECRET], aws_of(aws_endpoint), aws_endpoint.client("secretsmanager")
    secret = named(kmsKeyId=key(aws_endpoint), policy=refusing("secretsmanager:*"), tags={"App": "a"})
    arn = row.create(aws, secret)
    manager.update_secret(SecretId=arn, KmsKeyId=key(aws_endpoint), Description="x")
    manager.delete_resource_policy(SecretId=arn)
    manager.tag_resource(SecretId=arn, Tags=[{"Key": "App", "Value": "b"}])
    state = row.read(aws, arn, secret)
    assert state is not None
    found = {d.path.split(".")[0] for d in row.differences(aws, state, secret)}
    assert found == {"description", "kmsKeyId", "policy", "tags"}


def test_a_deleted_secret_can_be_brought_back_within_its_days(aws_endpoint: AwsEndpoint) -> None:
    row, aws, manager = RESOURCES[SECRET], aws_of(aws_endpoint), aws_endpoint.client("secretsmanager")
    kept, gone = named(recoveryWindowInDays=7), named()
    for secret in (kept, gone):
        arn = row.create(aws, secret)
        row.delete(aws, arn, read(row, aws, arn, secret))
        assert row.read(aws, arn, secret) is None
    manager.restore_secret(SecretId=kept["name"])
    with pytest.raises(ClientError):
        manager.restore_secret(SecretId=gone["name"])
    row.create(aws, gone)
