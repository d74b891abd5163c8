"""What one stack consists of, and what it tells the hosts."""

from __future__ import annotations

from collections.abc import Mapping

import pulumi

from infra import names
from infra.components.alarms import Alarms, AlarmsArgs
from infra.components.audit_trail import AuditTrail, AuditTrailArgs, denied_deletes_metric
from infra.components.backup_bucket import WHOLE_BUCKET_METRICS, BackupBucket, BackupBucketArgs
from infra.components.budget import Budget, BudgetArgs
from infra.components.gcs_copy import GcsCopy, GcsCopyArgs
from infra.components.host_identity import HostIdentity, HostIdentityArgs
from infra.components.log_archive import LogArchive, LogArchiveArgs
from infra.components.log_bucket import LogBucket, LogBucketArgs
from infra.components.offsite_replica import OffsiteReplica, OffsiteReplicaArgs
from infra.components.people_roles import PeopleRoles, PeopleRolesArgs
from infra.components.replication import RULE_ID, Replication, ReplicationArgs
from infra.components.secrets import RotationReminder, RotationReminderArgs, Secrets, SecretsArgs
from infra.components.tampering import Tampering, TamperingArgs
from infra.components.topics import Topics, TopicsArgs
from infra.components.uptime import METRICS_REGION, Uptime, UptimeArgs
from infra.config import StackConfig
from infra.documents.archive import host_archive_policy
from infra.severities import SEVERITIES
from infra.watch import Replica, Watched
from infra.watch.alarms import severities_elsewhere
from infra.watch.recoverability import limits

#: Name -> value; what the choices of a stack do not make has no output.
Outputs = dict[str, pulumi.Input[object]]


def build(stack: StackConfig, account_id: str, caller_arn: str) -> Outputs:
    """Register every resource of a stack; returns the stack's outputs.

    Args:
        stack: what the stack is about.
        account_id: the AWS account it is built in.
        caller_arn: who builds it.
    """
    backups, archived = f"{stack.name}-backups", f"{stack.name}-archive"
    exports = [names.atlas_exports(stack.name)] if stack.app.mongodb.atlas else []
    audited = [] if "audit_trail" in stack.settings.endpoint_lacks else [f"{stack.name}-audit"]
    logged = tuple(names.bucket_name(name, account_id) for name in (backups, archived, *exports, *audited))
    logs = LogBucket(f"{stack.name}-logs", LogBucketArgs(stack, account_id, caller_arn, logged))
    store = BackupBucket(backups, BackupBucketArgs(stack, account_id, caller_arn, logs))
    replica = _replica(stack, account_id, caller_arn, store)
    archive = LogArchive(archived, LogArchiveArgs(stack, account_id, caller_arn, logs))
    copied: Outputs = {}
    if replica:
        copied = {
            "replica_bucket": replica.bucket,
            "replica_region": replica.region,
            "replica_kms_key_arn": replica.kms_key_arn,
        }
    return {
        "backup_bucket": store.bucket,
        "backup_bucket_arn": store.arn,
        "backup_kms_key_arn": store.kms_key_arn,
        "backup_region": stack.region,
        "backup_object_lock_mode": stack.settings.object_lock_mode,
        "log_bucket": logs.bucket,
        "log_archive_bucket": archive.bucket,
        "log_archive_kms_key_arn": archive.kms_key_arn,
        **copied,
        **_gcs_copy(stack, account_id, store),
        **_atlas(stack, account_id, caller_arn, logs),
        **_identities(stack, account_id, store, archive, replica),
        **_watch(stack, account_id, caller_arn, store, logs),
    }


def _identities(
    stack: StackConfig,
    account_id: str,
    store: BackupBucket,
    archive: LogArchive,
    replica: OffsiteReplica | None,
) -> Outputs:
    """Who hosts, people and CI are, and their secrets."""
    put_logs = pulumi.Output.all(archive.arn, archive.kms_key_arn).apply(
        lambda arns: host_archive_policy(bucket_arn=arns[0], kms_key_arn=arns[1], region=stack.region)
    )
    hosts = HostIdentity(
        f"{stack.name}-host", HostIdentityArgs(stack, account_id, store, [("archive-logs", put_logs)])
    )
    apps = HostIdentity(
        f"{stack.name}-app-host",
        HostIdentityArgs(stack, account_id, None, [("archive-logs", put_logs)], hosts.trust_anchor_arn),
    )
    roles = PeopleRoles(f"{stack.name}-roles", PeopleRolesArgs(stack, account_id, store, archive, replica))
    secrets = Secrets(f"{stack.name}-secrets", SecretsArgs(stack, account_id))
    outputs: dict[str, pulumi.Input[object] | None] = {
        "backup_writer_user": hosts.user,
        "log_writer_user": apps.user,
        "app_host_role_arn": apps.role_arn,
        "app_host_instance_profile": apps.instance_profile,
        "app_roles_anywhere_profile_arn": apps.roles_anywhere_profile_arn,
        "host_role_arn": hosts.role_arn,
        "host_instance_profile": hosts.instance_profile,
        "trust_anchor_arn": hosts.trust_anchor_arn,
        "roles_anywhere_profile_arn": hosts.roles_anywhere_profile_arn,
        "restore_role_arn": roles.restore_arn,
        "break_glass_role_arn": roles.break_glass_arn,
        "ci_preview_role_arn": roles.ci_preview_arn,
        "ci_deploy_role_arn": roles.ci_deploy_arn,
        "secrets_kms_key_arn": secrets.kms_key_arn,
    }
    return {name: value for name, value in outputs.items() if value is not None}


