"""What all components of this program have in common."""

from __future__ import annotations

import pulumi
import pulumi_aws as aws

from infra import names
from infra.config import StackConfig
from infra.documents import Document

#: Days between ``destroy`` and a key's end; what it encrypts cannot be read after it. 30 is the most
#: KMS allows, 7 the least (KMS API reference, ScheduleKeyDeletion).
KEY_DELETION_DAYS = 30
KEY_DELETION_DAYS_DISPOSABLE = 7


def key_deletion_days(stack: StackConfig) -> int:
    """Days for a key of what is kept: a disposable stack keeps nothing."""
    return KEY_DELETION_DAYS_DISPOSABLE if stack.disposable else KEY_DELETION_DAYS


class Component(pulumi.ComponentResource):
    """A component whose children are called ``<component>-<part>``."""

    def __init__(self, token: str, name: str, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__(token, name, None, opts)
        self._name = name

    def _child(self, *after: pulumi.Resource, protect: bool | None = None) -> pulumi.ResourceOptions:
        """Options of a child that is registered after others of its siblings."""
        return pulumi.ResourceOptions(parent=self, depends_on=list(after), protect=protect or None)

    def _kms_key(
        self,
        stack: StackConfig,
        description: str,
        policy: Document,
        *,
        deletion_days: int,
        region: str | None = None,
    ) -> aws.kms.Key:
        """The component's own key, with an alias of the component's name.

        Args:
            stack: what the stack is about; a protected one keeps its keys.
            description: what the key encrypts.
            policy: the key's policy.
            deletion_days: between ``destroy`` and the key's end.
            region: where it is not the stack's own.
        """
        key = aws.kms.Key(
            f"{self._name}-key",
            description=description,
            enable_key_rotation=True,
            deletion_window_in_days=deletion_days,
            policy=pulumi.Output.json_dumps(policy, sort_keys=True),
            region=region,
            tags=stack.tags,
            opts=self._child(protect=stack.protected),
        )
        aws.kms.Alias(
            f"{self._name}-key-alias",
            name=f"alias/{self._name}",
            target_key_id=key.key_id,
            region=region,
            opts=self._child(),
        )
        return key

    def _iam_role(
        self,
        stack: StackConfig,
        part: str,
        *,
        name: str,
        description: str,
        trust: pulumi.Input[Document],
        policy_name: str,
        policy: pulumi.Input[Document],
        session_seconds: int | None = None,
    ) -> tuple[aws.iam.Role, aws.iam.RolePolicy]:
        """A role with one inline policy; whoever needs the role in force waits for the policy.

        Args:
            stack: what the stack is about.
            part: the role's part of the component.
            name: the role's name.
            description: who does what with it.
            trust: who may take it.
            policy_name: the policy's name.
            policy: what it allows.
            session_seconds: the longest session; IAM's own default without.
        """
        role = aws.iam.Role(
            f"{self._name}-{part}",
            name=name,
            path=names.IAM_PATH,
            description=description,
            assume_role_policy=pulumi.Output.json_dumps(trust, sort_keys=True),
            max_session_duration=session_seconds,
            tags=stack.tags,
            opts=self._child(),
        )
        inline = aws.iam.RolePolicy(
            f"{self._name}-{part}-policy",
            name=policy_name,
            role=role.name,
            policy=pulumi.Output.json_dumps(policy, sort_keys=True),
            opts=self._child(),
        )
        return role, inline
