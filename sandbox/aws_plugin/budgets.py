"""``budgets.Budget``.

Where moto is less than AWS, and what the row makes of it: it cannot change a budget, so every
change replaces it (the genuine provider updates in place); it does not tell subscribers and
keeps no tags, so these are remembered, and a change of them outside of Pulumi goes unseen.
"""

from __future__ import annotations

from typing import Any

from botocore.exceptions import ClientError
from typing_extensions import override

from sandbox.aws_plugin import tags
from sandbox.aws_plugin.errors import StandInError, code
from sandbox.aws_plugin.resource import ResourceType
from sandbox.aws_plugin.settings import Aws
from sandbox.aws_plugin.values import Plain, Properties

GONE = "NotFoundException"

#: Arguments of a notification and of the API; subscribers left out.
_NOTIFICATION = {
    "comparisonOperator": "ComparisonOperator",
    "notificationType": "NotificationType",
    "threshold": "Threshold",
    "thresholdType": "ThresholdType",
}
_SUBSCRIBERS = {"subscriberSnsTopicArns": "SNS", "subscriberEmailAddresses": "EMAIL"}


class Budget(ResourceType):
    """A budget with a fixed limit; the id is ``<account>:<name>``. moto sends no notification."""

    type_name = "aws:budgets/budget:Budget"
    carried = frozenset(
        {
            "accountId",
            "budgetType",
            "costFilters",
            "limitAmount",
            "limitUnit",
            "name",
            "notifications",
            "tags",
            "timeUnit",
        }
    )
    replaces = carried
    computed = frozenset({"accountId"})
    remembered = frozenset({"tags"})
    made = frozenset({"arn", "tagsAll"})
    named_by = "name"

    @override
    def identify(self, aws: Aws, inputs: Properties) -> str:
        return f"{inputs.get('accountId') or aws.identity()['accountId']}:{inputs['name']}"

    @override
    def create(self, aws: Aws, inputs: Properties) -> str:
        resource_id = self.identify(aws, inputs)
        budget = {
            "BudgetName": inputs["name"],
            "BudgetType": inputs["budgetType"],
            "TimeUnit": inputs["timeUnit"],
            "BudgetLimit": {"Amount": inputs["limitAmount"], "Unit": inputs["limitUnit"]},
            "CostFilters": {f["name"]: f["values"] for f in inputs.get("costFilters") or []},
        }
        aws.client("budgets").create_budget(
            AccountId=resource_id.partition(":")[0],
            Budget=budget,
            NotificationsWithSubscribers=[_write(n) for n in inputs.get("notifications") or []],
            ResourceTags=tags.pairs(aws.all_tags(inputs.get("tags"))),
        )
        return resource_id

    @override
    def read(self, aws: Aws, resource_id: str, known: Properties) -> Properties | None:
        account, _, name = resource_id.partition(":")
        budgets = aws.client("budgets")
        try:
            budget = budgets.describe_budget(AccountId=account, BudgetName=name)["Budget"]
            found = budgets.describe_notifications_for_budget(AccountId=account, BudgetName=name)
        except ClientError as error:
            if code(error) == GONE:
                return None
            raise
        return {
            **self.remember(known),
            "accountId": account,
            "arn": f"arn:aws:budgets::{account}:budget/{name}",
            "name": name,
            "budgetType": budget["BudgetType"],
            "timeUnit": budget["TimeUnit"],
            "limitAmount": budget["BudgetLimit"]["Amount"],
            "limitUnit": budget["BudgetLimit"]["Unit"],
            "costFilters": [
                {"name": name, "values": values} for name, values in budget.get("CostFilters", {}).items()
            ],
            "notifications": [
                _with_subscribers(n, known.get("notifications")) for n in found["Notifications"]
            ],
            "tagsAll": aws.all_tags(known.get("tags")),
        }

    @override
    def update(self, aws: Aws, resource_id: str, state: Properties, inputs: Properties) -> None:
        raise StandInError(f"the AWS endpoint cannot change budget {inputs['name']}; destroy and build it")

    @override
    def delete(self, aws: Aws, resource_id: str, state: Properties) -> None:
        account, _, name = resource_id.partition(":")
        try:
            aws.client("budgets").delete_budget(AccountId=account, BudgetName=name)
        except ClientError as error:
            if code(error) != GONE:
                raise


def _write(notification: Plain) -> dict[str, Any]:
    return {
        "Notification": {p: notification[name] for name, p in _NOTIFICATION.items()},
        "Subscribers": [
            {"SubscriptionType": kind, "Address": address}
            for name, kind in _SUBSCRIBERS.items()
            for address in notification.get(name) or []
        ],
    }


def _with_subscribers(found: dict[str, Any], known: Plain) -> Properties:
    """A notification as the endpoint has it, with the subscribers it was given."""
    own: Properties = {name: found[parameter] for name, parameter in _NOTIFICATION.items()}
    same: Properties = next((k for k in known or [] if all(k[name] == own[name] for name in own)), {})
    return {**own, **{name: same[name] for name in _SUBSCRIBERS if same.get(name)}}


BUDGET_ROWS: tuple[ResourceType, ...] = (Budget(),)
