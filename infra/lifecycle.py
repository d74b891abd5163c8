"""Lifecycle rules of the buckets, from an app file's retention. No Pulumi at run time.

How S3 forgets a backup (Amazon S3 user guide, "Expiring objects" and "Managing
object lifecycle"):

1. ``expiration`` hides a current version behind a delete marker N days after it
   was written. A day counts in full: S3 rounds up to the next midnight UTC.
2. ``noncurrent_version_expiration`` removes the hidden version M days later, and
   never while its Object Lock holds.
3. A delete marker with nothing behind it is removed by a rule of its own: S3
   refuses ``days`` and ``expired_object_delete_marker`` in one rule.

Hence the space of a backup is free again N + M days after it was written.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from infra.documents.logs import ACCESS_PREFIX, INVENTORY_PREFIX
from steward.appfile import BACKUP_CLASSES, EVIDENCE_PREFIX, BackupClass, LogArchive, Logs, Retention

if TYPE_CHECKING:  # the SDK's own types, so that mypy finds a misspelled key
    from pulumi_aws.s3 import BucketLifecycleConfigurationRuleArgsDict as Rule

#: Days a hidden version stays recoverable after its expiry; 1 is the least S3 allows.
#: More is not needed: until its retention ends the Object Lock keeps every version.
NONCURRENT_DAYS = 1

#: Days after which the parts of an upload that never finished are removed. A backup
#: may run for a day at most (``timeout_minutes`` of the app file's model), so 2 cannot hit a live one.
ABORT_UPLOAD_DAYS = 2


@dataclass(frozen=True)
class EffectiveRetention:
    """What number, lock and rules amount to for one class of backups, in days after an object was written."""

    points: int
    """Restore points that exist at any instant: the newest N days, ISO weeks or months (UTC) that had
    a good full each still have one. Of the days, as many may fail within the kept ones as these are
    more than ``daily_days``; every further one costs a point. A weekly full also is the point of its
    day, a monthly one of its week and day. 0 for slices."""
    locked_days: int
    """Until then nobody deletes it, with GOVERNANCE but the break-glass role."""
    visible_days: int
    """Listed and restorable with ordinary commands until the midnight (UTC) that follows."""
    removed_after_days: int
    """From this day on S3 may free the space; before it the version can be recovered."""


#: Where hosts keep their locks (steward.bucketlock): a few versions an hour, of a few hundred bytes.
LOCK_PREFIX = "lock/"


def prefix(backup_class: BackupClass) -> str:
    """The key prefix of a class in the store."""
    return f"{backup_class}/"


def kept_days(retention: Retention) -> dict[str, int]:
    """Key prefixes of the backups and of what drills found of them -> days that these are kept."""
    days = {prefix(c): retention.keep_days(c) for c in BACKUP_CLASSES}
    # That a monthly backup was restored must be provable for as long as it is kept.
    return {**days, EVIDENCE_PREFIX: retention.keep_days("monthly")}


def host_prefixes() -> list[str]:
    """Every key prefix below which hosts put and read: the classes, the evidence of drills, the locks."""
    return [*(prefix(c) for c in BACKUP_CLASSES), EVIDENCE_PREFIX, LOCK_PREFIX]


def lifecycle_rules(retention: Retention) -> list[Rule]:
    """The rules of the whole bucket; ids are stable and sorted in the order of the classes."""
    kept = kept_days(retention).items()
    rules = [_expire(f"expire-{key.rstrip('/')}", key, days) for key, days in kept]
    # No version of a lock can go before the bucket's default Object Lock lets it.
    locks = _expire("expire-lock", LOCK_PREFIX, default_lock_days(retention))
    return [*rules, locks, *_housekeeping()]


def log_rules(logs: Logs) -> list[Rule]:
    """The rules of the bucket of access logs and inventories.

    Access logs say who touched a backup: they are kept as long as the application's own logs
    are in all, ``logs.archive.keep_days``. An inventory describes one day and the next replaces
    it: ``logs.keep_days``, as logs on a host.
    """
    kept = {ACCESS_PREFIX: logs.archive.keep_days, INVENTORY_PREFIX: logs.keep_days}
    return [*(_expire(f"expire-{p.rstrip('/')}", p, days) for p, days in kept.items()), *_housekeeping()]


def export_rules(retention: Retention) -> list[Rule]:
    """The rules of a bucket of monthly exports by another program: all of it as long as a monthly backup."""
    return [_expire("expire-exports", "", retention.keep_days("monthly")), *_housekeeping()]


def archive_rules(archive: LogArchive) -> list[Rule]:
    """The rules of the log archive: into cold storage at the next midnight, and out when the time is up.

    Hosts keep logs for 30 days themselves, so whatever arrives is cold. Objects below 128 KiB move
    as well, but not into GLACIER_IR, which bills each as 128 KiB (Amazon S3 user guide, "Transitioning
    objects using Amazon S3 Lifecycle").
    """
    rule = _expire("archive", "", archive.keep_days)
    return [{**rule, "transitions": [{"days": 0, "storage_class": archive.storage_class}]}, *_housekeeping()]


def trail_rules(logs: Logs) -> list[Rule]:
    """The rules of the audit trail's bucket: kept as long as access logs."""
    return [_expire("expire-trail", "", logs.archive.keep_days), *_housekeeping()]


def _expire(rule_id: str, key_prefix: str, days: int) -> Rule:
    return {
        "id": rule_id,
        "status": "Enabled",
        "filter": {"prefix": key_prefix},
        "expiration": {"days": days},
        "noncurrent_version_expiration": {"noncurrent_days": NONCURRENT_DAYS},
    }


def _housekeeping() -> list[Rule]:
    """What every bucket needs: no marker without a version, no upload that never ends."""
    return [
        {
            "id": "remove-delete-markers",
            "status": "Enabled",
            "filter": {"prefix": ""},
            "expiration": {"expired_object_delete_marker": True},
        },
        {
            "id": "abort-unfinished-uploads",
            "status": "Enabled",
            "filter": {"prefix": ""},
            "abort_incomplete_multipart_upload": {"days_after_initiation": ABORT_UPLOAD_DAYS},
        },
    ]


def effective_retention(retention: Retention) -> dict[BackupClass, EffectiveRetention]:
    """What a backup of each class can be counted on for.

    None of the daily points loses the slices after it, so each of them reaches to the present. A
    slice never outlives the full before it, also when that full's successor failed: daily
    fulls are kept longer than slices. (Each further failed day in a row leaves slices for a day
    that are of no use any more.)
    """
    points: dict[BackupClass, int] = {
        "daily": retention.daily_days,
        "weekly": retention.weekly_weeks,
        "monthly": retention.monthly_months,
        "oplog": 0,
    }
    return {
        backup_class: EffectiveRetention(points[backup_class], days, days, days + NONCURRENT_DAYS)
        for backup_class, days in retention.all_keep_days().items()
    }


def default_lock_days(retention: Retention) -> int:
    """The bucket's default Object Lock retention in days: that of the shortest class.

    It protects every object from its first byte; steward lengthens it for the
    other classes by a retain-until of each object.
    """
    return min(retention.all_keep_days().values())


def longest_lock_days(retention: Retention) -> int:
    """The longest lock a host may ask for, in days.

    One day more than the longest class, since a retain-until is rounded up by S3 to whole days.
    """
    return max(retention.all_keep_days().values()) + 1
