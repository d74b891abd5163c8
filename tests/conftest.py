"""Fixtures that several layers of the tests share."""

import os

import pytest

from sandbox.settings import REPOSITORY, current

# The tools of the environment and of the cache, as `make up` uses them.
os.environ["PATH"] = os.pathsep.join(
    [str(REPOSITORY / ".venv/bin"), str(current().tools), os.environ.get("PATH", os.defpath)]
)

pytest_plugins = ["tests.support.aws", "tests.support.mongod", "tests.support.staging"]

#: Layers whose tests share costly fixtures of the whole session: one worker runs all of a layer.
_ONE_WORKER = {"hosts": "staging", "e2e": "staging", "infra": "infra"}


@pytest.hookimpl(tryfirst=True)  # before xdist reads the groups
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Keep together what shares fixtures when several workers run (``--dist loadgroup``)."""
    for item in items:
        layer = item.path.relative_to(REPOSITORY / "tests").parts[0]
        item.add_marker(pytest.mark.xdist_group(_ONE_WORKER.get(layer, item.path.stem)))
