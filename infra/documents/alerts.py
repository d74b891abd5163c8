"""Policies of the topics that alerts go to, and of their key.

Which guard a service's statement may have is a fact of that service. CloudWatch and Budgets say
for whose account they act, so theirs are bound to it. EventBridge says nothing of the kind when
it publishes: with any condition its statement never allows, and the message is lost without an
error (EventBridge user guide, "Troubleshooting": no Condition in a topic's policy).
"""

from __future__ import annotations

from typing import Any

from infra.documents import Document, Statement, allow, deny, document

CLOUDWATCH = "cloudwatch.amazonaws.com"
BUDGETS = "budgets.amazonaws.com"
EVENTBRIDGE = "events.amazonaws.com"

#: What a publisher needs of a topic's key (SNS developer guide, "Key management").
PUBLISHER_KEY_ACTIONS = ("kms:Decrypt", "kms:GenerateDataKey*")


def topic_policy(*, topic_arn: str, account_id: str) -> Document:
    """Who may publish to a topic: CloudWatch's alarms, budgets and event rules, over TLS.

    The account's own identities need no statement: their IAM policies decide.

    Args:
        topic_arn: the topic.
        account_id: the account of the alarms and budgets.
    """
    return document(
        [
            *_of_every_publisher("Publish", ("sns:Publish",), topic_arn, account_id),
            deny("RefusePlainHttp", "sns:Publish", topic_arn, {"Bool": {"aws:SecureTransport": "false"}}),
        ]
    )


def key_policy(*, account_id: str) -> Document:
    """The topics' key: administered by the account's IAM, used by the services that publish.

    Args:
        account_id: the account that owns the key.
    """
    return document(
        [
            allow(
                "AccountAdministers",
                ("kms:*",),
                "*",
                principal={"AWS": f"arn:aws:iam::{account_id}:root"},
            ),
            *_of_every_publisher("UseKey", PUBLISHER_KEY_ACTIONS, "*", account_id),
        ]
    )


def _of_every_publisher(
    verb: str, actions: tuple[str, ...], resource: str, account_id: str
) -> list[Statement]:
    own_account: dict[str, Any] = {"StringEquals": {"aws:SourceAccount": account_id}}
    guards = {
        "Alarms": (CLOUDWATCH, own_account),
        # The form the service's own documentation asks for (Cost Management user guide,
        # "Creating an Amazon SNS topic for budget notifications").
        "Budgets": (
            BUDGETS,
            {**own_account, "ArnLike": {"aws:SourceArn": f"arn:aws:budgets::{account_id}:*"}},
        ),
        "EventRules": (EVENTBRIDGE, None),
    }
    return [
        allow(f"{who}{verb}", actions, resource, guard, principal={"Service": service})
        for who, (service, guard) in guards.items()
    ]
