"""A bucket with all that none may go without: the base of every bucket of this program.

Registers, in the order S3 needs: the bucket, versioning, a default lock where one is
asked for, lifecycle, encryption, public access block, policy, ownership, access logging.
Each is a resource of its own; inline arguments of the bucket would fight with them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import pulumi
import pulumi_aws as aws

from infra import names
from infra.components.component import Component, key_deletion_days
from infra.config import StackConfig
from infra.documents import Document, Statement, document, store
from infra.documents.logs import ACCESS_PREFIX
from infra.settings import ObjectLockMode

if TYPE_CHECKING:
    from pulumi_aws.s3 import BucketLifecycleConfigurationRuleArgsDict as Rule


def deleter_arns(stack: StackConfig, account_id: str, caller_arn: str) -> list[str]:
    """Who may remove objects before their time.

    Args:
        stack: what the stack is about.
        account_id: the account of the break-glass role.
        caller_arn: who runs the program; ``destroy`` of a disposable stack empties its buckets.
            An IAM user's, which is what the sandbox has: the ARN of a role's session is not the one
            that a policy sees.
    """
    role = names.role_arn(account_id, names.break_glass_role(stack.name))
    return [role, caller_arn] if stack.disposable else [role]


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
    log_bucket: SecureBucket | None = None
    """Where S3 writes the access log; must be in the same region (Amazon S3 user guide, "Enabling
    Amazon S3 server access logging")."""
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
        if args.log_bucket:
            self._log_to(args.log_bucket, args.region)

    def _log_to(self, log_bucket: SecureBucket, region: str | None) -> None:
        """Access logs, one folder a bucket and day, so that a question about a day reads that day."""
        aws.s3.BucketLogging(
            f"{self._name}-logging",
            bucket=self.bucket,
            target_bucket=log_bucket.bucket,
            target_prefix=ACCESS_PREFIX,
            # By the time of the request and not of the delivery, which is hours later.
            target_object_key_format={"partitioned_prefix": {"partition_date_source": "EventTime"}},
            region=region,
            opts=self._child(self.closed, log_bucket),
        )

    def _own_key(
        self,
        stack: StackConfig,
        account_id: str,
        description: str,
        region: str | None = None,
        grants: Sequence[Statement] = (),
    ) -> aws.kms.Key:
        """A key for this bucket alone, with an alias; for subclasses, before :meth:`_build`.

        ``grants`` let in whom the policies of the key's own account cannot.
        """
        policy = store.key_policy(account_id=account_id, region=region or stack.region)
        return self._kms_key(
            stack,
            description,
            document([*policy["Statement"], *grants]),
            deletion_days=key_deletion_days(stack),
            region=region,
        )

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
