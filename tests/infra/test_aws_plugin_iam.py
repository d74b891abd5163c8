"""The stand-in's rows of IAM against a real endpoint."""

from __future__ import annotations

import json
from typing import Any

import pytest

from sandbox.aws_plugin.iam_policy import MOST_VERSIONS
from sandbox.aws_plugin.registry import RESOURCES
from tests.infra.rows import aws_of, live, name, read
from tests.support.aws import AwsEndpoint

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:pulumi_aws.*")

ROLE, ROLE_POLICY = "aws:iam/role:Role", "aws:iam/rolePolicy:RolePolicy"
POLICY, USER = "aws:iam/policy:Policy", "aws:iam/user:User"
ATTACHMENT = "aws:iam/userPolicyAttachment:UserPolicyAttachment"


def trust(service: str) -> str:
    statement = {"Effect": "Allow", "Principal": {"Service": service}, "Action": "sts:AssumeRole"}
    return json.dumps({"Version": "2012-10-17", "Statement": [statement]})


def reading(key: str) -> str:
    statement = {"Effect": "Allow", "Action": "s3:GetObject", "Resource": f"arn:aws:s3:::b/{key}"}
    return json.dumps({"Version": "2012-10-17", "Statement": [statement]})


@pytest.fixture
def boundary(aws_endpoint: AwsEndpoint) -> str:
    """ARN of a managed policy."""
    made = aws_endpoint.client("iam").create_policy(PolicyName=name(), PolicyDocument=reading("*"))
    return str(made["Policy"]["Arn"])


def test_a_role(aws_endpoint: AwsEndpoint, boundary: str) -> None:
    role = {"name": name(), "path": "/steward/", "assumeRolePolicy": trust("ec2.amazonaws.com")}
    bounded = {**role, "permissionsBoundary": boundary, "tags": {"App": "a"}, "maxSessionDuration": 7200}
    live(
        aws_endpoint,
        ROLE,
        role,
        {**bounded, "description": "one"},
        {**bounded, "assumeRolePolicy": trust("s3.amazonaws.com"), "tags": {"App": "b", "More": "c"}},
        role,
    )


def test_a_user(aws_endpoint: AwsEndpoint, boundary: str) -> None:
    user = {"name": name(), "path": "/steward/", "forceDestroy": True}
    bounded = {**user, "permissionsBoundary": boundary, "tags": {"App": "a"}}
    live(aws_endpoint, USER, user, bounded, {**bounded, "tags": {"App": "b"}}, user)
    live(aws_endpoint, USER, bounded, user)


def test_an_attached_policy_is_seen_to_come_and_go(aws_endpoint: AwsEndpoint, boundary: str) -> None:
    user = aws_endpoint.new_user().name
    attachment = {"user": user, "policyArn": boundary}
    live(aws_endpoint, ATTACHMENT, attachment)
    row, aws = RESOURCES[ATTACHMENT], aws_of(aws_endpoint)
    attachment_id = row.create(aws, attachment)
    aws_endpoint.client("iam").detach_user_policy(UserName=user, PolicyArn=boundary)
    assert row.read(aws, attachment_id, attachment) is None
    changed = row.differences(aws, attachment, {**attachment, "user": "other"})
    assert [d.kind.name for d in changed] == ["UPDATE_REPLACE"]


def test_a_policy_of_a_role(aws_endpoint: AwsEndpoint) -> None:
    iam, role = aws_endpoint.client("iam"), name()
    iam.create_role(RoleName=role, AssumeRolePolicyDocument=trust("ec2.amazonaws.com"))
    policy = {"role": role, "name": "p", "policy": reading("a")}
    live(aws_endpoint, ROLE_POLICY, policy, {**policy, "policy": reading("b")})
    iam.delete_role(RoleName=role)


