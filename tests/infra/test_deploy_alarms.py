"""``steward deploy preflight`` asks CloudWatch for the alarms of one stack."""

from __future__ import annotations

import pytest

from steward.deploy.alarms import states
from steward.errors import StewardError
from tests.support.aws import REGION, AwsEndpoint


def ask(aws_endpoint: AwsEndpoint, monkeypatch: pytest.MonkeyPatch, key: str, secret: str) -> None:
    for name, value in {
        "AWS_ENDPOINT_URL": aws_endpoint.https_url,
        "AWS_ACCESS_KEY_ID": key,
        "AWS_SECRET_ACCESS_KEY": secret,
        "AWS_CA_BUNDLE": str(aws_endpoint.bundle_file),
    }.items():
        monkeypatch.setenv(name, value)


def test_alarms_of_this_stack_alone(aws_endpoint: AwsEndpoint, monkeypatch: pytest.MonkeyPatch) -> None:
    client = aws_endpoint.client("cloudwatch")
    common: dict[str, object] = {
        "ComparisonOperator": "GreaterThanThreshold", "EvaluationPeriods": 1, "Period": 300, "Threshold": 1.0,
        "MetricName": "BackupAgeSeconds", "Namespace": "Steward", "Statistic": "Maximum",
    }  # fmt: skip
    for name, actions in (("shop-local-age", True), ("shop-local-lag", False), ("shop-staging-age", True)):
        client.put_metric_alarm(AlarmName=name, ActionsEnabled=actions, **common)
    client.set_alarm_state(AlarmName="shop-local-age", StateValue="ALARM", StateReason="test")
    ask(aws_endpoint, monkeypatch, aws_endpoint.admin_access_key_id, aws_endpoint.admin_secret_access_key)
    found, silent = states("shop-local", REGION)
    assert set(found) == {"shop-local-age", "shop-local-lag"}
    assert found["shop-local-age"] == "ALARM"
    assert silent == ["shop-local-lag"]


def test_refusal_is_one_line(aws_endpoint: AwsEndpoint, monkeypatch: pytest.MonkeyPatch) -> None:
    ask(aws_endpoint, monkeypatch, "SANDBOXNOBODY", "x" * 40)
    with pytest.raises(StewardError, match=r"^CloudWatch in us-east-1: DescribeAlarms: "):
        states("shop-local", REGION)
