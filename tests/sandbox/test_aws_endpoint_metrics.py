"""PutMetricData at the AWS endpoint: one namespace can be granted and no other."""

from __future__ import annotations

import secrets
from datetime import UTC, datetime, timedelta

import pytest
from botocore.exceptions import ClientError

from tests.support.aws import AwsEndpoint, AwsUser, error_code


def publisher(endpoint: AwsEndpoint, namespace: str) -> AwsUser:
    statement = {
        "Effect": "Allow",
        "Action": "cloudwatch:PutMetricData",
        "Resource": "*",
        "Condition": {"StringEquals": {"cloudwatch:namespace": namespace}},
    }
    return endpoint.new_user({"Version": "2012-10-17", "Statement": [statement]}, "metrics")


def test_metrics_are_put_into_the_granted_namespace_only(aws_endpoint: AwsEndpoint) -> None:
    namespace = f"Test{secrets.token_hex(4)}"
    cloudwatch = publisher(aws_endpoint, namespace).client("cloudwatch")
    now = datetime.now(UTC)
    data = [{"MetricName": "Age", "Value": 7.5, "Unit": "Seconds", "Timestamp": now}]
    cloudwatch.put_metric_data(Namespace=namespace, MetricData=data)
    for other in (f"{namespace}2", namespace.lower()):
        with pytest.raises(ClientError) as caught:
            cloudwatch.put_metric_data(Namespace=other, MetricData=data)
        assert error_code(caught).startswith("AccessDenied")
    with pytest.raises(ClientError) as caught:
        cloudwatch.list_metrics(Namespace=namespace)
    assert error_code(caught).startswith("AccessDenied")
    found = aws_endpoint.client("cloudwatch").get_metric_statistics(
        Namespace=namespace,
        MetricName="Age",
        StartTime=now - timedelta(minutes=5),
        EndTime=now + timedelta(minutes=5),
        Period=60,
        Statistics=["Maximum", "SampleCount"],
    )["Datapoints"]
    assert [(p["Maximum"], p["SampleCount"]) for p in found] == [(7.5, 1.0)]
