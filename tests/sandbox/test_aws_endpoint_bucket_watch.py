"""Access logging, inventories, events and the smallest moved object, at the endpoint."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from botocore.exceptions import ClientError

from sandbox.aws_endpoint.moto_backend import ACCOUNT
from tests.support.aws import REGION, AwsEndpoint, put_bucket_policy

PARTITIONED = {"PartitionedPrefix": {"PartitionDateSource": "EventTime"}}


def refusal(call: Callable[..., Any], **arguments: Any) -> str:
    """The error code of a call that must be refused."""
    with pytest.raises(ClientError) as caught:
        call(**arguments)
    return str(caught.value.response["Error"]["Code"])


def let_s3_write(endpoint: AwsEndpoint, target: str, source: str, **changes: Any) -> None:
    """The statements AWS asks for, beside a Deny, as every bucket of ours has."""
    statements = [
        {
            "Effect": "Deny",
            "Principal": "*",
            "Action": "s3:*",
            "Resource": [f"arn:aws:s3:::{target}/*"],
            "Condition": {"Bool": {"aws:SecureTransport": "false"}},
        }
    ]
    for service, prefix in (("logging.s3.amazonaws.com", "access"), ("s3.amazonaws.com", "inventory")):
        statements.append(
            {
                "Effect": "Allow",
                "Principal": {"Service": service},
                "Action": ["s3:PutObject"],
                "Resource": [f"arn:aws:s3:::{target}/{prefix}/*"],
                "Condition": {
                    "StringEquals": {"aws:SourceAccount": ACCOUNT},
                    "ArnLike": {"aws:SourceArn": [f"arn:aws:s3:::{source}"]},
                },
                **changes,
            }
        )
    put_bucket_policy(endpoint, target, *statements)


def logging(target: str, prefix: str = "access/") -> dict[str, Any]:
    return {
        "LoggingEnabled": {
            "TargetBucket": target,
            "TargetPrefix": prefix,
            "TargetObjectKeyFormat": PARTITIONED,
        }
    }


def inventory(target: str, **changes: Any) -> dict[str, Any]:
    return {
        "Id": "daily",
        "IsEnabled": True,
        "IncludedObjectVersions": "All",
        "Schedule": {"Frequency": "Daily"},
        "OptionalFields": ["Size"],
        "Destination": {
            "S3BucketDestination": {
                "AccountId": ACCOUNT,
                "Bucket": f"arn:aws:s3:::{target}",
                "Format": "CSV",
                "Prefix": "inventory",
            }
        },
        **changes,
    }


@pytest.fixture
def source(aws_endpoint: AwsEndpoint) -> str:
    """A bucket that is logged."""
    return aws_endpoint.new_bucket("source")


@pytest.fixture
def target(aws_endpoint: AwsEndpoint) -> str:
    """A bucket that nobody may write to yet."""
    return aws_endpoint.new_bucket("target")


def test_logging_is_kept_as_it_was_put(aws_endpoint: AwsEndpoint, source: str, target: str) -> None:
    s3 = aws_endpoint.client("s3")
    assert "LoggingEnabled" not in s3.get_bucket_logging(Bucket=source)
    let_s3_write(aws_endpoint, target, source)
    s3.put_bucket_logging(Bucket=source, BucketLoggingStatus=logging(target))
    kept = s3.get_bucket_logging(Bucket=source)["LoggingEnabled"]
    assert kept == logging(target)["LoggingEnabled"]
    s3.put_bucket_logging(Bucket=source, BucketLoggingStatus={})
    assert "LoggingEnabled" not in s3.get_bucket_logging(Bucket=source)


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({"Principal": {"Service": "cloudtrail.amazonaws.com"}}, id="another service"),
        pytest.param(
            {"Condition": {"StringEquals": {"aws:SourceAccount": "000000000001"}}}, id="another account"
        ),
        pytest.param({"Condition": {"ArnLike": {"aws:SourceArn": "arn:aws:s3:::x"}}}, id="another bucket"),
        pytest.param({"Effect": "Deny"}, id="refused"),
    ],
)
def test_a_target_that_s3_may_not_write_to_is_refused(
    aws_endpoint: AwsEndpoint, source: str, target: str, changes: dict[str, Any]
) -> None:
    s3 = aws_endpoint.client("s3")
    let_s3_write(aws_endpoint, target, source, **changes)
    put_logging: dict[str, Any] = {"Bucket": source, "BucketLoggingStatus": logging(target)}
    put_inventory = {"Bucket": source, "Id": "daily", "InventoryConfiguration": inventory(target)}
    assert refusal(s3.put_bucket_logging, **put_logging) == "InvalidTargetBucketForLogging"
    assert refusal(s3.put_bucket_inventory_configuration, **put_inventory) == "InvalidS3DestinationBucket"
    let_s3_write(aws_endpoint, target, source)
    s3.put_bucket_logging(**put_logging)
    s3.put_bucket_inventory_configuration(**put_inventory)


def test_a_target_elsewhere_or_nowhere_is_refused(
    aws_endpoint: AwsEndpoint, source: str, target: str
) -> None:
    s3 = aws_endpoint.client("s3")
    let_s3_write(aws_endpoint, target, source)

    def put(status: dict[str, Any]) -> str:
        return refusal(s3.put_bucket_logging, Bucket=source, BucketLoggingStatus=status)

    assert put(logging("no-such-bucket")) == "InvalidTargetBucketForLogging"
    assert put(logging(target, "other/")) == "InvalidTargetBucketForLogging"
    assert REGION != "eu-central-1"
    far = aws_endpoint.new_bucket("far", CreateBucketConfiguration={"LocationConstraint": "eu-central-1"})
    let_s3_write(aws_endpoint, far, source)
    assert put(logging(far)) == "CrossLocationLoggingProhibitted"


def test_inventories_are_kept_by_name_and_their_removal_spares_the_bucket(
    aws_endpoint: AwsEndpoint, source: str, target: str
) -> None:
    s3 = aws_endpoint.client("s3")
    let_s3_write(aws_endpoint, target, source)

    def names() -> list[str]:
        answer = s3.list_bucket_inventory_configurations(Bucket=source)
        return [c["Id"] for c in answer.get("InventoryConfigurationList", [])]

    assert names() == []
    for name, versions in (("daily", "All"), ("other", "Current")):
        document = inventory(target, Id=name, IncludedObjectVersions=versions)
        s3.put_bucket_inventory_configuration(Bucket=source, Id=name, InventoryConfiguration=document)
        kept = s3.get_bucket_inventory_configuration(Bucket=source, Id=name)["InventoryConfiguration"]
        assert kept == document
    assert names() == ["daily", "other"]
    wrong = {"Bucket": source, "Id": "daily", "InventoryConfiguration": inventory(target, Id="x")}
    assert refusal(s3.put_bucket_inventory_configuration, **wrong) == "IdMismatch"
    s3.delete_bucket_inventory_configuration(Bucket=source, Id="daily")
    assert names() == ["other"]
    for call in (s3.get_bucket_inventory_configuration, s3.delete_bucket_inventory_configuration):
        assert refusal(call, Bucket=source, Id="daily") == "NoSuchConfiguration"
    s3.head_bucket(Bucket=source)


def test_events_go_to_the_event_bus_only(aws_endpoint: AwsEndpoint, source: str) -> None:
    s3 = aws_endpoint.client("s3")

    def on() -> bool:
        return "EventBridgeConfiguration" in s3.get_bucket_notification_configuration(Bucket=source)

    def put(configuration: dict[str, Any]) -> None:
        s3.put_bucket_notification_configuration(Bucket=source, NotificationConfiguration=configuration)

    assert not on()
    put({"EventBridgeConfiguration": {}})
    assert on()
    topic = {"TopicArn": f"arn:aws:sns:{REGION}:{ACCOUNT}:t", "Events": ["s3:ObjectCreated:*"]}
    assert refusal(put, configuration={"TopicConfigurations": [topic]}) == "NotImplemented"
    assert on()
    s3.put_object(Bucket=source, Key="x", Body=b"x")
    put({})
    assert not on()


def test_the_smallest_moved_object_is_kept_with_the_lifecycle(aws_endpoint: AwsEndpoint, source: str) -> None:
    s3 = aws_endpoint.client("s3")
    rule = {"ID": "a", "Status": "Enabled", "Filter": {"Prefix": ""}, "Expiration": {"Days": 7}}

    def put(**size: str) -> None:
        s3.put_bucket_lifecycle_configuration(Bucket=source, LifecycleConfiguration={"Rules": [rule]}, **size)

    def kept() -> str:
        answer = s3.get_bucket_lifecycle_configuration(Bucket=source)
        assert answer["Rules"] == [rule]
        return str(answer["TransitionDefaultMinimumObjectSize"])

    put()
    assert kept() == "all_storage_classes_128K"
    put(TransitionDefaultMinimumObjectSize="varies_by_storage_class")
    assert kept() == "varies_by_storage_class"
    assert refusal(put, TransitionDefaultMinimumObjectSize="any") == "InvalidRequest"
    assert kept() == "varies_by_storage_class"
    put()
    assert kept() == "all_storage_classes_128K"


def test_a_new_bucket_of_the_same_name_has_none_of_it(aws_endpoint: AwsEndpoint, source: str) -> None:
    s3 = aws_endpoint.client("s3")
    s3.put_bucket_notification_configuration(
        Bucket=source, NotificationConfiguration={"EventBridgeConfiguration": {}}
    )
    s3.delete_bucket(Bucket=source)
    s3.create_bucket(Bucket=source)
    assert "EventBridgeConfiguration" not in s3.get_bucket_notification_configuration(Bucket=source)


def test_the_settings_need_permission(aws_endpoint: AwsEndpoint, source: str) -> None:
    user = aws_endpoint.new_user().client("s3")
    assert refusal(user.get_bucket_logging, Bucket=source) == "AccessDenied"
    assert refusal(user.delete_bucket_inventory_configuration, Bucket=source, Id="daily") == "AccessDenied"
    assert refusal(user.get_bucket_notification_configuration, Bucket=source) == "AccessDenied"
