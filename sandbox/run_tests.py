"""``make test``: the tests of hosts, and beside them the linters and the tests that need no hosts.

What needs no hosts takes the processor time that the hosts leave: they wait a lot, but a worker that
starts too slowly is one that PM2 replaces too early. Output is shown one job after the other; the
last lines are pytest's summary of the tests of hosts.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from sandbox import down
from sandbox.leftovers import leftovers
from sandbox.settings import REPOSITORY, current

PYTEST = (sys.executable, "-m", "pytest")
#: These share the staging hosts of one sandbox.
WITH_HOSTS = ("tests/sandbox/test_staging_hosts.py", "tests/hosts", "tests/e2e")
WITHOUT_HOSTS = ("tests/faults", "tests/sandbox", "tests/infra", "tests/roles", "tests/unit")

#: In the order in which they are shown.
ASIDE: dict[str, Sequence[str]] = {
    "lint": (str(REPOSITORY / "sandbox/lint"),),
    "tests without hosts": (
        *PYTEST,
        # In the order of collection, in which the quick ones are the last: all processes end together.
        *("-n", "4", "--dist", "loadfile", "--no-loadscope-reorder", "--ignore", WITH_HOSTS[0]),
        *WITHOUT_HOSTS,
    ),
}
#: Two processes, since each waits for its hosts most of the time; tests/conftest.py tells who takes what.
HOSTS: dict[str, Sequence[str]] = {
    "tests with hosts": (*PYTEST, "-n", "2", "--dist", "loadfile", "--no-loadscope-reorder", *WITH_HOSTS)
}
#: Of 1024, beside each service of a host. With less, the tests aside would wait too long for their servers.
SHARES = 256

#: Seconds that an interrupted job may take to remove its hosts and servers.
CLEAN_UP_SECONDS = 90.0


def run(jobs: dict[str, Sequence[str]], logs: Path) -> list[str]:
    """Run all jobs at once and show each job's output from its beginning; returns those that failed."""
    logs.mkdir(parents=True, exist_ok=True)
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    running: dict[str, subprocess.Popen[bytes]] = {}
    failed = []
    try:
        for name, command in jobs.items():
            with _log(logs, name).open("wb") as out:
                running[name] = subprocess.Popen(
                    command,
                    stdin=subprocess.DEVNULL,
                    stdout=out,
                    stderr=subprocess.STDOUT,
                    cwd=REPOSITORY,
                    env=environment,
                )
        for name, process in running.items():
            _show(_log(logs, name), process)
            if process.returncode:
                failed.append(name)
    finally:
        _end([p for p in running.values() if p.poll() is None])
    return failed


def _log(logs: Path, job: str) -> Path:
    return logs / f"{job.replace(' ', '-')}.log"


def _show(log: Path, process: subprocess.Popen[bytes]) -> None:
    """Copy the log to the terminal while it grows, until its process ends."""
    with log.open("rb") as text:
        over = False
        while not over:
            over = process.poll() is not None  # asked before the read, so that nothing is missed
            if new := text.read():
                sys.stdout.buffer.write(new)
                sys.stdout.buffer.flush()
            if not over:
                time.sleep(0.2)


def _end(processes: list[subprocess.Popen[bytes]]) -> None:
    for process in processes:
        process.send_signal(signal.SIGINT)
    deadline = time.monotonic() + CLEAN_UP_SECONDS
    for process in processes:
        try:
            process.wait(max(0.0, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def main() -> int:
    """Run everything; the status is 0 when all is well, else 1."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    # Who starts a program in the background may have it ignore interrupts, and its jobs inherit that.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    sandbox = current()
    try:
        with leftovers(f"{sandbox.bridge}-aside", SHARES) as aside:
            jobs = {name: (*aside, *command) for name, command in ASIDE.items()} | HOSTS
            failed = run(jobs, REPOSITORY / ".sandbox/log")
    except KeyboardInterrupt:
        return 130
    finally:
        # A run that is interrupted ends its processes before each has removed what it made.
        if sandbox.name == "test" and sandbox.state.exists():
            down.tear_down(sandbox)
    if failed:
        sys.stderr.write(f"make test: failed: {', '.join(failed)}\n")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
