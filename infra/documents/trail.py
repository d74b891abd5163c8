"""Policies and filters of the audit trail: who changed the store, and who tried to delete from it.

Sources: AWS CloudTrail user guide, "Amazon S3 bucket policy for CloudTrail", "Configure AWS KMS key
policies for CloudTrail", "Role policy document for CloudTrail to use CloudWatch Logs"; Amazon
CloudWatch Logs user guide, "Encrypt log data in CloudWatch Logs using AWS KMS".
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from infra.documents import Document, allow, document, transport_rules, trust_policy
from infra.documents.bucket import refuse_removals, refuse_settings

if TYPE_CHECKING:
    from pulumi_aws.cloudtrail import TrailAdvancedEventSelectorArgsDict as Selector

CLOUDTRAIL = {"Service": "cloudtrail.amazonaws.com"}

#: What CloudTrail puts before its keys.
TRAIL_PREFIX = "AWSLogs/"


def bucket_policy(
    *,
    bucket_arn: str,
    account_id: str,
    trail_arn: str,
    host_arns: Iterable[str],
    deleter_arns: Iterable[str],
) -> Document:
    """CloudTrail may write for one trail; nobody but the deleters removes what it wrote.

    Args:
        bucket_arn: the trail's bucket.
        account_id: whose calls are recorded.
        trail_arn: the trail.
        host_arns: the hosts' identities.
        deleter_arns: who may remove records before their time.
    """
    own = {"aws:SourceArn": trail_arn}
    return document(
        [
            *transport_rules(bucket_arn),
            refuse_removals(bucket_arn, deleter_arns),
            refuse_settings(bucket_arn, host_arns),
            allow("TrailLooks", ["s3:GetBucketAcl"], bucket_arn, {"StringEquals": own}, principal=CLOUDTRAIL),
            allow(
                "TrailWrites",
                ["s3:PutObject"],
                f"{bucket_arn}/{TRAIL_PREFIX}{account_id}/*",
                {"StringEquals": {**own, "s3:x-amz-acl": "bucket-owner-full-control"}},
                principal=CLOUDTRAIL,
            ),
        ]
    )


def key_policy(*, account_id: str, region: str, trail_arn: str, log_group_arn: str) -> Document:
    """The key of trail and log group, for these two alone.

    Args:
        account_id: the account that owns the key and reads the records.
        region: of the log group.
        trail_arn: the trail.
        log_group_arn: the log group, without the ``:*`` that stands for its streams.
    """
    trails = f"arn:aws:cloudtrail:*:{account_id}:trail/*"
    logs = {"Service": f"logs.{region}.amazonaws.com"}
    return document(
        [
            allow("AccountAdministers", ["kms:*"], "*", principal={"AWS": f"arn:aws:iam::{account_id}:root"}),
            allow(
                "TrailEncrypts",
                ["kms:GenerateDataKey*"],
                "*",
                {
                    "StringEquals": {"aws:SourceArn": trail_arn},
                    "StringLike": {"kms:EncryptionContext:aws:cloudtrail:arn": trails},
                },
                principal=CLOUDTRAIL,
            ),
            allow(
                "TrailLooks",
                ["kms:DescribeKey"],
                "*",
                {"StringEquals": {"aws:SourceArn": trail_arn}},
                principal=CLOUDTRAIL,
            ),
            allow(
                "LogGroupEncrypts",
                ["kms:Decrypt*", "kms:Describe*", "kms:Encrypt*", "kms:GenerateDataKey*", "kms:ReEncrypt*"],
                "*",
                {"ArnEquals": {"kms:EncryptionContext:aws:logs:arn": log_group_arn}},
                principal=logs,
            ),
        ]
    )


def trust(*, trail_arn: str) -> Document:
    """Who takes the role that writes to the log group: CloudTrail, for this trail."""
    return trust_policy(
        CLOUDTRAIL, ["sts:AssumeRole"], {"StringEquals": {"aws:SourceArn": trail_arn}}, sid="TrailTakesRole"
    )


def role_policy(*, account_id: str, region: str, log_group_arn: str) -> Document:
    """What the role may: write the streams that CloudTrail names after account and region."""
    streams = f"{log_group_arn}:log-stream:{account_id}_CloudTrail_{region}*"
    return document([allow("WriteStreams", ["logs:CreateLogStream", "logs:PutLogEvents"], streams)])


def selectors(bucket_arn: str) -> list[Selector]:
    """What is recorded: every change of a setting in the account, and every write to the store."""
    return [
        {
            "name": "Changes of settings",
            "field_selectors": [
                {"field": "eventCategory", "equals": ["Management"]},
                {"field": "readOnly", "equals": ["false"]},
            ],
        },
        {
            "name": "Writes to the store",
            "field_selectors": [
                {"field": "eventCategory", "equals": ["Data"]},
                {"field": "resources.type", "equals": ["AWS::S3::Object"]},
                {"field": "readOnly", "equals": ["false"]},
                {"field": "resources.ARN", "starts_withs": [f"{bucket_arn}/"]},
            ],
        },
    ]


def denied_deletes(bucket: str) -> str:
    """Filter pattern: a deletion in the store was asked for and refused."""
    return (
        '{ ($.eventSource = "s3.amazonaws.com") && ($.eventName = "Delete*")'
        f' && ($.errorCode = "AccessDenied") && ($.requestParameters.bucketName = "{bucket}") }}'
    )
