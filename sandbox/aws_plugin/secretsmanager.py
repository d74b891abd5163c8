"""``secretsmanager.Secret``: the place of a value, never the value itself."""

from __future__ import annotations

from typing import Any

from botocore.exceptions import ClientError
from typing_extensions import override

from sandbox.aws_plugin import tags
from sandbox.aws_plugin.errors import code
from sandbox.aws_plugin.resource import ResourceType
from sandbox.aws_plugin.settings import Aws
from sandbox.aws_plugin.values import Properties

GONE = "ResourceNotFoundException"

#: Days a deleted secret can be brought back when nothing is said (API reference, DeleteSecret).
DEFAULT_RECOVERY_DAYS = 30


class Secret(ResourceType):
    """A secret with its key and policy; the id is its ARN."""

    type_name = "aws:secretsmanager/secret:Secret"
    carried = frozenset({"description", "kmsKeyId", "name", "policy", "recoveryWindowInDays", "tags"})
    replaces = frozenset({"name"})
    computed = frozenset({"policy"})
    remembered = frozenset({"recoveryWindowInDays"})
    made = frozenset({"arn", "tagsAll"})
    named_by = "name"

    @override
    def create(self, aws: Aws, inputs: Properties) -> str:
        given = {"Description": inputs.get("description"), "KmsKeyId": inputs.get("kmsKeyId")}
        manager = aws.client("secretsmanager", self.region(aws, inputs))
        answer = manager.create_secret(
            Name=inputs["name"],
            Tags=tags.pairs(aws.all_tags(inputs.get("tags"))),
            **{name: value for name, value in given.items() if value},
        )
        self._put_policy(manager, answer["ARN"], inputs)
        return str(answer["ARN"])

    @override
    def read(self, aws: Aws, resource_id: str, known: Properties) -> Properties | None:
        region = self.region(aws, known)
        manager = aws.client("secretsmanager", region)
        try:
            secret = manager.describe_secret(SecretId=resource_id)
            if secret.get("DeletedDate"):
                return None
            policy = manager.get_resource_policy(SecretId=resource_id).get("ResourcePolicy")
        except ClientError as error:
            if code(error) == GONE:
                return None
            raise
        return {
            **self.remember(known),
            "name": secret["Name"],
            "arn": secret["ARN"],
            "description": secret.get("Description") or None,
            "kmsKeyId": secret.get("KmsKeyId") or None,
            "policy": policy,
            "region": region,
            **tags.outputs(aws, tags.mapping(secret.get("Tags") or [])),
        }

    @override
    def update(self, aws: Aws, resource_id: str, state: Properties, inputs: Properties) -> None:
        manager = aws.client("secretsmanager", self.region(aws, state))
        given = {"Description": inputs.get("description") or "", "KmsKeyId": inputs.get("kmsKeyId")}
        manager.update_secret(SecretId=resource_id, **{k: v for k, v in given.items() if v is not None})
        self._put_policy(manager, resource_id, inputs)
        wanted = aws.all_tags(inputs.get("tags"))
        tags.change(manager.untag_resource, manager.tag_resource, state, wanted, SecretId=resource_id)

    @override
    def delete(self, aws: Aws, resource_id: str, state: Properties) -> None:
        days = state.get("recoveryWindowInDays")
        days = DEFAULT_RECOVERY_DAYS if days is None else int(days)
        how: dict[str, Any] = {"RecoveryWindowInDays": days} if days else {"ForceDeleteWithoutRecovery": True}
        try:
            aws.client("secretsmanager", self.region(aws, state)).delete_secret(SecretId=resource_id, **how)
        except ClientError as error:
            if code(error) not in (GONE, "InvalidRequestException"):  # gone, or going already
                raise

    @staticmethod
    def _put_policy(manager: Any, secret_id: str, inputs: Properties) -> None:
        """As the genuine provider: a policy that is not given is left as it is."""
        if inputs.get("policy"):
            manager.put_resource_policy(
                SecretId=secret_id, ResourcePolicy=inputs["policy"], BlockPublicPolicy=True
            )


SECRET_ROWS = (Secret(),)
