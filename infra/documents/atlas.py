"""Policies of what MongoDB Atlas exports to S3: whom Atlas is here, and what it writes.

Source: MongoDB Atlas documentation, "Set Up Unified AWS Access" and "Export Cloud Backup
Snapshots to AWS S3".
"""

from __future__ import annotations

from collections.abc import Iterable

from infra.documents import Document, allow, document, through_s3, transport_rules
from infra.documents.bucket import refuse_removals, refuse_settings


def trust(*, atlas_arn: str, external_id: str) -> Document:
    """Who may take the role: Atlas, for our project.

    Args:
        atlas_arn: Atlas' own principal in AWS.
        external_id: what Atlas sends for our project alone.
    """
    return document(
        [
            {
                "Sid": "AtlasForThisProject",
                "Effect": "Allow",
                "Principal": {"AWS": atlas_arn},
                "Action": "sts:AssumeRole",
                "Condition": {"StringEquals": {"sts:ExternalId": external_id}},
            }
        ]
    )


def role_policy(*, bucket_arn: str, kms_key_arn: str, region: str) -> Document:
    """What an export needs: it writes, and neither reads nor deletes.

    Args:
        bucket_arn: the bucket of the exports.
        kms_key_arn: its key.
        region: of both.
    """
    return document(
        [
            allow("FindBucket", ("s3:GetBucketLocation",), bucket_arn),
            allow("WriteExports", ("s3:PutObject",), f"{bucket_arn}/*"),
            # Decrypt is what an upload in parts needs.
            allow(
                "EncryptThroughS3",
                ("kms:Decrypt", "kms:GenerateDataKey"),
                kms_key_arn,
                through_s3(bucket_arn=bucket_arn, region=region),
            ),
        ]
    )


def bucket_policy(*, bucket_arn: str, deleter_arns: Iterable[str], host_arns: Iterable[str]) -> Document:
    """The policy of the bucket of the exports.

    It does not refuse other encryption, as that of the store does: which headers Atlas sends is its
    own affair, and a refusal would be found out a month later. Without a header the bucket's key is used.

    Args:
        bucket_arn: the bucket.
        deleter_arns: who may remove objects before their time.
        host_arns: the hosts' identities.
    """
    return document(
        [
            *transport_rules(bucket_arn),
            refuse_removals(bucket_arn, deleter_arns),
            refuse_settings(bucket_arn, host_arns),
        ]
    )
