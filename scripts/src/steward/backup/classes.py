"""Which class a full backup gets, and so how long it is kept."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta

from steward.config import BackupClass, RetentionDays


def choose_class(started_at: datetime, earlier: Iterable[datetime]) -> BackupClass:
    """Monthly for the first full of a month, weekly for the first of an ISO week, else daily.

    A month and a week are those of UTC. A full that is monthly is also the
    first of its week; it is kept longer than a weekly, so the week needs no other.

    Args:
        started_at: start of the backup to classify.
        earlier: start of every good full backup in the store.
    """
    now = started_at.astimezone(UTC)
    others = [moment.astimezone(UTC) for moment in earlier]
    if not any((m.year, m.month) == (now.year, now.month) for m in others):
        return "monthly"
    if not any(m.isocalendar()[:2] == now.isocalendar()[:2] for m in others):
        return "weekly"
    return "daily"


def retain_until(started_at: datetime, backup_class: BackupClass, retention: RetentionDays) -> datetime:
    """Until when nobody may delete a backup that starts now."""
    return started_at + timedelta(days=retention.of(backup_class))


def reason(backup_class: BackupClass, started_at: datetime) -> str:
    """Why a backup has its class, and so is kept as long as it is: the rule of :func:`choose_class`."""
    moment = started_at.astimezone(UTC)
    year, week, _ = moment.isocalendar()
    return {
        "monthly": f"first good full of {moment:%Y-%m}",
        "weekly": f"first good full of week {year}-W{week:02}",
        "daily": f"full of {moment:%Y-%m-%d}",
        "oplog": "restores to the second",
    }[backup_class]
