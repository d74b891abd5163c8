"""IAM policy documents as plain dictionaries, one file a subject. No Pulumi at run time.

On negated operators: ``StringNotEqualsIfExists`` in a Deny also refuses a request
*without* the key (IAM user guide, "IfExists condition operators"). Where a client may
leave a header out, a rule reads "the header is there (``Null: false``) and it is wrong".
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

Statement = dict[str, Any]
Document = dict[str, Any]


def document(statements: Sequence[Statement]) -> Document:
    """A policy of these statements."""
    return {"Version": "2012-10-17", "Statement": list(statements)}


def allow(
    sid: str,
    actions: Sequence[str],
    resources: str | Sequence[str],
    condition: Mapping[str, Any] | None = None,
    *,
    principal: Mapping[str, Any] | None = None,
) -> Statement:
    """A permission, its actions sorted; ``principal`` in policies of resources only."""
    return {
        "Sid": sid,
        "Effect": "Allow",
        **({"Principal": dict(principal)} if principal else {}),
        "Action": sorted(actions),
        "Resource": resources if isinstance(resources, str) else list(resources),
        **({"Condition": dict(condition)} if condition else {}),
    }


def deny(
    sid: str, actions: str | Sequence[str], resources: str | Sequence[str], condition: Mapping[str, Any]
) -> Statement:
    """A refusal to everybody whom the condition meets."""
    return {
        "Sid": sid,
        "Effect": "Deny",
        "Principal": "*",
        "Action": actions if isinstance(actions, str) else sorted(actions),
        "Resource": resources if isinstance(resources, str) else list(resources),
        "Condition": dict(condition),
    }


def trust_policy(
    principal: Mapping[str, Any],
    actions: Sequence[str],
    condition: Mapping[str, Any] | None = None,
    *,
    sid: str = "Trust",
) -> Document:
    """A trust policy of one statement; it has no Resource, which is the role itself."""
    statement = allow(sid, actions, "*", condition, principal=principal)
    del statement["Resource"]
    return document([statement])


def present_and_not(key: str, wanted: str) -> dict[str, Any]:
    """Condition: the request has ``key`` and its value is not ``wanted``."""
    return {"Null": {key: "false"}, "StringNotEquals": {key: wanted}}


def through_s3(*, bucket_arn: str, region: str) -> dict[str, Any]:
    """Condition: S3 of a region uses the key, for objects of a bucket or of those a pattern names.

    With a bucket key the encryption context is the bucket's ARN, else the object's; objects
    of before the bucket key keep theirs (Amazon S3 user guide, "Reducing the cost of SSE-KMS
    with Amazon S3 Bucket Keys").
    """
    return {
        "StringEquals": {"kms:ViaService": f"s3.{region}.amazonaws.com"},
        "StringLike": {"kms:EncryptionContext:aws:s3:arn": [bucket_arn, f"{bucket_arn}/*"]},
    }


def transport_rules(bucket_arn: str) -> list[Statement]:
    """What every bucket refuses: plain HTTP, and TLS below 1.2."""
    both = [bucket_arn, f"{bucket_arn}/*"]
    return [
        deny("RefusePlainHttp", "s3:*", both, {"Bool": {"aws:SecureTransport": "false"}}),
        deny("RefuseTlsBelow12", "s3:*", both, {"NumericLessThan": {"s3:TlsVersion": "1.2"}}),
    ]
