"""``kms.Key`` and ``kms.Alias``."""

from __future__ import annotations

from typing import Any

from botocore.exceptions import ClientError
from typing_extensions import override

from sandbox.aws_plugin import tags
from sandbox.aws_plugin.errors import code
from sandbox.aws_plugin.resource import ResourceType
from sandbox.aws_plugin.settings import Aws
from sandbox.aws_plugin.values import Properties

GONE = "NotFoundException"

#: Days a deleted key can still be rescued when ``deletionWindowInDays`` is not given (KMS API reference).
DEFAULT_DELETION_DAYS = 30


class Key(ResourceType):
    """A symmetric key with policy, rotation and tags."""

    type_name = "aws:kms/key:Key"
    carried = frozenset(
        {
            "deletionWindowInDays",
            "description",
            "enableKeyRotation",
            "policy",
            "rotationPeriodInDays",
            "tags",
        }
    )
    computed = frozenset({"description", "policy", "rotationPeriodInDays"})
    remembered = frozenset({"deletionWindowInDays"})
    made = frozenset({"arn", "keyId", "tagsAll"})

    @override
    def create(self, aws: Aws, inputs: Properties) -> str:
        kms = aws.client("kms", self.region(aws, inputs))
        given = {"Policy": inputs.get("policy"), "Description": inputs.get("description")}
        answer = kms.create_key(
            Tags=tags.pairs(aws.all_tags(inputs.get("tags")), tags.TAG_KEY_VALUE),
            **{k: v for k, v in given.items() if v},
        )
        key_id = str(answer["KeyMetadata"]["KeyId"])
        self._rotate(kms, key_id, inputs)
        return key_id

    @override
    def read(self, aws: Aws, resource_id: str, known: Properties) -> Properties | None:
        region = self.region(aws, known)
        kms = aws.client("kms", region)
        try:
            key = kms.describe_key(KeyId=resource_id)["KeyMetadata"]
            if key["KeyState"] == "PendingDeletion":
                return None
            rotation = kms.get_key_rotation_status(KeyId=resource_id)
            policy = kms.get_key_policy(KeyId=resource_id, PolicyName="default")["Policy"]
            pages = kms.get_paginator("list_resource_tags").paginate(KeyId=resource_id)
            tag_list = [tag for page in pages for tag in page.get("Tags", [])]
        except ClientError as error:
            if code(error) == GONE:
                return None
            raise
        return {
            **self.remember(known),
            "arn": key["Arn"],
            "keyId": key["KeyId"],
            "description": key.get("Description", ""),
            "enableKeyRotation": rotation["KeyRotationEnabled"],
            "rotationPeriodInDays": rotation.get("RotationPeriodInDays"),
            "policy": policy,
            "region": region,
            **tags.outputs(aws, tags.mapping(tag_list, tags.TAG_KEY_VALUE)),
        }

    @override
    def update(self, aws: Aws, resource_id: str, state: Properties, inputs: Properties) -> None:
        kms = aws.client("kms", self.region(aws, state))
        if inputs.get("policy"):
            kms.put_key_policy(KeyId=resource_id, PolicyName="default", Policy=inputs["policy"])
        if inputs.get("description") is not None:
            kms.update_key_description(KeyId=resource_id, Description=inputs["description"])
        self._rotate(kms, resource_id, inputs)
        wanted = aws.all_tags(inputs.get("tags"))
        tags.change(
            kms.untag_resource, kms.tag_resource, state, wanted, tags.TAG_KEY_VALUE, KeyId=resource_id
        )

    @override
    def delete(self, aws: Aws, resource_id: str, state: Properties) -> None:
        days = int(state.get("deletionWindowInDays") or DEFAULT_DELETION_DAYS)
        try:
            aws.client("kms", self.region(aws, state)).schedule_key_deletion(
                KeyId=resource_id, PendingWindowInDays=days
            )
        except ClientError as error:
            if code(error) not in (GONE, "KMSInvalidStateException"):  # gone, or going already
                raise

    @staticmethod
    def _rotate(kms: Any, key_id: str, inputs: Properties) -> None:
        if inputs.get("enableKeyRotation"):
            period = inputs.get("rotationPeriodInDays")
            kms.enable_key_rotation(KeyId=key_id, **({"RotationPeriodInDays": period} if period else {}))
        else:
            kms.disable_key_rotation(KeyId=key_id)


class Alias(ResourceType):
    """A name of a key."""

    type_name = "aws:kms/alias:Alias"
    carried = frozenset({"name", "targetKeyId"})
    replaces = frozenset({"name"})
    made = frozenset({"arn", "targetKeyArn"})
    named_by = "name"

    @override
    def named(self, inputs: Properties, old: Properties, name: str, suffix: str) -> Properties:
        return super().named(inputs, old, f"alias/{name}", suffix)

    @override
    def create(self, aws: Aws, inputs: Properties) -> str:
        aws.client("kms", self.region(aws, inputs)).create_alias(
            AliasName=inputs["name"], TargetKeyId=inputs["targetKeyId"]
        )
        return str(inputs["name"])

    @override
    def read(self, aws: Aws, resource_id: str, known: Properties) -> Properties | None:
        region = self.region(aws, known)
        kms = aws.client("kms", region)
        for page in kms.get_paginator("list_aliases").paginate():
            for alias in page["Aliases"]:
                if alias["AliasName"] == resource_id and alias.get("TargetKeyId"):
                    arn = str(alias["AliasArn"])
                    return {
                        "name": resource_id,
                        "arn": arn,
                        "region": region,
                        "targetKeyId": alias["TargetKeyId"],
                        "targetKeyArn": arn.replace(resource_id, f"key/{alias['TargetKeyId']}"),
                    }
        return None

    @override
    def update(self, aws: Aws, resource_id: str, state: Properties, inputs: Properties) -> None:
        aws.client("kms", self.region(aws, state)).update_alias(
            AliasName=resource_id, TargetKeyId=inputs["targetKeyId"]
        )

    @override
    def delete(self, aws: Aws, resource_id: str, state: Properties) -> None:
        try:
            aws.client("kms", self.region(aws, state)).delete_alias(AliasName=resource_id)
        except ClientError as error:
            if code(error) != GONE:
                raise
