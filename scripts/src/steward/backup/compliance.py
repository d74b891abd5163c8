"""Whether the promised points (7 days, 4 weeks, 6 months in both manuals) exist and can be restored. Pure.

A class is met when as many of its last periods have a restorable full as were promised, or as many as
there have been since the first backup. One more period is looked at than was promised: fulls are kept
so long that a night which failed costs no point.

The first backup is the oldest trace in the store: a backup, damaged or not, or the base that a drill
names in its evidence. A store from which all of it was taken looks young.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any

from steward.backup.catalog import Catalog
from steward.config import BackupClass, PromisedPoints
from steward.drill.evidence import Stored
from steward.manifest import Manifest, rfc3339
from steward.metrics.figures import SERVED_BY, stored_at
from steward.restore.chain import points

#: Periods without a full that the retention makes up for (``ALLOWANCE_DAYS`` of :mod:`steward.appbackup`).
ALLOWED_FAILURES = 1


@dataclass(frozen=True)
class Compliance:
    """One class. ``missing`` and ``points`` name periods: 2026-11-22, 2026-W47, 2026-11."""

    backup_class: BackupClass
    promised: int
    #: Less than promised while the system is young.
    expected: int
    #: Period -> id of the full that is its point, newest first.
    points: Mapping[str, str]
    #: Of the last periods, as many as were promised, those without a point, newest first.
    missing: tuple[str, ...]
    last_drilled: datetime | None

    @property
    def met(self) -> bool:
        """Every point that should be there is."""
        return len(self.points) >= self.expected

    def to_json(self) -> dict[str, Any]:
        """For ``--json``."""
        return {
            "class": self.backup_class,
            "promised": self.promised,
            "expected": self.expected,
            "met": self.met,
            "points": [{"period": period, "id": full} for period, full in self.points.items()],
            "missing": list(self.missing),
            "last_drilled": rfc3339(self.last_drilled) if self.last_drilled else None,
        }

    @property
    def problem(self) -> str:
        """Why it is not met."""
        gaps = f", without {', '.join(self.missing)}" if self.missing else ""
        return f"{self.backup_class} has {len(self.points)} of {self.expected}{gaps}"

    @property
    def text(self) -> str:
        """One line."""
        young = f" ({self.promised} once the system is older)" if self.expected < self.promised else ""
        drilled = f"{self.last_drilled:%Y-%m-%d %H:%M} UTC" if self.last_drilled else "never"
        gaps = f"; without a point: {', '.join(self.missing)}" if self.missing else ""
        return (
            f"{self.backup_class:8} {len(self.points):3} of {self.expected}{young}"
            f"  {'ok' if self.met else 'NOT MET'}  last drilled {drilled}{gaps}"
        )


def judge(
    catalog: Catalog, evidence: Iterable[Stored], promised: PromisedPoints, now: datetime
) -> list[Compliance]:
    """Every class, daily first.

    Args:
        now: the store's time.
    """
    drills = list(evidence)
    restorable = {point.base.id for point in points(catalog.intact)}
    past = [m for m in catalog.scan.manifests if m.started_at <= now]
    fulls = [m for m in past if m.kind == "full"]
    traces = [min(m.started_at, stored_at(catalog, m)) for m in fulls]
    traces += [_started(stored.evidence.base_id) for stored in drills]
    first = min(traces, default=None)
    return [_judge(c, fulls, restorable, drills, getattr(promised, c), first, now) for c in SERVED_BY]


def _judge(
    backup_class: BackupClass,
    fulls: list[Manifest],
    restorable: set[str],
    drills: list[Stored],
    promised: int,
    first: datetime | None,
    now: datetime,
) -> Compliance:
    serving = SERVED_BY[backup_class]
    # A monthly full of last spring is no point of this week, although it serves as one of its day.
    due = _due(backup_class, promised + ALLOWED_FAILURES, first, now)
    current = period(backup_class, now)
    own = [m for m in fulls if m.class_ in serving]
    found: dict[str, str] = {}
    for full in sorted(own, key=lambda m: (m.started_at, m.id), reverse=True):
        name = period(backup_class, full.started_at)
        if full.id in restorable and name in (current, *due):
            found.setdefault(name, full.id)
    # The current period's full may still come; once one was taken, it is owed like the others.
    taken = any(period(backup_class, m.started_at) == current for m in own)
    last = [current, *due] if taken or not due else due
    drilled = [
        s.at for s in drills if s.evidence.result == "proven" and s.evidence.base_class == backup_class
    ]
    return Compliance(
        backup_class,
        promised,
        expected=min(promised, len(last)),
        points=found,
        missing=tuple(p for p in last[:promised] if p not in found),
        last_drilled=max(drilled, default=None),
    )


def _due(backup_class: BackupClass, number: int, first: datetime | None, now: datetime) -> list[str]:
    """The last periods before the current one, newest first, not before the first backup."""
    due: list[str] = []
    day = now.astimezone(UTC).date()
    current = seen = _period(backup_class, day)
    begin = first.astimezone(UTC).date() if first else day
    while len(due) < number and day > begin:
        day -= timedelta(days=1)
        name = _period(backup_class, day)
        if name not in (current, seen):
            due.append(name)
        seen = name
    return due


def period(backup_class: BackupClass, moment: datetime) -> str:
    """The day, ISO week or month (UTC) of a moment."""
    return _period(backup_class, moment.astimezone(UTC).date())


def _period(backup_class: BackupClass, day: date) -> str:
    if backup_class == "monthly":
        return f"{day:%Y-%m}"
    if backup_class == "weekly":
        year, week, _ = day.isocalendar()
        return f"{year}-W{week:02}"
    return day.isoformat()


def _started(backup_id: str) -> datetime:
    """The time that an id begins with."""
    return datetime.strptime(backup_id[:16], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
