"""Errors of the Google Cloud Storage client as one line for the user."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager

from steward.errors import FaultError, StewardError

# The client warns of the day on which the vendor ends its support of a Python; cron would mail that.
warnings.filterwarnings("ignore", message="You are using a Python version", category=FutureWarning)

#: HTTP status -> what it means here and what to do.
_MEANING = {
    401: "the credentials are not accepted; check storage.credentials_file",
    403: "access denied; the service account may lack a right on this bucket",
    404: "not found; check storage.bucket",
    429: "the service asks to slow down; try again later",
}


@contextmanager
def gcs_errors(where: str, key: str | None = None) -> Iterator[None]:
    """Turn an error of the client into a one-line :class:`StewardError`.

    Args:
        where: how bucket and service are called in the message.
    """
    from google.api_core.exceptions import GoogleAPICallError, RetryError
    from google.auth.exceptions import DefaultCredentialsError, GoogleAuthError
    from google.cloud.storage.exceptions import DataCorruption, InvalidResponse
    from requests.exceptions import ConnectionError as NoConnection
    from requests.exceptions import RequestException, Timeout

    place = where + (f", {key}" if key else "")
    try:
        yield
    except DataCorruption as error:
        raise FaultError(f"{place}: what arrived is not what was sent") from error
    except GoogleAPICallError as error:
        raise StewardError(f"{place}: {_said(error.code, error.message)}") from error
    except InvalidResponse as error:
        raise StewardError(f"{place}: {_said(error.response.status_code, error.response.text)}") from error
    except DefaultCredentialsError as error:
        raise StewardError(
            f"{place}: no credentials; set storage.credentials_file, or give this host a service account"
        ) from error
    except GoogleAuthError as error:
        raise StewardError(f"{place}: no token for the credentials: {_line(error)}") from error
    except Timeout as error:
        raise StewardError(f"{place}: no answer in time; check network and storage.endpoint_url") from error
    except RetryError as error:
        raise StewardError(f"{place}: no answer in time: {_line(error.cause)}") from error
    except NoConnection as error:
        raise StewardError(f"{place}: cannot be reached: {_line(error)}") from error
    except RequestException as error:
        raise StewardError(f"{place}: {_line(error)}") from error


def _said(status: object, text: str | None) -> str:
    known = _MEANING.get(status) if isinstance(status, int) else None
    return known or f"{status}: {_line(text) or 'no reason given'}"


def _line(said: object) -> str:
    """The innermost reason, as one line of readable length."""
    while isinstance(said, BaseException) and (said.__cause__ or said.__context__):
        said = said.__cause__ or said.__context__
    return " ".join(str(said or "").split())[:300]
