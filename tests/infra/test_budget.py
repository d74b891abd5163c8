"""The budget: the app file's limit, the backend's costs, and who hears of it."""

from __future__ import annotations

from typing import Any

import pulumi
import pytest

from infra.components.budget import Budget, BudgetArgs
from infra.severities import Severity
from sandbox.aws_plugin import schema
from tests.infra.conftest import APP_NAMES, stack_config
from tests.infra.recording import ACCOUNT, record

# The SDK warns about its own old classes when it is imported.
pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning:pulumi_aws.*"),
    pytest.mark.usefixtures("mocked_pulumi"),
]

BUDGET = "aws:budgets/budget:Budget"


def register(app: str) -> dict[str, Any]:
    stack = stack_config(app, "production")
    topics: dict[Severity, pulumi.Input[str]] = {
        "critical": "arn:critical",
        "warning": "arn:warning",
        "info": "arn:info",
    }
    seen = record(stack, lambda: Budget("b", BudgetArgs(stack, ACCOUNT, topics)))
    (budget,) = [r for r in seen if r.type == BUDGET]
    return budget.inputs


@pytest.mark.parametrize("app", APP_NAMES)
def test_limit_and_costs_are_the_backends(app: str) -> None:
    inputs = register(app)
    assert inputs["limitAmount"] == str(stack_config(app).app.cloud.monthly_budget_usd)
    assert (inputs["limitUnit"], inputs["timeUnit"], inputs["budgetType"]) == ("USD", "MONTHLY", "COST")
    assert inputs["costFilters"] == [{"name": "TagKeyValue", "values": [f"user:App${app}"]}]
    assert inputs["accountId"] == ACCOUNT
    assert inputs["tags"] == {"App": app, "Environment": "production", "ManagedBy": "pulumi"}


def test_who_is_told_when() -> None:
    told = {
        (n["threshold"], n["notificationType"]): n["subscriberSnsTopicArns"]
        for n in register("bitesbay")["notifications"]
    }
    assert told == {
        (80, "ACTUAL"): ["arn:warning"],
        (100, "FORECASTED"): ["arn:warning"],
        (100, "ACTUAL"): ["arn:critical", "arn:warning"],
    }
    assert {(n["comparisonOperator"], n["thresholdType"]) for n in register("bitesbay")["notifications"]} == {
        ("GREATER_THAN", "PERCENTAGE")
    }


def test_every_argument_is_one_of_the_sdk() -> None:
    assert not list(schema.check(schema.arguments_class(BUDGET), register("bitesbay")))
