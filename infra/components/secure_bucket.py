"""A bucket with all that none may go without: the base of every bucket of this program.

Registers, in the order S3 needs: the bucket, versioning, a default lock where one is
asked for, lifecycle, encryption, public access block, policy, ownership. Each is a
resource of its own; inline arguments of the bucket would fight with them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import pulumi
import pulumi_aws as aws

from infra.components.component import Component
from infra.config import StackConfig
from infra.documents import Document
from infra.settings import ObjectLockMode

if TYPE_CHECKING:
    from pulumi_aws.s3 import BucketLifecycleConfigurationRuleArgsDict as Rule


@dataclass(frozen=True)
class DefaultLock:
    """The Object Lock retention of objects that are written without one."""

    mode: ObjectLockMode
    days: int


@dataclass(frozen=True)
class SecureBucketArgs:
    """What makes one bucket differ from another."""

    stack: StackConfig
    bucket: str
    """The bucket's name."""
    rules: list[Rule]
    """Lifecycle rules."""
    policy: pulumi.Input[Document]
    """The bucket's policy; must hold :func:`infra.documents.transport_rules`."""
    kms_key_arn: pulumi.Input[str] | None = None
    """SSE-KMS with this key; without one SSE-S3, which targets of S3's own logs need."""
    lock: DefaultLock | None = None
    """Object Lock with this default retention; without one the bucket has no Object Lock."""
    region: str | None = None
    """Where it is not the stack's own."""
    transition_small_objects: bool = False
    """Whether a transition also moves objects below 128 KiB, which S3 else leaves where they are."""


class SecureBucket(Component):
    """One bucket; subclasses give it its type and add what their purpose needs."""

    bucket: pulumi.Output[str]
    arn: pulumi.Output[str]

    def _build(self, args: SecureBucketArgs) -> None:
        """Register the bucket and its settings; for subclasses, once what these need is there."""
        stack = args.stack
        bucket = aws.s3.Bucket(
            f"{self._name}-bucket",
            bucket=args.bucket,
            object_lock_enabled=True if args.lock else None,
            force_destroy=stack.disposable,
            region=args.region,
            tags=stack.tags,
            opts=self._child(protect=stack.protected),
        )
        self.bucket, self.arn = bucket.bucket, bucket.arn
        self.versioning = aws.s3.BucketVersioning(
            f"{self._name}-versioning",
            bucket=bucket.bucket,
            versioning_configuration={"status": "Enabled"},
            region=args.region,
            opts=self._child(),
        )
        self._keep(args)
        self._encrypt(args)
        #: What a further change of the bucket's access has to wait for: S3 answers 409 to two at once.
        self.closed = self._close_to_the_public(args)

    def _keep(self, args: SecureBucketArgs) -> None:
        """Lock and lifecycle."""
        before: list[pulumi.Resource] = [self.versioning]
        if args.lock:
            before.append(
                aws.s3.BucketObjectLockConfiguration(
                    f"{self._name}-lock",
                    bucket=self.bucket,
                    rule={"default_retention": {"mode": args.lock.mode, "days": args.lock.days}},
                    region=args.region,
                    opts=self._child(self.versioning),
                )
            )
        small: Literal["varies_by_storage_class"] | None = (
            "varies_by_storage_class" if args.transition_small_objects else None
        )
        aws.s3.BucketLifecycleConfiguration(
            f"{self._name}-lifecycle",
            bucket=self.bucket,
            rules=args.rules,
            transition_default_minimum_object_size=small,
            region=args.region,
            opts=self._child(*before),
        )

    def _encrypt(self, args: SecureBucketArgs) -> None:
        key = args.kms_key_arn
        aws.s3.BucketServerSideEncryptionConfiguration(
            f"{self._name}-encryption",
            bucket=self.bucket,
            rules=[
                {
                    "apply_server_side_encryption_by_default": {
                        "sse_algorithm": "aws:kms" if key else "AES256",
                        "kms_master_key_id": key,
                    },
                    "bucket_key_enabled": bool(key),
                }
            ],
            region=args.region,
            opts=self._child(),
        )

    def _close_to_the_public(self, args: SecureBucketArgs) -> pulumi.Resource:
        block = aws.s3.BucketPublicAccessBlock(
            f"{self._name}-public-access",
            bucket=self.bucket,
            block_public_acls=True,
            block_public_policy=True,
            ignore_public_acls=True,
            restrict_public_buckets=True,
            region=args.region,
            opts=self._child(),
        )
        policy = aws.s3.BucketPolicy(
            f"{self._name}-policy",
            bucket=self.bucket,
            policy=pulumi.Output.json_dumps(args.policy, sort_keys=True),
            region=args.region,
            opts=self._child(block),
        )
        return aws.s3.BucketOwnershipControls(
            f"{self._name}-ownership",
            bucket=self.bucket,
            rule={"object_ownership": "BucketOwnerEnforced"},
            region=args.region,
            opts=self._child(policy),
        )
