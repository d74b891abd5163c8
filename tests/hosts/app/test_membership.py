"""A host leaves its application and joins again, as the runbook has it."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import yaml

from sandbox.settings import REPOSITORY
from tests.hosts.app.client import AppHost, asked


def without(host: AppHost, folder: Path) -> Path:
    """A copy of the inventory that does not name ``host``."""
    copy = folder / "inventory"
    shutil.copytree(REPOSITORY / "inventories/local", copy)
    hosts = yaml.safe_load((copy / "hosts.yml").read_text())
    del hosts[host.app.name]["children"][f"{host.app.name}_app"]["hosts"][host.name]
    (copy / "hosts.yml").write_text(yaml.safe_dump(hosts))
    paths = {"apps_dir": str(REPOSITORY / "apps"), "project_dir": str(REPOSITORY)}
    (copy / "steward.yml").write_text(yaml.safe_dump({"plugin": "steward", "environment": "local"} | paths))
    facts = copy / "group_vars/all/sandbox.yml"
    here = "inventory_dir ~ '/../../.sandbox/'"
    assert here in facts.read_text()
    facts.write_text(facts.read_text().replace(here, f"'{REPOSITORY}/.sandbox/'"))
    return copy


def servers(host: AppHost) -> dict[str, bool]:
    """Who serves in the nginx of a host: address -> whether it gets requests."""
    status = json.loads(host.shell.check_output("nginx-upstream status --json"))
    return {row["server"]: row["serves"] for row in status["servers"]}


@pytest.mark.timeout(900)
def test_a_host_leaves_and_joins(first: AppHost, second: AppHost, tmp_path: Path) -> None:
    """Who orders meanwhile through the other host notices nothing."""
    here, there = (f"{host.address}:{host.app.node.port}" for host in (first, second))
    assert servers(first) == {here: True, there: True}
    command = ("ansible-playbook", "playbooks/site.yml", "--tags", "nginx", "--limit")
    with asked(first, path="/api/menu") as seen:
        try:
            first.shell.check_output("nginx-upstream drain %s --seconds 600", there)
            left = first.staging.run(*command, first.name, "-i", str(without(second, tmp_path)))
            assert left.returncode == 0, left.stdout
            assert servers(first) == {here: True}
        finally:
            joined = first.staging.run(*command, f"{first.app.name}_app")
            first.shell.run("nginx-upstream restore %s", there)
    assert joined.returncode == 0, joined.stdout
    assert servers(first) == servers(second) == {here: True, there: True}
    assert set(seen) == {"200"}, dict(seen)
