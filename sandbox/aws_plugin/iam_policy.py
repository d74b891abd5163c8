"""``iam.Policy`` and ``iam.UserPolicyAttachment``: managed policies, and whose they are."""

from __future__ import annotations

from typing import Any

from botocore.exceptions import ClientError
from typing_extensions import override

from sandbox.aws_plugin import tags
from sandbox.aws_plugin.errors import code
from sandbox.aws_plugin.iam import GONE, text
from sandbox.aws_plugin.resource import ResourceType
from sandbox.aws_plugin.settings import Aws
from sandbox.aws_plugin.values import Properties

#: Versions a managed policy can have (IAM user guide, "IAM and AWS STS quotas").
MOST_VERSIONS = 5


class Policy(ResourceType):
    """A managed policy; the id is its ARN, a change is a new default version."""

    type_name = "aws:iam/policy:Policy"
    carried = frozenset({"description", "name", "path", "policy", "tags"})
    replaces = frozenset({"description", "name", "path"})
    computed = frozenset({"path"})
    made = frozenset({"arn", "attachmentCount", "policyId", "tagsAll"})
    named_by = "name"

    @override
    def identify(self, aws: Aws, inputs: Properties) -> str:
        account, path = aws.identity()["accountId"], inputs.get("path") or "/"
        return f"arn:aws:iam::{account}:policy{path}{inputs['name']}"

    @override
    def create(self, aws: Aws, inputs: Properties) -> str:
        answer = aws.client("iam").create_policy(
            PolicyName=inputs["name"],
            Path=inputs.get("path") or "/",
            PolicyDocument=inputs["policy"],
            Description=inputs.get("description") or "",
            Tags=tags.pairs(aws.all_tags(inputs.get("tags"))),
        )
        return str(answer["Policy"]["Arn"])

    @override
    def read(self, aws: Aws, resource_id: str, known: Properties) -> Properties | None:
        iam = aws.client("iam")
        try:
            policy = iam.get_policy(PolicyArn=resource_id)["Policy"]
            version = iam.get_policy_version(PolicyArn=resource_id, VersionId=policy["DefaultVersionId"])
        except ClientError as error:
            if code(error) == GONE:
                return None
            raise
        return {
            "name": policy["PolicyName"],
            "path": policy["Path"],
            "description": policy.get("Description") or None,
            "policy": text(version["PolicyVersion"]["Document"]),
            "arn": policy["Arn"],
            "attachmentCount": policy["AttachmentCount"],
            "policyId": policy["PolicyId"],
            **tags.outputs(aws, tags.mapping(policy.get("Tags", []))),
        }

    @override
    def update(self, aws: Aws, resource_id: str, state: Properties, inputs: Properties) -> None:
        iam = aws.client("iam")
        if inputs["policy"] != state.get("policy"):
            older = self._older_versions(iam, resource_id)
            for version in older[: max(0, len(older) + 2 - MOST_VERSIONS)]:
                iam.delete_policy_version(PolicyArn=resource_id, VersionId=version)
            iam.create_policy_version(
                PolicyArn=resource_id, PolicyDocument=inputs["policy"], SetAsDefault=True
            )
        wanted = aws.all_tags(inputs.get("tags"))
        tags.change(iam.untag_policy, iam.tag_policy, state, wanted, PolicyArn=resource_id)

    @override
    def delete(self, aws: Aws, resource_id: str, state: Properties) -> None:
        iam = aws.client("iam")
        try:
            for version in self._older_versions(iam, resource_id):
                iam.delete_policy_version(PolicyArn=resource_id, VersionId=version)
            iam.delete_policy(PolicyArn=resource_id)
        except ClientError as error:
            if code(error) != GONE:
                raise

    @staticmethod
    def _older_versions(iam: Any, arn: str) -> list[str]:
        """The versions that are not the default one, the oldest first."""
        versions = iam.list_policy_versions(PolicyArn=arn)["Versions"]
        return [
            v["VersionId"]
            for v in sorted(versions, key=lambda v: int(v["VersionId"].removeprefix("v")))
            if not v["IsDefaultVersion"]
        ]


class UserPolicyAttachment(ResourceType):
    """A managed policy of a user; the id is ``user/arn``."""

    type_name = "aws:iam/userPolicyAttachment:UserPolicyAttachment"
    carried = frozenset({"policyArn", "user"})
    replaces = frozenset({"policyArn", "user"})

    @override
    def create(self, aws: Aws, inputs: Properties) -> str:
        aws.client("iam").attach_user_policy(UserName=inputs["user"], PolicyArn=inputs["policyArn"])
        return f"{inputs['user']}/{inputs['policyArn']}"

    @override
    def read(self, aws: Aws, resource_id: str, known: Properties) -> Properties | None:
        user, _, arn = resource_id.partition("/")
        try:
            pages = aws.client("iam").get_paginator("list_attached_user_policies").paginate(UserName=user)
            attached = {policy["PolicyArn"] for page in pages for policy in page["AttachedPolicies"]}
        except ClientError as error:
            if code(error) == GONE:
                return None
            raise
        return {"user": user, "policyArn": arn} if arn in attached else None

    @override
    def update(self, aws: Aws, resource_id: str, state: Properties, inputs: Properties) -> None:
        """Never called: every change replaces."""

    @override
    def delete(self, aws: Aws, resource_id: str, state: Properties) -> None:
        user, _, arn = resource_id.partition("/")
        try:
            aws.client("iam").detach_user_policy(UserName=user, PolicyArn=arn)
        except ClientError as error:
            if code(error) != GONE:
                raise
