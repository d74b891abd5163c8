"""The stand-in's row of S3 replication, and its buckets and keys in a second region."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from typing import Any

import pytest
from botocore.exceptions import ClientError

from sandbox.aws_plugin.registry import RESOURCES
from sandbox.aws_plugin.s3_settings import SETTINGS
from sandbox.aws_plugin.settings import Aws
from tests.infra.rows import aws_of
from tests.support.aws import AwsEndpoint, error_code

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:pulumi_aws.*")

REPLICATION = "aws:s3/bucketReplicationConfig:BucketReplicationConfig"
ROLE = "arn:aws:iam::123456789012:role/steward/r"


@pytest.fixture
def aws(aws_endpoint: AwsEndpoint) -> Aws:
    """The stand-in's way to the endpoint, in us-east-1."""
    return aws_of(aws_endpoint)


@pytest.fixture
def pair(aws_endpoint: AwsEndpoint) -> tuple[str, str]:
    """Two buckets with versions."""
    made = []
    for _ in range(2):
        made.append(aws_endpoint.new_bucket())
        aws_endpoint.client("s3").put_bucket_versioning(
            Bucket=made[-1], VersioningConfiguration={"Status": "Enabled"}
        )
    return made[0], made[1]


def inputs(source: str, replica: str) -> dict[str, Any]:
    """What the component asks for."""
    return {
        "bucket": source,
        "role": ROLE,
        "rules": [
            {
                "id": "copy-everything",
                "status": "Enabled",
                "priority": 1,
                "filter": {"prefix": ""},
                "deleteMarkerReplication": {"status": "Disabled"},
                "sourceSelectionCriteria": {"sseKmsEncryptedObjects": {"status": "Enabled"}},
                "destination": {
                    "bucket": f"arn:aws:s3:::{replica}",
                    "encryptionConfiguration": {
                        "replicaKmsKeyId": "arn:aws:kms:eu-central-1:123456789012:key/k"
                    },
                    "replicationTime": {"status": "Enabled", "time": {"minutes": 15}},
                    "metrics": {"status": "Enabled", "eventThreshold": {"minutes": 15}},
                },
            }
        ],
    }


def changes(aws: Aws, wanted: dict[str, Any]) -> list[str]:
    """What a preview after a refresh would change."""
    row = RESOURCES[REPLICATION]
    state = row.read(aws, wanted["bucket"], {})
    assert state is not None
    return [d.path for d in row.differences(aws, state, wanted)]


def test_replication_is_put_read_changed_and_removed(aws: Aws, pair: tuple[str, str]) -> None:
    row, wanted = RESOURCES[REPLICATION], inputs(*pair)
    assert row.read(aws, pair[0], wanted) is None
    assert row.create(aws, wanted) == pair[0]
    state = row.read(aws, pair[0], {})
    assert state == {**wanted, "region": "us-east-1"}
    assert changes(aws, wanted) == []
    updated = copy.deepcopy(wanted)
    updated["rules"][0]["status"] = "Disabled"
    updated["rules"][0]["sourceSelectionCriteria"]["sseKmsEncryptedObjects"]["status"] = "Disabled"
    row.update(aws, pair[0], state, updated)
    assert changes(aws, updated) == []
    row.delete(aws, pair[0], state)
    row.delete(aws, pair[0], state)
    assert row.read(aws, pair[0], state) is None
    assert row.read(aws, "no-such-bucket", state) is None


@pytest.mark.parametrize(
    ("path", "value", "found"),
    [
        (("DeleteMarkerReplication", "Status"), "Enabled", "rules[0].deleteMarkerReplication.status"),
        (("Filter", "Prefix"), "daily/", "rules[0].filter.prefix"),
        (
            ("SourceSelectionCriteria", "SseKmsEncryptedObjects", "Status"),
            "Disabled",
            "rules[0].sourceSelectionCriteria.sseKmsEncryptedObjects.status",
        ),
        (("Destination", "Metrics", "Status"), "Disabled", "rules[0].destination.metrics.status"),
        (("Status",), "Disabled", "rules[0].status"),
    ],
)
def test_a_change_by_hand_is_seen(
    aws: Aws, aws_endpoint: AwsEndpoint, pair: tuple[str, str], path: tuple[str, ...], value: str, found: str
) -> None:
    wanted = inputs(*pair)
    RESOURCES[REPLICATION].create(aws, wanted)
    s3 = aws_endpoint.client("s3")
    kept = s3.get_bucket_replication(Bucket=pair[0])["ReplicationConfiguration"]
    place = kept["Rules"][0]
    for name in path[:-1]:
        place = place[name]
    place[path[-1]] = value
    s3.put_bucket_replication(Bucket=pair[0], ReplicationConfiguration=kept)
    assert changes(aws, wanted) == [found]


