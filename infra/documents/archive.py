"""Policies of the log archive: its bucket, and what hosts may do with it."""

from __future__ import annotations

from collections.abc import Iterable

from infra.documents import Document, deny, document, through_s3, transport_rules
from infra.documents.bucket import refuse_other_encryption, refuse_removals, refuse_settings

#: Key prefix of all archived logs.
ARCHIVE_PREFIX = "logs/"

#: Reading in any form. Logs name people: who takes over one host must not get the logs of all.
READS = ("s3:GetObject", "s3:GetObjectAttributes", "s3:GetObjectVersion", "s3:RestoreObject")

#: What an upload needs, in one piece or in parts.
HOST_ARCHIVE_ACTIONS = ("s3:AbortMultipartUpload", "s3:PutObject")


def archive_bucket_policy(
    *, bucket_arn: str, kms_key_arn: str, host_arns: Iterable[str], deleter_arns: Iterable[str]
) -> Document:
    """The archive's own policy: only refusals, so it can grant nothing by mistake.

    Args:
        bucket_arn: the archive.
        kms_key_arn: the only key an object may name.
        host_arns: the hosts' identities, which put and never read.
        deleter_arns: who may remove logs before their time.
    """
    hosts = sorted(host_arns)
    return document(
        [
            *transport_rules(bucket_arn),
            *refuse_other_encryption(bucket_arn, kms_key_arn),
            refuse_removals(bucket_arn, deleter_arns),
            refuse_settings(bucket_arn, hosts),
            deny("HostsReadNothing", READS, f"{bucket_arn}/*", {"ArnEquals": {"aws:PrincipalArn": hosts}}),
        ]
    )


def host_archive_policy(
    *, bucket_arn: str, kms_key_arn: str, region: str, prefixes: Iterable[str] = (ARCHIVE_PREFIX,)
) -> Document:
    """The identity policy of hosts for the archive: put, and list to see what is there already.

    Args:
        bucket_arn: the archive.
        kms_key_arn: the archive's key.
        region: of archive and key; the key is used through this region's S3 only.
        prefixes: key prefixes that end in a slash.
    """
    own = sorted(prefixes)
    return document(
        [
            {
                "Sid": "ListArchive",
                "Effect": "Allow",
                "Action": ["s3:ListBucket"],
                "Resource": bucket_arn,
                "Condition": {"StringLike": {"s3:prefix": [f"{p}*" for p in own]}},
            },
            {
                "Sid": "PutIntoArchive",
                "Effect": "Allow",
                "Action": sorted(HOST_ARCHIVE_ACTIONS),
                "Resource": [f"{bucket_arn}/{p}*" for p in own],
            },
            {
                # An upload in parts decrypts what it checks; without a right to read, this opens no object.
                "Sid": "UseArchiveKeyThroughS3",
                "Effect": "Allow",
                "Action": ["kms:Decrypt", "kms:GenerateDataKey"],
                "Resource": kms_key_arn,
                "Condition": through_s3(bucket_arn=bucket_arn, region=region),
            },
        ]
    )
