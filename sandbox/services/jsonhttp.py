"""A small HTTP server whose answers are JSON; enough for stand-ins."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import dataclass
from email.message import Message
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, ClassVar
from urllib.parse import parse_qs, urlsplit

#: Larger bodies are refused with 413.
BODY_LIMIT = 1024 * 1024
#: Seconds after which a silent connection is closed.
IDLE_SECONDS = 60.0


@dataclass(frozen=True)
class Request:
    """What a client asked."""

    method: str
    path: str
    query: dict[str, str]
    headers: Message
    body: bytes

    def json(self) -> Any:
        """The body as JSON; an empty one is an empty object.

        Raises:
            ValueError: when it is not JSON.
        """
        return json.loads(self.body) if self.body else {}


@dataclass(frozen=True)
class Response:
    """What the client gets: a status and something that becomes JSON."""

    status: int
    content: Any


Application = Callable[[Request], Response]


class _Handler(BaseHTTPRequestHandler):
    """Calls :attr:`application` for every request."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # a body that waits for its headers' receipt is up to 40 ms late
    timeout = IDLE_SECONDS
    application: ClassVar[Application]

    def handle_one_request(self) -> None:
        """One request; a client that went away is no error of ours."""
        try:
            super().handle_one_request()
        except ConnectionError:
            self.close_connection = True

    def _serve(self) -> None:
        try:
            length = int(self.headers.get("Content-Length") or 0)
        except ValueError:
            length = -1
        if not 0 <= length <= BODY_LIMIT:
            # The body stays unread, so the connection cannot be used again.
            self.close_connection = True
            self._answer(
                Response(413 if length > 0 else 400, {"error": "the body's length is not acceptable"})
            )
            return
        parts = urlsplit(self.path)
        request = Request(
            method=self.command,
            path=parts.path,
            query={key: values[-1] for key, values in parse_qs(parts.query).items()},
            headers=self.headers,
            body=self.rfile.read(length),
        )
        self._answer(type(self).application(request))

    # The names that BaseHTTPRequestHandler looks for.
    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = _serve  # noqa: N815

    def _answer(self, response: Response) -> None:
        body = json.dumps(response.content).encode()
        self.send_response(response.status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """One line a request on standard error; no header and no body."""
        sys.stderr.write(f"{self.log_date_time_string()} {self.client_address[0]} {format % args}\n")


class JsonServer(ThreadingHTTPServer):
    """Serves an application on an address; ``serve_forever`` in a thread, ``shutdown`` to end."""

    daemon_threads = True
    block_on_close = False

    def __init__(self, address: tuple[str, int], application: Application) -> None:
        # staticmethod: a function in a class would be given the handler as its first argument.
        handler = type("Handler", (_Handler,), {"application": staticmethod(application)})
        super().__init__(address, handler)
