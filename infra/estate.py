"""What one stack consists of, and what it tells the hosts."""

from __future__ import annotations

import pulumi

from infra import names
from infra.components.backup_bucket import BackupBucket, BackupBucketArgs
from infra.components.log_bucket import LogBucket, LogBucketArgs
from infra.components.topics import Topics, TopicsArgs
from infra.components.uptime import METRICS_REGION, Uptime, UptimeArgs
from infra.config import StackConfig

Outputs = dict[str, pulumi.Input[object]]


def build(stack: StackConfig, account_id: str, caller_arn: str) -> Outputs:
    """Register every resource of a stack; returns the stack's outputs.

    Args:
        stack: what the stack is about.
        account_id: the AWS account it is built in.
        caller_arn: who builds it.
    """
    backups = f"{stack.name}-backups"
    logged = tuple(names.bucket_name(name, account_id) for name in (backups,))
    logs = LogBucket(f"{stack.name}-logs", LogBucketArgs(stack, account_id, caller_arn, logged))
    store = BackupBucket(backups, BackupBucketArgs(stack, account_id, caller_arn, logs))
    topics = Topics(f"{stack.name}-alerts", TopicsArgs(stack, account_id, stack.region))
    return {
        "backup_bucket": store.bucket,
        "backup_bucket_arn": store.arn,
        "backup_kms_key_arn": store.kms_key_arn,
        "backup_region": stack.region,
        "backup_object_lock_mode": stack.settings.object_lock_mode,
        "backup_writer_user": store.writer_user,
        "log_bucket": logs.bucket,
        **_uptime(stack, account_id, topics),
    }


def _uptime(stack: StackConfig, account_id: str, topics: Topics) -> Outputs:
    """The watch from outside, as the app file's ``cloud.uptime`` says; its alarm has one region only."""
    if stack.uptime == "none":
        return {}
    if stack.uptime == "route53" and stack.region != METRICS_REGION:
        topics = Topics(
            f"{stack.name}-alerts-{METRICS_REGION}", TopicsArgs(stack, account_id, METRICS_REGION)
        )
    watch = Uptime(f"{stack.name}-uptime", UptimeArgs(stack, topics.topics["critical"]))
    return {"uptime_check_id": watch.check_id}
