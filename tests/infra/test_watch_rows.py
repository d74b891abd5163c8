"""The stand-in's rows of topics, events, alarms, dashboards and budgets, against a real endpoint."""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

from sandbox.aws_plugin.errors import StandInError
from sandbox.aws_plugin.registry import RESOURCES
from sandbox.aws_plugin.resource import ResourceType
from sandbox.aws_plugin.settings import Aws
from tests.support.aws import AwsEndpoint

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:pulumi_aws.*")

TOPIC = "aws:sns/topic:Topic"
TOPIC_POLICY = "aws:sns/topicPolicy:TopicPolicy"
SUBSCRIPTION = "aws:sns/topicSubscription:TopicSubscription"
RULE = "aws:cloudwatch/eventRule:EventRule"
TARGET = "aws:cloudwatch/eventTarget:EventTarget"
ALARM = "aws:cloudwatch/metricAlarm:MetricAlarm"
DASHBOARD = "aws:cloudwatch/dashboard:Dashboard"
BUDGET = "aws:budgets/budget:Budget"
TAGS = {"App": "x", "Environment": "local"}


@pytest.fixture
def aws(aws_endpoint: AwsEndpoint) -> Aws:
    """The stand-in's settings for the endpoint, with default tags as a program may have."""
    services = ("sns", "events", "cloudwatch", "budgets", "sts")
    return Aws(
        {
            "region": "us-east-1",
            "accessKey": aws_endpoint.admin_access_key_id,
            "secretKey": aws_endpoint.admin_secret_access_key,
            "customCaBundle": str(aws_endpoint.bundle_file),
            "endpoints": [dict.fromkeys(services, aws_endpoint.https_url)],
            "defaultTags": {"tags": {"Team": "t"}},
        }
    )


@dataclass
class Life:
    """One resource from its creation on, as the engine would lead it."""

    aws: Aws
    row: ResourceType
    inputs: dict[str, Any]
    id: str = ""

    def create(self) -> dict[str, Any]:
        assert not list(self.row.check(self.inputs))
        self.id = self.row.create(self.aws, self.inputs)
        if self.row.named_by:
            assert self.row.identify(self.aws, self.inputs) == self.id
        return self.settled()

    def settled(self) -> dict[str, Any]:
        """The state, which a second preview finds equal to the arguments."""
        state = self.state()
        assert state is not None
        assert set(state) <= self.row.arguments | self.row.made
        assert self.drift() == []
        return state

    def state(self) -> dict[str, Any] | None:
        return self.row.read(self.aws, self.id, self.inputs)

    def drift(self) -> list[str]:
        """What an update would change now."""
        return [d.path for d in self.row.differences(self.aws, self.state() or {}, self.inputs)]

    def update(self, **changes: Any) -> dict[str, Any]:
        before = self.state()
        assert before is not None
        self.inputs = {k: v for k, v in {**self.inputs, **changes}.items() if v is not None}
        assert self.drift(), "the change would not be noticed"
        self.row.update(self.aws, self.id, before, self.inputs)
        return self.settled()

    def delete(self) -> None:
        state = self.state()
        assert state is not None
        # After a killed run the region is all that is known.
        self.row.delete(self.aws, self.id, {"region": state.get("region")})
        assert self.state() is None
        self.row.delete(self.aws, self.id, state)  # gone already is fine


@pytest.fixture
def live(aws: Aws) -> Callable[..., Life]:
    """Start the life of a resource."""

    def start(type_name: str, **inputs: Any) -> Life:
        return Life(aws, RESOURCES[type_name], inputs)

    return start


def name() -> str:
    return f"row-{secrets.token_hex(4)}"


def test_a_topic(live: Callable[..., Life], aws: Aws) -> None:
    topic = live(TOPIC, name=name(), kmsMasterKeyId="alias/a", signatureVersion=2, tags=TAGS)
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


