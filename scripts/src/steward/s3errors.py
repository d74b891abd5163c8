"""Errors of the S3 client as one line for the user."""

from __future__ import annotations

from contextlib import AbstractContextManager

from steward.awserrors import aws_errors

#: S3 error code -> what it means here and what to do.
_MEANING = {
    "NoSuchBucket": "no such bucket; check storage.bucket, or run `pulumi up` for this stack",
    "NoSuchKey": "no such object",
    "404": "not found; check storage.bucket",
    "AccessDenied": "access denied; the key may lack a right on this bucket",
    "403": "access denied; check the access key and its rights on this bucket",
    "PermanentRedirect": "the bucket is in another region; check storage.region",
    "SlowDown": "the service asks to slow down; try again later",
}


def s3_errors(endpoint: str, bucket: str, key: str | None = None) -> AbstractContextManager[None]:
    """Turn an error of boto3 into a one-line :class:`~steward.errors.StewardError`.

    Args:
        endpoint: how the service is called in the message.
    """
    where = f"bucket {bucket} at {endpoint}" + (f", {key}" if key else "")
    return aws_errors(where, "storage", _MEANING)
