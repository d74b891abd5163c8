"""Policies of the copy to Google Cloud Storage: whom Google's transfer service is here, and what it reads.

Source: Storage Transfer Service documentation, "Configure access to a source: Amazon S3",
federated identity. No key of AWS is kept at Google.
"""

from __future__ import annotations

from collections.abc import Iterable

from infra.documents import Document, allow, document, through_s3

#: Name of Google's identity provider in IAM, which AWS knows without being told.
GOOGLE = "accounts.google.com"


def trust(*, subject_id: str) -> Document:
    """Who may take the role: the transfer service of one Google project.

    Args:
        subject_id: unique id of that project's service agent.
    """
    return document(
        [
            {
                "Sid": "TransferServiceOfOneProject",
                "Effect": "Allow",
                "Principal": {"Federated": GOOGLE},
                "Action": "sts:AssumeRoleWithWebIdentity",
                "Condition": {"StringEquals": {f"{GOOGLE}:sub": subject_id}},
            }
        ]
    )


def role_policy(*, bucket_arn: str, kms_key_arn: str, region: str, prefixes: Iterable[str]) -> Document:
    """What the transfer reads.

    Args:
        bucket_arn: the store.
        kms_key_arn: its key.
        region: of both.
        prefixes: key prefixes that end in a slash.
    """
    return document(
        [
            allow("ListStore", ("s3:GetBucketLocation", "s3:ListBucket"), bucket_arn),
            allow("ReadBackups", ("s3:GetObject",), [f"{bucket_arn}/{p}*" for p in sorted(prefixes)]),
            allow(
                "DecryptThroughS3",
                ("kms:Decrypt",),
                kms_key_arn,
                through_s3(bucket_arn=bucket_arn, region=region),
            ),
        ]
    )
