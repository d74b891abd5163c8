"""``iam.Role``."""

from __future__ import annotations

from botocore.exceptions import ClientError
from typing_extensions import override

from sandbox.aws_plugin import tags
from sandbox.aws_plugin.errors import code
from sandbox.aws_plugin.iam import GONE, bound, boundary_of, text
from sandbox.aws_plugin.resource import ResourceType
from sandbox.aws_plugin.settings import Aws
from sandbox.aws_plugin.values import Properties

#: Seconds a session lasts at most when nothing is said (IAM API reference, CreateRole).
DEFAULT_SESSION_SECONDS = 3600


class Role(ResourceType):
    """A role; its policies are resources of their own."""

    type_name = "aws:iam/role:Role"
    carried = frozenset(
        {
            "assumeRolePolicy",
            "description",
            "maxSessionDuration",
            "name",
            "path",
            "permissionsBoundary",
            "tags",
        }
    )
    replaces = frozenset({"name", "path"})
    computed = frozenset({"maxSessionDuration", "path"})
    made = frozenset({"arn", "createDate", "tagsAll", "uniqueId"})
    named_by = "name"

    @override
    def create(self, aws: Aws, inputs: Properties) -> str:
        given = {
            "Description": inputs.get("description"),
            "MaxSessionDuration": inputs.get("maxSessionDuration"),
            "PermissionsBoundary": inputs.get("permissionsBoundary"),
        }
        aws.client("iam").create_role(
            RoleName=inputs["name"],
            Path=inputs.get("path") or "/",
            AssumeRolePolicyDocument=inputs["assumeRolePolicy"],
            Tags=tags.pairs(aws.all_tags(inputs.get("tags"))),
            **{name: value for name, value in given.items() if value},
        )
        return str(inputs["name"])

    @override
    def read(self, aws: Aws, resource_id: str, known: Properties) -> Properties | None:
        try:
            role = aws.client("iam").get_role(RoleName=resource_id)["Role"]
        except ClientError as error:
            if code(error) == GONE:
                return None
            raise
        return {
            "name": role["RoleName"],
            "path": role["Path"],
            "assumeRolePolicy": text(role["AssumeRolePolicyDocument"]),
            "description": role.get("Description") or None,
            "maxSessionDuration": role.get("MaxSessionDuration") or DEFAULT_SESSION_SECONDS,
            "permissionsBoundary": boundary_of(role),
            "arn": role["Arn"],
            "createDate": role["CreateDate"].isoformat(),
            "uniqueId": role["RoleId"],
            **tags.outputs(aws, tags.mapping(role.get("Tags", []))),
        }

    @override
    def update(self, aws: Aws, resource_id: str, state: Properties, inputs: Properties) -> None:
        iam = aws.client("iam")
        iam.update_assume_role_policy(RoleName=resource_id, PolicyDocument=inputs["assumeRolePolicy"])
        iam.update_role(
            RoleName=resource_id,
            Description=inputs.get("description") or "",
            MaxSessionDuration=inputs.get("maxSessionDuration") or DEFAULT_SESSION_SECONDS,
        )
        bound(
            iam.put_role_permissions_boundary,
            iam.delete_role_permissions_boundary,
            state,
            inputs,
            RoleName=resource_id,
        )
        wanted = aws.all_tags(inputs.get("tags"))
        tags.change(iam.untag_role, iam.tag_role, state, wanted, RoleName=resource_id)

    @override
    def delete(self, aws: Aws, resource_id: str, state: Properties) -> None:
        try:
            aws.client("iam").delete_role(RoleName=resource_id)
        except ClientError as error:
            if code(error) != GONE:
                raise
