"""The end-to-end tests change all hosts: nobody else may use them meanwhile."""

import pytest

from tests.support.staging import Staging


@pytest.fixture(scope="session", autouse=True)
def alone(staging: Staging) -> None:
    """The other process of the tests with hosts has finished."""
    staging.wait_for_others(1200)
