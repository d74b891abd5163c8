"""Policy of the bucket that S3 itself writes to: access logs and inventory reports."""

from __future__ import annotations

from collections.abc import Iterable

from infra.documents import Document, allow, document, transport_rules
from infra.documents.bucket import refuse_removals, refuse_settings

#: Key prefixes of the log bucket.
ACCESS_PREFIX = "access/"
INVENTORY_PREFIX = "inventory/"


def log_bucket_policy(
    *,
    bucket_arn: str,
    account_id: str,
    source_arns: Iterable[str],
    host_arns: Iterable[str],
    deleter_arns: Iterable[str],
) -> Document:
    """S3 may write for the buckets of this stack; everybody else keeps what their identity allows.

    Both permissions name account and bucket, or any customer of AWS could have S3 write here
    (IAM user guide, "The confused deputy problem").

    Args:
        bucket_arn: the log bucket.
        account_id: the account of all these buckets.
        source_arns: the buckets that are logged and inventoried.
        host_arns: the hosts' identities.
        deleter_arns: who may remove logs before their time.
    """
    from_here = {
        "StringEquals": {"aws:SourceAccount": account_id},
        "ArnLike": {"aws:SourceArn": sorted(source_arns)},
    }
    return document(
        [
            *transport_rules(bucket_arn),
            refuse_removals(bucket_arn, deleter_arns),
            refuse_settings(bucket_arn, host_arns),
            allow(
                "DeliverAccessLogs",
                ["s3:PutObject"],
                f"{bucket_arn}/{ACCESS_PREFIX}*",
                from_here,
                principal={"Service": "logging.s3.amazonaws.com"},
            ),
            allow(
                "DeliverInventories",
                ["s3:PutObject"],
                f"{bucket_arn}/{INVENTORY_PREFIX}*",
                from_here,
                principal={"Service": "s3.amazonaws.com"},
            ),
        ]
    )
