"""The whole sandbox for tests of hosts: brought up once a run, removed at its end.

With ``STEWARD_SANDBOX=test`` (``make test``) a sandbox of its own is brought up
and removed. With ``STEWARD_SANDBOX=up`` the one that ``make up`` left running is
used and left alone, for quick work on one test.

The processes of one run (pytest-xdist) share it: the first that needs it brings it up while the others wait,
and the last one that needs it no more removes it.
"""

from __future__ import annotations

import fcntl
import json
import os
import subprocess
import time
import uuid
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import IO

import pytest

from sandbox import down, up
from sandbox.env import environment
from sandbox.proof import Proof
from sandbox.settings import REPOSITORY, Sandbox, current
from sandbox.staging.commands import locked
from sandbox.steps import Steps


@dataclass(frozen=True)
class Staging:
    """A running sandbox and what its first proof showed."""

    sandbox: Sandbox
    environment: dict[str, str]
    proofs: list[Proof]
    #: Locked by every process that uses the sandbox; None where it is not the run's own.
    users: IO[str] | None = field(default=None, repr=False)

    def wait_for_others(self, seconds: float) -> None:
        """Wait until this process is the only one of the run that still uses the sandbox.

        Raises:
            AssertionError: the others are not ready in time.
        """
        deadline = time.monotonic() + seconds
        while self.users and not _locked(self.users, fcntl.LOCK_EX | fcntl.LOCK_NB):
            assert time.monotonic() < deadline, f"others use the sandbox for more than {seconds:g} s"
            time.sleep(0.2)

    def run(
        self, *argv: str, seconds: float = 900, more: dict[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Run a tool from the repository's root in the sandbox's environment and ``more`` variables."""
        return subprocess.run(
            argv,
            cwd=REPOSITORY,
            env=self.environment | (more or {}),
            capture_output=True,
            text=True,
            timeout=seconds,
            check=False,
        )

    def ssh(self, host: str, command: str, seconds: float = 60) -> subprocess.CompletedProcess[str]:
        """Run a shell command on a staging host as root."""
        config = str(self.sandbox.state / "ssh/config")
        return self.run("ssh", "-F", config, "-o", "BatchMode=yes", host, "--", command, seconds=seconds)


def remains(sandbox: Sandbox) -> list[str]:
    """What of a sandbox is still on this machine; empty after a clean ``make down``."""
    links = subprocess.run(
        ["ip", "-o", "link"], capture_output=True, text=True, timeout=20, check=True
    ).stdout
    tables = subprocess.run(["nft", "list", "tables"], capture_output=True, text=True, timeout=20, check=True)
    mounts = Path("/proc/self/mounts").read_text(encoding="utf-8")
    found = [f"link: {line}" for line in links.splitlines() if f" {sandbox.bridge}" in line]
    found += [f"table: {line}" for line in tables.stdout.splitlines() if sandbox.bridge in line]
    found += [f"mount: {line}" for line in mounts.splitlines() if str(sandbox.state) in line]
    for process in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            command = process.read_bytes().replace(b"\0", b" ").decode("utf-8", "replace")
        except OSError:
            continue
        if str(sandbox.state) in command:
            found.append(f"process {process.parent.name}: {command}")
    if sandbox.state.exists():
        found.append(f"folder: {sandbox.state}")
    return found


#: One for all processes of a run.
_RUN = os.environ.get("PYTEST_XDIST_TESTRUNUID", uuid.uuid4().hex)


def _locked(file: IO[str], how: int) -> bool:
    """Whether the lock is had; one that was had before is kept where it is not (flock(2) would drop it)."""
    try:
        fcntl.lockf(file, how)
    except BlockingIOError:
        return False
    return True


@pytest.fixture(scope="session")
def staging() -> Iterator[Staging]:
    """A sandbox with both backends up, proven once."""
    sandbox = current()
    if sandbox.name == "up":
        if not (sandbox.state / "site.done").exists():
            pytest.exit("STEWARD_SANDBOX=up: nothing is up; run make up first", returncode=2)
        yield Staging(sandbox, environment(sandbox), [])
        return
    folder = sandbox.state.parent
    folder.mkdir(exist_ok=True)
    # In which each process tells the others what it did; one of them at a time.
    told, turn = folder / "test.run.json", folder / "test.turn"
    with (folder / "test.users").open("w+") as users:
        with locked(turn, "process that brings the sandbox up"):
            _locked(users, fcntl.LOCK_SH)
            made = _made(sandbox, told, users)
        yield made
        with locked(turn, "process that removes the sandbox"):
            if _locked(users, fcntl.LOCK_EX | fcntl.LOCK_NB):
                told.unlink()
                down.tear_down(sandbox)
                left = remains(sandbox)
                assert not left, "make down left:\n" + "\n".join(left)


def _made(sandbox: Sandbox, told: Path, users: IO[str]) -> Staging:
    """The run's sandbox: another process' of the run, or brought up now."""
    known = json.loads(told.read_text()) if told.exists() else {}
    if known.get("run") == _RUN:
        assert known["proofs"] is not None, "another process of this run could not bring the sandbox up"
        return Staging(sandbox, environment(sandbox), [Proof(**one) for one in known["proofs"]], users)
    told.write_text(json.dumps({"run": _RUN, "proofs": None}))
    down.tear_down(sandbox)  # what a killed run may have left
    variables = environment(sandbox)  # not before: it makes the keys of the new state
    steps = Steps(REPOSITORY / ".sandbox" / "log", variables, REPOSITORY)
    try:
        proofs = up.bring_up(sandbox, steps, prove=True)
    except BaseException:
        down.tear_down(sandbox)
        raise
    told.write_text(json.dumps({"run": _RUN, "proofs": [asdict(one) for one in proofs]}))
    return Staging(sandbox, variables, proofs, users)
