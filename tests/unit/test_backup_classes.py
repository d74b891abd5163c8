"""steward.backup.classes: monthly, weekly or daily."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

from hypothesis import given
from hypothesis import strategies as st

from steward.backup.classes import choose_class, reason, retain_until
from steward.config import BackupClass, RetentionDays

RETENTION = RetentionDays(daily=7, weekly=28, monthly=186, oplog=8)


def utc(*parts: int) -> datetime:
    return datetime(*parts, tzinfo=UTC)  # type: ignore[misc,arg-type]


def classes_of(starts: list[datetime]) -> list[BackupClass]:
    """The classes when each backup is taken after the ones before it."""
    return [choose_class(start, starts[:number]) for number, start in enumerate(starts)]


def test_the_first_weeks_of_a_store() -> None:
    days = [utc(2026, 11, 20, 2, 10) + timedelta(days=n) for n in range(13)]
    expected = ["monthly", "daily", "daily", "weekly"] + ["daily"] * 6 + ["weekly", "monthly", "daily"]
    # Friday 20 November; Mondays are the 23rd and 30th, 1 December a Tuesday.
    assert classes_of(days) == expected


def test_the_iso_week_of_new_year_is_one_week() -> None:
    """2026-12-28 .. 2027-01-03 is ISO week 53 of 2026."""
    earlier = [utc(2026, 12, 28), utc(2027, 1, 1)]
    assert choose_class(utc(2027, 1, 2), earlier) == "daily"
    assert choose_class(utc(2027, 1, 4), earlier) == "weekly"


def test_a_lost_monthly_is_made_again() -> None:
    assert choose_class(utc(2026, 11, 21), [utc(2026, 10, 31)]) == "monthly"


def test_the_month_is_that_of_utc() -> None:
    india = timezone(timedelta(hours=5, minutes=30))
    start = datetime(2026, 12, 1, 2, 10, tzinfo=india)  # still 30 November in UTC
    assert choose_class(start, [utc(2026, 11, 2), utc(2026, 11, 30, 1)]) == "daily"


def test_retention_follows_the_class() -> None:
    start = utc(2026, 11, 22, 2, 10)
    assert retain_until(start, "weekly", RETENTION) == utc(2026, 12, 20, 2, 10)


@given(st.lists(st.integers(0, 24 * 400), min_size=1, max_size=60, unique=True))
def test_every_month_has_one_monthly_and_every_week_a_long_kept_one(hours: list[int]) -> None:
    starts = [utc(2026, 1, 1) + timedelta(hours=h) for h in sorted(hours)]
    chosen = list(zip(starts, classes_of(starts), strict=True))
    months = [(s.year, s.month) for s, c in chosen if c == "monthly"]
    assert sorted(months) == sorted({(s.year, s.month) for s in starts})
    weeks = {s.isocalendar()[:2] for s, c in chosen if c in ("monthly", "weekly")}
    assert weeks == {s.isocalendar()[:2] for s in starts}
    weeklies = [s.isocalendar()[:2] for s, c in chosen if c == "weekly"]
    assert len(weeklies) == len(set(weeklies))


def test_the_reason_names_the_month_the_week_or_the_day() -> None:
    new_year = utc(2027, 1, 1, 2, 10)
    assert reason("monthly", new_year) == "first good full of 2027-01"
    assert reason("weekly", new_year) == "first good full of week 2026-W53"
    assert reason("daily", datetime(2027, 1, 2, 2, 0, tzinfo=timezone(timedelta(hours=5)))) == (
        "full of 2027-01-01"
    )
    assert reason("oplog", new_year) == "restores to the second"
