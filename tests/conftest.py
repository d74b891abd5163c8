"""Fixtures that several layers of the tests share."""

import os

from sandbox.settings import REPOSITORY, current

# The tools of the environment and of the cache, as `make up` uses them.
os.environ["PATH"] = os.pathsep.join(
    [str(REPOSITORY / ".venv/bin"), str(current().tools), os.environ.get("PATH", os.defpath)]
)

pytest_plugins = ["tests.support.aws", "tests.support.mongod", "tests.support.gcs", "tests.support.staging"]
