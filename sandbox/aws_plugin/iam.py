"""``iam.User``, and what users have in common with roles."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

from botocore.exceptions import ClientError
from typing_extensions import override

from sandbox.aws_plugin import tags
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
            Tags=tags.pairs(aws.all_tags(inputs.get("tags"))),
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
        return {
            **self.remember(known),
            "name": user["UserName"],
            "path": user["Path"],
            "permissionsBoundary": boundary_of(user),
            "arn": user["Arn"],
            "uniqueId": user["UserId"],
            **tags.outputs(aws, tags.mapping(user.get("Tags", []))),
        }

    @override
    def update(self, aws: Aws, resource_id: str, state: Properties, inputs: Properties) -> None:
        iam = aws.client("iam")
        name, path = inputs["name"], inputs.get("path") or state["path"]
        if (state["name"], state["path"]) != (name, path):
            iam.update_user(UserName=state["name"], NewUserName=name, NewPath=path)
        bound(
            iam.put_user_permissions_boundary,
            iam.delete_user_permissions_boundary,
            state,
            inputs,
            UserName=name,
        )
        wanted = aws.all_tags(inputs.get("tags"))
        tags.change(iam.untag_user, iam.tag_user, state, wanted, UserName=name)

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


def boundary_of(holder: Mapping[str, Any]) -> str | None:
    """The permissions boundary of a user or role as IAM tells it."""
    arn = (holder.get("PermissionsBoundary") or {}).get("PermissionsBoundaryArn")
    return str(arn) if arn else None


def bound(
    put: Callable[..., object],
    remove: Callable[..., object],
    state: Properties,
    inputs: Properties,
    **holder: str,
) -> None:
    """Bring the permissions boundary from ``state`` to ``inputs``.

    Args:
        put: the client's method that sets a boundary.
        remove: the one that takes it away.
        state: as it was read.
        inputs: the arguments.
        holder: the argument that tells both methods whose boundary.
    """
    boundary = inputs.get("permissionsBoundary")
    if boundary and boundary != state.get("permissionsBoundary"):
        put(PermissionsBoundary=boundary, **holder)
    elif not boundary and state.get("permissionsBoundary"):
        remove(**holder)


def text(document: Any) -> str:
    """A policy as the string it was written as; boto3 hands out IAM documents decoded."""
    return document if isinstance(document, str) else json.dumps(document, sort_keys=True)
