"""Alarms reach somebody: from the alarm over its topic and that topic's key to a subscription.

Every link fails in silence on AWS: an alarm that may not publish, or whose service may not
use the topic's key, changes its state and tells nobody.
"""

from __future__ import annotations

from collections.abc import Iterator

from infra.policy.model import UNKNOWN, Resource, Rule, Stack, Violation
from infra.policy.statements import KEY, KEY_POLICIES, TOPIC_POLICY, Statement, lets_service, statements_of

ALARMS = ("aws:cloudwatch/metricAlarm:MetricAlarm", "aws:cloudwatch/compositeAlarm:CompositeAlarm")
TOPIC = "aws:sns/topic:Topic"
SUBSCRIPTION = "aws:sns/topicSubscription:TopicSubscription"
EVENT_TARGET = "aws:cloudwatch/eventTarget:EventTarget"
EVENT_RULE = "aws:cloudwatch/eventRule:EventRule"
BUDGET = "aws:budgets/budget:Budget"
KEY_ALIAS = "aws:kms/alias:Alias"

CLOUDWATCH = "cloudwatch.amazonaws.com"
EVENTBRIDGE = "events.amazonaws.com"
BUDGETS = "budgets.amazonaws.com"

#: What a service needs of the key of an encrypted topic (SNS developer guide, "Key management").
KEY_USE = ("kms:Decrypt", "kms:GenerateDataKey")

ACTIONS = ("alarmActions", "okActions", "insufficientDataActions")


def _sns(value: object) -> bool:
    return value is UNKNOWN or (isinstance(value, str) and ":sns:" in value)


def senders(stack: Stack) -> Iterator[tuple[Resource, str, str, list[Resource]]]:
    """Whatever publishes to topics: the sender, its service, the value it names, the topics meant."""
    for alarm in stack.of(*ALARMS):
        for path in ACTIONS:
            yield from _named(stack, alarm, path, CLOUDWATCH, alarm.values(path))
    for target in stack.of(EVENT_TARGET):
        values = [v for v in target.values("arn") if _sns(v)]
        if target.get("arn") is not UNKNOWN or stack.referred(target, "arn", [TOPIC], "arn"):
            yield from _named(stack, target, "arn", EVENTBRIDGE, values)
    for budget in stack.of(BUDGET):
        for notification in budget.values("notifications"):
            given = notification.get("subscriberSnsTopicArns") if notification is not UNKNOWN else UNKNOWN
            values = [given] if given is UNKNOWN else list(given or [])
            yield from _named(stack, budget, "notifications", BUDGETS, values)


def _named(
    stack: Stack, sender: Resource, path: str, service: str, values: list[object]
) -> Iterator[tuple[Resource, str, str, list[Resource]]]:
    for value in values:
        if value is UNKNOWN:
            topics = stack.sources(sender, path, [TOPIC])
        else:
            topics = [t for t in stack.of(TOPIC) if t.get("arn") == value]
        yield sender, service, "a value of the update" if value is UNKNOWN else str(value), topics


def _alarms_act(stack: Stack) -> Iterator[Violation]:
    for alarm in stack.of(*ALARMS):
        if not alarm.values("alarmActions"):
            yield Violation(alarm, "has no action")
        if alarm.get("actionsEnabled") is False:
            yield Violation(alarm, "has its actions switched off")


def _lead_to_topics(stack: Stack) -> Iterator[Violation]:
    for sender, service, value, topics in senders(stack):
        if not topics:
            yield Violation(sender, f"tells {value}, which is no topic of this stack")
        elif service != BUDGETS:  # AWS Budgets is in no region
            region = _region(stack, sender)
            regions = [t.region for t in topics]
            if UNKNOWN not in (region, *regions) and region not in regions:
                yield Violation(sender, f"is in {region}, its topic in {topics[0].region}")


def _region(stack: Stack, sender: Resource) -> object:
    """Where a sender works; a target has no ARN of its own and works where its rule does."""
    if sender.type != EVENT_TARGET:
        return sender.region
    rules = stack.referred(sender, "rule", [EVENT_RULE], "name", "id")
    return rules[0].region if rules else sender.region


def _may_publish(stack: Stack) -> Iterator[Violation]:
    for sender, service, _, topics in senders(stack):
        for topic in topics:
            policies = [
                p for p in stack.of(TOPIC_POLICY) if topic in stack.referred(p, "arn", [TOPIC], "arn")
            ]
            if not policies:
                yield Violation(topic, "has no policy, so no service may publish to it")
            arn = topic.get("arn")
            for policy in policies:
                if policy.get("policy") is not UNKNOWN and not lets_service(
                    list(statements_of(policy)),
                    service,
                    "sns:Publish",
                    None if arn is UNKNOWN else arn,
                    _context(sender, topic),
                ):
                    yield Violation(policy, f"does not surely let {service} publish")


