"""What a stack tells its hosts about limits: what they can read, and what its own alarms go by."""

from __future__ import annotations

import pytest

from infra.watch.recoverability import age_alarms, limits, recoverability
from steward.config import LimitSettings
from tests.infra.conftest import APP_NAMES, stack_config


@pytest.mark.parametrize("app", APP_NAMES)
def test_hosts_judge_by_the_limits_of_the_alarms(app: str) -> None:
    stack = stack_config(app, "production")
    told = LimitSettings.model_validate(limits(stack.app.backup))
    ages = age_alarms(stack)
    assert told.backup_age_seconds.model_dump() == {c: alarm.threshold for c, alarm in ages.items()}
    thresholds = {alarm.name: alarm.threshold for alarm in recoverability(stack, ages["daily"])[0]}
    assert told.recoverable_lag_seconds == thresholds["recoverable-lag"]
    assert told.drill_age_seconds == thresholds["drill-age"]
    assert thresholds["oplog-gaps"] == 0, "as steward.backup.status has it"
