"""How Cloud Storage keeps the second copy, for every retention an app file can ask for."""

from __future__ import annotations

from typing import Any, cast

from hypothesis import given
from hypothesis import strategies as st

from infra import gcs_lifecycle
from infra.lifecycle import default_lock_days
from steward.appfile import BACKUP_CLASSES, Retention

DAY = 86_400

retentions = st.builds(
    Retention,
    daily_days=st.integers(1, 30),
    weekly_weeks=st.integers(1, 52),
    monthly_months=st.integers(1, 60),
    oplog_days=st.integers(30, 90),
)


def ages(retention: Retention) -> dict[str, int]:
    """Days after which each prefix is removed."""
    rules = cast("list[dict[str, Any]]", gcs_lifecycle.lifecycle_rules(retention))
    return {
        rule["condition"]["matches_prefixes"][0]: rule["condition"]["age"]
        for rule in rules
        if rule["action"]["type"] == "Delete"
    }


@given(retentions)
def test_every_class_is_removed_at_its_age(retention: Retention) -> None:
    kept = {f"{c}/": retention.keep_days(c) for c in BACKUP_CLASSES}
    assert ages(retention) == {**kept, "evidence/": retention.keep_days("monthly")}


@given(retentions)
def test_nothing_that_was_removed_is_copied_again(retention: Retention) -> None:
    window = gcs_lifecycle.copied_for_seconds(retention)
    assert 0 < window < min(ages(retention).values()) * DAY


@given(retentions)
def test_the_retention_policy_outlasts_no_class(retention: Retention) -> None:
    assert default_lock_days(retention) == min(ages(retention).values())
