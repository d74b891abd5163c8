"""steward.backup.status: a figure beside its limit."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from steward.backup.status import judge, text
from steward.cloudwatch_names import (
    BACKUP_AGE_SECONDS,
    DAMAGED_OBJECTS,
    DRILL_AGE_SECONDS,
    OPLOG_GAPS,
    RECOVERABLE_LAG_SECONDS,
    VERIFY_AGE_SECONDS,
)
from steward.config import AgeLimits, BackupClass, LimitSettings
from steward.metrics.figures import SERVED_BY, Figure

LIMITS = LimitSettings(
    backup_age_seconds=AgeLimits(daily=100, weekly=200, monthly=300),
    recoverable_lag_seconds=50,
    drill_age_seconds=400,
    verify_age_seconds=500,
)
KINDS: list[tuple[str, BackupClass | None, float]] = [
    (BACKUP_AGE_SECONDS, "daily", 100),
    (BACKUP_AGE_SECONDS, "weekly", 200),
    (BACKUP_AGE_SECONDS, "monthly", 300),
    (RECOVERABLE_LAG_SECONDS, None, 50),
    (OPLOG_GAPS, None, 0),
    (DRILL_AGE_SECONDS, None, 400),
    (VERIFY_AGE_SECONDS, None, 500),
    (DAMAGED_OBJECTS, None, 0),
]


def made(values: list[float | None]) -> list[Figure]:
    return [
        Figure(name, "Seconds" if limit else "Count", value, "nobody knows", backup_class)
        for (name, backup_class, limit), value in zip(KINDS, values, strict=True)
    ]


#: Limits and their neighbours come up often enough.
ONE = (
    st.none()
    | st.floats(0, 1000)
    | st.sampled_from([0.0, 0.5, 1.0, 50.0, 50.5, 100.0, 200.0, 300.0, 400.0, 500.0, 500.5])
)
VALUES = st.lists(ONE, min_size=len(KINDS), max_size=len(KINDS))


@given(VALUES)
def test_only_what_is_known_and_within_its_limit_is_met(values: list[float | None]) -> None:
    judged = judge(made(values), LIMITS)
    for one, value, (_, _, limit) in zip(judged, values, KINDS, strict=True):
        assert one.limit == limit
        assert one.met == (value is not None and value <= limit)
        document = one.to_json()
        assert (document["met"], document["limit"]) == (one.met, limit)
        assert document.get("value") == value
        assert ("reason" in document) == (value is None)
    assert text(judged).count("NOT MET") == sum(not one.met for one in judged)


def test_a_problem_says_what_how_much_and_the_limit() -> None:
    judged = judge(made([101, 200, None, 50, 1, 0, 501, 2]), LIMITS)
    assert [one.problem for one in judged if not one.met] == [
        "BackupAgeSeconds of class daily is 101, more than 100",
        "BackupAgeSeconds of class monthly: nobody knows",
        "OplogGaps is 1, more than 0",
        "VerifyAgeSeconds is 501, more than 500",
        "DamagedObjects is 2, more than 0",
    ]


def test_every_class_that_is_judged_has_a_limit() -> None:
    assert set(AgeLimits.model_fields) == set(SERVED_BY)
