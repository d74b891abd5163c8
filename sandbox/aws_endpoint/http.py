"""The request and response that the parts of the endpoint hand to each other."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, unquote, urlsplit

from werkzeug.exceptions import HTTPException
from werkzeug.wsgi import get_input_stream

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIEnvironment

#: Bytes of a refused request that are read at most before the connection is closed.
MAX_DRAIN = 256 * 1024 * 1024
#: Where moto's request handler keeps names that WSGI would spell with a dash.
_PRESERVED_NAMES = "moto.preserved_header_names"


@dataclass
class Response:
    """What is sent back; ``body`` is consumed outside of moto's lock."""

    status: int
    headers: list[tuple[str, str]] = field(default_factory=list)
    body: Iterable[bytes] = ()


@dataclass(frozen=True)
class HttpRequest:
    """A request as it arrived, before any decoding; header names are lower-case."""

    method: str
    scheme: str
    raw_path: str
    raw_query: str
    headers: Mapping[str, str]
    query: Mapping[str, list[str]]
    remote: str
    tls_version: str  # "1.2", "1.3", or "" for plain HTTP
    environ: WSGIEnvironment
    #: The body as sent, ending where the request ends.
    stream: Any

    @property
    def path(self) -> str:
        return unquote(self.raw_path)

    def drain(self) -> None:
        """Read what is left of the body: most clients send all of it before they look at a refusal."""
        left = MAX_DRAIN
        # A client that is gone, or sends nonsense, needs no answer.
        with contextlib.suppress(OSError, ValueError, HTTPException):
            while left > 0 and (piece := self.stream.read(1024 * 1024)):
                left -= len(piece)


def from_environ(environ: WSGIEnvironment) -> HttpRequest:
    """Read a WSGI request."""
    raw = environ["RAW_URI"]
    if not raw.startswith("/"):
        parts = urlsplit(raw)
        raw = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    raw_path, _, raw_query = raw.partition("?")
    names = environ.get(_PRESERVED_NAMES) or {}
    headers = {}
    for key, value in environ.items():
        if key.startswith("HTTP_"):
            headers[names.get(key, key[5:].replace("_", "-")).lower()] = value
        elif key in ("CONTENT_TYPE", "CONTENT_LENGTH"):
            headers[key.replace("_", "-").lower()] = value
    version = getattr(environ.get("werkzeug.socket"), "version", lambda: "")()
    return HttpRequest(
        method=environ["REQUEST_METHOD"],
        scheme=environ["wsgi.url_scheme"],
        raw_path=raw_path,
        raw_query=raw_query,
        headers=headers,
        query=parse_qs(raw_query, keep_blank_values=True),
        remote=environ.get("REMOTE_ADDR", ""),
        tls_version=(version or "").removeprefix("TLSv"),
        environ=environ,
        stream=get_input_stream(environ),
    )
