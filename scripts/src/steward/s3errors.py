"""Errors of the S3 client as one line for the user."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from steward.errors import StewardError

#: S3 error code -> what it means here and what to do.
_MEANING = {
    "NoSuchBucket": "no such bucket; check storage.bucket, or run `pulumi up` for this stack",
    "NoSuchKey": "no such object",
    "404": "not found; check storage.bucket",
    "AccessDenied": "access denied; the key may lack a right on this bucket",
    "403": "access denied; check the access key and its rights on this bucket",
    "InvalidAccessKeyId": "the access key is not known; check [storage] of the secrets file",
    "SignatureDoesNotMatch": "the secret access key is wrong; check [storage] of the secrets file",
    "ExpiredToken": "the session has expired; renew the credentials",
    "PermanentRedirect": "the bucket is in another region; check storage.region",
    "SlowDown": "the service asks to slow down; try again later",
}


@contextmanager
def s3_errors(endpoint: str, bucket: str, key: str | None = None) -> Iterator[None]:
    """Turn an error of boto3 into a one-line :class:`StewardError`.

    Args:
        endpoint: how the service is called in the message.
    """
    from botocore.exceptions import (
        BotoCoreError,
        ClientError,
        ConnectionError,
        CredentialRetrievalError,
        HTTPClientError,
        NoCredentialsError,
        SSLError,
    )
    from botocore.exceptions import ConnectTimeoutError as ConnectTimeout

    where = f"bucket {bucket} at {endpoint}" + (f", {key}" if key else "")
    try:
        yield
    except ClientError as error:
        found = error.response.get("Error", {})
        code = found.get("Code", "")
        said = _MEANING.get(code) or f"{code}: {found.get('Message', 'no reason given')}"
        raise StewardError(f"{where}: {error.operation_name}: {said}") from error
    except (NoCredentialsError, CredentialRetrievalError) as error:
        raise StewardError(
            f"{where}: no credentials; give [storage] in the secrets file, or a role to this host"
        ) from error
    except SSLError as error:
        raise StewardError(f"{where}: TLS failed, check storage.ca_file: {_cause(error)}") from error
    except ConnectTimeout as error:
        raise StewardError(f"{where}: no answer in time; check network and storage.endpoint_url") from error
    except (ConnectionError, HTTPClientError) as error:
        raise StewardError(f"{where}: cannot be reached: {_cause(error)}") from error
    except BotoCoreError as error:
        raise StewardError(f"{where}: {error}") from error


def _cause(error: BaseException) -> str:
    """The innermost reason, which is the readable one."""
    while error.__cause__ is not None or error.__context__ is not None:
        error = error.__cause__ or error.__context__ or error
    return str(error) or type(error).__name__
