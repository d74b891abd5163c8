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

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from infra.documents import Document, Statement, allow, deny, document, through_s3, transport_rules
from infra.documents.bucket import LEGAL_HOLD, refuse_removals, refuse_settings
from infra.documents.identity import LIST_ACTIONS, READ_ACTIONS

#: What S3 does to the copy. ``s3:ReplicateDelete`` is missing on purpose.
COPYING = ("s3:ReplicateObject", "s3:ReplicateTags")

#: What S3 does with the copy's key.
ENCRYPTING = ("kms:Encrypt", "kms:GenerateDataKey")

#: What S3 reads of an object; legal hold and retention are what a lock on it needs.
READING = (
    "s3:GetObjectLegalHold",
    "s3:GetObjectRetention",
    "s3:GetObjectVersionAcl",
    "s3:GetObjectVersionForReplication",
    "s3:GetObjectVersionTagging",
)

#: What puts something else beside the copy, or a deletion into it.
OTHER_WRITES = ("s3:PutObject", "s3:ReplicateDelete", LEGAL_HOLD)


@dataclass(frozen=True)
class Place:
    """A bucket, its key and the region of both."""

    bucket_arn: str
    kms_key_arn: str
    region: str


@dataclass(frozen=True)
class Foreign:
    """Another account's roles that the copy has to let in, for their own policies alone cannot."""

    account_id: str
    writer_arn: str
    """S3 replicates with it."""
    reader_arn: str
    """Restores read with it."""

    def allow(
        self,
        sid: str,
        actions: Sequence[str],
        resource: str,
        role_arn: str,
        condition: Mapping[str, Any] | None = None,
    ) -> Statement:
        """A permission for one of the roles.

        By account and condition, not by the role as Principal: AWS refuses a principal that
        does not exist yet, and the roles come after the bucket.
        """
        only = {"ArnEquals": {"aws:PrincipalArn": role_arn}}
        principal = {"AWS": f"arn:aws:iam::{self.account_id}:root"}
        return allow(sid, actions, resource, {**only, **(condition or {})}, principal=principal)


def trust(*, account_id: str, source_bucket_arn: str) -> Document:
    """Who may take the role: S3, and for this bucket of this account where S3 says for which.

    ``IfExists``, because AWS documents neither key for replication: should S3 not send one, nothing
    would be copied. Another account cannot abuse the role in any case, for whoever writes a
    replication configuration needs ``iam:PassRole`` on its role.
    """
    return document(
        [
            {
                "Sid": "S3Replicates",
                "Effect": "Allow",
                "Principal": {"Service": "s3.amazonaws.com"},
                "Action": "sts:AssumeRole",
                "Condition": {
                    "StringEqualsIfExists": {"aws:SourceAccount": account_id},
                    "ArnEqualsIfExists": {"aws:SourceArn": source_bucket_arn},
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
            allow(
                "DecryptSource",
                ("kms:Decrypt",),
                source.kms_key_arn,
                through_s3(bucket_arn=source.bucket_arn, region=source.region),
            ),
            allow(
                "EncryptCopies",
                ENCRYPTING,
                replica.kms_key_arn,
                through_s3(bucket_arn=replica.bucket_arn, region=replica.region),
            ),
        ]
    )


def bucket_policy(
    *, bucket_arn: str, deleter_arns: Iterable[str], host_arns: Iterable[str], foreign: Foreign | None
) -> Document:
    """The policy of the copy's bucket.

    Args:
        bucket_arn: the copy's bucket.
        deleter_arns: who may remove objects before their time, or write by hand.
        host_arns: the hosts' identities.
        foreign: the account of the store, where it is another one.
    """
    deleters = sorted(deleter_arns)
    rules = [
        *transport_rules(bucket_arn),
        refuse_removals(bucket_arn, deleters),
        deny(
            "OnlyReplicationWrites",
            OTHER_WRITES,
            f"{bucket_arn}/*",
            {"ArnNotEquals": {"aws:PrincipalArn": deleters}},
        ),
        refuse_settings(bucket_arn, host_arns),
    ]
    if foreign:
        objects, writer, reader = f"{bucket_arn}/*", foreign.writer_arn, foreign.reader_arn
        rules += [
            # S3 looks at the copy's versioning with it.
            foreign.allow("LetReplicationLook", ("s3:GetBucketVersioning",), bucket_arn, writer),
            foreign.allow("LetReplicationWrite", COPYING, objects, writer),
            foreign.allow("LetRestoreList", LIST_ACTIONS, bucket_arn, reader),
            foreign.allow("LetRestoreRead", READ_ACTIONS, objects, reader),
        ]
    return document(rules)


def key_grants(*, bucket_arn: str, region: str, foreign: Foreign | None) -> list[Statement]:
    """What the policy of the copy's key says beyond that of the store's: who of another account uses it.

    Args:
        bucket_arn: the copy's bucket.
        region: of the copy.
        foreign: as in :func:`bucket_policy`.
    """
    if not foreign:
        return []
    condition = through_s3(bucket_arn=bucket_arn, region=region)
    return [
        foreign.allow("LetReplicationEncrypt", ENCRYPTING, "*", foreign.writer_arn, condition),
        foreign.allow("LetRestoreDecrypt", ("kms:Decrypt",), "*", foreign.reader_arn, condition),
    ]
