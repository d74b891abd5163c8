"""The manual's promise over the years: every day's backups, with lifecycle and lock as S3 reads them.

A small model of S3, written from its user guide and not from our code: an expiry in days
counts from the moment an object was written and is rounded up to the next midnight UTC. The
classes are those that steward chooses.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from infra.config import REPOSITORY
from infra.lifecycle import effective_retention, lifecycle_rules, longest_lock_days
from steward import appbackup
from steward.appfile import BACKUP_CLASSES, AppFile, BackupClass, Retention, load
from steward.backup.classes import choose_class, retain_until
from steward.config import RetentionDays
from tests.infra.conftest import APP_NAMES

DAY = timedelta(days=1)
TWO_YEARS = 731


def expiry(written: datetime, days: int) -> datetime:
    """When S3 hides an object; a time on midnight itself is not rounded, which is the harder reading."""
    end = written + days * DAY
    midnight = end.replace(hour=0, minute=0, second=0, microsecond=0)
    return midnight if end == midnight else midnight + DAY


@dataclass(frozen=True)
class Stored:
    """A full or a slice in the store."""

    backup_class: BackupClass
    started: datetime
    expires: datetime
    locked_until: datetime

    @property
    def day(self) -> date:
        return self.started.date()

    @property
    def week(self) -> tuple[int, int]:
        found = self.started.isocalendar()
        return found.year, found.week

    @property
    def month(self) -> tuple[int, int]:
        return self.started.year, self.started.month


@dataclass
class Store:
    """Everything that was ever written, and the part of it that is still there."""

    retention: Retention
    good: list[Stored] = field(default_factory=list)
    """Every full, the expired ones too."""
    fulls: list[Stored] = field(default_factory=list)
    slices: list[tuple[Stored, Stored]] = field(default_factory=list)
    """Slices, each with the full it follows."""
    written: list[datetime] = field(default_factory=list)
    """When every slice was written, the expired ones too."""

    def __post_init__(self) -> None:
        rules: list[dict[str, Any]] = [dict(rule) for rule in lifecycle_rules(self.retention)]
        self.days = {r["filter"]["prefix"]: r["expiration"].get("days") for r in rules if "expiration" in r}
        self.lock_days = RetentionDays(**self.retention.all_keep_days())

    def write(self, backup_class: BackupClass, started: datetime) -> Stored:
        """Write an object as steward does, under the bucket's own rules."""
        expires = expiry(started, self.days[f"{backup_class}/"])
        return Stored(backup_class, started, expires, retain_until(started, backup_class, self.lock_days))

    def full(self, started: datetime) -> None:
        """A good full backup."""
        backup_class = choose_class(started, [f.started for f in self.fulls])
        stored = self.write(backup_class, started)
        self.good.append(stored)
        self.fulls.append(stored)

    def oplog(self, started: datetime) -> None:
        """A slice; there is none before the first full."""
        if self.good:
            self.slices.append((self.write("oplog", started), self.good[-1]))
            self.written.append(started)

    def expire(self, now: datetime) -> None:
        """What S3 does at a midnight."""
        self.fulls = [f for f in self.fulls if f.expires > now]
        self.slices = [(s, base) for s, base in self.slices if s.expires > now]


@dataclass(frozen=True)
class Plan:
    """When the jobs run."""

    begin: datetime
    days: int
    full_minute: Callable[[int], int | None]
    """Minute of a day's full, or ``None`` where it failed."""
    slice_minute: int = 5
    slices_a_day: int = 24


def midnights(retention: Retention, plan: Plan) -> Iterator[tuple[datetime, Store]]:
    """The store right after every midnight's expiry, the moment at which it holds least.

    Between two midnights nothing expires, so a promise that holds then holds at any instant.
    """
    store = Store(retention)
    for number in range(plan.days):
        midnight = plan.begin + number * DAY
        store.expire(midnight)
        yield midnight, store
        minute = plan.full_minute(number)
        jobs = [] if minute is None else [(minute, store.full)]
        step = 24 * 60 // plan.slices_a_day
        jobs += [(plan.slice_minute + step * i, store.oplog) for i in range(plan.slices_a_day)]
        for at, job in sorted(jobs, key=lambda pair: pair[0]):
            job(midnight + timedelta(minutes=at))


def check_points(store: Store) -> None:
    """The newest N days, weeks and months that had a good full still have one."""
    points = effective_retention(store.retention)
    days = sorted({f.day for f in store.good})[-points["daily"].points :]
    weeks = sorted({f.week for f in store.good})[-points["weekly"].points :]
    months = sorted({f.month for f in store.good})[-points["monthly"].points :]
    assert set(days) <= {f.day for f in store.fulls}
    assert set(weeks) <= {f.week for f in store.fulls if f.backup_class in ("weekly", "monthly")}
    assert set(months) <= {f.month for f in store.fulls if f.backup_class == "monthly"}


def check_recent(store: Store, now: datetime) -> None:
    """No full of the last N + 1 days is gone: one of these may have failed."""
    recent = {now.date() - i * DAY for i in range(1, store.retention.daily_days + 2)}
    assert {f.day for f in store.good} & recent == {f.day for f in store.fulls} & recent


def check_slices(store: Store) -> None:
    """Each of the daily points reaches to the present, and no slice outlives the full it follows."""
    gone = len(store.written) - len(store.slices)  # the oldest, for they expire in the order they came
    days = sorted({f.day for f in store.good})[-store.retention.daily_days :]
    for base in store.fulls:
        if base.day in days:
            assert bisect_right(store.written, base.started) >= gone, "a gap right after the full"
    for piece, base in store.slices[-24:]:
        assert piece.expires <= base.expires, "a slice without its full"


