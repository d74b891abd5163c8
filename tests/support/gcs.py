"""A Cloud Storage for tests: fake-gcs-server, and the token endpoint that a service account asks.

fake-gcs-server asks for no rights and checks no token, so what an identity may do is not tested here.
"""

from __future__ import annotations

import contextlib
import json
import secrets
import subprocess
import threading
import time
import urllib.parse
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from sandbox import settings
from steward.config import StorageSettings
from steward.process import ends_with_this_process
from tests.support.mongod import free_port

START_SECONDS = 30.0


class _Tokens(BaseHTTPRequestHandler):
    """Answers a signed assertion with a token, and anything else with an error."""

    def do_POST(self) -> None:  # the name that the base class calls
        form = urllib.parse.parse_qs(self.rfile.read(int(self.headers["Content-Length"])).decode())
        signed = form.get("grant_type") == ["urn:ietf:params:oauth:grant-type:jwt-bearer"]
        good = signed and len(form["assertion"][0].split(".")) == 3
        token = {"access_token": secrets.token_urlsafe(12), "expires_in": 3600, "token_type": "Bearer"}
        body = json.dumps(token if good else {"error": "invalid_grant"}).encode()
        self.send_response(200 if good else 400)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        """Nothing on stderr."""


@dataclass(frozen=True)
class GcsServer:
    """A running server, and the key file of a service account."""

    url: str
    credentials_file: Path
    process: subprocess.Popen[bytes] = field(repr=False)

    def request(self, method: str, path: str, body: object = None) -> Any:
        """One request of the JSON API, past steward's client."""
        answer = httpx.request(method, f"{self.url}/storage/v1/{path}", json=body, timeout=20)
        answer.raise_for_status()
        return answer.json() if answer.content else None

    def upload(self, bucket: str, key: str, data: bytes) -> None:
        """Put an object over the one that is there, past steward's client."""
        answer = httpx.post(
            f"{self.url}/upload/storage/v1/b/{bucket}/o",
            params={"uploadType": "media", "name": key},
            content=data,
            timeout=20,
        )
        answer.raise_for_status()

    def new_bucket(self) -> str:
        """A bucket that keeps old versions."""
        name = f"backups-{secrets.token_hex(6)}"
        self.request("POST", "b?project=test", {"name": name, "versioning": {"enabled": True}})
        return name

    def storage(self, bucket: str, **changes: Any) -> StorageSettings:
        """``[storage]`` of a configuration for that bucket."""
        given = {"endpoint_url": self.url, "credentials_file": self.credentials_file, **changes}
        return StorageSettings(kind="gcs", bucket=bucket, **given)


def _key_file(folder: Path, token_uri: str) -> Path:
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    path = folder / "service-account.json"
    path.touch(mode=0o600)
    account = {
        "type": "service_account",
        "client_email": "steward@test.iam.gserviceaccount.com",
        "private_key_id": "1",
        "private_key": key.decode(),
        "token_uri": token_uri,
    }
    path.write_text(json.dumps(account), encoding="utf-8")
    return path


@pytest.fixture(scope="session")
def gcs_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GcsServer]:
    """One server a test process."""
    folder = tmp_path_factory.mktemp("gcs")
    tokens = ThreadingHTTPServer(("127.0.0.1", 0), _Tokens)
    threading.Thread(target=tokens.serve_forever, daemon=True).start()
    port = free_port()
    command = [
        *ends_with_this_process(),
        str(settings.current().tools / "fake-gcs-server"),
        *("-scheme", "http", "-backend", "memory", "-host", "127.0.0.1", "-port", str(port)),
        *("-public-host", f"127.0.0.1:{port}", "-external-url", f"http://127.0.0.1:{port}"),
    ]
    with (folder / "log").open("wb") as out:
        process = subprocess.Popen(command, stdout=out, stderr=out, stdin=subprocess.DEVNULL)
    server = GcsServer(
        f"http://127.0.0.1:{port}", _key_file(folder, f"http://127.0.0.1:{tokens.server_port}/token"), process
    )
    try:
        deadline = time.monotonic() + START_SECONDS
        while True:
            with contextlib.suppress(httpx.TransportError):
                server.request("GET", "b?project=test")
                break
            assert process.poll() is None, (folder / "log").read_text()
            assert time.monotonic() < deadline, "fake-gcs-server does not answer"
            time.sleep(0.05)
        yield server
    finally:
        process.kill()
        process.wait()
        tokens.shutdown()
        tokens.server_close()
