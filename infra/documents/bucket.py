"""Refusals that buckets of different purposes share.

A refusal binds everybody in the account but these:

* S3 itself: lifecycle rules need no permission of a bucket policy (Amazon S3 user guide,
  "Setting an S3 Lifecycle configuration"), and what other services do is exempt by
  ``aws:PrincipalIsAWSService``;
* the account's root user, who can always read, replace and remove a bucket policy (the same
  guide, "Bucket policies"). That is on purpose: it is the way back from a policy that
  locked everybody out. A lock in COMPLIANCE mode holds against it, too.
"""

from __future__ import annotations

from collections.abc import Iterable

from infra.documents import Statement, deny, present_and_not

#: What removes an object, one of its versions, or the lock that keeps it.
OBJECT_REMOVALS = ("s3:BypassGovernanceRetention", "s3:DeleteObject", "s3:DeleteObjectVersion")

#: Settings of a bucket. Each of them can end in a loss: a lifecycle of one day, a replication
#: elsewhere, another key, another owner, a policy without refusals.
SETTINGS = (
    "s3:DeleteBucket",
    "s3:DeleteBucketPolicy",
    "s3:PutBucketAcl",
    "s3:PutBucketLogging",
    "s3:PutBucketNotification",
    "s3:PutBucketObjectLockConfiguration",
    "s3:PutBucketOwnershipControls",
    "s3:PutBucketPolicy",
    "s3:PutBucketPublicAccessBlock",
    "s3:PutBucketVersioning",
    "s3:PutEncryptionConfiguration",
    "s3:PutInventoryConfiguration",
    "s3:PutLifecycleConfiguration",
    "s3:PutMetricsConfiguration",
    "s3:PutReplicationConfiguration",
)

#: Keeps an object for ever, against the will of the account.
LEGAL_HOLD = "s3:PutObjectLegalHold"


def refuse_removals(bucket_arn: str, deleter_arns: Iterable[str]) -> Statement:
    """Nobody but the deleters removes an object before its time.

    Args:
        bucket_arn: the bucket.
        deleter_arns: roles and users; of a role's session AWS compares the role's ARN.
    """
    return deny(
        "OnlyBreakGlassDeletes",
        OBJECT_REMOVALS,
        f"{bucket_arn}/*",
        {
            # True without the key, so that it binds whoever has no ARN.
            "ArnNotEquals": {"aws:PrincipalArn": sorted(deleter_arns)},
            "BoolIfExists": {"aws:PrincipalIsAWSService": "false"},
        },
    )


def refuse_settings(bucket_arn: str, host_arns: Iterable[str]) -> Statement:
    """Hosts change no setting, whatever is attached to their identity later.

    By condition and not as Principal: S3 rewrites a deleted principal to its id, and the
    policy could then not be written again before the user exists.

    Args:
        bucket_arn: the bucket.
        host_arns: the hosts' identities; those that do not exist do no harm.
    """
    return deny(
        "HostsChangeNoSettings",
        (*SETTINGS, LEGAL_HOLD),
        [bucket_arn, f"{bucket_arn}/*"],
        {"ArnEquals": {"aws:PrincipalArn": sorted(host_arns)}},
    )


def refuse_other_encryption(bucket_arn: str, kms_key_arn: str) -> list[Statement]:
    """Objects are encrypted with one key; who names no key gets it by the bucket's default.

    Args:
        bucket_arn: the bucket.
        kms_key_arn: the only key an object may name.
    """
    objects = f"{bucket_arn}/*"
    return [
        deny(
            "RefuseOtherEncryption",
            ["s3:PutObject"],
            objects,
            present_and_not("s3:x-amz-server-side-encryption", "aws:kms"),
        ),
        deny(
            "RefuseOtherKey",
            ["s3:PutObject"],
            objects,
            present_and_not("s3:x-amz-server-side-encryption-aws-kms-key-id", kms_key_arn),
        ),
        deny(
            "RefuseCustomerProvidedKeys",
            ["s3:PutObject"],
            objects,
            {"Null": {"s3:x-amz-server-side-encryption-customer-algorithm": "false"}},
        ),
    ]
