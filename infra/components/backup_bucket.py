"""The backup store of one backend in one environment.

A KMS key with alias, the bucket with all that :mod:`infra.components.secure_bucket`
gives it, and what tells about it: access log, inventory, events, request metrics. Who
writes to it is in :mod:`infra.components.host_identity`.
"""

from __future__ import annotations

from dataclasses import dataclass

import pulumi
import pulumi_aws as aws

from infra import names
from infra.components.secure_bucket import DefaultLock, SecureBucket, SecureBucketArgs, deleter_arns
from infra.config import StackConfig
from infra.documents import store
from infra.documents.logs import INVENTORY_PREFIX
from infra.lifecycle import default_lock_days, lifecycle_rules, longest_lock_days

#: Id of the request metrics of the whole bucket, in CloudWatch the dimension ``FilterId``; those of
#: a class have the class's name.
WHOLE_BUCKET_METRICS = "whole-bucket"

#: What the daily inventory tells of every version beside its key: enough to find an object without
#: lock, without the key's encryption or without a second copy. Sorted, as S3 keeps a set.
INVENTORY_FIELDS = (
    "BucketKeyStatus",
    "ChecksumAlgorithm",
    "ETag",
    "EncryptionStatus",
    "IsMultipartUploaded",
    "LastModifiedDate",
    "ObjectLockLegalHoldStatus",
    "ObjectLockMode",
    "ObjectLockRetainUntilDate",
    "ReplicationStatus",
    "Size",
    "StorageClass",
)


@dataclass(frozen=True)
class BackupBucketArgs:
    """What a backup bucket depends on."""

    stack: StackConfig
    account_id: str
    caller_arn: str
    """Who runs the program; see :func:`infra.components.secure_bucket.deleter_arns`."""
    log_bucket: SecureBucket
    """Gets access logs and inventories."""


class BackupBucket(SecureBucket):
    """One bucket with its key; see the module."""

    kms_key_arn: pulumi.Output[str]

    def __init__(self, name: str, args: BackupBucketArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("steward:backup:BackupBucket", name, opts)
        stack, retention = args.stack, args.stack.app.backup.retention
        bucket = names.bucket_name(name, args.account_id)
        key = self._own_key(stack, args.account_id, f"Backups of {stack.app.title}, {stack.environment}")
        policy = key.arn.apply(
            lambda key_arn: store.bucket_policy(
                bucket_arn=names.bucket_arn(bucket),
                kms_key_arn=key_arn,
                host_arns=names.host_arns(args.account_id, stack.name),
                deleter_arns=deleter_arns(stack, args.account_id, args.caller_arn),
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
                log_bucket=args.log_bucket,
            )
        )
        self._observe(args)
        self.kms_key_arn = key.arn
        self.register_outputs(
            {
                "bucket": self.bucket,
                "arn": self.arn,
                "kmsKeyArn": self.kms_key_arn,
            }
        )

    def _observe(self, args: BackupBucketArgs) -> None:
        """Inventory, events and request metrics."""
        aws.s3.Inventory(
            f"{self._name}-inventory",
            bucket=self.bucket,
            name="daily",
            enabled=True,
            included_object_versions="All",
            schedule={"frequency": "Daily"},
            optional_fields=list(INVENTORY_FIELDS),
            destination={
                "bucket": {
                    "account_id": args.account_id,
                    "bucket_arn": args.log_bucket.arn,
                    "format": "CSV",  # stock tools read it
                    "prefix": INVENTORY_PREFIX.rstrip("/"),
                }
            },
            opts=self._child(self.closed, args.log_bucket),
        )
        # Every event goes to the account's default event bus, where rules choose.
        aws.s3.BucketNotification(
            f"{self._name}-events", bucket=self.bucket, eventbridge=True, opts=self._child(self.closed)
        )
        if "request_metrics" in args.stack.settings.endpoint_lacks:
            return
        aws.s3.BucketMetric(
            f"{self._name}-metrics",
            bucket=self.bucket,
            name=WHOLE_BUCKET_METRICS,
            opts=self._child(self.closed),
        )
