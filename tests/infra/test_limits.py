"""What a stack tells its hosts about limits: what they can read, and what its own alarms go by."""

from __future__ import annotations

import pytest

from infra.watch.recoverability import (
    age_alarms,
    lag_limit,
    limits,
    longest_healthy_lag,
    recoverability,
    verification,
)
from sandbox.settings import REPOSITORY
from steward.config import LimitSettings
from steward.restore.rates import DEFAULT, INDEX_SHARE
from tests.infra.conftest import APP_NAMES, stack_config


@pytest.mark.parametrize("app", APP_NAMES)
def test_hosts_judge_by_the_limits_of_the_alarms(app: str) -> None:
    stack = stack_config(app, "production")
    told = LimitSettings.model_validate(limits(stack.app.backup))
    ages = age_alarms(stack)
    assert told.backup_age_seconds.model_dump() == {c: alarm.threshold for c, alarm in ages.items()}
    alarms = (*recoverability(stack, ages["daily"])[0], *verification(stack))
    thresholds = {alarm.name: alarm.threshold for alarm in alarms}
    assert told.recoverable_lag_seconds == thresholds["recoverable-lag"]
    assert told.drill_age_seconds == thresholds["drill-age"]
    assert told.verify_age_seconds == thresholds["verify-age"]
    for name in ("oplog-gaps", "stored-damage"):
        assert thresholds[name] == 0, "as steward.backup.status has it"


@pytest.mark.parametrize("app", APP_NAMES)
def test_the_page_on_recovery_tells_the_figures_of_the_app_file(app: str) -> None:
    page = (REPOSITORY / "docs/recovery.md").read_text()
    backup = stack_config(app, "production").app.backup
    for row in (
        f"measured below | {backup.oplog.every_minutes * 60} + less than 10 |",
        f"takes all of `backup.oplog.timeout_minutes` ({backup.oplog.timeout_minutes}) |"
        f" {longest_healthy_lag(backup)} |",
        f"(`limits.recoverable_lag_seconds`) | {lag_limit(backup)} |",
    ):
        assert row in page, row


def test_the_page_on_recovery_tells_the_rates_of_an_estimate() -> None:
    page = " ".join((REPOSITORY / "docs/recovery.md").read_text().split())
    assert (
        f"({DEFAULT.check_mb_per_s:.0f} MB/s, {DEFAULT.load_mb_per_s:.0f} MB/s or"
        f" {DEFAULT.load_documents_per_s:,.0f} documents/s, {DEFAULT.replay_entries_per_s:,.0f} entries/s)"
    ) in page
    assert f"* {1 + INDEX_SHARE} + entries" in page
    check, load = 10_000 / DEFAULT.check_mb_per_s, 10_000_000 / DEFAULT.load_documents_per_s
    minutes = (check + load * (1 + INDEX_SHARE) + 100_000 / DEFAULT.replay_entries_per_s) / 60
    assert f"is estimated at {minutes:.0f} minutes" in page
