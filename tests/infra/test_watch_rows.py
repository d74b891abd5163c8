"""The stand-in's rows of alarms, dashboards and budgets, against a real endpoint."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from infra.estate import build
from sandbox.aws_plugin.budgets import BUDGET_ROWS
from sandbox.aws_plugin.cloudwatch import CLOUDWATCH_ROWS
from sandbox.aws_plugin.errors import StandInError
from sandbox.aws_plugin.events import EVENT_ROWS
from sandbox.aws_plugin.registry import RESOURCES
from sandbox.aws_plugin.settings import Aws
from sandbox.aws_plugin.sns import SNS_ROWS
from tests.infra.conftest import stack_config
from tests.infra.recording import ACCOUNT, CALLER, record
from tests.infra.rows import TAGS, Life, aws_with_default_tags, name
from tests.support.aws import start, stop

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:pulumi_aws.*")

ALARM = "aws:cloudwatch/metricAlarm:MetricAlarm"
DASHBOARD = "aws:cloudwatch/dashboard:Dashboard"
BUDGET = "aws:budgets/budget:Budget"


NOTIFY = {"alarmActions": ["arn:aws:sns:us-east-1:123456789012:a"], "okActions": [], "actionsEnabled": True}


def test_an_alarm_on_a_metric(life: Callable[..., Life], aws: Aws) -> None:
    alarm = life(
        ALARM,
        name=name(),
        alarmDescription="d",
        namespace="Steward",
        metricName="OplogGaps",
        dimensions={"App": "x", "Environment": "local"},
        statistic="Maximum",
        period=900,
        evaluationPeriods=3,
        datapointsToAlarm=3,
        comparisonOperator="GreaterThanThreshold",
        threshold=0,
        treatMissingData="breaching",
        tags=TAGS,
        **NOTIFY,
    )
    assert alarm.create()["arn"].endswith(f":alarm:{alarm.id}")
    alarm.update(threshold=1.5, dimensions={"App": "y"}, tags={"App": "y"}, alarmDescription="e")
    alarm.update(alarmActions=["arn:aws:sns:us-east-1:123456789012:b"], datapointsToAlarm=None)
    client = aws.client("cloudwatch")
    client.disable_alarm_actions(AlarmNames=[alarm.id])
    assert alarm.drift() == ["actionsEnabled"]
    client.put_metric_alarm(
        AlarmName=alarm.id, EvaluationPeriods=3, ComparisonOperator="GreaterThanThreshold", Threshold=9
    )
    assert {"threshold", "alarmActions", "metricName"} <= set(alarm.drift())
    alarm.delete()


def test_an_alarm_on_an_expression(life: Callable[..., Life]) -> None:
    metric = {"namespace": "AWS/S3", "metricName": "BucketSizeBytes", "period": 86400, "stat": "Average"}
    queries: list[dict[str, Any]] = [
        {"id": "m", "metric": {**metric, "dimensions": {"BucketName": "b", "StorageType": "s"}}},
        {"id": "e", "expression": "DIFF(m)", "label": "growth", "returnData": True},
    ]
    alarm = life(
        ALARM,
        name=name(),
        metricQueries=queries,
        evaluationPeriods=2,
        comparisonOperator="GreaterThanThreshold",
        threshold=50,
        region="eu-central-1",
    )
    assert alarm.create()["region"] == "eu-central-1"
    alarm.update(metricQueries=[queries[0], {**queries[1], "expression": "RATE(m)"}])
    alarm.delete()


def test_a_dashboard(life: Callable[..., Life], aws: Aws) -> None:
    dashboard = life(DASHBOARD, dashboardName=name(), dashboardBody=json.dumps({"widgets": []}))
    dashboard.create()
    dashboard.update(dashboardBody=json.dumps({"widgets": [], "start": "-P7D"}))
    aws.client("cloudwatch").put_dashboard(DashboardName=dashboard.id, DashboardBody='{"widgets": [{}]}')
    assert dashboard.drift()
    dashboard.delete()


def test_a_budget_is_replaced_and_never_changed(life: Callable[..., Life], aws: Aws) -> None:
    notification: dict[str, Any] = {
        "comparisonOperator": "GREATER_THAN",
        "notificationType": "ACTUAL",
        "threshold": 80,
        "thresholdType": "PERCENTAGE",
        "subscriberSnsTopicArns": ["arn:aws:sns:us-east-1:123456789012:a"],
    }
    budget = life(
        BUDGET,
        accountId="123456789012",
        name=name(),
        budgetType="COST",
        timeUnit="MONTHLY",
        limitAmount="50",
        limitUnit="USD",
        costFilters=[{"name": "TagKeyValue", "values": ["user:App$x"]}],
        notifications=[notification, {**notification, "threshold": 100}],
        tags=TAGS,
    )
    state = budget.create()
    (difference,) = budget.row.differences(aws, state, {**budget.inputs, "limitAmount": "60"})
    assert difference.kind.name == "UPDATE_REPLACE"
    with pytest.raises(StandInError, match="cannot change budget"):
        budget.row.update(aws, budget.id, state, budget.inputs)
    kept = {p: notification[n] for n, p in NOTIFICATION.items()}
    aws.client("budgets").delete_notification(
        AccountId="123456789012", BudgetName=budget.inputs["name"], Notification=kept
    )
    assert any(path.startswith("notifications") for path in budget.drift())
    budget.delete()


NOTIFICATION = {
    "comparisonOperator": "ComparisonOperator",
    "notificationType": "NotificationType",
    "threshold": "Threshold",
    "thresholdType": "ThresholdType",
}


@pytest.mark.usefixtures("mocked_pulumi")
def test_a_second_preview_of_all_that_a_local_stack_watches_with_is_empty(tmp_path: Path) -> None:
    """The resources as the program registers them, made, read and removed at an endpoint.

    At one of its own: other tests build the whole stack, under the same names, at the shared one.
    """
    process, endpoint = start(tmp_path)
    try:
        _live_through(aws_with_default_tags(endpoint))
    finally:
        stop(process)


def _live_through(aws: Aws) -> None:
    rows = (*SNS_ROWS, *EVENT_ROWS, *CLOUDWATCH_ROWS, *BUDGET_ROWS)
    types = {row.type_name for row in rows}
    stack = stack_config("kampyn")
    seen = record(stack, lambda: build(stack, ACCOUNT, CALLER))
    lives = [Life(aws, RESOURCES[r.type], r.inputs) for r in seen if r.type in types]
    assert {life.row.type_name for life in lives} == types
    for life in lives:
        life.create()
    for life in reversed(lives):
        life.delete()