def test_a_topic_in_another_region(live: Callable[..., Life], aws: Aws) -> None:
    topic = live(TOPIC, name=name(), region="eu-central-1")
    assert topic.create()["region"] == "eu-central-1"
    assert topic.id.startswith("arn:aws:sns:eu-central-1:")
    subscription = live(
        SUBSCRIPTION, topic=topic.id, protocol="email", endpoint="a@b.example", region="eu-central-1"
    )
    subscription.create()
    subscription.delete()
    topic.delete()


def policy(topic: str, *actions: str) -> str:
    statement = {"Effect": "Allow", "Principal": "*", "Action": list(actions), "Resource": topic}
    return json.dumps({"Version": "2012-10-17", "Statement": [statement]})


def test_the_policy_of_a_topic(live: Callable[..., Life], aws: Aws) -> None:
    topic = live(TOPIC, name=name())
    topic.create()
    own = live(TOPIC_POLICY, arn=topic.id, policy=policy(topic.id, "sns:Publish"))
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


def test_a_subscription(live: Callable[..., Life], aws: Aws) -> None:
    topic = live(TOPIC, name=name())
    topic.create()
    subscription = live(SUBSCRIPTION, topic=topic.id, protocol="email", endpoint="a@b.example")
    state = subscription.create()
    assert state["pendingConfirmation"] is False
    changed = {**subscription.inputs, "endpoint": "c@b.example"}
    (difference,) = subscription.row.differences(aws, state, changed)
    assert difference.kind.name == "UPDATE_REPLACE"
    subscription.delete()
    topic.delete()


PATTERN = json.dumps({"source": ["aws.s3"], "detail": {"bucket": {"name": ["b"]}}})


def test_a_rule_and_its_target(live: Callable[..., Life], aws: Aws) -> None:
    rule = live(RULE, name=name(), description="d", eventPattern=PATTERN, tags=TAGS)
    assert rule.create()["state"] == "ENABLED"
    target = live(
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


def test_a_rule_by_schedule(live: Callable[..., Life]) -> None:
    rule = live(RULE, name=name(), scheduleExpression="rate(1 day)", state="DISABLED")
    rule.create()
    rule.update(scheduleExpression="rate(2 days)", state="ENABLED")
    rule.delete()


NOTIFY = {"alarmActions": ["arn:aws:sns:us-east-1:123456789012:a"], "okActions": [], "actionsEnabled": True}


def test_an_alarm_on_a_metric(live: Callable[..., Life], aws: Aws) -> None:
    alarm = live(
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


def test_an_alarm_on_an_expression(live: Callable[..., Life]) -> None:
    metric = {"namespace": "AWS/S3", "metricName": "BucketSizeBytes", "period": 86400, "stat": "Average"}
    queries = [
        {"id": "m", "metric": {**metric, "dimensions": {"BucketName": "b", "StorageType": "s"}}},
        {"id": "e", "expression": "DIFF(m)", "label": "growth", "returnData": True},
    ]
    alarm = live(
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


def test_a_dashboard(live: Callable[..., Life], aws: Aws) -> None:
    dashboard = live(DASHBOARD, dashboardName=name(), dashboardBody=json.dumps({"widgets": []}))
    dashboard.create()
    dashboard.update(dashboardBody=json.dumps({"widgets": [], "start": "-P7D"}))
    aws.client("cloudwatch").put_dashboard(DashboardName=dashboard.id, DashboardBody='{"widgets": [{}]}')
    assert dashboard.drift()
    dashboard.delete()


def test_a_budget_is_replaced_and_never_changed(live: Callable[..., Life], aws: Aws) -> None:
    notification: dict[str, Any] = {
        "comparisonOperator": "GREATER_THAN",
        "notificationType": "ACTUAL",
        "threshold": 80,
        "thresholdType": "PERCENTAGE",
        "subscriberSnsTopicArns": ["arn:aws:sns:us-east-1:123456789012:a"],
    }
    budget = live(
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
