"""What one stack consists of, and what it tells the hosts."""

from __future__ import annotations

import pulumi

from infra import names
from infra.components.alarms import Alarms, AlarmsArgs
from infra.components.audit_trail import AuditTrail, AuditTrailArgs, denied_deletes_metric
from infra.components.backup_bucket import WHOLE_BUCKET_METRICS, BackupBucket, BackupBucketArgs
from infra.components.budget import Budget, BudgetArgs
from infra.components.gcs_copy import GcsCopy, GcsCopyArgs
from infra.components.log_archive import LogArchive, LogArchiveArgs
from infra.components.log_bucket import LogBucket, LogBucketArgs
from infra.components.offsite_replica import OffsiteReplica, OffsiteReplicaArgs
from infra.components.replication import RULE_ID, Replication, ReplicationArgs
from infra.components.tampering import Tampering, TamperingArgs
from infra.components.topics import Topics, TopicsArgs
from infra.config import StackConfig
from infra.watch import Replica, Watched
from infra.watch.alarms import severities_elsewhere

Outputs = dict[str, pulumi.Input[object]]


def build(stack: StackConfig, account_id: str, caller_arn: str) -> Outputs:
    """Register every resource of a stack; returns the stack's outputs.

    Args:
        stack: what the stack is about.
        account_id: the AWS account it is built in.
        caller_arn: who builds it.
    """
    backups, archived = f"{stack.name}-backups", f"{stack.name}-archive"
    logged = tuple(names.bucket_name(name, account_id) for name in (backups, archived))
    logs = LogBucket(f"{stack.name}-logs", LogBucketArgs(stack, account_id, caller_arn, logged))
    store = BackupBucket(backups, BackupBucketArgs(stack, account_id, caller_arn, logs))
    archive = LogArchive(archived, LogArchiveArgs(stack, account_id, caller_arn, logs))
    return {
        "backup_bucket": store.bucket,
        "backup_bucket_arn": store.arn,
        "backup_kms_key_arn": store.kms_key_arn,
        "backup_region": stack.region,
        "backup_object_lock_mode": stack.settings.object_lock_mode,
        "backup_writer_user": store.writer_user,
        "log_bucket": logs.bucket,
        "log_archive_bucket": archive.bucket,
        "log_archive_kms_key_arn": archive.kms_key_arn,
        **_second_copy(stack, account_id, caller_arn, store),
        **_watch(stack, account_id, caller_arn, store),
    }


def _second_copy(stack: StackConfig, account_id: str, caller_arn: str, store: BackupBucket) -> Outputs:
    """The copy of the backups elsewhere, as the app file's ``cloud.offsite`` says."""
    if stack.offsite == "s3" and (region := stack.settings.replica_region):
        replica = OffsiteReplica(
            f"{stack.name}-replica", OffsiteReplicaArgs(stack, account_id, caller_arn, region)
        )
        Replication(
            f"{stack.name}-replication",
            ReplicationArgs(
                stack, account_id, store, store.kms_key_arn, replica, replica.kms_key_arn, region
            ),
        )
        return {
            "replica_bucket": replica.bucket,
            "replica_region": region,
            "replica_kms_key_arn": replica.kms_key_arn,
        }
    project, location = stack.settings.gcs_project, stack.settings.gcs_location
    if stack.offsite == "gcs" and project and location:
        copy = GcsCopy(
            f"{stack.name}-gcs",
            GcsCopyArgs(stack, store, store.kms_key_arn, account_id, project, location),
        )
        return {"gcs_bucket": copy.bucket}
    return {}


def _watch(stack: StackConfig, account_id: str, caller_arn: str, store: BackupBucket) -> Outputs:
    """Topics, and everything that sends to them."""
    watched = _watched(stack, account_id)
    if watched.denied_deletes:
        AuditTrail(f"{stack.name}-audit", AuditTrailArgs(stack, account_id, caller_arn, watched.bucket))
    own = Topics(f"{stack.name}-topics", TopicsArgs(stack, account_id, stack.region))
    elsewhere = {
        region: Topics(f"{stack.name}-topics-{region}", TopicsArgs(stack, account_id, region, severities))
        for region, severities in severities_elsewhere(stack, watched).items()
    }
    alarms = Alarms(
        f"{stack.name}-alarms", AlarmsArgs(stack, account_id, watched, {stack.region: own, **elsewhere})
    )
    Tampering(
        f"{stack.name}-tampering",
        TamperingArgs(stack, watched.bucket, store.kms_key_arn, own.topics["critical"]),
    )
    Budget(f"{stack.name}-budget", BudgetArgs(stack, account_id, own.topics))
    return {
        **{f"topic_{severity}_arn": arn for severity, arn in own.topics.items()},
        "dashboard_url": alarms.dashboard_url,
    }


def _watched(stack: StackConfig, account_id: str) -> Watched:
    """What the alarms of a stack look at."""
    replica = None
    if stack.offsite == "s3" and (region := stack.settings.replica_region):
        role = stack.settings.replica_role_arn
        account = names.account_of(role) if role else account_id
        replica = Replica(names.bucket_name(f"{stack.name}-replica", account), region, RULE_ID)
    lacks = stack.settings.endpoint_lacks
    return Watched(
        bucket=names.bucket_name(f"{stack.name}-backups", account_id),
        request_metrics=None if "request_metrics" in lacks else WHOLE_BUCKET_METRICS,
        replica=replica,
        denied_deletes=None if "audit_trail" in lacks else denied_deletes_metric(stack),
    )
