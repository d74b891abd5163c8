"""Background processes of a sandbox: started once, found again, ended by id.

A process is known by its id and its start time, so that an id that the system
gave to another process later is never taken for ours.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from sandbox.files import write_private


class ServiceError(RuntimeError):
    """A service did not start; the message names its log."""


def start_time(pid: int) -> str | None:
    """When the process started, in clock ticks since boot; ``None`` when it is gone or a zombie."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace")
    except OSError:
        return None
    fields = text.rpartition(")")[2].split()  # the name before may hold spaces
    return None if fields[0] == "Z" else fields[19]


@dataclass(frozen=True)
class Service:
    """One background process: what runs, and how one sees that it serves."""

    name: str
    command: Sequence[str]
    address: tuple[str, int]


def _pid_file(state: Path, name: str) -> Path:
    return state / "run" / "services" / f"{name}.json"


def running_pid(state: Path, name: str) -> int | None:
    """The id of the service's process, when it runs."""
    try:
        recorded = json.loads(_pid_file(state, name).read_text())
        pid, started = int(recorded["pid"]), str(recorded["started"])
    except (OSError, ValueError, KeyError):
        return None
    return pid if start_time(pid) == started else None


def _answers(address: tuple[str, int]) -> bool:
    try:
        with socket.create_connection(address, timeout=1):
            return True
    except OSError:
        return False


def ensure(state: Path, service: Service, environment: Mapping[str, str], seconds: float = 30) -> bool:
    """Start the service unless it runs; returns whether it was started.

    Raises:
        ServiceError: when it ends at once or does not answer in ``seconds``.
    """
    if running_pid(state, service.name) is not None and _answers(service.address):
        return False
    stop(state, service.name)
    log = state / "log" / f"{service.name}.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as out:
        process = subprocess.Popen(
            list(service.command),
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=out,
            env=dict(environment),
            start_new_session=True,
        )
    write_private(
        _pid_file(state, service.name), json.dumps({"pid": process.pid, "started": start_time(process.pid)})
    )
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise ServiceError(f"{service.name} ended with status {process.returncode}; see {log}")
        if _answers(service.address):
            return True
        time.sleep(0.05)
    stop(state, service.name)
    host, port = service.address
    raise ServiceError(f"{service.name} does not answer on {host}:{port} after {seconds:.0f} s; see {log}")


def stop(state: Path, name: str, seconds: float = 10) -> None:
    """End the service, by force when it does not end by itself in ``seconds``."""
    pid = running_pid(state, name)
    if pid is not None:
        started = start_time(pid)
        for number in (signal.SIGTERM, signal.SIGKILL):
            try:
                os.kill(pid, number)
            except ProcessLookupError:
                break
            deadline = time.monotonic() + seconds
            while start_time(pid) == started and time.monotonic() < deadline:
                with contextlib.suppress(ChildProcessError):
                    os.waitpid(pid, os.WNOHANG)  # our own child must be reaped to be gone
                time.sleep(0.02)
            if start_time(pid) != started:
                break
    _pid_file(state, name).unlink(missing_ok=True)


def names(state: Path) -> list[str]:
    """The services that have been started and not stopped."""
    return sorted(path.stem for path in (state / "run" / "services").glob("*.json"))
