"""Which packages are missing, by what dpkg says."""

from __future__ import annotations

import pytest

from tests.roles.app_modules import load
from tests.roles.rendering import REPOSITORY

packages = load("packages_action", REPOSITORY / "plugins/action/packages.py")
LISTED = "ii \tcron\nrc \tnginx\nun \tredis\nhi \tnodejs\nii \tpython3-venv\n"


@pytest.mark.parametrize(
    ("names", "missing"),
    [
        (["cron"], []),
        (["cron", "python3-venv"], []),
        (["cron", "nginx"], ["nginx"]),  # removed, its configuration left
        (["redis"], ["redis"]),
        (["python3"], ["python3"]),  # not listed
    ],
)
def test_missing(names: list[str], missing: list[str]) -> None:
    assert packages.missing(names, LISTED) == missing


def test_a_held_package_is_installed() -> None:
    """apt would not install it anew either."""
    assert packages.missing(["nodejs"], LISTED) == []
