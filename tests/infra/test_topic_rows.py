"""The stand-in's rows of topics and events, against a real endpoint."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from sandbox.aws_plugin.errors import StandInError
from sandbox.aws_plugin.settings import Aws
from tests.infra.rows import TAGS, Life, name

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:pulumi_aws.*")

TOPIC = "aws:sns/topic:Topic"
TOPIC_POLICY = "aws:sns/topicPolicy:TopicPolicy"
SUBSCRIPTION = "aws:sns/topicSubscription:TopicSubscription"
RULE = "aws:cloudwatch/eventRule:EventRule"
TARGET = "aws:cloudwatch/eventTarget:EventTarget"


def test_a_topic(life: Callable[..., Life], aws: Aws) -> None:
    topic = life(TOPIC, name=name(), kmsMasterKeyId="alias/a", signatureVersion=2, tags=TAGS)
    state = topic.create()
    assert state["arn"].endswith(f":{topic.inputs['name']}")
    assert state["tags"] == TAGS
    assert state["tagsAll"] == {**TAGS, "Team": "t"}
    topic.update(kmsMasterKeyId="alias/b", displayName="Critical", tags={"App": "y"})
    client = aws.client("sns")
    assert client.get_topic_attributes(TopicArn=topic.id)["Attributes"]["KmsMasterKeyId"] == "alias/b"
    topic.update(displayName=None)
    client.set_topic_attributes(TopicArn=topic.id, AttributeName="KmsMasterKeyId", AttributeValue="alias/z")
    assert topic.drift() == ["kmsMasterKeyId"]
    client.tag_resource(ResourceArn=topic.id, Tags=[{"Key": "More", "Value": "1"}])
    assert "tags.More" in topic.drift()
    topic.delete()


def test_a_topic_in_another_region(life: Callable[..., Life], aws: Aws) -> None:
    topic = life(TOPIC, name=name(), region="eu-central-1")
    assert topic.create()["region"] == "eu-central-1"
    assert topic.id.startswith("arn:aws:sns:eu-central-1:")
    subscription = life(
        SUBSCRIPTION, topic=topic.id, protocol="email", endpoint="a@b.example", region="eu-central-1"
    )
    subscription.create()
    subscription.delete()
    topic.delete()


def policy(topic: str, *actions: str) -> str:
    statement = {"Effect": "Allow", "Principal": "*", "Action": list(actions), "Resource": topic}
    return json.dumps({"Version": "2012-10-17", "Statement": [statement]})


def test_the_policy_of_a_topic(life: Callable[..., Life], aws: Aws) -> None:
    topic = life(TOPIC, name=name())
    topic.create()
    own = life(TOPIC_POLICY, arn=topic.id, policy=policy(topic.id, "sns:Publish"))
    own.create()
    own.update(policy=policy(topic.id, "sns:Publish", "sns:Subscribe"))
    aws.client("sns").set_topic_attributes(
        TopicArn=topic.id, AttributeName="Policy", AttributeValue=policy(topic.id, "sns:DeleteTopic")
    )
    assert own.drift() == ["policy"]
    own.delete()
    assert topic.state() is not None
    topic.delete()
    assert own.state() is None


def test_a_subscription(life: Callable[..., Life], aws: Aws) -> None:
    topic = life(TOPIC, name=name())
    topic.create()
    subscription = life(SUBSCRIPTION, topic=topic.id, protocol="email", endpoint="a@b.example")
    state = subscription.create()
    assert state["pendingConfirmation"] is False
    changed = {**subscription.inputs, "endpoint": "c@b.example"}
    (difference,) = subscription.row.differences(aws, state, changed)
    assert difference.kind.name == "UPDATE_REPLACE"
    subscription.delete()
    topic.delete()


PATTERN = json.dumps({"source": ["aws.s3"], "detail": {"bucket": {"name": ["b"]}}})


def test_a_rule_and_its_target(life: Callable[..., Life], aws: Aws) -> None:
    rule = life(RULE, name=name(), description="d", eventPattern=PATTERN, tags=TAGS)
    assert rule.create()["state"] == "ENABLED"
    target = life(
        TARGET,
        rule=rule.id,
        targetId="topic",
        arn="arn:aws:sns:us-east-1:123456789012:t",
        inputTransformer={"inputPaths": {"when": "$.time"}, "inputTemplate": '"at <when>"'},
    )
    target.create()
    rule.update(eventPattern=json.dumps({"source": ["aws.kms"]}), description="e", tags={"App": "y"})
    assert target.drift() == [], "an update of the rule keeps its targets"
    target.update(inputTransformer={"inputPaths": {"who": "$.account"}, "inputTemplate": '"by <who>"'})
    events = aws.client("events")
    events.disable_rule(Name=rule.id)
    rule.inputs["state"] = "ENABLED"
    assert rule.drift() == ["state"]
    events.put_targets(Rule=rule.id, Targets=[{"Id": "topic", "Arn": "arn:aws:sns:us-east-1:123456789012:u"}])
    assert target.drift() == ["arn", "inputTransformer"]
    state = rule.state()
    assert state is not None
    with pytest.raises(StandInError, match="still has targets"):
        rule.row.delete(aws, rule.id, state)
    target.delete()
    rule.delete()
    assert target.state() is None


def test_a_rule_by_schedule(life: Callable[..., Life]) -> None:
    rule = life(RULE, name=name(), scheduleExpression="rate(1 day)", state="DISABLED")
    rule.create()
    rule.update(scheduleExpression="rate(2 days)", state="ENABLED")
    rule.delete()
