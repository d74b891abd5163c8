"""The stand-in's rows that watch a bucket, against an endpoint: made, read, changed, drifted, removed."""

from __future__ import annotations

import secrets
from typing import Any

import pytest

from infra.documents.logs import log_bucket_policy
from sandbox.aws_endpoint.moto_backend import ACCOUNT
from sandbox.aws_plugin import registry
from sandbox.aws_plugin.settings import Aws
from sandbox.aws_plugin.values import Properties
from tests.infra.rows import aws_of
from tests.support.aws import AwsEndpoint, put_bucket_policy

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:pulumi_aws.*")

LOGGING = "aws:s3/bucketLogging:BucketLogging"
INVENTORY = "aws:s3/inventory:Inventory"
NOTIFICATION = "aws:s3/bucketNotification:BucketNotification"
LIFECYCLE = "aws:s3/bucketLifecycleConfiguration:BucketLifecycleConfiguration"
SMALLEST = "transitionDefaultMinimumObjectSize"


@pytest.fixture(scope="module")
def aws(aws_endpoint: AwsEndpoint) -> Aws:
    """The endpoint as a configured provider sees it."""
    return aws_of(aws_endpoint, s3UsePathStyle=True)


@pytest.fixture(scope="module")
def buckets(aws_endpoint: AwsEndpoint) -> tuple[str, str]:
    """A bucket, and one that takes its logs by the policy of the program."""
    bucket, target = aws_endpoint.new_bucket("source"), aws_endpoint.new_bucket("logs")
    document = log_bucket_policy(
        bucket_arn=f"arn:aws:s3:::{target}",
        account_id=ACCOUNT,
        source_arns=[f"arn:aws:s3:::{bucket}"],
        host_arns=[f"arn:aws:iam::{ACCOUNT}:user/host"],
        deleter_arns=[f"arn:aws:iam::{ACCOUNT}:role/deleter"],
    )
    put_bucket_policy(aws_endpoint, target, *document["Statement"])
    return bucket, target


def inputs_of(type_name: str, bucket: str, target: str) -> tuple[Properties, Properties]:
    """Arguments, and changed ones that need no new resource."""
    if type_name == LOGGING:
        first: Properties = {
            "bucket": bucket,
            "targetBucket": target,
            "targetPrefix": "access/",
            "targetObjectKeyFormat": {"partitionedPrefix": {"partitionDateSource": "EventTime"}},
        }
        changed = {"targetObjectKeyFormat": {"partitionedPrefix": {"partitionDateSource": "DeliveryTime"}}}
        return first, {**first, **changed}
    if type_name == INVENTORY:
        first = {
            "bucket": bucket,
            "name": f"daily-{secrets.token_hex(3)}",
            "destination": {
                "bucket": {
                    "accountId": ACCOUNT,
                    "bucketArn": f"arn:aws:s3:::{target}",
                    "format": "CSV",
                    "prefix": "inventory",
                }
            },
            "enabled": True,
            "includedObjectVersions": "All",
            "optionalFields": ["ETag", "ObjectLockMode", "Size"],
            "schedule": {"frequency": "Daily"},
        }
        changed = {"schedule": {"frequency": "Weekly"}, "optionalFields": ["Size"], "enabled": False}
        return first, {**first, **changed}
    rules = [
        {
            "id": "a",
            "status": "Enabled",
            "filter": {"prefix": "logs/"},
            "transitions": [{"days": 0, "storageClass": "DEEP_ARCHIVE"}],
            "expiration": {"days": 365},
        }
    ]
    first = {"bucket": bucket, "rules": rules, SMALLEST: "varies_by_storage_class"}
    return first, {"bucket": bucket, "rules": rules, SMALLEST: "all_storage_classes_128K"}


@pytest.mark.parametrize("type_name", [LOGGING, INVENTORY, LIFECYCLE])
def test_what_was_written_is_read_and_no_second_run_changes_it(
    aws: Aws, buckets: tuple[str, str], type_name: str
) -> None:
    row = registry.RESOURCES[type_name]
    first, second = inputs_of(type_name, *buckets)
    assert not list(row.check(first))
    resource_id = row.create(aws, first)
    state = row.read(aws, resource_id, first)
    assert state is not None
    assert row.differences(aws, state, first) == []
    assert row.differences(aws, state, second) != []
    row.update(aws, resource_id, state, second)
    changed = row.read(aws, resource_id, state)
    assert changed is not None
    assert row.differences(aws, changed, second) == []
    imported = row.read(aws, resource_id, {})
    assert imported == changed, "an import reads everything from AWS"
    row.delete(aws, resource_id, changed)
    assert row.read(aws, resource_id, changed) is None
    row.delete(aws, resource_id, changed)


def test_the_event_bus_is_switched_on_and_off(aws: Aws, buckets: tuple[str, str]) -> None:
    row = registry.RESOURCES[NOTIFICATION]
    inputs: Properties = {"bucket": buckets[0], "eventbridge": True}
    resource_id = row.create(aws, inputs)
    state = row.read(aws, resource_id, inputs)
    assert state is not None
    assert row.differences(aws, state, inputs) == []
    row.delete(aws, resource_id, state)
    assert row.read(aws, resource_id, state) is None


def test_changes_behind_the_programs_back_are_seen(aws: Aws, buckets: tuple[str, str]) -> None:
    bucket, target = buckets
    s3 = aws.client("s3")

    def drift(type_name: str) -> list[str]:
        row = registry.RESOURCES[type_name]
        inputs, _ = inputs_of(type_name, bucket, target)
        resource_id = row.create(aws, inputs)
        if type_name == INVENTORY:
            answer = s3.get_bucket_inventory_configuration(Bucket=bucket, Id=inputs["name"])
            configuration: Any = {**answer["InventoryConfiguration"], "IsEnabled": False}
            s3.put_bucket_inventory_configuration(
                Bucket=bucket, Id=inputs["name"], InventoryConfiguration=configuration
            )
        elif type_name == LOGGING:
            enabled = {"TargetBucket": target, "TargetPrefix": "access/"}
            s3.put_bucket_logging(Bucket=bucket, BucketLoggingStatus={"LoggingEnabled": enabled})
        else:
            rules = s3.get_bucket_lifecycle_configuration(Bucket=bucket)["Rules"]
            s3.put_bucket_lifecycle_configuration(Bucket=bucket, LifecycleConfiguration={"Rules": rules})
        state = row.read(aws, resource_id, inputs)
        assert state is not None
        found = [d.path for d in row.differences(aws, state, inputs)]
        row.delete(aws, resource_id, state)
        return found

    assert drift(INVENTORY) == ["enabled"]
    assert drift(LOGGING) == ["targetObjectKeyFormat"]
    assert drift(LIFECYCLE) == [SMALLEST]


def test_what_a_row_does_not_do_it_refuses() -> None:
    first, _ = inputs_of(INVENTORY, "b", "t")
    first["destination"]["bucket"]["encryption"] = {"sseS3": {}}
    assert [p.path for p in registry.RESOURCES[INVENTORY].check(first)] == ["destination.bucket.encryption"]
    grants = [{"permission": "READ", "grantee": {"type": "Group", "uri": "x"}}]
    logging, _ = inputs_of(LOGGING, "b", "t")
    assert [p.path for p in registry.RESOURCES[LOGGING].check({**logging, "targetGrants": grants})] == [
        "targetGrants"
    ]
    queues = {"bucket": "b", "queues": [{"queueArn": "q", "events": ["s3:ObjectCreated:*"]}]}
    assert [p.path for p in registry.RESOURCES[NOTIFICATION].check(queues)] == ["queues"]
