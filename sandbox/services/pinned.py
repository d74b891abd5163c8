"""An HTTP client for hosts whose names are in no DNS.

Like ``curl --connect-to``: the connection goes to a given address, while the
name in the URL is what the certificate must bear, and what ``Host`` says.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import urllib3

CONNECT_SECONDS = 5.0
READ_SECONDS = 20.0
#: An answer longer than this is not read to its end.
ANSWER_LIMIT = 4 * 1024 * 1024


class UnreachableError(OSError):
    """No answer came; the message is one line with the reason."""


@dataclass(frozen=True)
class Answer:
    """A status, headers, and the body as JSON (``None`` when it is not JSON)."""

    status: int
    headers: Mapping[str, str]
    content: Any


class PinnedClient:
    """Requests to one origin over kept connections; may be used by several threads."""

    def __init__(
        self,
        url: str,
        *,
        connect: str | None = None,
        ca_file: Path | None = None,
        connections: int = 1,
        read_seconds: float = READ_SECONDS,
    ) -> None:
        """Prepare; nothing is sent yet.

        Args:
            url: ``http(s)://name[:port]``; a path is put before every request's.
            connect: address to connect to instead of the name's.
            ca_file: certificate authorities in PEM; default the system's.
            connections: how many are open at most; further requests wait.
            read_seconds: longest silence of the server before the request fails.

        Raises:
            ValueError: when ``url`` is not such a URL.
        """
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError(f"{url!r} is not http(s)://name[:port]")
        self.origin = url.rstrip("/")
        self._prefix = parts.path.rstrip("/")
        self._headers = {"Host": parts.netloc.rpartition("@")[2], "User-Agent": "steward-sandbox"}
        options: dict[str, Any] = {
            "maxsize": connections,
            "block": True,
            "retries": False,
            "timeout": urllib3.Timeout(connect=CONNECT_SECONDS, read=read_seconds),
        }
        host = connect or parts.hostname
        self._pool: urllib3.HTTPConnectionPool
        if parts.scheme == "http":
            self._pool = urllib3.HTTPConnectionPool(host, parts.port or 80, **options)
        else:
            self._pool = urllib3.HTTPSConnectionPool(
                host,
                parts.port or 443,
                cert_reqs="CERT_REQUIRED",
                ca_certs=str(ca_file) if ca_file else None,
                assert_hostname=parts.hostname,
                server_hostname=parts.hostname,
                **options,
            )

    def request(
        self,
        method: str,
        path: str,
        *,
        content: Any = None,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        """Send one request, never twice; ``content`` is sent as JSON, ``body`` as it is.

        Raises:
            UnreachableError: when no complete answer came.
        """
        sent = {**self._headers, **(headers or {})}
        if content is not None:
            body = json.dumps(content).encode()
        if body is not None:
            sent.setdefault("Content-Type", "application/json")
        try:
            response = self._pool.request(
                method,
                (self._prefix + path) or "/",
                body=body,
                headers=sent,
                preload_content=False,
                redirect=False,
            )
            try:
                data = response.read(ANSWER_LIMIT)
            finally:
                response.drain_conn()
                response.release_conn()
        except (urllib3.exceptions.HTTPError, OSError) as error:
            raise UnreachableError(f"{method} {self.origin}{path}: {error}") from error
        try:
            parsed = json.loads(data)
        except ValueError:
            parsed = None
        return Answer(response.status, dict(response.headers), parsed)

    def close(self) -> None:
        """Close the kept connections."""
        self._pool.close()
