"""One application host as the tests see it: its shell, and the HTTPS in front of it."""

from __future__ import annotations

import functools
import http.client
import json
import socket
import ssl
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from steward.appfile import AppFile
from tests.support.staging import Staging


@dataclass(frozen=True)
class Answer:
    """An HTTP answer."""

    status: int
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)


@dataclass(frozen=True)
class AppHost:
    """One application host: its shell (testinfra) and its public side."""

    name: str
    address: str
    app: AppFile
    staging: Staging
    shell: Any = field(repr=False)

    @property
    def domain(self) -> str:
        return self.app.domains["local"]

    @functools.cached_property
    def ca(self) -> ssl.SSLContext:
        """Trusts the sandbox's CA and nothing else."""
        return ssl.create_default_context(cafile=str(self.staging.sandbox.state / "ca/ca.pem"))

    def https(
        self,
        path: str,
        *,
        method: str = "GET",
        body: bytes | None = None,
        headers: dict[str, str] | None = None,
        server_name: str = "",
    ) -> Answer:
        """Ask this host's nginx over TLS, by the name of the application."""
        with (
            socket.create_connection((self.address, 443), timeout=15) as plain,
            self.ca.wrap_socket(plain, server_hostname=server_name or self.domain) as tls,
        ):
            connection = http.client.HTTPConnection(self.domain)
            connection.sock = tls
            connection.request(method, path, body=body, headers=headers or {})
            answer = connection.getresponse()
            return Answer(answer.status, {k.lower(): v for k, v in answer.getheaders()}, answer.read())

    def http(self, path: str, host: str) -> Answer:
        """Ask this host's nginx without TLS."""
        connection = http.client.HTTPConnection(self.address, 80, timeout=15)
        try:
            connection.request("GET", path, headers={"Host": host})
            answer = connection.getresponse()
            return Answer(answer.status, {k.lower(): v for k, v in answer.getheaders()}, answer.read())
        finally:
            connection.close()

    def workers(self) -> list[dict[str, Any]]:
        """The application's workers, as PM2 lists them."""
        text = self.shell.check_output("pm2 jlist")
        listed = json.loads(next(line for line in text.splitlines() if line.startswith("[")))
        return [process for process in listed if process["name"] == self.app.name]

    def serving(self) -> set[int]:
        """The processes that work in a release, whether PM2 knows them or not."""
        asked = self.shell.check_output(
            "cd /proc && for p in [0-9]*; do "
            "case $(readlink $p/cwd) in (/srv/%s/releases/*) echo $p;; esac; done",
            self.app.name,
        )
        return {int(pid) for pid in asked.split()}

    def as_user(self, command: str) -> Any:
        """Run a shell command as the application's user."""
        return self.shell.run("runuser -u %s -- bash -c %s", self.app.name, command)

    def local_health(self) -> dict[str, Any]:
        """What the application says of its health on the host itself; {} when it does not answer."""
        asked = self.shell.run(
            "curl --silent --max-time 5 http://127.0.0.1:%s%s", str(self.app.node.port), self.app.health.path
        )
        return json.loads(asked.stdout) if asked.rc == 0 else {}

    def settled(self) -> bool:
        """Whether all workers are online and the application is healthy."""
        if self.shell.run("pm2 ping").rc != 0:
            return False
        workers = self.workers()
        online = [w for w in workers if w["pm2_env"]["status"] == "online"]
        return (
            len(online) == len(workers) == self.app.node.instances
            and self.local_health().get("status") == "ok"
        )


#: Seconds between two requests to a host: they hit each change, and leave the hosts their processors.
PAUSE = 0.05


@contextmanager
def asked(*hosts: AppHost, path: str) -> Iterator[Counter[str]]:
    """Hosts are asked again and again, once at a time for each time they are named: their answers."""
    done = threading.Event()
    seen: Counter[str] = Counter()

    def ask(host: AppHost) -> None:
        while not done.wait(PAUSE):
            try:
                seen[str(host.https(path).status)] += 1
            except OSError as error:
                seen[repr(error)] += 1

    askers = [threading.Thread(target=ask, args=(host,)) for host in hosts]
    for asker in askers:
        asker.start()
    try:
        yield seen
    finally:
        done.set()
        for asker in askers:
            asker.join(timeout=60)


def wait_until(true: Callable[[], bool], what: str, seconds: float = 60) -> None:
    """Poll until ``true()``; fail with ``what`` when it does not come true in time."""
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, f"{what} did not happen within {seconds:.0f} s"
        time.sleep(0.3)
