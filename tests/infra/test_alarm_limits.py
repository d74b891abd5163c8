"""Limits of time: no false alarm while jobs run on time, none that comes too late."""

from __future__ import annotations

import datetime as dt
import itertools
from functools import cache

import yaml
from hypothesis import given
from hypothesis import strategies as st

from infra.config import REPOSITORY
from infra.watch import DAY, HOUR
from infra.watch import recoverability as rec
from steward.appfile import Backup
from tests.infra.conftest import stack_config

#: A full that starts at 2:10 ends on its day.
minutes = st.integers(1, 24 * 60 - 130)
backups = st.builds(
    lambda full, every, slice_, drill: Backup.model_validate(
        {
            "full": {"hour": 2, "minute": 10, "timeout_minutes": full},
            "oplog": {"every_minutes": every, "timeout_minutes": slice_},
            "retention": {"daily_days": 7, "weekly_weeks": 4, "monthly_months": 6, "oplog_days": 8},
            "verify": {"whole_every_days": 31},
            # Where no full of any length reaches it.
            "drill": {"every_days": drill, "hour": 2, "minute": 9, "timeout_minutes": 1},
            "encryption": {"recipients": {}},
            "size_jump_percent": 50,
        }
    ),
    minutes,
    st.sampled_from([5, 6, 10, 12, 15, 20, 30, 60]),
    st.integers(1, 60),
    st.integers(1, 92),
)


@cache
def days_between(full_class: rec.FullClass) -> frozenset[int]:
    """Days from one full of a class to the next, over five years of nights; apart from the program.

    A full begins every night; the first of a month or of an ISO week counts for that class.
    """
    kept: dict[object, dt.date] = {}
    for day in (dt.date(2024, 1, 1) + dt.timedelta(n) for n in range(5 * 366)):
        group: dict[rec.FullClass, object] = {
            "daily": day,
            "weekly": day.isocalendar()[:2],
            "monthly": (day.year, day.month),
        }
        kept.setdefault(group[full_class], day)
    return frozenset((b - a).days for a, b in itertools.pairwise(sorted(kept.values())))


def worst_healthy_age(backup: Backup, full_class: rec.FullClass) -> int:
    """The age just before the next full is there: that one starts late and takes all its time."""
    return max(days_between(full_class)) * DAY + rec.FULL_JITTER + backup.full.timeout_minutes * 60


@given(backups)
def test_limits_are_above_what_is_healthy_and_below_twice_that(backup: Backup) -> None:
    for full_class in rec.FULL_CLASSES:
        worst = worst_healthy_age(backup, full_class)
        assert worst < rec.age_limit(backup, full_class) < 2 * worst
    lag = backup.oplog.every_minutes * 60 + backup.oplog.timeout_minutes * 60
    assert lag < rec.lag_limit(backup) < 2 * lag
    drill = backup.drill.every_days * DAY + backup.full.timeout_minutes * 60
    assert drill < rec.drill_age_limit(backup) < 2 * drill


def role_default(name: str) -> int:
    defaults = yaml.safe_load((REPOSITORY / "roles/backup/defaults/main.yml").read_text(encoding="utf-8"))
    return int(defaults[name])


def test_the_limit_of_verification_allows_for_one_run_that_failed_and_for_no_second() -> None:
    """Worked out by hand: daily, 3 h at most."""
    run = role_default("backup_verify_timeout_minutes") * 60
    assert 2 * DAY + run < rec.verify_age_limit() < 3 * DAY
    assert rec.verify_age_limit() == 2 * DAY + 3 * HOUR + HOUR < 2 * (DAY + run)


def test_times_of_the_role_backup_are_those_that_limits_count_with() -> None:
    assert role_default("backup_full_jitter_seconds") == rec.FULL_JITTER
    assert role_default("backup_verify_timeout_minutes") * 60 == rec.VERIFY_TIMEOUT


@given(backups)
def test_a_failed_night_does_not_alarm_for_weekly_and_monthly_but_does_for_daily(backup: Backup) -> None:
    for full_class in ("weekly", "monthly"):
        assert worst_healthy_age(backup, full_class) + DAY < rec.age_limit(backup, full_class)
    assert worst_healthy_age(backup, "daily") + DAY > rec.age_limit(backup, "daily")


def test_the_limits_of_the_manuals_numbers() -> None:
    """Worked out by hand: full 6 h at most and 2 min jitter, slices hourly and 30 min at most."""
    backup = stack_config().app.backup
    assert rec.age_limit(backup, "daily") == 24 * HOUR + 120 + 6 * HOUR + HOUR
    assert rec.age_limit(backup, "weekly") == 8 * DAY + 120 + 6 * HOUR + HOUR
    assert rec.age_limit(backup, "monthly") == 32 * DAY + 120 + 6 * HOUR + HOUR
    assert rec.lag_limit(backup) == 90 * 60 + 45 * 60 + 90 * 60 // 4
    assert rec.drill_age_limit(backup) == 31 * DAY + 6 * HOUR + DAY + HOUR