def test_a_managed_policy_keeps_its_newest_versions(aws_endpoint: AwsEndpoint) -> None:
    policy: dict[str, Any] = {
        "name": name(),
        "path": "/steward/",
        "policy": reading("0"),
        "description": "d",
    }
    tagged = [{**policy, "policy": reading(str(i)), "tags": {"N": str(i)}} for i in range(1, 8)]
    live(aws_endpoint, POLICY, policy, *tagged, {**policy, "policy": reading("x")})
    row, aws = RESOURCES[POLICY], aws_of(aws_endpoint)
    arn, before = row.create(aws, policy), policy
    for document in tagged:
        row.update(aws, arn, read(row, aws, arn, before), document)
        before = document
    versions = aws_endpoint.client("iam").list_policy_versions(PolicyArn=arn)["Versions"]
    assert sorted(v["VersionId"] for v in versions) == ["v4", "v5", "v6", "v7", "v8"]
    assert len(versions) == MOST_VERSIONS


def changed(endpoint: AwsEndpoint, token: str, resource_id: str, inputs: dict[str, Any]) -> set[str]:
    """Names of the arguments that a refresh would find changed."""
    row, aws = RESOURCES[token], aws_of(endpoint)
    state = row.read(aws, resource_id, inputs)
    assert state is not None
    return {d.path.split(".")[0] for d in row.differences(aws, state, inputs)}


def test_what_others_change_is_seen(aws_endpoint: AwsEndpoint, boundary: str) -> None:
    aws, iam = aws_of(aws_endpoint), aws_endpoint.client("iam")
    role = {
        "name": name(),
        "assumeRolePolicy": trust("ec2.amazonaws.com"),
        "permissionsBoundary": boundary,
        "tags": {"App": "a"},
    }
    role_id = RESOURCES[ROLE].create(aws, role)
    inline = {"role": role_id, "name": "p", "policy": reading("a")}
    inline_id = RESOURCES[ROLE_POLICY].create(aws, inline)
    managed = {"name": name(), "policy": reading("a")}
    managed_id = RESOURCES[POLICY].create(aws, managed)

    iam.delete_role_permissions_boundary(RoleName=role_id)
    iam.update_assume_role_policy(RoleName=role_id, PolicyDocument=trust("s3.amazonaws.com"))
    iam.tag_role(RoleName=role_id, Tags=[{"Key": "Other", "Value": "x"}])
    iam.update_role(RoleName=role_id, Description="x", MaxSessionDuration=7200)
    assert changed(aws_endpoint, ROLE, role_id, {**role, "maxSessionDuration": 3600}) == {
        "assumeRolePolicy",
        "description",
        "maxSessionDuration",
        "permissionsBoundary",
        "tags",
    }
    iam.put_role_policy(RoleName=role_id, PolicyName="p", PolicyDocument=reading("*"))
    assert changed(aws_endpoint, ROLE_POLICY, inline_id, inline) == {"policy"}
    iam.create_policy_version(PolicyArn=managed_id, PolicyDocument=reading("*"), SetAsDefault=True)
    assert changed(aws_endpoint, POLICY, managed_id, managed) == {"policy"}
    user = {"name": name(), "permissionsBoundary": boundary}
    user_id = RESOURCES[USER].create(aws, user)
    iam.delete_user_permissions_boundary(UserName=user_id)
    assert changed(aws_endpoint, USER, user_id, user) == {"permissionsBoundary"}


@pytest.mark.parametrize(
    ("token", "inputs"),
    [
        (ROLE, {"assumeRolePolicy": "{}", "managedPolicyArns": ["a"]}),
        (ROLE, {"assumeRolePolicy": "{}", "inlinePolicies": [{"name": "a"}]}),
        (POLICY, {"policy": "{}", "namePrefix": "x"}),
        (ROLE_POLICY, {"role": "r", "policy": "{}", "namePrefix": "x"}),
    ],
)
def test_what_is_not_done_is_refused(token: str, inputs: dict[str, Any]) -> None:
    (problem,) = RESOURCES[token].check(inputs)
    assert "does not do this argument" in problem.reason
