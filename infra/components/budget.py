"""What a stack may cost in a month, and who hears of it when it costs more."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import pulumi
import pulumi_aws as aws

from infra.components.component import Component
from infra.config import StackConfig
from infra.severities import Severity

if TYPE_CHECKING:
    from pulumi_aws.budgets import BudgetNotificationArgsDict as Notification

#: The tag that says whose costs these are. Budgets see it only once it is activated as a cost
#: allocation tag in the account that pays (Billing user guide), which no stack can do.
COST_TAG = "App"

#: Percent of the limit, of what was spent or will be at this pace, and who is told.
LEVELS: tuple[tuple[int, Literal["ACTUAL", "FORECASTED"], tuple[Severity, ...]], ...] = (
    (80, "ACTUAL", ("warning",)),
    (100, "FORECASTED", ("warning",)),
    (100, "ACTUAL", ("critical", "warning")),
)


@dataclass(frozen=True)
class BudgetArgs:
    """What the budget depends on."""

    stack: StackConfig
    account_id: str
    topics: Mapping[Severity, pulumi.Input[str]]
    """ARN by severity."""


class Budget(Component):
    """One monthly budget over the costs of the backend, of every environment in the account.

    The number of the app file is the backend's, and a filter by two tags would depend on whether
    Budgets joins them by "and" or by "or", which its reference does not say.
    """

    def __init__(self, name: str, args: BudgetArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("steward:alerts:Budget", name, opts)
        stack = args.stack
        aws.budgets.Budget(
            f"{name}-monthly",
            account_id=args.account_id,
            name=f"{stack.name}-monthly",
            budget_type="COST",
            time_unit="MONTHLY",
            limit_amount=str(stack.app.cloud.monthly_budget_usd),
            limit_unit="USD",
            cost_filters=[
                {
                    "name": "TagKeyValue",
                    # The tag's kind, its key, a dollar sign, its value (Budgets API reference).
                    "values": [f"user:{COST_TAG}${stack.tags[COST_TAG]}"],
                }
            ],
            notifications=[_notification(args, *level) for level in LEVELS],
            tags=stack.tags,
            opts=self._child(),
        )
        self.register_outputs({})


def _notification(
    args: BudgetArgs, percent: int, kind: Literal["ACTUAL", "FORECASTED"], severities: tuple[Severity, ...]
) -> Notification:
    return {
        "comparison_operator": "GREATER_THAN",
        "notification_type": kind,
        "threshold": percent,
        "threshold_type": "PERCENTAGE",
        "subscriber_sns_topic_arns": [args.topics[severity] for severity in severities],
    }
