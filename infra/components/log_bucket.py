"""Where S3 writes down what happens to the other buckets of a stack."""

from __future__ import annotations

from dataclasses import dataclass

import pulumi

from infra import names
from infra.components.secure_bucket import SecureBucket, SecureBucketArgs, deleter_arns
from infra.config import StackConfig
from infra.documents import logs
from infra.lifecycle import log_rules


@dataclass(frozen=True)
class LogBucketArgs:
    """What a log bucket depends on."""

    stack: StackConfig
    account_id: str
    caller_arn: str
    """Who runs the program; see :func:`infra.components.secure_bucket.deleter_arns`."""
    source_buckets: tuple[str, ...]
    """Names of the buckets that S3 may write about; they come later, for they name this one."""
    region: str | None = None
    """Where it is not the stack's own."""


class LogBucket(SecureBucket):
    """Access logs and inventory reports of the stack's buckets, one folder each.

    What S3 asks of such a bucket (Amazon S3 user guide, "Enabling Amazon S3 server access
    logging"): encryption with S3's own keys and no default Object Lock, else the logs are not
    delivered, and the region of the buckets that it is about. It has no log of its own: a log of
    the deliveries would grow by being written.
    """

    def __init__(self, name: str, args: LogBucketArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("steward:backup:LogBucket", name, opts)
        stack = args.stack
        bucket = names.bucket_name(name, args.account_id)
        self._build(
            SecureBucketArgs(
                stack=stack,
                bucket=bucket,
                rules=log_rules(stack.app.logs),
                policy=logs.log_bucket_policy(
                    bucket_arn=names.bucket_arn(bucket),
                    account_id=args.account_id,
                    source_arns=[names.bucket_arn(source) for source in args.source_buckets],
                    host_arns=names.host_arns(args.account_id, stack.name),
                    deleter_arns=deleter_arns(stack, args.account_id, args.caller_arn),
                ),
                region=args.region,
            )
        )
        self.register_outputs({"bucket": self.bucket, "arn": self.arn})
