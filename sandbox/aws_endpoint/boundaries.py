"""Permissions boundaries: the managed policies that a user's or role's permissions cannot exceed.

moto 5.2.5 keeps those of roles, knows none of users, and evaluates neither. How they
count in a decision is in :func:`sandbox.aws_endpoint.policy.evaluate`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sandbox.aws_endpoint import moto_backend
from sandbox.aws_endpoint.errors import AwsError

_SETTING = frozenset(
    {"iam:CreateRole", "iam:CreateUser", "iam:PutRolePermissionsBoundary", "iam:PutUserPermissionsBoundary"}
)


def install(user: Any, responses: Any) -> None:
    """Teach moto's user class and its IAM responses the boundaries of users."""
    from moto.core.responses import EmptyResult

    create = responses.create_user

    def boundary(self: Any) -> dict[str, str] | None:
        arn = self.permissions_boundary_arn
        kind = {"PermissionsBoundaryType": "PermissionsBoundaryPolicy", "PermissionsBoundaryArn": arn}
        return kind if arn else None

    def create_user(self: Any) -> Any:
        result = create(self)
        moto_backend.iam().get_user(self._get_param("UserName")).permissions_boundary_arn = self._get_param(
            "PermissionsBoundary"
        )
        return result

    def put(self: Any) -> Any:
        user = moto_backend.iam().get_user(self._get_param("UserName"))
        user.permissions_boundary_arn = self._get_param("PermissionsBoundary")
        return EmptyResult()

    def delete(self: Any) -> Any:
        moto_backend.iam().get_user(self._get_param("UserName")).permissions_boundary_arn = None
        return EmptyResult()

    user.permissions_boundary_arn = None
    user.permissions_boundary = property(boundary)
    responses.create_user = create_user
    responses.put_user_permissions_boundary = put
    responses.delete_user_permissions_boundary = delete


def check(action: str, parameters: Mapping[str, Any]) -> None:
    """Refuse a boundary that does not exist, as AWS does and moto does not.

    Raises:
        AwsError: ``NoSuchEntity``.
    """
    arn = parameters.get("PermissionsBoundary")
    if action in _SETTING and isinstance(arn, str) and arn not in moto_backend.iam().managed_policies:
        raise AwsError("NoSuchEntity", f"Scope ARN: {arn} does not exist or is not attachable.", 404)
