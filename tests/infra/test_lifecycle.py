"""Lifecycle rules follow from the retention, for every retention there can be."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from infra import lifecycle
from infra.config import REPOSITORY
from steward import bucketlock
from steward.appfile import BACKUP_CLASSES, Retention, load
from tests.infra.conftest import APP_NAMES


@st.composite
def retentions(draw: st.DrawFn) -> Retention:
    daily = draw(st.integers(1, 3650))
    return Retention(
        daily_days=daily,
        weekly_weeks=draw(st.integers(1, 520)),
        monthly_months=draw(st.integers(1, 120)),
        oplog_days=draw(st.integers(daily, 3650)),
    )


def rules_of(retention: Retention) -> list[dict[str, Any]]:
    """The rules as plain dictionaries; the SDK's type allows Pulumi outputs in them."""
    return [dict(rule) for rule in lifecycle.lifecycle_rules(retention)]


def rules_by_id(retention: Retention) -> dict[str, Any]:
    rules = rules_of(retention)
    by_id = {rule["id"]: rule for rule in rules}
    assert len(by_id) == len(rules), "ids must be unique"
    return by_id


def simulate(retention: Retention, key: str) -> tuple[int, int]:
    """Day on which S3 hides an object, and day on which it removes it, by S3's reading of the rules."""
    matching = [r for r in rules_of(retention) if key.startswith(str(r["filter"]["prefix"]))]
    hidden = min(r["expiration"]["days"] for r in matching if "days" in r.get("expiration", {}))
    removed = min(
        r["noncurrent_version_expiration"]["noncurrent_days"]
        for r in matching
        if "noncurrent_version_expiration" in r
    )
    return hidden, hidden + removed


@given(retentions())
def test_effective_retention_is_what_the_rules_do(retention: Retention) -> None:
    effective = lifecycle.effective_retention(retention)
    assert set(effective) == set(BACKUP_CLASSES)
    for backup_class, expected in effective.items():
        hidden, removed = simulate(retention, f"{backup_class}/20260101T000000Z-abcdef/manifest.json")
        assert (hidden, removed) == (expected.visible_days, expected.removed_after_days)
        assert hidden == expected.locked_days == retention.keep_days(backup_class)
        assert removed > hidden, "a mistaken delete must leave time to undo it"


@given(retentions())
def test_evidence_is_kept_as_long_as_a_monthly_backup(retention: Retention) -> None:
    monthly = simulate(retention, "monthly/20260101T000000Z-abcdef/manifest.json")
    assert simulate(retention, "evidence/20260101T000000Z-abcdef/evidence.json") == monthly


@given(retentions())
def test_what_s3_refuses_is_never_written(retention: Retention) -> None:
    for rule in rules_of(retention):
        assert "prefix" in rule["filter"], "a rule without a filter is refused"
        expiration = rule.get("expiration", {})
        assert not {"days", "expired_object_delete_marker"} <= set(expiration)
        for days in (
            expiration.get("days", 1),
            rule.get("noncurrent_version_expiration", {}).get("noncurrent_days", 1),
            rule.get("abort_incomplete_multipart_upload", {}).get("days_after_initiation", 1),
        ):
            assert isinstance(days, int)
            assert days >= 1


@given(retentions())
def test_markers_and_unfinished_uploads_are_cleaned_everywhere(retention: Retention) -> None:
    rules = rules_by_id(retention)
    markers = [r for r in rules.values() if r.get("expiration", {}).get("expired_object_delete_marker")]
    aborts = [r for r in rules.values() if "abort_incomplete_multipart_upload" in r]
    assert [r["filter"]["prefix"] for r in markers] == [""]
    assert [r["filter"]["prefix"] for r in aborts] == [""]


@given(retentions())
def test_a_lock_never_holds_an_expired_backup(retention: Retention) -> None:
    lock = lifecycle.default_lock_days(retention)
    effective = lifecycle.effective_retention(retention)
    assert lock == min(e.visible_days for e in effective.values())
    for backup_class in BACKUP_CLASSES:
        assert lock <= effective[backup_class].visible_days
        assert retention.keep_days(backup_class) < effective[backup_class].removed_after_days
        assert retention.keep_days(backup_class) < lifecycle.longest_lock_days(retention)


@given(retentions())
def test_versions_of_the_hosts_locks_go_as_soon_as_the_bucket_lets_them(retention: Retention) -> None:
    hidden, removed = simulate(retention, f"{bucketlock.PREFIX}full.json")
    assert hidden == lifecycle.default_lock_days(retention)
    assert removed == hidden + lifecycle.NONCURRENT_DAYS


def test_no_prefix_holds_another() -> None:
    prefixes = lifecycle.host_prefixes()
    assert len(prefixes) == len(set(prefixes)) == len(BACKUP_CLASSES) + 2
    assert bucketlock.PREFIX in prefixes
    assert all(a == b or not a.startswith(b) for a in prefixes for b in prefixes)


@pytest.mark.parametrize("app", APP_NAMES)
def test_unfinished_uploads_are_older_than_any_running_backup(app: str) -> None:
    full = load(REPOSITORY / "apps" / f"{app}.yml").backup.full
    assert full.timeout_minutes < lifecycle.ABORT_UPLOAD_DAYS * 24 * 60
