"""The second copy of the backups on S3: another region and, by a setting, another account.

A bucket with a key of its own, locked and emptied as the store is: replicas carry the
retain-until and the creation time of their originals, so both copies end on the same day.
What S3 writes into it is :mod:`infra.components.replication`.
"""

from __future__ import annotations

from dataclasses import dataclass

import pulumi
import pulumi_aws as aws

from infra import names
from infra.components.log_bucket import LogBucket, LogBucketArgs
from infra.components.secure_bucket import DefaultLock, SecureBucket, SecureBucketArgs, deleter_arns
from infra.config import StackConfig
from infra.documents import replication
from infra.lifecycle import default_lock_days, lifecycle_rules


@dataclass(frozen=True)
class OffsiteReplicaArgs:
    """What the second copy depends on."""

    stack: StackConfig
    account_id: str
    """The account of the store."""
    caller_arn: str
    """Who runs the program; see :func:`infra.components.secure_bucket.deleter_arns`."""
    region: str
    """The copy's region."""

    @property
    def role_arn(self) -> str | None:
        """The role of the other account that the copy is built with."""
        return self.stack.settings.replica_role_arn

    @property
    def replica_account_id(self) -> str:
        """The copy's account."""
        return names.account_of(self.role_arn) if self.role_arn else self.account_id

    @property
    def foreign(self) -> replication.Foreign | None:
        """The store's account where it is not the copy's."""
        if self.replica_account_id == self.account_id:
            return None
        stack = self.stack.name
        return replication.Foreign(
            self.account_id,
            names.role_arn(self.account_id, names.replication_role(stack)),
            names.role_arn(self.account_id, names.restore_role(stack)),
        )


class OffsiteReplica(SecureBucket):
    """The copy's bucket with its key; see the module."""

    kms_key_arn: pulumi.Output[str]
    region: str

    def __init__(
        self, name: str, args: OffsiteReplicaArgs, opts: pulumi.ResourceOptions | None = None
    ) -> None:
        super().__init__("steward:backup:OffsiteReplica", name, _in_its_account(name, args, opts))
        stack, retention, account_id = args.stack, args.stack.app.backup.retention, args.replica_account_id
        bucket = names.bucket_name(name, account_id)
        arn = names.bucket_arn(bucket)
        # One of its own, so that the end of the store's key is not the copy's.
        key = self._own_key(
            stack,
            account_id,
            f"Second copy of the backups of {stack.app.title}, {stack.environment}",
            args.region,
            replication.key_grants(bucket_arn=arn, region=args.region, foreign=args.foreign),
        )
        logs = LogBucket(
            # Not "replica-logs": with a long app's name the bucket's would exceed S3's 63 characters.
            f"{stack.name}-replogs",
            LogBucketArgs(stack, account_id, args.caller_arn, (bucket,), args.region),
            pulumi.ResourceOptions(parent=self),
        )
        self._build(
            SecureBucketArgs(
                stack=stack,
                bucket=bucket,
                rules=lifecycle_rules(retention),
                policy=replication.bucket_policy(
                    bucket_arn=arn,
                    deleter_arns=deleter_arns(stack, args.account_id, args.caller_arn),
                    host_arns=names.host_arns(args.account_id, stack.name),
                    foreign=args.foreign,
                ),
                kms_key_arn=key.arn,
                lock=DefaultLock(stack.settings.object_lock_mode, default_lock_days(retention)),
                log_bucket=logs,
                region=args.region,
            )
        )
        self.kms_key_arn, self.region = key.arn, args.region
        self.register_outputs({"bucket": self.bucket, "arn": self.arn, "kmsKeyArn": self.kms_key_arn})


def _in_its_account(
    name: str, args: OffsiteReplicaArgs, opts: pulumi.ResourceOptions | None
) -> pulumi.ResourceOptions | None:
    """The component's options with a provider of the other account, where there is one."""
    if args.role_arn is None:
        return opts
    other = aws.Provider(
        f"{name}-account",
        region=args.region,
        # Not as a dictionary: provider settings are sent as JSON, and its keys would stay in snake case.
        assume_roles=[aws.ProviderAssumeRoleArgs(role_arn=args.role_arn, session_name="steward")],
        # A wrong role must not build the copy somewhere else.
        allowed_account_ids=[args.replica_account_id],
    )
    return pulumi.ResourceOptions.merge(opts, pulumi.ResourceOptions(providers=[other]))
