"""Copies of the inventory of the staging hosts, for a test to change."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml

from sandbox.settings import REPOSITORY


def copied(folder: Path, change: Callable[[dict[str, Any]], None]) -> Path:
    """A copy in ``folder`` that finds the sandbox from there; ``change`` gets what ``hosts.yml`` says."""
    copy = folder / "inventory"
    shutil.copytree(REPOSITORY / "inventories/local", copy)
    hosts = yaml.safe_load((copy / "hosts.yml").read_text())
    change(hosts)
    (copy / "hosts.yml").write_text(yaml.safe_dump(hosts))
    paths = {"apps_dir": str(REPOSITORY / "apps"), "project_dir": str(REPOSITORY)}
    (copy / "steward.yml").write_text(yaml.safe_dump({"plugin": "steward", "environment": "local"} | paths))
    facts = copy / "group_vars/all/sandbox.yml"
    here = "inventory_dir ~ '/../../.sandbox/'"
    assert here in facts.read_text()
    facts.write_text(facts.read_text().replace(here, f"'{REPOSITORY}/.sandbox/'"))
    return copy