def spoiled(wanted: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Rules that S3 refuses, by what is wrong with them."""
    for what in ("no versions", "no bucket", "no criteria", "no metrics"):
        changed = copy.deepcopy(wanted)
        rule = changed["rules"][0]
        if what == "no bucket":
            rule["destination"]["bucket"] = "arn:aws:s3:::no-such-bucket"
        elif what == "no criteria":
            del rule["sourceSelectionCriteria"]
        elif what == "no metrics":
            del rule["destination"]["metrics"]
        yield what, changed


def test_the_endpoint_refuses_what_s3_refuses(
    aws: Aws, aws_endpoint: AwsEndpoint, pair: tuple[str, str]
) -> None:
    row, s3 = RESOURCES[REPLICATION], aws_endpoint.client("s3")
    for what, wanted in spoiled(inputs(*pair)):
        suspended = "Suspended" if what == "no versions" else "Enabled"
        s3.put_bucket_versioning(Bucket=pair[1], VersioningConfiguration={"Status": suspended})
        with pytest.raises(ClientError) as caught:
            row.create(aws, wanted)
        assert error_code(caught) == "InvalidRequest", what
    assert row.read(aws, pair[0], {}) is None


def test_a_key_lives_in_the_region_it_is_asked_for(aws: Aws) -> None:
    row = RESOURCES["aws:kms/key:Key"]
    alias = RESOURCES["aws:kms/alias:Alias"]
    key = row.create(aws, {"region": "eu-central-1", "enableKeyRotation": True})
    state = row.read(aws, key, {"region": "eu-central-1"})
    assert state is not None
    assert state["region"] == "eu-central-1"
    assert str(state["arn"]).split(":")[3] == "eu-central-1"
    assert row.read(aws, key, {}) is None, "the stack's own region has no such key"
    wanted = {"region": "eu-central-1", "name": "alias/second-copy", "targetKeyId": key}
    alias.create(aws, wanted)
    assert alias.read(aws, "alias/second-copy", {}) is None
    read = alias.read(aws, "alias/second-copy", {"region": "eu-central-1"})
    assert read is not None
    assert not alias.differences(aws, read, wanted)
    alias.delete(aws, "alias/second-copy", read)
    row.delete(aws, key, state)
    assert row.read(aws, key, state) is None


#: A value for each setting of a bucket; SETTINGS has them all.
VALUES: dict[str, dict[str, Any]] = {
    "BucketVersioning": {"versioningConfiguration": {"status": "Enabled"}},
    "BucketObjectLockConfiguration": {"rule": {"defaultRetention": {"mode": "GOVERNANCE", "days": 7}}},
    "BucketLifecycleConfiguration": {
        "rules": [{"id": "a", "status": "Enabled", "filter": {"prefix": "daily/"}, "expiration": {"days": 7}}]
    },
    "BucketServerSideEncryptionConfiguration": {
        "rules": [
            {
                "applyServerSideEncryptionByDefault": {"sseAlgorithm": "AES256"},
                "bucketKeyEnabled": False,
            }
        ]
    },
    "BucketPublicAccessBlock": dict.fromkeys(
        ("blockPublicAcls", "blockPublicPolicy", "ignorePublicAcls", "restrictPublicBuckets"), True
    ),
    "BucketOwnershipControls": {"rule": {"objectOwnership": "BucketOwnerEnforced"}},
}


def test_a_bucket_and_its_settings_live_in_another_region(aws: Aws, aws_endpoint: AwsEndpoint) -> None:
    row = RESOURCES["aws:s3/bucket:Bucket"]
    name = f"second-{aws_endpoint.new_bucket()}"
    wanted: dict[str, Any] = {"bucket": name, "region": "eu-central-1", "objectLockEnabled": True}
    row.create(aws, wanted)
    answer = aws_endpoint.client("s3").get_bucket_location(Bucket=name)
    assert answer["LocationConstraint"] == "eu-central-1"
    state = row.read(aws, name, wanted)
    assert state is not None
    assert not row.differences(aws, state, wanted)
    moved = row.differences(aws, state, {**wanted, "region": "eu-west-1"})
    assert [d.path for d in moved] == ["region"]
    statement = {
        "Effect": "Deny",
        "Principal": "*",
        "Action": "s3:*",
        "Resource": f"arn:aws:s3:::{name}/*",
        "Condition": {"Bool": {"aws:SecureTransport": "false"}},
    }
    policy = {"policy": json.dumps({"Version": "2012-10-17", "Statement": [statement]})}
    for setting in SETTINGS:
        values = {**VALUES, "BucketPolicy": policy}.get(setting.type_name.split(":")[-1])
        if values is None:
            continue
        own = {"bucket": name, "region": "eu-central-1", **values}
        setting.create(aws, own)
        read = setting.read(aws, name, {"region": "eu-central-1"})
        assert read is not None, setting.type_name
        assert not setting.differences(aws, read, own), setting.type_name
    row.delete(aws, name, state)
    assert row.read(aws, name, state) is None
