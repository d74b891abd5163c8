"""Keys and buckets as the rules see them, for the example of policy_example.py."""

from __future__ import annotations

import json
from typing import Any

from infra import names

ACCOUNT = "123456789012"
REGION = "us-east-1"
TAGS = {"App": "shop", "Environment": "production", "ManagedBy": "pulumi"}
TOPIC_ARN = f"arn:aws:sns:{REGION}:{ACCOUNT}:shop-critical"

Properties = dict[str, Any]


def key_arn(name: str) -> str:
    """ARN of the example's key of that name."""
    return f"arn:aws:kms:{REGION}:{ACCOUNT}:key/{name}"


def policy(*statements: Properties) -> str:
    """A document as the string that resources hold."""
    return json.dumps({"Version": "2012-10-17", "Statement": list(statements)})


def tls_rules(bucket: str) -> list[Properties]:
    """The two refusals that every bucket has."""
    both = [names.bucket_arn(bucket), f"{names.bucket_arn(bucket)}/*"]
    return [
        {"Effect": "Deny", "Principal": "*", "Action": "s3:*", "Resource": both, "Condition": condition}
        for condition in (
            {"Bool": {"aws:SecureTransport": "false"}},
            {"NumericLessThan": {"s3:TlsVersion": "1.2"}},
        )
    ]


def publishers(actions: list[str], resource: str) -> list[Properties]:
    """What the services that publish may do: two on behalf of the account, EventBridge as it is."""
    body = {"Effect": "Allow", "Action": actions, "Resource": resource}
    guard = {"StringEquals": {"aws:SourceAccount": ACCOUNT}}
    guarded = ["cloudwatch.amazonaws.com", "budgets.amazonaws.com"]
    return [
        {**body, "Principal": {"Service": guarded}, "Condition": guard},
        {**body, "Principal": {"Service": "events.amazonaws.com"}},
    ]


def key(name: str, *more: Properties) -> tuple[str, str, Properties]:
    """A key that the account administers, with further statements."""
    owner = {
        "Effect": "Allow",
        "Principal": {"AWS": f"arn:aws:iam::{ACCOUNT}:root"},
        "Action": "kms:*",
        "Resource": "*",
    }
    return (
        "aws:kms/key:Key",
        name,
        {
            "arn": key_arn(name),
            "keyId": name,
            "enableKeyRotation": True,
            "deletionWindowInDays": 30,
            "tags": TAGS,
            "policy": policy(owner, *more),
        },
    )


def bucket(
    name: str, *, logs_to: str | None, kms: bool = True, lock: bool = False
) -> list[tuple[str, str, Properties]]:
    """A bucket with its side resources, called ``<name>-<part>``."""
    lock_limits: list[Properties] = []
    rules: list[Properties] = [
        {
            "id": "marks",
            "status": "Enabled",
            "filter": {"prefix": ""},
            "expiration": {"expiredObjectDeleteMarker": True},
        },
        {
            "id": "abort",
            "status": "Enabled",
            "filter": {},
            "abortIncompleteMultipartUpload": {"daysAfterInitiation": 2},
        },
    ]
    if lock:
        rules += [
            {
                "id": prefix,
                "status": "Enabled",
                "filter": {"prefix": f"{prefix}/"},
                "expiration": {"days": days},
                "noncurrentVersionExpiration": {"noncurrentDays": 1},
            }
            for prefix, days in (("daily", 7), ("monthly", 186))
        ]
        lock_limits = [
            {
                "Effect": "Deny",
                "Principal": "*",
                "Action": "s3:PutObject",
                "Resource": f"{names.bucket_arn(name)}/*",
                "Condition": condition,
            }
            for condition in (
                {"NumericGreaterThan": {"s3:object-lock-remaining-retention-days": "187"}},
                {
                    "Null": {"s3:object-lock-mode": "false"},
                    "StringNotEquals": {"s3:object-lock-mode": "GOVERNANCE"},
                },
            )
        ]
    encryption = {"sseAlgorithm": "aws:kms", "kmsMasterKeyId": key_arn("key")}
    made: list[tuple[str, str, Properties]] = [
        (
            "aws:s3/bucket:Bucket",
            name,
            {
                "bucket": name,
                "arn": names.bucket_arn(name),
                "tags": TAGS,
                "forceDestroy": False,
                **({"objectLockEnabled": True} if lock else {}),
            },
        ),
        (
            "aws:s3/bucketVersioning:BucketVersioning",
            f"{name}-versioning",
            {"versioningConfiguration": {"status": "Enabled"}},
        ),
        (
            "aws:s3/bucketPublicAccessBlock:BucketPublicAccessBlock",
            f"{name}-public",
            {
                "blockPublicAcls": True,
                "blockPublicPolicy": True,
                "ignorePublicAcls": True,
                "restrictPublicBuckets": True,
            },
        ),
        (
            "aws:s3/bucketServerSideEncryptionConfiguration:BucketServerSideEncryptionConfiguration",
            f"{name}-encryption",
            {
                "rules": [
                    {
                        "applyServerSideEncryptionByDefault": encryption
                        if kms
                        else {"sseAlgorithm": "AES256"},
                        "bucketKeyEnabled": kms,
                    }
                ]
            },
        ),
        (
            "aws:s3/bucketLifecycleConfiguration:BucketLifecycleConfiguration",
            f"{name}-lifecycle",
            {"rules": rules},
        ),
        (
            "aws:s3/bucketOwnershipControls:BucketOwnershipControls",
            f"{name}-ownership",
            {"rule": {"objectOwnership": "BucketOwnerEnforced"}},
        ),
        (
            "aws:s3/bucketPolicy:BucketPolicy",
            f"{name}-policy",
            {"policy": policy(*tls_rules(name), *lock_limits)},
        ),
    ]
    if logs_to:
        made.append(("aws:s3/bucketLogging:BucketLogging", f"{name}-logging", {"targetBucket": logs_to}))
    if lock:
        made.append(
            (
                "aws:s3/bucketObjectLockConfiguration:BucketObjectLockConfiguration",
                f"{name}-lock",
                {"rule": {"defaultRetention": {"mode": "GOVERNANCE", "days": 7}}},
            )
        )
    return [
        (type_, part, {"bucket": name, **properties} if part != name else properties)
        for type_, part, properties in made
    ]
