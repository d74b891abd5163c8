"""A server that speaks as much of UptimeRobot's API v3 as a monitor needs, and refuses the rest.

Paths, fields, required ones and value lists are those of the vendor's OpenAPI file
(github.com/uptimerobot/uptimerobot-cli, openapi/openapi.yaml, version 3.0). A field or a value
that this file does not have is answered with 400, so a misspelled field cannot pass a test.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

KEY = "key-of-the-test"

METHODS = ("HEAD", "GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "QUERY")
#: The fields of CreateKeywordMonitorDto and UpdateMonitorDto that a client of ours could want.
FIELDS: dict[str, Any] = {
    "friendlyName": lambda v: isinstance(v, str) and 0 < len(v) <= 250,
    "url": lambda v: isinstance(v, str) and v.startswith(("http://", "https://")),
    "type": lambda v: v == "KEYWORD",
    "interval": lambda v: isinstance(v, int) and v >= 30,
    "timeout": lambda v: isinstance(v, int) and 0 <= v <= 60,
    "httpMethodType": lambda v: v in METHODS,
    "keywordType": lambda v: v in ("ALERT_EXISTS", "ALERT_NOT_EXISTS"),
    "keywordValue": lambda v: isinstance(v, str) and len(v) <= 500,
    "assignedAlertContacts": lambda v: all(
        c.keys() == {"alertContactId", "threshold", "recurrence"} and isinstance(c["alertContactId"], int)
        for c in v
    ),
}
CASE_AT_CREATION = {"CaseSensitive": 0, "CaseInsensitive": 1}
REQUIRED = (
    "friendlyName",
    "interval",
    "type",
    "url",
    "timeout",
    "keywordType",
    "keywordCaseType",
    "keywordValue",
)


@dataclass
class UptimeRobot:
    """The state of the account, and what was asked of it."""

    monitors: dict[int, dict[str, Any]] = field(default_factory=dict)
    contacts: dict[int, tuple[str, Any]] = field(default_factory=dict)
    """Id -> address and status."""
    requests: list[str] = field(default_factory=list)
    bodies: list[Any] = field(default_factory=list)
    failures: list[tuple[int, dict[str, str]]] = field(default_factory=list)
    """Statuses and headers that the next requests get instead of an answer."""
    after_post: int = 0
    """Status that a POST answers although it did its work; 0 for none."""
    url: str = ""
    _next: int = 800_000_001

    def make(self, body: dict[str, Any]) -> dict[str, Any]:
        monitor = {"id": self._next, "status": "UP", "httpMethodType": "HEAD", **body}
        monitor.setdefault("assignedAlertContacts", [])
        self.monitors[self._next] = monitor
        self._next += 1
        return monitor

    def all_contacts(self) -> list[dict[str, Any]]:
        items = [
            {
                "id": number,
                "name": value,
                "value": value,
                "type": "Email",
                "status": status,
                "threshold": 0,
                "recurrence": 0,
            }
            for number, (value, status) in self.contacts.items()
        ]
        user = {"id": 1, "name": "team"}
        return [{"notifyOnly": False, "orgAlertContactId": None, "user": user, "alertContacts": items}]


def problem(body: dict[str, Any], *, creating: bool) -> str:
    """What UptimeRobot would say of a body; empty when it is fine."""
    case = body.get("keywordCaseType")
    if creating:
        missing = [name for name in REQUIRED if name not in body]
        if missing:
            return f"{missing[0]} is required"
        if case not in CASE_AT_CREATION:
            return f"keywordCaseType must be one of {', '.join(CASE_AT_CREATION)}"
    elif case not in (None, 0, 1):
        return "keywordCaseType must be 0 or 1"
    for name, value in body.items():
        if name == "keywordCaseType":
            continue
        if name not in FIELDS:
            return f"property {name} should not exist"
        if not FIELDS[name](value):
            return f"{name} is wrong: {value!r}"
    return ""


class _Handler(BaseHTTPRequestHandler):
    account: UptimeRobot

    def _answer(self, status: int, body: Any = None, headers: dict[str, str] | None = None) -> None:
        data = b"" if body is None else json.dumps(body).encode()
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def _handle(self) -> None:
        length = int(self.headers.get("Content-Length") or 0)
        body = json.loads(self.rfile.read(length)) if length else None
        account, path = self.account, urlsplit(self.path)
        account.requests.append(f"{self.command} {self.path}")
        account.bodies.append(body)
        if self.headers.get("Authorization") != f"Bearer {KEY}":
            return self._answer(401, {"message": "Unauthorized", "code": "UNAUTHORIZED"})
        if account.failures:
            status, headers = account.failures.pop(0)
            return self._answer(status, {"message": "not now"}, headers)
        match (self.command, path.path.strip("/").split("/")):
            case ("GET", ["v3", "user", "all-alert-contacts"]):
                return self._answer(200, account.all_contacts())
            case ("GET", ["v3", "monitors"]):
                part = parse_qs(path.query).get("name", [""])[0].casefold()
                data = [m for m in account.monitors.values() if part in m["friendlyName"].casefold()]
                return self._answer(200, {"nextLink": None, "data": data})
            case ("POST", ["v3", "monitors"]):
                return self._create(body or {})
            case (_, ["v3", "monitors", number, *rest]) if number.isdigit():
                return self._one(int(number), rest, body)
        return self._answer(404, {"message": f"Cannot {self.command} {path.path}"})

    def _create(self, body: dict[str, Any]) -> None:
        if said := problem(body, creating=True):
            return self._answer(400, {"message": said})
        made = self.account.make({**body, "keywordCaseType": CASE_AT_CREATION[body["keywordCaseType"]]})
        if self.account.after_post:
            return self._answer(self.account.after_post, {"message": "lost"})
        return self._answer(201, made)

    def _one(self, number: int, rest: list[str], body: Any) -> None:
        monitor = self.account.monitors.get(number)
        if monitor is None:
            return self._answer(404, {"message": "Monitor not found"})
        if self.command == "GET" and not rest:
            return self._answer(200, monitor)
        if self.command == "PATCH" and not rest:
            if said := problem(body, creating=False):
                return self._answer(400, {"message": said})
            monitor.update(body)
            return self._answer(200, monitor)
        if self.command == "DELETE" and not rest:
            del self.account.monitors[number]
            return self._answer(200)
        if self.command == "POST" and rest == ["start"]:
            monitor["status"] = "STARTED"
            return self._answer(201, monitor)
        return self._answer(404, {"message": "Cannot do that"})

    do_GET = do_POST = do_PATCH = do_DELETE = _handle  # noqa: N815 - the names of http.server

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing on standard error."""


@contextmanager
def serve() -> Iterator[UptimeRobot]:
    """An account on a free loopback port with one contact, ``oncall@shop.example``."""
    account = UptimeRobot(contacts={11: ("OnCall@shop.example", "Active"), 12: ("new@shop.example", 0)})
    handler = type("Handler", (_Handler,), {"account": account})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    account.url = f"http://127.0.0.1:{server.server_port}/v3"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield account
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
