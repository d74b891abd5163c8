"""Fixtures that several layers of the tests share, and which tests run in one process."""

import os

import pytest
from hypothesis import HealthCheck, settings
from xdist.remote import Producer
from xdist.scheduler import LoadFileScheduling

from sandbox.run_tests import WITH_HOSTS
from sandbox.settings import REPOSITORY, current

# The tools of the environment and of the cache, as `make up` uses them.
os.environ["PATH"] = os.pathsep.join(
    [str(REPOSITORY / ".venv/bin"), str(current().tools), os.environ.get("PATH", os.defpath)]
)

# How long an example takes says how busy the machine is, not whether the code is right.
settings.register_profile("steward", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("steward")

pytest_plugins = ["tests.support.aws", "tests.support.mongod", "tests.support.gcs", "tests.support.staging"]

#: Their tests share stacks that take long to build: one process builds and uses them, before all else.
SHARE_STACKS = ("test_identity_access.py", "test_stacks.py", "test_store_access.py")


class ByFile(LoadFileScheduling):
    """A process takes a whole file, since its tests share servers; groups of xdist need an older pytest.

    The tests of hosts are two: one process takes what is about KAMPYN's hosts, by their names in the tests'
    ids, the other one all else, and the end-to-end tests at last.
    """

    def _split_scope(self, nodeid: str) -> str:
        file = super()._split_scope(nodeid)
        if file.startswith(WITH_HOSTS):
            return "kampyn" if "[kampyn-" in nodeid else "hosts"
        return "stacks" if file.endswith(SHARE_STACKS) else file


def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> ByFile | None:
    return ByFile(config, log) if config.getoption("dist") == "loadfile" else None


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: item.path.name not in SHARE_STACKS)
    for item in items:
        if "built" in getattr(item, "fixturenames", ()) and item.path.name not in SHARE_STACKS:
            raise pytest.UsageError(f"{item.nodeid} shares the stacks: name its file in tests/conftest.py")
