"""Errors of an AWS client as one line for the user."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from steward.errors import FaultError, StewardError

#: Error code -> what it means and what to do, of every service.
_MEANING = {
    "InvalidAccessKeyId": "the access key is not known; check [storage] of the secrets file",
    "InvalidClientTokenId": "the access key is not known; check [storage] of the secrets file",
    "UnrecognizedClientException": "the access key is not known; check [storage] of the secrets file",
    "SignatureDoesNotMatch": "the secret access key is wrong; check [storage] of the secrets file",
    "ExpiredToken": "the session has expired; renew the credentials",
    "RequestTimeTooSkewed": "this host's clock is wrong by many minutes; check its time synchronisation",
    "RequestExpired": "this host's clock is wrong by many minutes; check its time synchronisation",
}


@contextmanager
def aws_errors(where: str, section: str, meaning: Mapping[str, str]) -> Iterator[None]:
    """Turn an error of boto3 into a one-line :class:`StewardError`.

    Args:
        where: how the thing that was asked is called in the message.
        section: of the configuration that tells how it is reached.
        meaning: error code -> what it means for this service.

    Raises:
        FaultError: the key that encrypts an object that is read cannot be used any more
            (codes ``KMS.*`` of S3, as KMS names its own exceptions).
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

    try:
        yield
    except ClientError as error:
        found = error.response.get("Error", {})
        code = found.get("Code", "")
        said = meaning.get(code) or _MEANING.get(code) or f"{code}: {found.get('Message', 'no reason given')}"
        # The object is there and stays closed: its key was disabled or deleted.
        closed = code.startswith("KMS.") and error.operation_name == "GetObject"
        kind = FaultError if closed else StewardError
        raise kind(f"{where}: {error.operation_name}: {said}") from error
    except (NoCredentialsError, CredentialRetrievalError) as error:
        raise StewardError(
            f"{where}: no credentials; give [storage] in the secrets file, or a role to this host"
        ) from error
    except SSLError as error:
        raise StewardError(f"{where}: TLS failed, check {section}.ca_file: {_cause(error)}") from error
    except ConnectTimeout as error:
        raise StewardError(f"{where}: no answer in time; check network and {section}.endpoint_url") from error
    except (ConnectionError, HTTPClientError) as error:
        raise StewardError(f"{where}: cannot be reached: {_cause(error)}") from error
    except BotoCoreError as error:
        raise StewardError(f"{where}: {error}") from error


def _cause(error: BaseException) -> str:
    """The innermost reason, which is the readable one."""
    while error.__cause__ is not None or error.__context__ is not None:
        error = error.__cause__ or error.__context__ or error
    return str(error) or type(error).__name__
