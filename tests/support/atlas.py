"""A server that speaks as much of Atlas' Administration API as snapshots need, and refuses the rest.

Paths, fields, states and the version in ``Accept`` are those of its reference (2023-01-01); logins are
checked, of service accounts (OAuth 2.0, client credentials) and of API keys (HTTP digest).
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
import secrets
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

PROJECT, CLUSTER = "0123456789abcdef01234567", "bitesbay"
CLIENT, CLIENT_SECRET = "mdb_sa_id_1", "mdb_sa_sk_hidden"
PUBLIC, PRIVATE = "publickey", "private-hidden"
_ACCEPT = "application/vnd.atlas.2023-01-01+json"
_BASE = f"/api/atlas/v2/groups/{PROJECT}/clusters/{CLUSTER}/backup/snapshots"


@dataclass
class AtlasServer:
    """The cluster's snapshots, and what was asked."""

    url: str = ""
    snapshots: list[dict[str, Any]] = field(default_factory=list)
    #: States that each further question about a new snapshot finds.
    states: list[str] = field(default_factory=lambda: ["queued", "inProgress", "completed"])
    requests: list[str] = field(default_factory=list)
    #: Status, or ``reset``, ``lose`` (done, but no answer), that a request gets; None: as usual.
    rule: Callable[[str], int | str | None] = lambda _: None
    tokens: set[str] = field(default_factory=set)

    def begin(self, description: str, days: int = 1, **more: Any) -> dict[str, Any]:
        """An on-demand snapshot that has just been asked for."""
        made = {
            "id": secrets.token_hex(12),
            "status": self.states[0],
            "snapshotType": "onDemand",
            "description": description,
            "type": "replicaSet",
            "links": [],
            "_left": list(self.states[1:]),
            "_days": days,
            **more,
        }
        self.snapshots.insert(0, made)
        return made

    def step(self, found: dict[str, Any]) -> None:
        """Time goes on for a snapshot."""
        if found["_left"]:
            found["status"] = found["_left"].pop(0)
        if found["status"] == "completed":
            now = datetime(2026, 11, 22, 2, 10, tzinfo=UTC)
            found["createdAt"] = now.isoformat().replace("+00:00", "Z")
            found["expiresAt"] = (now + timedelta(days=found["_days"])).isoformat().replace("+00:00", "Z")
            found |= {"storageSizeBytes": 123_456_789, "mongodVersion": "7.0.14"}


@contextmanager
def serving() -> Iterator[AtlasServer]:
    """A server on loopback while the block runs."""
    state = AtlasServer()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, format: str, *args: Any) -> None:
            return

        def _serve(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            name = f"{self.command} {urlsplit(self.path).path.removeprefix(_BASE)}"
            state.requests.append(name)
            action = state.rule(name)
            if action == "reset":
                self._drop()
            elif isinstance(action, int):
                self._answer(action, {"error": action, "errorCode": "TEST", "detail": "As the test says."})
            elif self.path == "/api/oauth/token":
                self._token(body)
            elif self._allowed():
                status, document = self._snapshots(body)
                if action == "lose":
                    self._drop()
                else:
                    self._answer(status, document)

        def _drop(self) -> None:
            self.close_connection = True
            self.connection.close()

        def _answer(self, status: int, document: Any, **headers: str) -> None:
            data = json.dumps(document).encode()
            self.send_response(status)
            for key, value in headers.items():
                self.send_header(key.replace("_", "-"), value)
            self.send_header("Content-Type", _ACCEPT)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def _token(self, body: bytes) -> None:
            basic = base64.b64encode(f"{CLIENT}:{CLIENT_SECRET}".encode()).decode()
            if self.headers.get("Authorization") != f"Basic {basic}":
                self._answer(401, {"error": "invalid_client"})
            elif parse_qs(body.decode()) != {"grant_type": ["client_credentials"]}:
                self._answer(400, {"error": "unsupported_grant_type"})
            else:
                token = secrets.token_hex(8)
                state.tokens.add(token)
                self._answer(200, {"access_token": token, "token_type": "Bearer", "expires_in": 3600})

        def _allowed(self) -> bool:
            given = self.headers.get("Authorization", "")
            if given.startswith("Bearer ") and given.removeprefix("Bearer ") in state.tokens:
                return True
            if given.startswith("Digest ") and self._digest(given):
                return True
            challenge = (
                'Digest realm="MMS Public API", domain="", nonce="n1", algorithm=MD5, qop="auth", stale=false'
            )
            detail = {
                "error": 401,
                "reason": "Unauthorized",
                "detail": "You are not authorized for this resource.",
            }
            self._answer(401, detail, WWW_Authenticate=challenge)
            return False

        def _digest(self, given: str) -> bool:
            parts = {key: a or b for key, a, b in re.findall(r'(\w+)=(?:"([^"]*)"|([^,\s]+))', given)}

            def md5(text: str) -> str:
                return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()

            first = md5(f"{PUBLIC}:MMS Public API:{PRIVATE}")
            second = md5(f"{self.command}:{self.path}")
            middle = ":".join((parts["nonce"], parts["nc"], parts["cnonce"], parts["qop"]))
            return parts["response"] == md5(f"{first}:{middle}:{second}")

        def _snapshots(self, body: bytes) -> tuple[int, Any]:
            if self.headers.get("Accept") != _ACCEPT:
                return 406, {"error": 406, "errorCode": "INVALID_VERSION_DATE"}
            path = urlsplit(self.path).path
            if not path.startswith(_BASE):
                return 404, {"error": 404, "errorCode": "CLUSTER_NOT_FOUND", "detail": "No such cluster."}
            rest = path.removeprefix(_BASE).strip("/")
            if self.command == "POST" and not rest:
                return self._begin(json.loads(body))
            if self.command == "GET" and not rest:
                return 200, {
                    "results": [_shown(s) for s in state.snapshots],
                    "totalCount": len(state.snapshots),
                }
            found = next((s for s in state.snapshots if s["id"] == rest), None)
            if self.command != "GET" or found is None:
                return 404, {"error": 404, "errorCode": "BACKUP_SNAPSHOT_NOT_FOUND"}
            state.step(found)
            return 200, _shown(found)

        def _begin(self, given: Any) -> tuple[int, Any]:
            if given.keys() - {"description", "retentionInDays"} or given.get("retentionInDays", 0) < 1:
                return 400, {"error": 400, "errorCode": "INVALID_ATTRIBUTE"}
            if any(
                s["status"] in ("queued", "inProgress") and s["snapshotType"] == "onDemand"
                for s in state.snapshots
            ):
                return 409, {"error": 409, "errorCode": "ON_DEMAND_SNAPSHOT_UNFINISHED"}
            return 200, _shown(state.begin(given["description"], given["retentionInDays"]))

        do_GET = do_POST = _serve  # noqa: N815

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    state.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield state
    finally:
        server.shutdown()
        server.server_close()


def _shown(snapshot: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in snapshot.items() if not key.startswith("_")}
