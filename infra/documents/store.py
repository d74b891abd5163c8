"""Policies of the backup store: its bucket, its key, its hosts.

Who may do what:

* hosts put, read and list below their class prefixes, and lengthen a lock;
* nobody uses plain HTTP, TLS below 1.2, another key, or a weaker encryption;
* nobody deletes or bypasses a lock but the break-glass role, administrators included; whoever
  runs Pulumi still manages the settings;
* hosts change no setting, whatever else is attached to their identity later: the bucket
  itself refuses them;
* the key encrypts for S3 only.
"""

from __future__ import annotations

from collections.abc import Iterable

from infra.documents import Document, deny, document, present_and_not, through_s3, transport_rules
from infra.documents.bucket import refuse_other_encryption, refuse_removals, refuse_settings
from infra.documents.keys import through_one_service

#: What a host needs on its own objects, and nothing that removes one. Reads are what a
#: restore on the host needs; the multipart actions are what an upload in parts needs.
HOST_OBJECT_ACTIONS = (
    "s3:AbortMultipartUpload",
    "s3:GetObject",
    "s3:GetObjectRetention",
    "s3:GetObjectVersion",
    "s3:ListMultipartUploadParts",
    "s3:PutObject",
    "s3:PutObjectRetention",
)


def bucket_policy(
    *,
    bucket_arn: str,
    kms_key_arn: str,
    host_arns: Iterable[str],
    deleter_arns: Iterable[str],
    object_lock_mode: str,
    longest_lock_days: int,
) -> Document:
    """The bucket's own policy: only refusals, so it can grant nothing by mistake.

    Args:
        bucket_arn: the bucket.
        kms_key_arn: the only key an object may name.
        host_arns: the hosts' identities.
        deleter_arns: who may remove objects and bypass locks.
        object_lock_mode: the only lock mode an upload may ask for.
        longest_lock_days: an upload or a retention may not lock for longer.
    """
    objects = f"{bucket_arn}/*"
    return document(
        [
            *transport_rules(bucket_arn),
            *refuse_other_encryption(bucket_arn, kms_key_arn),
            deny(
                "RefuseOtherLockMode",
                ("s3:PutObject", "s3:PutObjectRetention"),
                objects,
                present_and_not("s3:object-lock-mode", object_lock_mode),
            ),
            deny(
                "RefuseLocksThatOutliveTheRetention",
                ("s3:PutObject", "s3:PutObjectRetention"),
                objects,
                {"NumericGreaterThan": {"s3:object-lock-remaining-retention-days": str(longest_lock_days)}},
            ),
            refuse_removals(bucket_arn, deleter_arns),
            refuse_settings(bucket_arn, host_arns),
        ]
    )


def host_policy(*, bucket_arn: str, kms_key_arn: str, region: str, prefixes: Iterable[str]) -> Document:
    """The identity policy of the hosts of one backend in one environment.

    Args:
        bucket_arn: the bucket.
        kms_key_arn: the bucket's key.
        region: of bucket and key; the key is used through this region's S3 only.
        prefixes: key prefixes that end in a slash.
    """
    own = sorted(prefixes)
    return document(
        [
            {
                "Sid": "ListOwnPrefixes",
                "Effect": "Allow",
                "Action": ["s3:ListBucket", "s3:ListBucketVersions"],
                "Resource": bucket_arn,
                "Condition": {"StringLike": {"s3:prefix": [f"{p}*" for p in own]}},
            },
            {
                "Sid": "ReadBucketSettings",
                "Effect": "Allow",
                "Action": [
                    "s3:GetBucketLocation",
                    "s3:GetBucketObjectLockConfiguration",
                    "s3:ListBucketMultipartUploads",
                ],
                "Resource": bucket_arn,
            },
            {
                "Sid": "PutAndReadOwnPrefixes",
                "Effect": "Allow",
                "Action": sorted(HOST_OBJECT_ACTIONS),
                "Resource": [f"{bucket_arn}/{p}*" for p in own],
            },
            {
                "Sid": "UseKeyThroughS3",
                "Effect": "Allow",
                "Action": ["kms:Decrypt", "kms:GenerateDataKey"],
                "Resource": kms_key_arn,
                "Condition": through_s3(bucket_arn=bucket_arn, region=region),
            },
        ]
    )


def key_policy(*, account_id: str, region: str) -> Document:
    """The KMS key's policy: administered by the account's IAM, used through S3 only.

    Args:
        account_id: the account that owns the key; its IAM policies decide who administers it.
        region: of the key.
    """
    return through_one_service("UseThroughS3Only", "s3", account_id=account_id, region=region)
