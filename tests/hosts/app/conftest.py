"""The application hosts."""

from __future__ import annotations

import pytest
import testinfra

from sandbox.settings import HOSTS, REPOSITORY
from steward.appfile import load
from tests.hosts.app.client import AppHost
from tests.support.staging import Staging


def _host(name: str, staging: Staging) -> AppHost:
    shell = testinfra.get_host(f"ssh://{name}", ssh_config=str(staging.sandbox.state / "ssh/config"))
    app = load(REPOSITORY / "apps" / f"{HOSTS[name][1]}.yml")
    return AppHost(name, staging.sandbox.address(name), app, staging, shell)


@pytest.fixture(scope="session", params=[name for name, (_, _, purpose) in HOSTS.items() if purpose == "app"])
def app_host(request: pytest.FixtureRequest, staging: Staging) -> AppHost:
    """Each application host in turn."""
    return _host(request.param, staging)


@pytest.fixture(scope="session")
def first(staging: Staging) -> AppHost:
    """The first of two hosts of one application."""
    return _host("bitesbay-app1", staging)


@pytest.fixture(scope="session")
def second(staging: Staging) -> AppHost:
    """The second of them."""
    return _host("bitesbay-app2", staging)


@pytest.fixture(scope="session", params=["kampyn-app1"])
def single(request: pytest.FixtureRequest, staging: Staging) -> AppHost:
    """The only host of an application, for tests that release to it; its name is in their ids."""
    return _host(request.param, staging)
