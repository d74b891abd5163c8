"""Errors of the stand-in, and AWS errors as one line."""

from __future__ import annotations

from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    ConnectTimeoutError,
    EndpointConnectionError,
    NoCredentialsError,
    ReadTimeoutError,
    SSLError,
)


class StandInError(Exception):
    """What the stand-in tells its user, in one line."""


def code(error: ClientError) -> str:
    """The AWS error code, as ``NoSuchBucket``."""
    return str(error.response.get("Error", {}).get("Code", ""))


def explain(error: BotoCoreError | ClientError, endpoint: str) -> str:
    """One line: what failed, where, and what to do where that is known."""
    if isinstance(error, ClientError):
        message = error.response.get("Error", {}).get("Message", "")
        return f"AWS endpoint {endpoint} refused {error.operation_name}: {code(error)}: {message}"
    if isinstance(error, NoCredentialsError):
        return "no AWS credentials; run this in the sandbox's environment"
    if isinstance(error, SSLError):
        return (
            f"AWS endpoint {endpoint}: certificate not trusted;"
            f" does AWS_CA_BUNDLE name the sandbox's CA? ({error})"
        )
    if isinstance(error, (EndpointConnectionError, ConnectTimeoutError, ReadTimeoutError)):
        return f"AWS endpoint {endpoint} does not answer; is the sandbox up? (make up)"
    return f"AWS endpoint {endpoint}: {error}"
