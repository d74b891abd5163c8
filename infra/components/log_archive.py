"""Where the logs go that hosts no longer keep."""

from __future__ import annotations

from dataclasses import dataclass

import pulumi

from infra import names
from infra.components.secure_bucket import SecureBucket, SecureBucketArgs, deleter_arns
from infra.config import StackConfig
from infra.documents import archive
from infra.lifecycle import archive_rules


@dataclass(frozen=True)
class LogArchiveArgs:
    """What a log archive depends on."""

    stack: StackConfig
    account_id: str
    caller_arn: str
    """Who runs the program; see :func:`infra.components.secure_bucket.deleter_arns`."""
    log_bucket: SecureBucket
    """Gets the access log."""


class LogArchive(SecureBucket):
    """Application logs in cold storage, for as long as the app file says.

    A key of its own, so that who reads logs cannot decrypt backups and the other way round.
    No Object Lock: logs hold personal data, which a team may have to erase before the time; the
    break-glass role can, and everybody else is refused by the bucket's policy.
    """

    kms_key_arn: pulumi.Output[str]

    def __init__(self, name: str, args: LogArchiveArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("steward:backup:LogArchive", name, opts)
        stack = args.stack
        bucket = names.bucket_name(name, args.account_id)
        key = self._own_key(stack, args.account_id, f"Logs of {stack.app.title}, {stack.environment}")
        policy = key.arn.apply(
            lambda key_arn: archive.archive_bucket_policy(
                bucket_arn=names.bucket_arn(bucket),
                kms_key_arn=key_arn,
                host_arns=names.host_arns(args.account_id, stack.name),
                deleter_arns=deleter_arns(stack, args.account_id, args.caller_arn),
            )
        )
        self._build(
            SecureBucketArgs(
                stack=stack,
                bucket=bucket,
                rules=archive_rules(stack.app.logs.archive),
                policy=policy,
                kms_key_arn=key.arn,
                log_bucket=args.log_bucket,
                transition_small_objects=True,
            )
        )
        self.kms_key_arn = key.arn
        self.register_outputs({"bucket": self.bucket, "arn": self.arn, "kmsKeyArn": self.kms_key_arn})