def check_locks(store: Store) -> None:
    """A lock ends before S3 frees the space, whatever the class."""
    effective = effective_retention(store.retention)
    for stored in (*store.fulls, *(s for s, _ in store.slices[-24:])):
        assert stored.locked_until <= stored.expires
        assert stored.locked_until - stored.started == effective[stored.backup_class].locked_days * DAY
    longest = max(e.removed_after_days for e in effective.values())
    assert longest_lock_days(store.retention) <= longest


def check(retention: Retention, plan: Plan) -> int:
    """Every promise at every midnight; returns how often full counts were reached."""
    reached = 0
    for now, store in midnights(retention, plan):
        check_points(store)
        check_recent(store, now)
        check_slices(store)
        check_locks(store)
        months = {f.month for f in store.fulls if f.backup_class == "monthly"}
        reached += len(months) >= retention.monthly_months
    return reached


def app_file(app: str) -> AppFile:
    return load(REPOSITORY / "apps" / f"{app}.yml")


@pytest.mark.parametrize("begin", [datetime(2027, 1, 1, tzinfo=UTC), datetime(2027, 7, 14, tzinfo=UTC)])
@pytest.mark.parametrize("app", APP_NAMES)
def test_two_years_without_a_failure(app: str, begin: datetime) -> None:
    full, retention = app_file(app).backup.full, app_file(app).backup.retention
    plan = Plan(begin, TWO_YEARS, lambda _: full.hour * 60 + full.minute)
    assert check(retention, plan) > TWO_YEARS - 190, "most of the time all six months are there"


@pytest.mark.parametrize("offset", range(8))
def test_two_years_with_a_failed_day_every_eight_and_late_starts(offset: int) -> None:
    backup = app_file("bitesbay").backup
    scheduled = backup.full.hour * 60 + backup.full.minute
    latest = 24 * 60 - backup.full.timeout_minutes

    def minute(day: int) -> int | None:
        if day % 8 == offset:
            return None
        return latest if day % 3 == 0 else scheduled

    plan = Plan(datetime(2027, 11, 3, tzinfo=UTC), TWO_YEARS, minute)
    assert check(backup.retention, plan) > TWO_YEARS - 200


@st.composite
def histories(draw: st.DrawFn) -> tuple[Retention, Plan]:
    """A retention, a year and a bit of jobs, and failed days as far apart as the promise asks."""
    daily = draw(st.integers(1, 9))
    retention = Retention(
        daily_days=daily,
        weekly_weeks=draw(st.integers(1, 5)),
        monthly_months=draw(st.integers(1, 7)),
        oplog_days=daily + draw(st.integers(0, 4)),
    )
    days = 300
    failed: set[int] = set()
    last = -daily
    for gap in draw(st.lists(st.integers(1, 40), max_size=20)):
        last += daily + gap
        failed.add(last)
    minutes = draw(st.lists(st.integers(1, 24 * 60 - 1), min_size=7, max_size=7))
    begin = datetime(2027, 1, 1, tzinfo=UTC) + draw(st.integers(0, 800)) * DAY
    plan = Plan(
        begin,
        days,
        lambda day: None if day in failed else minutes[day % len(minutes)],
        slice_minute=draw(st.integers(0, 59)),
        slices_a_day=4,
    )
    return retention, plan


@settings(max_examples=60)
@given(histories())
def test_any_retention_keeps_its_promise(history: tuple[Retention, Plan]) -> None:
    check(*history)


@pytest.mark.parametrize("failures", range(6))
def test_three_failed_days_cost_no_point_and_every_further_one_costs_one(failures: int) -> None:
    retention = Retention(daily_days=7, weekly_weeks=4, monthly_months=6, oplog_days=8)
    gone = set(range(100, 100 + failures))
    plan = Plan(datetime(2027, 1, 1, tzinfo=UTC), 140, lambda day: None if day in gone else 130)
    least = 7
    for _, store in midnights(retention, plan):
        days = sorted({f.day for f in store.good})[-7:]
        least = min(least, len(set(days) & {f.day for f in store.fulls}) if len(days) == 7 else 7)
    assert least == (7 if failures <= 3 else 10 - failures)


@pytest.mark.parametrize(
    ("name", "days", "failed", "broken"),
    [
        ("BASE_DAYS", 2, 30, None),
        ("BASE_DAYS", 1, None, None),
        ("BASE_DAYS", 1, 30, "a slice without its full"),
        ("BASE_DAYS", 0, None, "a slice without its full"),
        ("ALLOWANCE_DAYS", 0, None, None),
        ("ALLOWANCE_DAYS", 0, 30, "a gap right after the full"),
    ],
)
def test_every_day_of_the_allowances_is_needed(
    monkeypatch: pytest.MonkeyPatch, name: str, days: int, failed: int | None, broken: str | None
) -> None:
    """With one less of either, a failed day breaks the promise; with none of the second, every day does."""
    monkeypatch.setattr(appbackup, name, days)
    retention = Retention(daily_days=7, weekly_weeks=4, monthly_months=6, oplog_days=7)
    plan = Plan(datetime(2027, 1, 1, tzinfo=UTC), 60, lambda day: None if day == failed else 130)
    with pytest.raises(AssertionError, match=broken) if broken else nullcontext():
        check(retention, plan)


def test_every_class_has_a_rule_and_a_promise() -> None:
    for app in APP_NAMES:
        effective = effective_retention(app_file(app).backup.retention)
        assert {c: effective[c].points for c in BACKUP_CLASSES} == {
            "daily": 7,
            "weekly": 4,
            "monthly": 6,
            "oplog": 0,
        }
