"""Staging hosts over ssh, and what their journals said when a test failed."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator
from dataclasses import dataclass, field
from typing import Any

import pytest
import testinfra

from sandbox import secrets
from sandbox.settings import HOSTS, REPOSITORY
from steward.appfile import AppFile, load
from tests.support.staging import Staging


@dataclass(frozen=True)
class Host:
    """One staging host: its place in the sandbox, its application and its shell."""

    name: str
    address: str
    #: ``app``, ``db`` or ``monitoring``.
    purpose: str
    #: None on a host that serves all applications.
    app: AppFile | None
    staging: Staging = field(repr=False)
    #: testinfra's host. The ssh configuration shares one connection among all checks.
    shell: Any = field(repr=False)

    def as_user(self, user: str, command: str, *arguments: str) -> Any:
        """Run a command as another user; ``%s`` stand for quoted arguments."""
        return self.shell.run(f"runuser -u {user} -- {command}", *arguments)

    def secret(self, name: str) -> dict[str, str]:
        """A secret of the host's application, read with the sandbox's administrator key."""
        assert self.app
        found = secrets.read(secrets.client("secretsmanager", self.staging.environment), self.app.name, name)
        assert found is not None, f"no secret {name} of {self.app.name}"
        return found


def connect(name: str, staging: Staging) -> Host:
    """A host of the sandbox."""
    _, owner, purpose = HOSTS[name]
    app = load(REPOSITORY / "apps" / f"{owner}.yml") if owner else None
    shell = testinfra.get_host(f"ssh://{name}", ssh_config=str(staging.sandbox.state / "ssh/config"))
    return Host(name, staging.sandbox.address(name), purpose, app, staging, shell)


@pytest.fixture(scope="session", params=sorted(HOSTS))
def any_host(request: pytest.FixtureRequest, staging: Staging) -> Host:
    """Each staging host in turn."""
    return connect(request.param, staging)


@pytest.fixture(scope="session", params=[name for name, (_, _, purpose) in HOSTS.items() if purpose == "db"])
def db_host(request: pytest.FixtureRequest, staging: Staging) -> Host:
    """Each database host in turn."""
    return connect(request.param, staging)


@pytest.fixture(scope="session", params=[name for name, (_, owner, _) in HOSTS.items() if owner])
def log_host(request: pytest.FixtureRequest, staging: Staging) -> Host:
    """Each host whose logs go into the archive in turn."""
    return connect(request.param, staging)


@pytest.fixture(scope="session", params=[name for name, (_, _, purpose) in HOSTS.items() if purpose == "app"])
def app_server(request: pytest.FixtureRequest, staging: Staging) -> Host:
    """Each application host in turn."""
    return connect(request.param, staging)


def wait_until(true: Callable[[], bool], *, seconds: float, what: str) -> None:
    """Ask again and again until it is true.

    Raises:
        AssertionError: after so many seconds, with what was waited for.
    """
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, f"{what}: not within {seconds:g} s"
        time.sleep(0.2)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Add the end of the host's journal to the report of a failed test."""
    report = yield
    hosts = [value for value in getattr(item, "funcargs", {}).values() if isinstance(value, Host)]
    if report.failed and report.when == "call":
        for host in hosts:
            journal = host.shell.run("journalctl --no-pager --lines=40 --priority=warning --output=short-iso")
            report.sections.append((f"journal of {host.name}", journal.stdout or "(no warnings)"))
    return report
