"""What one stack consists of, and what it tells the hosts."""

from __future__ import annotations

from collections.abc import Mapping

import pulumi

from infra import names
from infra.components.alarms import Alarms, AlarmsArgs
from infra.components.backup_bucket import WHOLE_BUCKET_METRICS, BackupBucket, BackupBucketArgs
from infra.components.budget import Budget, BudgetArgs
from infra.components.log_bucket import LogBucket, LogBucketArgs
from infra.components.tampering import Tampering, TamperingArgs
from infra.components.topics import Topics, TopicsArgs
from infra.components.uptime import METRICS_REGION, Uptime, UptimeArgs
from infra.config import StackConfig
from infra.watch import Watched

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
    return {
        "backup_bucket": store.bucket,
        "backup_bucket_arn": store.arn,
        "backup_kms_key_arn": store.kms_key_arn,
        "backup_region": stack.region,
        "backup_object_lock_mode": stack.settings.object_lock_mode,
        "backup_writer_user": store.writer_user,
        "log_bucket": logs.bucket,
        **_watch(stack, account_id, store),
    }


def _watch(stack: StackConfig, account_id: str, store: BackupBucket) -> Outputs:
    """Topics, and everything that sends to them."""
    bucket = names.bucket_name(f"{stack.name}-backups", account_id)
    topics = Topics(f"{stack.name}-topics", TopicsArgs(stack, account_id, stack.region))
    lacks = stack.settings.endpoint_lacks
    watched = Watched(bucket, None if "request_metrics" in lacks else WHOLE_BUCKET_METRICS)
    alarms = Alarms(f"{stack.name}-alarms", AlarmsArgs(stack, account_id, watched, {stack.region: topics}))
    Tampering(
        f"{stack.name}-tampering",
        TamperingArgs(stack, bucket, store.kms_key_arn, topics.topics["critical"]),
    )
    Budget(f"{stack.name}-budget", BudgetArgs(stack, account_id, topics.topics))
    return {
        **{f"topic_{severity}_arn": arn for severity, arn in topics.topics.items()},
        "dashboard_url": alarms.dashboard_url,
        **_uptime(stack, account_id, {stack.region: topics}),
    }


def _uptime(stack: StackConfig, account_id: str, topics: Mapping[str, Topics]) -> Outputs:
    """The watch from outside, as the app file's ``cloud.uptime`` says.

    Args:
        stack: what the stack is about.
        account_id: the AWS account it is built in.
        topics: the stack's topics by region; the alarm of Route 53 needs those of one region.
    """
    if stack.uptime == "none":
        return {}
    topic = None
    if stack.uptime == "route53":
        there = topics.get(METRICS_REGION) or Topics(
            f"{stack.name}-topics-{METRICS_REGION}", TopicsArgs(stack, account_id, METRICS_REGION)
        )
        topic = there.topics["critical"]
    watch = Uptime(f"{stack.name}-uptime", UptimeArgs(stack, topic))
    return {"uptime_check_id": watch.check_id}
