"""MongoDB Atlas' own backups, beside steward's: only where the application's database is Atlas.

A schedule with the app file's retention, a window for any point in time, a monthly export
to S3, and by choice a compliance policy. The cluster itself is not of this program; "Cloud
Backup" and "Continuous Cloud Backup" have to be on. The provider takes its credentials
from the environment (``MONGODB_ATLAS_CLIENT_ID`` and ``MONGODB_ATLAS_CLIENT_SECRET``).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pulumi
import pulumi_mongodbatlas as mongodbatlas

from infra.components.component import Component
from infra.config import StackConfig
from infra.settings import ComplianceContact

#: Hours between two hourly snapshots; the point in time between them comes from Atlas' oplog.
SNAPSHOT_HOURS = 1
#: Which daily snapshots stay as weekly and monthly ones: Monday's and the first of the month's, as
#: steward keeps the first of an ISO week and of a month (Atlas administration API, policyItems).
MONDAY = 1
FIRST_OF_MONTH = 1


@dataclass(frozen=True)
class AtlasBackupArgs:
    """What the backups in Atlas depend on."""

    stack: StackConfig
    project_id: str
    cluster: str
    restore_window_days: int
    export_bucket_id: pulumi.Input[str]
    compliance_contact: ComplianceContact | None
    """Who may change the compliance policy; there is none without."""


class AtlasBackup(Component):
    """The schedule and the compliance policy; see the module."""

    def __init__(self, name: str, args: AtlasBackupArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("steward:backup:AtlasBackup", name, opts)
        full = args.stack.app.backup.full
        policies = _policies(args)
        schedule = mongodbatlas.CloudBackupSchedule(
            f"{name}-schedule",
            project_id=args.project_id,
            cluster_name=args.cluster,
            reference_hour_of_day=full.hour,
            reference_minute_of_hour=full.minute,
            **policies,
            auto_export_enabled=True,
            export={"export_bucket_id": args.export_bucket_id, "frequency_type": "monthly"},
            # A shorter retention is for new snapshots; those that exist keep what was promised.
            update_snapshots=False,
            # With the policy Atlas refuses to delete a schedule, and destroy would fail for ever.
            skip_destroy=args.compliance_contact is not None,
            opts=self._child(),
        )
        if args.compliance_contact:
            mongodbatlas.BackupCompliancePolicy(
                f"{name}-compliance",
                project_id=args.project_id,
                authorized_email=args.compliance_contact.email,
                authorized_user_first_name=args.compliance_contact.first_name,
                authorized_user_last_name=args.compliance_contact.last_name,
                pit_enabled=True,
                **policies,
                # Atlas takes the policy only when every cluster keeps it already. Only its support
                # can switch the policy off, so destroy leaves it.
                opts=pulumi.ResourceOptions.merge(
                    self._child(schedule), pulumi.ResourceOptions(retain_on_delete=True)
                ),
            )
        self.register_outputs({})


def _policies(args: AtlasBackupArgs) -> dict[str, Any]:
    """How often snapshots are taken and how long they are kept, for schedule and compliance policy alike.

    Atlas wants no rarer snapshot kept for less long than a more frequent one, and no window
    that exceeds the hourly ones; the app file's model sees to both.
    """
    retention = args.stack.app.backup.retention

    def item(interval: int, unit: str, value: int) -> dict[str, Any]:
        return {"frequency_interval": interval, "retention_unit": unit, "retention_value": value}

    return {
        "restore_window_days": args.restore_window_days,
        "policy_item_hourly": item(SNAPSHOT_HOURS, "days", args.restore_window_days),
        "policy_item_daily": item(1, "days", retention.daily_days),
        "policy_item_weeklies": [item(MONDAY, "weeks", retention.weekly_weeks)],
        "policy_item_monthlies": [item(FIRST_OF_MONTH, "months", retention.monthly_months)],
    }
