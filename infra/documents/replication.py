"""Policies of the second copy on S3: its bucket, its key, and the role that S3 copies with.

Who may do what:

* S3 alone writes the copy, by replication; nobody puts an object into it;
* nobody deletes from it but the break-glass role, and no deletion arrives by
  replication: the rules do not replicate delete markers, S3 never replicates the
  removal of a version, and the bucket refuses both all the same;
* the role reads the store and its key, and writes the copy with the copy's key, each
  through the S3 of its region and for its bucket only.

Sources: Amazon S3 user guide, "Setting up permissions for live replication",
"Replicating encrypted objects (SSE-S3, SSE-KMS, DSSE-KMS, SSE-C)" and "Using Object Lock
with S3 Replication". The copy's bucket is BucketOwnerEnforced, so in another account the
objects are its owner's without ``s3:ObjectOwnerOverrideToBucketOwner`` (same guide,
"Changing the replica owner").
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from infra.documents import Document, Statement, allow, deny, document, transport_rules
from infra.documents.store import key_policy

#: What S3 does to the copy. ``s3:ReplicateDelete`` is missing on purpose.
COPYING = ("s3:ReplicateObject", "s3:ReplicateTags")

#: What S3 reads of an object; the last two are what a lock on it needs.
READING = (
    "s3:GetObjectLegalHold",
    "s3:GetObjectRetention",
    "s3:GetObjectVersionAcl",
    "s3:GetObjectVersionForReplication",
    "s3:GetObjectVersionTagging",
)

#: What removes a copy, weakens its lock, or puts something else beside it.
CHANGES = (
    "s3:BypassGovernanceRetention",
    "s3:DeleteObject",
    "s3:DeleteObjectVersion",
    "s3:PutObject",
    "s3:PutObjectLegalHold",
    "s3:ReplicateDelete",
)


@dataclass(frozen=True)
class Place:
    """A bucket, its key and the region of both."""

    bucket_arn: str
    kms_key_arn: str
    region: str


def trust(*, account_id: str, source_bucket_arn: str) -> Document:
    """Who may take the role: S3, when it replicates this bucket of this account."""
    return document(
        [
            {
                "Sid": "S3Replicates",
                "Effect": "Allow",
                "Principal": {"Service": "s3.amazonaws.com"},
                "Action": "sts:AssumeRole",
                "Condition": {
                    "StringEquals": {"aws:SourceAccount": account_id},
                    "ArnEquals": {"aws:SourceArn": source_bucket_arn},
                },
            }
        ]
    )


def role_policy(*, source: Place, replica: Place) -> Document:
    """What the replication of ``source`` to ``replica`` needs, and nothing that deletes."""
    return document(
        [
            allow(
                "ReadSourceSettings",
                ("s3:GetReplicationConfiguration", "s3:ListBucket"),
                source.bucket_arn,
            ),
            allow("ReadSourceObjects", READING, f"{source.bucket_arn}/*"),
            allow("WriteCopies", COPYING, f"{replica.bucket_arn}/*"),
            allow("DecryptSource", ("kms:Decrypt",), source.kms_key_arn, _through_s3(source)),
            allow(
                "EncryptCopies",
                ("kms:Encrypt", "kms:GenerateDataKey"),
                replica.kms_key_arn,
                _through_s3(replica),
            ),
        ]
    )


def bucket_policy(*, bucket_arn: str, break_glass_arn: str, foreign_role_arn: str | None) -> Document:
    """The policy of the copy's bucket.

    Args:
        bucket_arn: the copy's bucket.
        break_glass_arn: the only role that may delete before the time or write by hand.
        foreign_role_arn: the replication's role where it is of another account, which its own policy
            alone does not let in.
    """
    both = [bucket_arn, f"{bucket_arn}/*"]
    rules = [
        *transport_rules(bucket_arn),
        deny("OnlyBreakGlassChanges", CHANGES, both, {"ArnNotEquals": {"aws:PrincipalArn": break_glass_arn}}),
    ]
    if foreign_role_arn:
        role = {"AWS": foreign_role_arn}
        rules += [
            allow("OtherAccountWritesCopies", COPYING, f"{bucket_arn}/*", principal=role),
            # S3 looks at the destination's versioning before it copies.
            allow(
                "OtherAccountReadsSettings",
                ("s3:GetBucketVersioning", "s3:ListBucket"),
                bucket_arn,
                principal=role,
            ),
        ]
    return document(rules)


def replica_key_policy(
    *, account_id: str, region: str, bucket_arn: str, foreign_role_arn: str | None
) -> Document:
    """The policy of the copy's key: as the store's, and open to the replication of another account.

    Args:
        account_id: the account of the copy.
        region: of the copy.
        bucket_arn: the copy's bucket.
        foreign_role_arn: as in :func:`bucket_policy`.
    """
    statements: list[Statement] = key_policy(account_id=account_id, region=region)["Statement"]
    if foreign_role_arn:
        statements = [
            *statements,
            allow(
                "OtherAccountEncryptsCopies",
                ("kms:Encrypt", "kms:GenerateDataKey"),
                "*",
                _through_s3(Place(bucket_arn, "*", region)),
                principal={"AWS": foreign_role_arn},
            ),
        ]
    return document(statements)


def _through_s3(place: Place) -> dict[str, Any]:
    """Condition: S3 of the region asks, for this bucket.

    With a bucket key the encryption context is the bucket's ARN, else the object's; objects
    of before the bucket key keep theirs (Amazon S3 user guide, "Reducing the cost of SSE-KMS
    with Amazon S3 Bucket Keys").
    """
    return {
        "StringEquals": {"kms:ViaService": f"s3.{place.region}.amazonaws.com"},
        "StringLike": {"kms:EncryptionContext:aws:s3:arn": [place.bucket_arn, f"{place.bucket_arn}/*"]},
    }
