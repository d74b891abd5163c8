"""CloudWatch: all figures of one moment, put by one request."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from steward.awserrors import aws_errors
from steward.cloudwatch_names import NAMESPACE
from steward.config import CloudWatchSettings, Config
from steward.metrics.figures import Figure

CONNECT_TIMEOUT_S = 5
READ_TIMEOUT_S = 15
MAX_ATTEMPTS = 4

#: Error code -> what it means here. The two protocols of the service name it differently.
_DENIED = f"access denied; this host's identity lacks cloudwatch:PutMetricData for the namespace {NAMESPACE}"
_MEANING = {"AccessDenied": _DENIED, "AccessDeniedException": _DENIED}


def put(config: Config, settings: CloudWatchSettings, figures: Sequence[Figure], at: datetime) -> None:
    """Put the figures that have a value.

    One request, so a killed run has published everything or nothing. An attempt that is repeated has the
    same moment and values, which changes no maximum, minimum or average.

    Raises:
        StewardError: the service refused, or could not be reached in time.
    """
    import boto3
    from botocore.config import Config as BotoConfig

    login = config.storage.login
    where = f"CloudWatch at {settings.endpoint_url or settings.region}"
    with aws_errors(where, "cloudwatch", _MEANING):
        client = boto3.client(
            "cloudwatch",
            region_name=settings.region,
            endpoint_url=settings.endpoint_url,
            verify=str(settings.ca_file) if settings.ca_file else None,
            aws_access_key_id=login.access_key_id if login else None,
            aws_secret_access_key=login.secret_access_key.get_secret_value() if login else None,
            aws_session_token=(
                login.session_token.get_secret_value() if login and login.session_token else None
            ),
            config=BotoConfig(
                connect_timeout=CONNECT_TIMEOUT_S,
                read_timeout=READ_TIMEOUT_S,
                retries={"mode": "standard", "total_max_attempts": MAX_ATTEMPTS},
            ),
        )
        client.put_metric_data(
            Namespace=NAMESPACE,
            MetricData=[
                {
                    "MetricName": figure.name,
                    "Dimensions": [
                        {"Name": name, "Value": value}
                        for name, value in figure.dimensions(config.app, config.environment).items()
                    ],
                    "Timestamp": at,
                    "Value": figure.value,
                    "Unit": figure.unit,
                }
                for figure in figures
                if figure.value is not None
            ],
        )
