"""``iam.UserPolicy`` and ``iam.RolePolicy``: policies that are part of their user or role."""

from __future__ import annotations

from typing import Any

from botocore.exceptions import ClientError
from typing_extensions import override

from sandbox.aws_plugin.errors import code
from sandbox.aws_plugin.iam import GONE, text
from sandbox.aws_plugin.resource import ResourceType
from sandbox.aws_plugin.settings import Aws
from sandbox.aws_plugin.values import Properties


class InlinePolicy(ResourceType):
    """An inline policy; the id is ``holder:name``."""

    #: Whose policy it is: the argument that names it, and the word in IAM's operations.
    holder: str
    named_by = "name"

    @override
    def identify(self, aws: Aws, inputs: Properties) -> str:
        return f"{inputs[self.holder]}:{inputs['name']}"

    @override
    def create(self, aws: Aws, inputs: Properties) -> str:
        resource_id = self.identify(aws, inputs)
        self._do("put", aws, resource_id, PolicyDocument=inputs["policy"])
        return resource_id

    @override
    def read(self, aws: Aws, resource_id: str, known: Properties) -> Properties | None:
        holder, _, name = resource_id.partition(":")
        try:
            answer = self._do("get", aws, resource_id)
        except ClientError as error:
            if code(error) == GONE:
                return None
            raise
        return {self.holder: holder, "name": name, "policy": text(answer["PolicyDocument"])}

    @override
    def update(self, aws: Aws, resource_id: str, state: Properties, inputs: Properties) -> None:
        self._do("put", aws, self.identify(aws, inputs), PolicyDocument=inputs["policy"])

    @override
    def delete(self, aws: Aws, resource_id: str, state: Properties) -> None:
        try:
            self._do("delete", aws, resource_id)
        except ClientError as error:
            if code(error) != GONE:
                raise

    def _do(self, verb: str, aws: Aws, resource_id: str, **more: str) -> Any:
        """One of IAM's operations, as PutUserPolicy or GetRolePolicy."""
        holder, _, name = resource_id.partition(":")
        operation = getattr(aws.client("iam"), f"{verb}_{self.holder}_policy")
        return operation(**{f"{self.holder.capitalize()}Name": holder}, PolicyName=name, **more)


class UserPolicy(InlinePolicy):
    """An inline policy of a user."""

    type_name = "aws:iam/userPolicy:UserPolicy"
    holder = "user"
    carried = frozenset({"name", "policy", "user"})
    replaces = frozenset({"name", "user"})


class RolePolicy(InlinePolicy):
    """An inline policy of a role."""

    type_name = "aws:iam/rolePolicy:RolePolicy"
    holder = "role"
    carried = frozenset({"name", "policy", "role"})
    replaces = frozenset({"name", "role"})
