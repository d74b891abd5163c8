"""The backup store of one backend in one environment.

A KMS key with alias, the bucket with all that :mod:`infra.components.secure_bucket`
gives it, and the identity that hosts write with. Its access key is made and rotated
outside of Pulumi, so that no secret enters the state.
"""

from __future__ import annotations

from dataclasses import dataclass

import pulumi
import pulumi_aws as aws

from infra import names
from infra.components.secure_bucket import DefaultLock, SecureBucket, SecureBucketArgs
from infra.config import StackConfig
from infra.documents import store
from infra.lifecycle import default_lock_days, lifecycle_rules, longest_lock_days, prefix
from steward.appfile import BACKUP_CLASSES

#: Days between ``destroy`` and the key's end; S3 objects cannot be read after it. 30 is the most
#: KMS allows, 7 the least (KMS API reference, ScheduleKeyDeletion).
KEY_DELETION_DAYS = 30
KEY_DELETION_DAYS_DISPOSABLE = 7


@dataclass(frozen=True)
class BackupBucketArgs:
    """What a backup bucket depends on."""

    stack: StackConfig
    account_id: str


class BackupBucket(SecureBucket):
    """One bucket with its key and its writer; see the module."""

    kms_key_arn: pulumi.Output[str]
    writer_user: pulumi.Output[str]

    def __init__(self, name: str, args: BackupBucketArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("steward:backup:BackupBucket", name, opts)
        stack, retention = args.stack, args.stack.app.backup.retention
        bucket = names.bucket_name(name, args.account_id)
        key = self._key(args)
        writer = self._writer(stack, names.bucket_arn(bucket), key)
        policy = pulumi.Output.all(key.arn, writer.arn).apply(
            lambda arns: store.bucket_policy(
                bucket_arn=names.bucket_arn(bucket),
                kms_key_arn=arns[0],
                writer_arn=arns[1],
                object_lock_mode=stack.settings.object_lock_mode,
                longest_lock_days=longest_lock_days(retention),
            )
        )
        self._build(
            SecureBucketArgs(
                stack=stack,
                bucket=bucket,
                rules=lifecycle_rules(retention),
                policy=policy,
                kms_key_arn=key.arn,
                lock=DefaultLock(stack.settings.object_lock_mode, default_lock_days(retention)),
            )
        )
        self.kms_key_arn, self.writer_user = key.arn, writer.name
        self.register_outputs(
            {
                "bucket": self.bucket,
                "arn": self.arn,
                "kmsKeyArn": self.kms_key_arn,
                "writerUser": self.writer_user,
            }
        )

    def _key(self, args: BackupBucketArgs) -> aws.kms.Key:
        """The key of the bucket, with an alias."""
        stack = args.stack
        key = aws.kms.Key(
            f"{self._name}-key",
            description=f"Backups of {stack.app.title}, {stack.environment}",
            enable_key_rotation=True,
            deletion_window_in_days=KEY_DELETION_DAYS_DISPOSABLE if stack.disposable else KEY_DELETION_DAYS,
            policy=pulumi.Output.json_dumps(
                store.key_policy(account_id=args.account_id, region=stack.region), sort_keys=True
            ),
            tags=stack.tags,
            opts=self._child(protect=stack.protected),
        )
        aws.kms.Alias(
            f"{self._name}-key-alias",
            name=f"alias/{self._name}",
            target_key_id=key.key_id,
            opts=self._child(),
        )
        return key

    def _writer(self, stack: StackConfig, bucket_arn: str, key: aws.kms.Key) -> aws.iam.User:
        """The identity of the hosts and what it may do."""
        writer = aws.iam.User(
            f"{self._name}-writer",
            name=f"{self._name}-writer",
            path=names.IAM_PATH,
            # Its access keys are made elsewhere; only a disposable stack may take them along.
            force_destroy=stack.disposable,
            tags=stack.tags,
            opts=self._child(),
        )
        policy = key.arn.apply(
            lambda key_arn: store.host_policy(
                bucket_arn=bucket_arn,
                kms_key_arn=key_arn,
                region=stack.region,
                prefixes=[prefix(c) for c in BACKUP_CLASSES],
            )
        )
        aws.iam.UserPolicy(
            f"{self._name}-writer-policy",
            name="put-backups",
            user=writer.name,
            policy=pulumi.Output.json_dumps(policy, sort_keys=True),
            opts=self._child(),
        )
        return writer
