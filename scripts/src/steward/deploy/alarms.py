"""The alarms of a stack, as CloudWatch has them now."""

from __future__ import annotations

from steward.awserrors import aws_errors

CONNECT_TIMEOUT_S = 10
READ_TIMEOUT_S = 30


def states(stack: str, region: str) -> tuple[dict[str, str], list[str]]:
    """Name -> state of every alarm of a stack, and those whose actions are switched off.

    With the credentials and the endpoint of whoever runs it (``AWS_PROFILE``, ``AWS_ENDPOINT_URL`` ...).

    Raises:
        StewardError: CloudWatch cannot be asked.
    """
    import boto3
    from botocore.config import Config

    with aws_errors(f"CloudWatch in {region}", "the environment", {}):
        client = boto3.session.Session().client(
            "cloudwatch",
            region_name=region,
            config=Config(
                connect_timeout=CONNECT_TIMEOUT_S,
                read_timeout=READ_TIMEOUT_S,
                retries={"mode": "standard", "total_max_attempts": 3},
            ),
        )
        found = [
            alarm
            for page in client.get_paginator("describe_alarms").paginate(AlarmNamePrefix=f"{stack}-")
            for alarm in page["MetricAlarms"]
        ]
    silent = [alarm["AlarmName"] for alarm in found if not alarm["ActionsEnabled"]]
    return {alarm["AlarmName"]: alarm["StateValue"] for alarm in found}, silent