def _watch(
    stack: StackConfig, account_id: str, caller_arn: str, store: BackupBucket, logs: LogBucket
) -> Outputs:
    """Topics, and everything that sends to them."""
    watched = _watched(stack, account_id)
    if watched.denied_deletes:
        AuditTrail(f"{stack.name}-audit", AuditTrailArgs(stack, account_id, caller_arn, watched.bucket, logs))
    own = Topics(f"{stack.name}-topics", TopicsArgs(stack, account_id, stack.region))
    needed = severities_elsewhere(stack, watched)
    if stack.uptime == "route53" and stack.region != METRICS_REGION:
        others = needed.get(METRICS_REGION, ())
        needed[METRICS_REGION] = tuple(s for s in SEVERITIES if s == "critical" or s in others)
    elsewhere = {
        region: Topics(f"{stack.name}-topics-{region}", TopicsArgs(stack, account_id, region, severities))
        for region, severities in needed.items()
    }
    topics = {stack.region: own, **elsewhere}
    alarms = Alarms(f"{stack.name}-alarms", AlarmsArgs(stack, account_id, watched, topics))
    Tampering(
        f"{stack.name}-tampering",
        TamperingArgs(stack, watched.bucket, store.kms_key_arn, own.topics["critical"]),
    )
    RotationReminder(f"{stack.name}-reminder", RotationReminderArgs(stack, own.topics["warning"]))
    Budget(f"{stack.name}-budget", BudgetArgs(stack, account_id, own.topics))
    return {
        **{f"topic_{severity}_arn": arn for severity, arn in own.topics.items()},
        "dashboard_url": alarms.dashboard_url,
        "limits": limits(stack.app.backup),
        **_uptime(stack, topics),
    }


def _uptime(stack: StackConfig, topics: Mapping[str, Topics]) -> Outputs:
    """The watch from outside, as the app file's ``cloud.uptime`` says.

    Args:
        stack: what the stack is about.
        topics: the stack's topics by region.
    """
    if stack.uptime == "none":
        return {}
    topic = topics[METRICS_REGION].topics["critical"] if stack.uptime == "route53" else None
    watch = Uptime(f"{stack.name}-uptime", UptimeArgs(stack, topic))
    return {"uptime_check_id": watch.check_id}


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


def _replica(
    stack: StackConfig, account_id: str, caller_arn: str, store: BackupBucket
) -> OffsiteReplica | None:
    """The second copy on S3, where the app file's ``cloud.offsite`` asks for it."""
    region = stack.settings.replica_region
    if stack.offsite != "s3" or region is None:
        return None
    replica = OffsiteReplica(
        f"{stack.name}-replica", OffsiteReplicaArgs(stack, account_id, caller_arn, region)
    )
    Replication(f"{stack.name}-replication", ReplicationArgs(stack, account_id, store, replica))
    return replica


def _gcs_copy(stack: StackConfig, account_id: str, store: BackupBucket) -> Outputs:
    """The second copy at Google, where the app file's ``cloud.offsite`` asks for it."""
    project, location = stack.settings.gcs_project, stack.settings.gcs_location
    if stack.offsite != "gcs" or project is None or location is None:
        return {}
    copy = GcsCopy(f"{stack.name}-gcs", GcsCopyArgs(stack, store, account_id, project, location))
    return {"gcs_bucket": copy.bucket}


def _atlas(stack: StackConfig, account_id: str, caller_arn: str, logs: LogBucket) -> Outputs:
    """Atlas' own backups, where the database is Atlas and the cloud is not one machine."""
    atlas, settings = stack.app.mongodb.atlas, stack.settings
    project, cluster = settings.atlas_project_id, settings.atlas_cluster
    if atlas is None or stack.disposable or project is None or cluster is None:
        return {}
    # Imported where it is needed: this SDK alone takes longer to load than all else of a stack.
    from infra.components.atlas_backup import AtlasBackup, AtlasBackupArgs
    from infra.components.atlas_export import AtlasExport, AtlasExportArgs

    exports = AtlasExport(
        names.atlas_exports(stack.name), AtlasExportArgs(stack, account_id, caller_arn, logs, project)
    )
    AtlasBackup(
        f"{stack.name}-atlas-backup",
        AtlasBackupArgs(
            stack,
            project,
            cluster,
            atlas.restore_window_days,
            exports.export_bucket_id,
            settings.atlas_compliance_contact if atlas.compliance_policy else None,
        ),
    )
    return {"atlas_export_bucket": exports.bucket}
