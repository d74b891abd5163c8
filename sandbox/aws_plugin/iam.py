"""``iam.User``, and what users have in common with roles."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from botocore.exceptions import ClientError
from typing_extensions import override

from sandbox.aws_plugin.errors import StandInError, code
from sandbox.aws_plugin.resource import ResourceType
from sandbox.aws_plugin.settings import Aws
from sandbox.aws_plugin.values import Properties

GONE = "NoSuchEntity"


class User(ResourceType):
    """A user without a password; its access keys are not Pulumi's."""

    type_name = "aws:iam/user:User"
    carried = frozenset({"forceDestroy", "name", "path", "permissionsBoundary", "tags"})
    computed = frozenset({"path"})
    remembered = frozenset({"forceDestroy"})
    made = frozenset({"arn", "tagsAll", "uniqueId"})
    named_by = "name"

    @override
    def create(self, aws: Aws, inputs: Properties) -> str:
        boundary = inputs.get("permissionsBoundary")
        aws.client("iam").create_user(
            UserName=inputs["name"],
            Path=inputs.get("path") or "/",
            Tags=pairs(aws.all_tags(inputs.get("tags"))),
            **({"PermissionsBoundary": boundary} if boundary else {}),
        )
        return str(inputs["name"])

    @override
    def read(self, aws: Aws, resource_id: str, known: Properties) -> Properties | None:
        # A renamed user keeps its Pulumi id, so the name counts.
        try:
            user = aws.client("iam").get_user(UserName=known.get("name") or resource_id)["User"]
        except ClientError as error:
            if code(error) == GONE:
                return None
            raise
        tags = {tag["Key"]: tag["Value"] for tag in user.get("Tags", [])}
        return {
            **self.remember(known),
            "name": user["UserName"],
            "path": user["Path"],
            "permissionsBoundary": boundary_of(user),
            "arn": user["Arn"],
            "uniqueId": user["UserId"],
            "tags": aws.own_tags(tags) or None,
            "tagsAll": tags,
        }

    @override
    def update(self, aws: Aws, resource_id: str, state: Properties, inputs: Properties) -> None:
        iam = aws.client("iam")
        name, path = inputs["name"], inputs.get("path") or state["path"]
        if (state["name"], state["path"]) != (name, path):
            iam.update_user(UserName=state["name"], NewUserName=name, NewPath=path)
        boundary = inputs.get("permissionsBoundary")
        if boundary and boundary != state.get("permissionsBoundary"):
            iam.put_user_permissions_boundary(UserName=name, PermissionsBoundary=boundary)
        elif not boundary and state.get("permissionsBoundary"):
            iam.delete_user_permissions_boundary(UserName=name)
        wanted = aws.all_tags(inputs.get("tags"))
        surplus = sorted(set(state.get("tagsAll") or {}) - set(wanted))
        if surplus:
            iam.untag_user(UserName=name, TagKeys=surplus)
        if wanted:
            iam.tag_user(UserName=name, Tags=pairs(wanted))

    @override
    def delete(self, aws: Aws, resource_id: str, state: Properties) -> None:
        iam = aws.client("iam")
        name = state.get("name") or resource_id
        try:
            keys = iam.list_access_keys(UserName=name)["AccessKeyMetadata"]
            if keys and not state.get("forceDestroy"):
                raise StandInError(
                    f"user {name} has {len(keys)} access keys; delete them, or set force_destroy and run up"
                )
            for key in keys:
                iam.delete_access_key(UserName=name, AccessKeyId=key["AccessKeyId"])
            iam.delete_user(UserName=name)
        except ClientError as error:
            if code(error) != GONE:
                raise


def pairs(tags: dict[str, str]) -> list[dict[str, str]]:
    """Tags as IAM takes them."""
    return [{"Key": key, "Value": value} for key, value in sorted(tags.items())]


def boundary_of(holder: Mapping[str, Any]) -> str | None:
    """The permissions boundary of a user or role as IAM tells it."""
    arn = (holder.get("PermissionsBoundary") or {}).get("PermissionsBoundaryArn")
    return str(arn) if arn else None


def text(document: Any) -> str:
    """A policy as the string it was written as; boto3 hands out IAM documents decoded."""
    return document if isinstance(document, str) else json.dumps(document, sort_keys=True)
