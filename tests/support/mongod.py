"""Real MongoDB wire servers for tests: steward-mongod processes on loopback."""

from __future__ import annotations

import json
import os
import secrets
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from pymongo import MongoClient

from sandbox import settings
from steward.process import ends_with_this_process

START_SECONDS = 30.0


def free_port() -> int:
    """A TCP port of the loopback address that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class MongoServer:
    """One server: its address, its login and the means to end and start it."""

    host = "127.0.0.1"

    def __init__(self, folder: Path, *, login: bool, oplog_mb: int) -> None:
        self.folder = folder
        self.port = free_port()
        self.username = "tester" if login else ""
        self.password = secrets.token_urlsafe(12) if login else ""
        self._oplog_mb = oplog_mb
        self._process: subprocess.Popen[bytes] | None = None
        folder.mkdir(parents=True)
        if login:
            users = folder / "users.json"
            users.touch(mode=0o600)
            users.write_text(json.dumps({self.username: self.password}))

    @property
    def uri(self) -> str:
        """Address without the login."""
        return f"mongodb://{self.host}:{self.port}/?directConnection=true"

    def client(self, **options: Any) -> MongoClient[dict[str, Any]]:
        """A logged-in client; ``options`` go to :class:`MongoClient`."""
        if self.username:
            options = {
                "username": self.username,
                "password": self.password,
                "authSource": "admin",
                "authMechanism": "SCRAM-SHA-256",
                **options,
            }
        return MongoClient(self.uri, serverSelectionTimeoutMS=5000, **options)

    def start(self) -> None:
        """Start the server and wait until it answers; its data is kept between starts."""
        command = [
            *ends_with_this_process(),
            str(settings.current().tools / "steward-mongod"),
            f"--bind={self.host}",
            f"--port={self.port}",
            f"--data={self.folder / 'data'}",
            f"--oplog-size-mb={self._oplog_mb}",
        ]
        if self.username:
            command.append(f"--users={self.folder / 'users.json'}")
        log = self.folder / "log"
        with log.open("ab") as out:
            self._process = subprocess.Popen(command, stdout=out, stderr=out, stdin=subprocess.DEVNULL)
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            if self._process.poll() is not None:
                raise RuntimeError(f"steward-mongod ended with {self._process.returncode}: {log.read_text()}")
            try:
                with socket.create_connection((self.host, self.port), timeout=1):
                    return
            except OSError:
                time.sleep(0.05)
        self.kill()
        raise RuntimeError(f"steward-mongod does not answer after {START_SECONDS:.0f} s: {log.read_text()}")

    def stop(self) -> None:
        """End the server in order."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """End the server as a power cut would."""
        self._end(signal.SIGKILL)

    def _end(self, number: signal.Signals) -> None:
        if self._process is None:
            return
        if self._process.poll() is None:
            os.kill(self._process.pid, number)
            try:
                self._process.wait(20)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait(20)
        self._process = None


@pytest.fixture
def mongod(tmp_path: Path) -> Iterator[Callable[..., MongoServer]]:
    """Make servers: ``mongod()`` or ``mongod(login=False, oplog_mb=0)``; ended with the test."""
    servers: list[MongoServer] = []

    def make(*, login: bool = True, oplog_mb: int = 64) -> MongoServer:
        server = MongoServer(tmp_path / f"mongod{len(servers)}", login=login, oplog_mb=oplog_mb)
        servers.append(server)
        server.start()
        return server

    yield make
    for server in servers:
        server.stop()
