"""One host's worth of steward for fault tests: configuration, bucket, and a network that can fail."""

from __future__ import annotations

import http.client
import io
import json
import os
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass, field
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from sandbox import settings
from steward.cli import main
from tests.support.aws import AwsEndpoint
from tests.support.mongod import MongoServer

DEADLINE_S = 120.0
TOOLS = settings.current().tools


@dataclass(frozen=True)
class Step:
    """A request of the S3 client, by what it does."""

    method: str
    key: str
    query: str

    @property
    def name(self) -> str:
        """The operation in S3's words, as far as tests tell them apart; ``lock`` is the bucket's lock."""
        if self.key.startswith("lock/"):
            return "lock"
        if self.method == "POST":
            return "create" if "uploads" in self.query else "complete"
        if self.method == "PUT":
            return "part" if "partNumber" in self.query else "manifest"
        if self.method == "DELETE":
            return "abort"
        if self.method == "HEAD":
            return "head"
        return "read" if self.key else "list"


Rule = Callable[[Step], str]


#: Actions that answer with an error of the service, and its code and message.
ERRORS = {
    "expired": ("ExpiredToken", "The token has expired."),
    "key-disabled": ("KMS.DisabledException", "The key is disabled."),
}


class FaultProxy:
    """Stands between steward and the endpoint; ``rule`` decides about each request.

    A rule returns ``pass``, a status such as ``503``, ``reset``, ``cut`` (half of
    the answer's body), ``lose`` (done, but no answer), ``shift`` (the answer's Date
    is an hour earlier), ``shift N`` (N seconds later), ``spoil`` (a byte of the body is changed on the
    way), ``expired`` (the session token is) or ``stall``: then :attr:`stalled` is set, and the
    request is held until the proxy ends.
    """

    def __init__(self, upstream: str) -> None:
        self.upstream = urlsplit(upstream)
        self.rule: Rule = lambda _: "pass"
        self.stalled = threading.Event()
        self.release = threading.Event()
        self.steps: list[Step] = []
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        self._thread = threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True
        )
        self._thread.start()

    def close(self) -> None:
        """End the proxy and everything it holds."""
        self.release.set()
        self._server.shutdown()
        self._server.server_close()

    def _handler(proxy: FaultProxy) -> type[BaseHTTPRequestHandler]:  # noqa: N805
        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True  # a body that waits for its headers' receipt is 40 ms late

            def log_message(self, format: str, *args: Any) -> None:
                return

            def _serve(self) -> None:
                if self.headers.get("Expect") == "100-continue":
                    pass  # answered by the base class
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                url = urlsplit(self.path)
                step = Step(self.command, url.path.partition("/")[2].partition("/")[2], url.query)
                proxy.steps.append(step)
                action = proxy.rule(step)
                if action == "stall":
                    proxy.stalled.set()
                    proxy.release.wait(DEADLINE_S)
                    action = "reset"
                if action == "reset":
                    self._reset()
                elif action == "spoil":
                    self._forward(body[:-1] + bytes([body[-1] ^ 1]), action)
                elif action in ERRORS:
                    code, message = ERRORS[action]
                    body = f"<Error><Code>{code}</Code><Message>{message}</Message></Error>".encode()
                    self._answer(400, [("Content-Length", str(len(body)))], body)
                elif action.isdigit():
                    self._answer(int(action), [("Content-Length", "0")], b"")
                else:
                    self._forward(body, action)

            def _reset(self) -> None:
                # No linger: the client sees a reset, not an orderly end.
                self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                self.close_connection = True
                self.connection.close()
                self.rfile = open(os.devnull, "rb")  # noqa: SIM115, PTH123

            def _answer(self, status: int, headers: list[tuple[str, str]], body: bytes) -> None:
                self.send_response_only(status)
                for name, value in headers:
                    self.send_header(name, value)
                self.end_headers()
                if self.command != "HEAD":
                    self.wfile.write(body)

            def _forward(self, body: bytes, action: str) -> None:
                # The signature covers the Host header: it goes on as it came.
                connection = http.client.HTTPConnection(str(proxy.upstream.netloc), timeout=DEADLINE_S)
                try:
                    connection.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
                    for name, value in self.headers.items():
                        if name.lower() not in ("connection", "expect"):
                            connection.putheader(name, value)
                    connection.endheaders(body)
                    answer = connection.getresponse()
                    data = answer.read()
                finally:
                    connection.close()
                hop = ("transfer-encoding", "connection", "content-length")
                headers = [(n, v) for n, v in answer.getheaders() if n.lower() not in hop]
                length = answer.getheader("Content-Length") if self.command == "HEAD" else str(len(data))
                headers.append(("Content-Length", length or "0"))
                if action.startswith("shift"):
                    headers = [(n, v) for n, v in headers if n.lower() != "date"]
                    seconds = float(action.partition(" ")[2] or -3600)
                    headers.append(("Date", formatdate(time.time() + seconds, usegmt=True)))
                if action == "lose":
                    self._reset()
                elif action == "cut" and len(data) > 1:
                    self._answer(answer.status, headers, data[: len(data) // 2])
                    self.wfile.flush()
                    self._reset()
                else:
                    self._answer(answer.status, headers, data)

            do_GET = do_PUT = do_POST = do_HEAD = do_DELETE = _serve  # noqa: N815

        return Handler


@dataclass
class Site:
    """Configuration, bucket and metrics of one pretended host."""

    folder: Path
    aws: AwsEndpoint
    server: MongoServer
    bucket: str
    endpoint_url: str
    database: str = "shop"
    mongodump: str = str(TOOLS / "mongodump")
    settle: int = 1
    login: dict[str, str] = field(default_factory=dict)
    recipients: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        self.metrics.mkdir(exist_ok=True)
        self.write()

    @property
    def metrics(self) -> Path:
        """The textfile folder."""
        return self.folder / "metrics"

    @property
    def config(self) -> Path:
        """The configuration file."""
        return self.folder / "steward.toml"

    def write(self, **changes: str) -> None:
        """Write configuration and secrets; ``changes`` replace single values."""
        values = {
            "uri": self.server.uri,
            "bucket": self.bucket,
            "endpoint_url": self.endpoint_url,
            "mongodump": self.mongodump,
            "username": self.server.username,
            "password": self.server.password,
            "access_key_id": self.aws.admin_access_key_id,
            "secret_access_key": self.aws.admin_secret_access_key,
        } | changes
        self.config.write_text(
            f"""\
app = "bitesbay"
environment = "local"
state_dir = "{self.folder}/state"
[mongodb]
uri = "{values["uri"]}"
databases = ["{self.database}"]
[storage]
bucket = "{values["bucket"]}"
region = "us-east-1"
endpoint_url = "{values["endpoint_url"]}"
ca_file = "{self.aws.bundle_file}"
object_lock_mode = "GOVERNANCE"
[backup]
retention_days = {{ daily = 7, weekly = 28, monthly = 186, oplog = 8 }}
oplog_settle_seconds = {self.settle}
[encryption]
recipients = {json.dumps(self.recipients)}
[tools]
mongodump = "{values["mongodump"]}"
[metrics]
textfile_dir = "{self.metrics}"
"""
        )
        secrets = self.folder / "secrets.toml"
        secrets.touch(mode=0o600)
        secrets.write_text(
            f"""\
[mongodb]
username = "{values["username"]}"
password = "{values["password"]}"
[storage]
access_key_id = "{values["access_key_id"]}"
secret_access_key = "{values["secret_access_key"]}"
"""
        )

    def encrypt_for(self, recipients: list[str]) -> None:
        """Encrypt for these public keys from now on; none: not at all."""
        self.recipients = recipients
        self.write()

    def command(self, *arguments: str) -> list[str]:
        """steward with this configuration."""
        return [sys.executable, "-m", "steward.cli", "--config", str(self.config), "backup", *arguments]

    def run(self, *arguments: str, status: int = 0) -> subprocess.CompletedProcess[str]:
        """Run a verb of ``steward backup`` to its end and check its exit status."""
        out, err = io.StringIO(), io.StringIO()
        with redirect_stdout(out), redirect_stderr(err):
            # In this process: starting Python for each command costs most of a test's time.
            found = main(self.command(*arguments)[3:])
        assert found == status, f"status {found}: {out.getvalue()}{err.getvalue()}"
        return subprocess.CompletedProcess(arguments, found, out.getvalue(), err.getvalue())

    def json(self, *arguments: str, status: int = 0) -> Any:
        """As :meth:`run`, with ``--json``; the document on stdout."""
        return json.loads(self.run(*arguments, "--json", status=status).stdout)

    def fails(self, *arguments: str, status: int = 1) -> str:
        """Run a verb that must fail; its one line."""
        done = self.run(*arguments, status=status)
        lines = done.stderr.splitlines()
        assert len(lines) == 1, done.stderr
        assert "Traceback" not in done.stderr
        assert self.server.password not in done.stderr
        return lines[0]

    @contextmanager
    def started(
        self, *arguments: str, prefix: Sequence[str] = (), folder: Path | None = None
    ) -> Iterator[subprocess.Popen[str]]:
        """A verb that runs while the block does; killed at its end if it still does.

        Args:
            prefix: a command that starts it, such as ``prlimit``, which becomes it.
            folder: where it works; here if None.
        """
        command = [*prefix, *self.command(*arguments)]
        process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=folder
        )
        try:
            yield process
        finally:
            if process.poll() is None:
                process.kill()
            process.communicate()

    def s3(self) -> Any:
        """An administrator's S3 client."""
        return self.aws.client("s3")

    def keys(self) -> list[str]:
        """Every key in the bucket but the lock's."""
        found = self.s3().list_objects_v2(Bucket=self.bucket).get("Contents", [])
        return [o["Key"] for o in found if not o["Key"].startswith("lock/")]

    def uploads(self) -> list[Any]:
        """Multipart uploads that were neither completed nor aborted."""
        found: list[Any] = self.s3().list_multipart_uploads(Bucket=self.bucket).get("Uploads", [])
        return found

    def metric(self, name: str, **labels: str) -> float | None:
        """A value of the textfile."""
        from steward.metrics import read

        wanted = {"app": "bitesbay", **labels}
        for sample, found, value in read(self.metrics / "steward_backup_bitesbay.prom"):
            if sample == name and found == wanted:
                return value
        return None

    def insert(self, count: int, collection: str = "orders", **fields: Any) -> None:
        """Write documents, and wait until the server lets them be read as settled."""
        with self.server.client() as client:
            client[self.database][collection].insert_many(
                [{"n": n, "pad": "x" * 50, **fields} for n in range(count)]
            )
        self.settled()

    def settled(self) -> None:
        """Wait until slices are read up to everything written so far: they end with a whole second."""
        wait_until(int(time.time()) + self.settle)


def wait_until(second: float) -> None:
    """Let the clock reach a Unix time."""
    while (left := second - time.time()) > 0:
        time.sleep(min(left, 0.2))


def poll(condition: Callable[[], bool], what: str) -> None:
    """Wait for a condition, at most :data:`DEADLINE_S`."""
    deadline = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < deadline, f"never happened: {what}"
        time.sleep(0.05)


def children(pid: int) -> list[int]:
    """Processes that a process has started."""
    return [int(p) for p in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def hanging_dump(folder: Path) -> tuple[str, Callable[[], int]]:
    """A stand-in for mongodump that never ends; its path, and what waits until it runs and gives its id."""
    file = folder / "mongodump.pid"
    tool = write_tool(folder / "bin" / "mongodump", f'echo $$ > "{file}"; exec sleep 600')

    def running() -> int:
        # Not from the children of steward: `mongodump --version` is one before it.
        poll(lambda: file.exists() and file.read_text().endswith("\n"), "mongodump runs")
        pid = int(file.read_text())
        # And not while it turns from a shell into that: /proc then shows neither as a whole.
        poll(lambda: Path(f"/proc/{pid}/comm").read_text() == "sleep\n", "it is no shell any more")
        return pid

    return tool, running


def write_tool(path: Path, script: str) -> str:
    """An executable stand-in for mongodump that reports a version and then runs ``script``."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(
        f'#!/bin/sh\n[ "$1" = --version ] && {{ echo "mongodump version: 100.9.5"; exit 0; }}\n{script}\n'
    )
    path.chmod(0o755)
    return str(path)
