"""Help for the tests of the stand-ins: servers in threads, processes, waiting."""

from __future__ import annotations

import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from sandbox.services.jsonhttp import Application, JsonServer
from sandbox.settings import REPOSITORY
from steward.process import ends_with_this_process

Found = TypeVar("Found")
WAIT_SECONDS = 20.0


def wait_for(what: str, probe: Callable[[], Found], seconds: float = WAIT_SECONDS) -> Found:
    """Poll until ``probe`` gives something true."""
    deadline = time.monotonic() + seconds
    while True:
        found = probe()
        if found:
            return found
        if time.monotonic() > deadline:
            raise AssertionError(f"{what}: not within {seconds:.0f} s")
        time.sleep(0.05)


@contextmanager
def serving(application: Application, tls: ssl.SSLContext | None = None) -> Iterator[str]:
    """Serve an application on a free port of the loopback address; gives its URL."""
    server = JsonServer(("127.0.0.1", 0), application)
    if tls:
        server.socket = tls.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield f"http{'s' if tls else ''}://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@contextmanager
def service(
    log: Path, arguments: Sequence[str], environment: dict[str, str] | None = None
) -> Iterator[subprocess.Popen[str]]:
    """``python -m sandbox.services ...`` that printed its line; ended with the block."""
    with log.open("ab") as errors:
        process = subprocess.Popen(
            [*ends_with_this_process(), sys.executable, "-m", "sandbox.services", *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            cwd=REPOSITORY,
            env=environment,
        )
    try:
        assert process.stdout is not None
        line = process.stdout.readline()  # ends with the process at the latest
        assert "ready" in line, log.read_text()
        yield process
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(10)
        if process.stdout:
            process.stdout.close()
