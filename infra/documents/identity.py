"""Policies of the identities: who may take a role, and what each may do with the store.

The hosts' own policy on the store is :func:`infra.documents.store.host_policy`. CI's
roles are in :mod:`infra.documents.ci`.
"""

from __future__ import annotations

from collections.abc import Iterable

from infra import names
from infra.documents import Document, allow, document, through_s3, trust_policy
from infra.documents.archive import ARCHIVE_PREFIX, HOST_ARCHIVE_ACTIONS
from infra.documents.store import HOST_OBJECT_ACTIONS
from steward.cloudwatch_names import NAMESPACE

#: What reads a bucket without its objects.
LIST_ACTIONS = (
    "s3:GetBucketLocation",
    "s3:GetBucketObjectLockConfiguration",
    "s3:GetBucketVersioning",
    "s3:ListBucket",
    "s3:ListBucketMultipartUploads",
    "s3:ListBucketVersions",
)

#: Reads every version of an object and what is known about it.
READ_ACTIONS = ("s3:GetObject", "s3:GetObjectRetention", "s3:GetObjectVersion")

#: Seconds since the code was shown after which the break-glass role cannot be taken any more.
MFA_AGE_SECONDS = 900

#: Certificates of hosts begin their common name with the stack's name, as ``kampyn-production-db1``.
#: IAM Roles Anywhere makes session tags of a certificate's subject
#: (IAM Roles Anywhere user guide, "Trust model").
COMMON_NAME = "aws:PrincipalTag/x509Subject/CN"


def publish_metrics() -> Document:
    """Metrics of steward's namespace; CloudWatch knows no narrower resource than all."""
    return document(
        [
            allow(
                "PublishMetrics",
                ["cloudwatch:PutMetricData"],
                "*",
                {"StringEquals": {"cloudwatch:namespace": NAMESPACE}},
            )
        ]
    )


def _use_keys(bucket_arn: str, account_id: str, region: str) -> Document:
    """The statement that lets S3 use keys of the account for objects of these buckets."""
    return allow(
        "UseKeysThroughS3",
        ["kms:Decrypt", "kms:GenerateDataKey"],
        f"arn:aws:kms:{region}:{account_id}:key/*",
        through_s3(bucket_arn=bucket_arn, region=region),
    )


def boundary(*, stack: str, account_id: str, region: str) -> Document:
    """The most that hosts can ever do, whatever is attached to their identity later.

    Every bucket of the stack carries the stack's name, so that this needs to know none of them. Nothing
    that deletes, nothing of IAM, no secret.

    Args:
        stack: the stack's name.
        account_id: the account of hosts and buckets.
        region: where the buckets that hosts write to lie.
    """
    bucket_arn = names.bucket_arn(names.bucket_name(f"{stack}-*", account_id))
    (metrics,) = publish_metrics()["Statement"]
    return document(
        [
            allow("ListOwnBuckets", LIST_ACTIONS, bucket_arn),
            allow("PutAndReadObjects", HOST_OBJECT_ACTIONS, f"{bucket_arn}/*"),
            _use_keys(bucket_arn, account_id, region),
            metrics,
        ]
    )


def app_boundary(*, stack: str, account_id: str, region: str) -> Document:
    """The most that application hosts can ever do: put into the stack's log archive.

    The internet reaches them, so nothing here opens an object of any bucket.

    Args:
        stack: the stack's name.
        account_id: the account of hosts and buckets.
        region: where the archive lies.
    """
    bucket_arn = names.bucket_arn(names.bucket_name(f"{stack}-archive", account_id))
    return document(
        [
            allow("ListArchive", ["s3:ListBucket"], bucket_arn),
            allow("PutIntoArchive", HOST_ARCHIVE_ACTIONS, f"{bucket_arn}/{ARCHIVE_PREFIX}*"),
            _use_keys(bucket_arn, account_id, region),
        ]
    )


def restore_policy(*, bucket_arn: str, kms_key_arn: str, region: str) -> Document:
    """Reads every version of every backup and writes nothing."""
    return document(
        [
            allow("List", LIST_ACTIONS, bucket_arn),
            allow("ReadEveryVersion", READ_ACTIONS, f"{bucket_arn}/*"),
            allow(
                "DecryptThroughS3",
                ["kms:Decrypt"],
                kms_key_arn,
                through_s3(bucket_arn=bucket_arn, region=region),
            ),
        ]
    )


def break_glass_policy(*, bucket_arns: Iterable[str]) -> Document:
    """Removes backups and archived logs before their time; reads none: nobody has to read what must go."""
    buckets = sorted(bucket_arns)
    return document(
        [
            allow("List", LIST_ACTIONS, buckets),
            allow(
                "RemoveVersions",
                [
                    "s3:BypassGovernanceRetention",
                    "s3:DeleteObject",
                    "s3:DeleteObjectVersion",
                    "s3:GetObjectRetention",
                ],
                [f"{arn}/*" for arn in buckets],
            ),
        ]
    )


def account_trust(account_id: str) -> Document:
    """Whom IAM of the account allows to take the role."""
    return trust_policy({"AWS": f"arn:aws:iam::{account_id}:root"}, ["sts:AssumeRole"])


def mfa_trust(account_id: str, principals: Iterable[str]) -> Document:
    """These principals, the whole account without any, right after they showed an MFA device.

    ``Bool`` is false for a request without the key, which is what a plain access key sends.
    """
    who = sorted(principals) or [f"arn:aws:iam::{account_id}:root"]
    return trust_policy(
        {"AWS": who},
        ["sts:AssumeRole"],
        {
            "Bool": {"aws:MultiFactorAuthPresent": "true"},
            "NumericLessThan": {"aws:MultiFactorAuthAge": str(MFA_AGE_SECONDS)},
        },
    )


def ec2_trust() -> Document:
    """EC2 for its instances."""
    return trust_policy({"Service": "ec2.amazonaws.com"}, ["sts:AssumeRole"])


def roles_anywhere_trust(*, trust_anchor_arn: str, stack: str, app_hosts: bool = False) -> Document:
    """IAM Roles Anywhere for hosts with a certificate of this stack, from this trust anchor.

    Without the anchor's ARN any other anchor of the account would do as well
    (IAM Roles Anywhere user guide, "Role trust policies"). One anchor serves both kinds of hosts, which the
    common name of the certificate tells apart: an application host must not become one that reads backups.

    Args:
        trust_anchor_arn: the anchor.
        stack: the stack's name.
        app_hosts: for the role of the application hosts.
    """
    own = f"{stack}-app-*"
    who: dict[str, dict[str, str]] = (
        {"StringLike": {COMMON_NAME: own}}
        if app_hosts
        else {"StringLike": {COMMON_NAME: f"{stack}-*"}, "StringNotLike": {COMMON_NAME: own}}
    )
    return trust_policy(
        {"Service": "rolesanywhere.amazonaws.com"},
        ["sts:AssumeRole", "sts:SetSourceIdentity", "sts:TagSession"],
        {
            "ArnEquals": {"aws:SourceArn": trust_anchor_arn},
            **who,
        },
    )
