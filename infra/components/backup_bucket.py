"""The backup store of one backend in one environment.

Registers, in the order S3 needs: a KMS key with alias, the bucket with Object Lock,
versioning, default lock, lifecycle, encryption, public access block, policy,
ownership, and the identity that hosts write with. Its access key is made and rotated
outside of Pulumi, so that no secret enters the state.
"""

from __future__ import annotations

from dataclasses import dataclass

import pulumi
import pulumi_aws as aws

from infra import iam_documents
from infra.config import StackConfig
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


class BackupBucket(pulumi.ComponentResource):
    """One bucket with its key and its writer; see the module."""

    bucket: pulumi.Output[str]
    arn: pulumi.Output[str]
    kms_key_arn: pulumi.Output[str]
    writer_user: pulumi.Output[str]

    def __init__(self, name: str, args: BackupBucketArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("steward:backup:BackupBucket", name, None, opts)
        self._name, self._args = name, args
        stack, retention = args.stack, args.stack.app.backup.retention
        kept = self._child(protect=stack.protected)

        key = aws.kms.Key(
            f"{name}-key",
            description=f"Backups of {stack.app.title}, {stack.environment}",
            enable_key_rotation=True,
            deletion_window_in_days=KEY_DELETION_DAYS_DISPOSABLE if stack.disposable else KEY_DELETION_DAYS,
            policy=pulumi.Output.json_dumps(
                iam_documents.key_policy(account_id=args.account_id, region=stack.region), sort_keys=True
            ),
            tags=stack.tags,
            opts=kept,
        )
        aws.kms.Alias(f"{name}-key-alias", name=f"alias/{name}", target_key_id=key.key_id, opts=self._child())

        # The account's id makes the name unique in the world and a mix-up of accounts visible.
        bucket = aws.s3.Bucket(
            f"{name}-bucket",
            bucket=f"{name}-{args.account_id}",
            object_lock_enabled=True,
            force_destroy=stack.disposable,
            tags=stack.tags,
            opts=kept,
        )
        versioning = aws.s3.BucketVersioning(
            f"{name}-versioning",
            bucket=bucket.bucket,
            versioning_configuration={"status": "Enabled"},
            opts=self._child(),
        )
        lock = aws.s3.BucketObjectLockConfiguration(
            f"{name}-lock",
            bucket=bucket.bucket,
            rule={
                "default_retention": {
                    "mode": stack.settings.object_lock_mode,
                    "days": default_lock_days(retention),
                }
            },
            opts=self._child(versioning),
        )
        aws.s3.BucketLifecycleConfiguration(
            f"{name}-lifecycle",
            bucket=bucket.bucket,
            rules=lifecycle_rules(retention),
            opts=self._child(versioning, lock),
        )
        aws.s3.BucketServerSideEncryptionConfiguration(
            f"{name}-encryption",
            bucket=bucket.bucket,
            rules=[
                {
                    "apply_server_side_encryption_by_default": {
                        "sse_algorithm": "aws:kms",
                        "kms_master_key_id": key.arn,
                    },
                    "bucket_key_enabled": True,
                }
            ],
            opts=self._child(),
        )
        writer = self._writer(bucket, key)
        self._close_to_the_public(bucket, key, writer)

        self.bucket, self.arn = bucket.bucket, bucket.arn
        self.kms_key_arn, self.writer_user = key.arn, writer.name
        self.register_outputs(
            {
                "bucket": self.bucket,
                "arn": self.arn,
                "kmsKeyArn": self.kms_key_arn,
                "writerUser": self.writer_user,
            }
        )

    def _child(self, *after: pulumi.Resource, protect: bool | None = None) -> pulumi.ResourceOptions:
        """Options of a child that is registered after others of its siblings."""
        return pulumi.ResourceOptions(parent=self, depends_on=list(after), protect=protect or None)

    def _writer(self, bucket: aws.s3.Bucket, key: aws.kms.Key) -> aws.iam.User:
        """The identity of the hosts and what it may do."""
        stack = self._args.stack
        writer = aws.iam.User(
            f"{self._name}-writer",
            name=f"{self._name}-writer",
            path="/steward/",
            # Its access keys are made elsewhere; only a disposable stack may take them along.
            force_destroy=stack.disposable,
            tags=stack.tags,
            opts=self._child(),
        )
        policy = pulumi.Output.all(bucket.arn, key.arn).apply(
            lambda arns: iam_documents.host_policy(
                bucket_arn=arns[0],
                kms_key_arn=arns[1],
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

    def _close_to_the_public(self, bucket: aws.s3.Bucket, key: aws.kms.Key, writer: aws.iam.User) -> None:
        """Public access block, policy, ownership, one by one: S3 answers 409 to two changes at once."""
        stack = self._args.stack
        block = aws.s3.BucketPublicAccessBlock(
            f"{self._name}-public-access",
            bucket=bucket.bucket,
            block_public_acls=True,
            block_public_policy=True,
            ignore_public_acls=True,
            restrict_public_buckets=True,
            opts=self._child(),
        )
        document = pulumi.Output.all(bucket.arn, key.arn, writer.arn).apply(
            lambda arns: iam_documents.bucket_policy(
                bucket_arn=arns[0],
                kms_key_arn=arns[1],
                writer_arn=arns[2],
                object_lock_mode=stack.settings.object_lock_mode,
                longest_lock_days=longest_lock_days(stack.app.backup.retention),
            )
        )
        policy = aws.s3.BucketPolicy(
            f"{self._name}-policy",
            bucket=bucket.bucket,
            policy=pulumi.Output.json_dumps(document, sort_keys=True),
            opts=self._child(block),
        )
        aws.s3.BucketOwnershipControls(
            f"{self._name}-ownership",
            bucket=bucket.bucket,
            rule={"object_ownership": "BucketOwnerEnforced"},
            opts=self._child(policy),
        )
