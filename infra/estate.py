"""What one stack consists of, and what it tells the hosts."""

from __future__ import annotations

import pulumi

from infra import names
from infra.components.backup_bucket import BackupBucket, BackupBucketArgs
from infra.components.gcs_copy import GcsCopy, GcsCopyArgs
from infra.components.log_archive import LogArchive, LogArchiveArgs
from infra.components.log_bucket import LogBucket, LogBucketArgs
from infra.components.offsite_replica import OffsiteReplica, OffsiteReplicaArgs
from infra.components.replication import Replication, ReplicationArgs
from infra.config import StackConfig

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
    logged = tuple(names.bucket_name(name, account_id) for name in (backups, archived, *exports))
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
        **_atlas(stack, account_id, caller_arn, logs),
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
