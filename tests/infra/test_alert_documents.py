"""The policies of topics and their key decide as they should, by an evaluator of IAM's rules."""

from __future__ import annotations

import pytest

from infra.documents import Document, alerts
from sandbox.aws_endpoint.policy import Result
from tests.infra.decisions import decision
from tests.infra.recording import ACCOUNT

OTHER = "210987654321"
TOPIC = f"arn:aws:sns:us-east-1:{ACCOUNT}:bitesbay-local-critical"
KEY = f"arn:aws:kms:us-east-1:{ACCOUNT}:key/k"
TOPIC_POLICY = alerts.topic_policy(topic_arn=TOPIC, account_id=ACCOUNT)
KEY_POLICY = alerts.key_policy(account_id=ACCOUNT)

#: What each service says about itself when it publishes.
ALARM = {"aws:sourceaccount": ACCOUNT, "aws:sourcearn": f"arn:aws:cloudwatch:us-east-1:{ACCOUNT}:alarm:a"}
BUDGET = {"aws:sourceaccount": ACCOUNT, "aws:sourcearn": f"arn:aws:budgets::{ACCOUNT}:budget/b"}


def decide(document: Document, service: str, action: str, resource: str, context: dict[str, str]) -> Result:
    """The decision on a call of a service, which has no identity policy."""
    values = {"aws:securetransport": "true", **context}
    return decision(
        f"Service:{service}",
        action,
        resource,
        values,
        account="",
        of_resource=document,
        resource_must_allow=True,
    )


CALLERS = [
    pytest.param(alerts.CLOUDWATCH, ALARM, id="alarm"),
    pytest.param(alerts.BUDGETS, BUDGET, id="budget"),
    pytest.param(alerts.EVENTBRIDGE, {}, id="event rule, which says nothing of itself"),
]


@pytest.mark.parametrize(("service", "context"), CALLERS)
def test_services_of_the_account_publish(service: str, context: dict[str, str]) -> None:
    assert decide(TOPIC_POLICY, service, "sns:Publish", TOPIC, context) is Result.ALLOWED
    for action in ("kms:Decrypt", "kms:GenerateDataKey", "kms:GenerateDataKeyWithoutPlaintext"):
        assert decide(KEY_POLICY, service, action, KEY, context) is Result.ALLOWED


@pytest.mark.parametrize(
    ("service", "context"),
    [
        (alerts.CLOUDWATCH, {**ALARM, "aws:sourceaccount": OTHER}),
        (alerts.CLOUDWATCH, {}),
        (alerts.BUDGETS, {**BUDGET, "aws:sourceaccount": OTHER}),
        (alerts.BUDGETS, {**BUDGET, "aws:sourcearn": f"arn:aws:budgets::{OTHER}:budget/b"}),
        ("s3.amazonaws.com", {"aws:sourceaccount": ACCOUNT}),
    ],
)
def test_other_accounts_and_services_do_not(service: str, context: dict[str, str]) -> None:
    assert decide(TOPIC_POLICY, service, "sns:Publish", TOPIC, context) is Result.NOT_ALLOWED
    assert decide(KEY_POLICY, service, "kms:GenerateDataKey", KEY, context) is Result.NOT_ALLOWED


@pytest.mark.parametrize(("service", "context"), CALLERS)
def test_services_do_nothing_but_publish(service: str, context: dict[str, str]) -> None:
    for action in ("sns:Subscribe", "sns:SetTopicAttributes", "sns:DeleteTopic"):
        assert decide(TOPIC_POLICY, service, action, TOPIC, context) is Result.NOT_ALLOWED
    for action in ("kms:Encrypt", "kms:PutKeyPolicy", "kms:ScheduleKeyDeletion"):
        assert decide(KEY_POLICY, service, action, KEY, context) is Result.NOT_ALLOWED
    assert decide(TOPIC_POLICY, service, "sns:Publish", f"{TOPIC}-2", context) is Result.NOT_ALLOWED


@pytest.mark.parametrize(("service", "context"), CALLERS)
def test_nobody_publishes_over_plain_http(service: str, context: dict[str, str]) -> None:
    plain = {**context, "aws:securetransport": "false"}
    assert decide(TOPIC_POLICY, service, "sns:Publish", TOPIC, plain) is Result.DENIED


@pytest.mark.parametrize("document", [TOPIC_POLICY, KEY_POLICY])
def test_documents_are_well_formed(document: Document) -> None:
    sids = [s["Sid"] for s in document["Statement"]]
    assert len(set(sids)) == len(sids)
    for statement in document["Statement"]:
        # Without a principal of its own an allowing statement would be open to the world.
        assert statement["Effect"] == "Deny" or set(statement["Principal"]) & {"AWS", "Service"}
        assert statement["Effect"] == "Deny" or "*" not in statement["Principal"].values()