def _may_use_the_key(stack: Stack) -> Iterator[Violation]:
    for sender, service, _, topics in senders(stack):
        for topic in topics:
            context = _context(sender, topic)
            for key in keys_of(stack, topic):
                documents = _key_policy(stack, key)
                if documents is None:
                    continue
                lacking = [a for a in KEY_USE if not lets_service(documents, service, a, None, context)]
                if lacking:
                    yield Violation(key, f"does not surely let {service} do {' and '.join(lacking)}")


def keys_of(stack: Stack, topic: Resource) -> list[Resource]:
    """The keys of this stack that encrypt a topic."""
    keys = stack.referred(topic, "kmsMasterKeyId", [KEY], "arn", "keyId", "id")
    for alias in stack.referred(topic, "kmsMasterKeyId", [KEY_ALIAS], "name", "arn"):
        keys += stack.referred(alias, "targetKeyId", [KEY], "keyId", "arn", "id")
    return keys


def _key_policy(stack: Stack, key: Resource) -> list[Statement] | None:
    """The statements of a key's policy; ``None`` when a preview does not know them."""
    holders = [
        key,
        *(p for p in stack.of(*KEY_POLICIES) if key in stack.referred(p, "keyId", [KEY], "keyId", "arn")),
    ]
    if any(holder.get("policy") is UNKNOWN for holder in holders):
        return None
    return [statement for holder in holders for statement in statements_of(holder)]


def _context(sender: Resource, topic: Resource) -> dict[str, object]:
    """The condition keys that a service's request is known to have."""
    sent: dict[str, object] = {"aws:principalisawsservice": "true", "aws:securetransport": "true"}
    if sender.type == EVENT_TARGET:
        # EventBridge says for nobody it acts: any condition on that loses the message
        # (EventBridge user guide, "Troubleshooting").
        return sent
    arn = topic.get("arn")
    account = arn.split(":")[4] if isinstance(arn, str) and arn.count(":") > 4 else UNKNOWN
    source = sender.get("arn")
    if sender.type == BUDGET and account is not UNKNOWN:
        source = f"arn:aws:budgets::{account}:budget/{sender.get('name')}"
    return {**sent, "aws:sourceaccount": account, "aws:sourcearn": UNKNOWN if source is None else source}


def _subscribed(stack: Stack) -> Iterator[Violation]:
    subscribed = [
        topic.name
        for subscription in stack.of(SUBSCRIPTION)
        for topic in stack.referred(subscription, "topic", [TOPIC], "arn", "id")
    ]
    for topic in stack.of(TOPIC):
        if topic.name not in subscribed:
            yield Violation(topic, "has no subscription")


def _encrypted(stack: Stack) -> Iterator[Violation]:
    for topic in stack.of(TOPIC):
        if not keys_of(stack, topic):
            yield Violation(topic, "is not encrypted with a key of this stack")


RULES = (
    Rule(
        "alarm-acts",
        "Every alarm has an action, and its actions are on.",
        "An alarm without one changes its colour and tells nobody.",
        "pass alarm_actions with the topic of its severity",
        _alarms_act,
    ),
    Rule(
        "alarm-leads-to-a-topic",
        "Alarms, event targets and budgets lead to a topic of this stack in their own region.",
        "CloudWatch and EventBridge cannot publish in another region, and say nothing when they fail.",
        "take the topic of infra/components/topics.py for that region",
        _lead_to_topics,
    ),
    Rule(
        "topic-lets-its-senders-publish",
        "The policy of a topic lets every service publish that is told to.",
        "SNS refuses the message and the alarm only keeps the error in its history.",
        "add the service to the topic's policy, see infra/documents/alerts.py",
        _may_publish,
    ),
    Rule(
        "topic-key-lets-its-senders-in",
        "The key of a topic lets every service encrypt that publishes to it.",
        "Without kms:Decrypt and kms:GenerateDataKey* the message is lost in silence.",
        "add the service to the key's policy, see infra/documents/alerts.py",
        _may_use_the_key,
    ),
    Rule(
        "topic-encrypted",
        "Every topic is encrypted with a key of this stack.",
        "The key that AWS manages for SNS (alias/aws/sns) cannot let CloudWatch in.",
        "set kms_master_key_id to the key of the topics",
        _encrypted,
    ),
    Rule(
        "topic-subscribed",
        "Every topic has a subscription.",
        "Nobody would read what it is told.",
        "name contacts of that severity in the app file",
        _subscribed,
    ),
)
