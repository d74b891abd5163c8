"""The whole sandbox for tests of hosts: brought up once a run, removed at its end.

With ``STEWARD_SANDBOX=test`` (``make test``) a sandbox of its own is brought up
and removed. With ``STEWARD_SANDBOX=up`` the one that ``make up`` left running is
used and left alone, for quick work on one test.
"""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from sandbox import down, up
from sandbox.env import environment
from sandbox.proof import Proof
from sandbox.settings import REPOSITORY, Sandbox, current
from sandbox.steps import Steps


@dataclass(frozen=True)
class Staging:
    """A running sandbox and what its first proof showed."""

    sandbox: Sandbox
    environment: dict[str, str]
    proofs: list[Proof]

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


@pytest.fixture(scope="session")
def staging() -> Iterator[Staging]:
    """A sandbox with both backends up, proven once."""
    sandbox = current()
    if sandbox.name == "up":
        if not (sandbox.state / "site.done").exists():
            pytest.exit("STEWARD_SANDBOX=up: nothing is up; run make up first", returncode=2)
        yield Staging(sandbox, environment(sandbox), [])
        return
    down.tear_down(sandbox)  # what a killed run may have left
    variables = environment(sandbox)  # not before: it makes the keys of the new state
    steps = Steps(REPOSITORY / ".sandbox" / "log", variables, REPOSITORY)
    try:
        yield Staging(sandbox, variables, up.bring_up(sandbox, steps, prove=True))
    finally:
        down.tear_down(sandbox)
    left = remains(sandbox)
    assert not left, "make down left:\n" + "\n".join(left)
