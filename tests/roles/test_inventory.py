"""The inventories, and the plugin that brings app files and stack outputs into them."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sandbox.settings import HOSTS, INSTANCES, Sandbox
from tests.roles.rendering import OUTPUTS, REPOSITORY, app

BIN = Path(sys.executable).parent

#: Stands in for the Pulumi CLI: what it prints depends on the stack's name.
FAKE = f"""#!{sys.executable}
import json, os, sys, time
stack = sys.argv[sys.argv.index("--stack") + 1]
assert sys.argv[1:4] == ["stack", "output", "--json"], sys.argv
assert "--non-interactive" in sys.argv and "--show-secrets" not in sys.argv, sys.argv
mode = os.environ.get("FAKE_PULUMI", "")
if mode == "missing":
    sys.exit(f"warning: something else\\nerror: no stack named '{{stack}}' found")
if mode == "slow":
    time.sleep(60)
if mode == "noise":
    print("Hello, I am no JSON")
elif mode == "empty":
    print("{{}}")
else:
    print(json.dumps(dict({OUTPUTS!r}, backup_bucket=stack + "-backups")))
"""

Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def inventory(tmp_path: Path) -> Run:
    """``ansible-inventory`` with a stand-in for the Pulumi CLI on PATH."""
    fake = tmp_path / "bin" / "pulumi"
    fake.parent.mkdir()
    fake.write_text(FAKE)
    fake.chmod(fake.stat().st_mode | stat.S_IXUSR)

    def run(
        *arguments: str, sandbox: str = "up", path: str = "", **more: str
    ) -> subprocess.CompletedProcess[str]:
        path = path or os.pathsep.join([str(fake.parent), str(BIN), os.defpath])
        environment = {"PATH": path, "HOME": str(tmp_path), "STEWARD_SANDBOX": sandbox, **more}
        command = [str(BIN / "ansible-inventory"), *arguments]
        return subprocess.run(
            command, cwd=REPOSITORY, env=environment, capture_output=True, text=True, timeout=120, check=False
        )

    return run


def plain(value: Any) -> Any:
    """Without the wrapper that ansible-inventory puts around texts from outside."""
    if isinstance(value, dict):
        if value.keys() == {"__ansible_unsafe"}:
            return value["__ansible_unsafe"]
        return {key: plain(inner) for key, inner in value.items()}
    return [plain(inner) for inner in value] if isinstance(value, list) else value


def host(run: Run, name: str, *arguments: str, **more: str) -> dict[str, Any]:
    done = run("--host", name, *arguments, **more)
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = plain(json.loads(done.stdout))
    return found


def one_line(done: subprocess.CompletedProcess[str]) -> str:
    """The only line of a failed run."""
    lines = [line for line in done.stderr.splitlines() if line.strip()]
    assert done.returncode == 4, done.stderr
    assert len(lines) == 1, done.stderr
    return lines[0].removeprefix("[ERROR]: ")


def test_app_is_the_app_file_with_the_stacks_outputs(inventory: Run) -> None:
    found = host(inventory, "kampyn-db1")["app"]
    assert found == app("kampyn", outputs=OUTPUTS | {"backup_bucket": "kampyn-local-backups"})


def test_a_host_of_no_application_has_no_app(inventory: Run) -> None:
    assert "app" not in host(inventory, "monitor1")


@pytest.mark.parametrize("sandbox", sorted(INSTANCES))
def test_local_hosts_are_those_of_the_sandbox(inventory: Run, sandbox: str) -> None:
    """Two files name the staging hosts; they must not part."""
    settings = Sandbox(sandbox, INSTANCES[sandbox])
    done = inventory("--list", "--yaml", sandbox=sandbox)
    assert done.returncode == 0, done.stderr
    graph = inventory("--graph", sandbox=sandbox).stdout
    for name in HOSTS:
        assert f"--{name}" in graph
    expression = "{{ ansible_host }}|{{ sandbox_state }}|{{ sandbox_cache }}"
    printed = subprocess.run(
        [BIN / "ansible", "all", "-m", "ansible.builtin.debug", "-a", f"msg='{expression}'"],
        cwd=REPOSITORY,
        env={
            "PATH": os.pathsep.join([str(BIN), os.defpath]),
            "HOME": str(Path.home()),
            "STEWARD_SANDBOX": sandbox,
            "ANSIBLE_INVENTORY": str(REPOSITORY / "inventories/local/hosts.yml"),
        },
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    for name in HOSTS:
        wanted = f"{settings.address(name)}|{settings.state}|{Path.home() / '.cache/steward'}"
        assert wanted in printed.stdout, printed.stdout + printed.stderr


@pytest.mark.parametrize("environment", ["local", "staging", "production"])
def test_every_environment_can_be_read(inventory: Run, environment: str) -> None:
    done = inventory("-i", f"inventories/{environment}", "--list")
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    found = json.loads(done.stdout)
    assert {
        "app",
        "db",
        "monitoring",
        "bitesbay_app",
        "bitesbay_db",
        "kampyn_app",
        "kampyn_db",
    } <= found.keys()
    variables = [v for v in found["_meta"]["hostvars"].values() if "app" in v]
    assert {v["app"]["environment"] for v in variables} == {environment}
    assert {plain(v["app"]["domain"]) for v in variables} == {
        app(name, environment)["domain"]  # type: ignore[arg-type]
        for name in ("bitesbay", "kampyn")
    }


def test_missing_stack_says_what_to_run(inventory: Run) -> None:
    assert one_line(inventory("--graph", FAKE_PULUMI="missing")) == (
        "stack bitesbay-local: no stack named 'bitesbay-local' found; try: pulumi up --stack bitesbay-local"
    )


def test_stack_without_outputs_says_what_to_run(inventory: Run) -> None:
    line = one_line(inventory("--graph", FAKE_PULUMI="empty"))
    assert line == "stack bitesbay-local: has no outputs yet; run: pulumi up --stack bitesbay-local"


def test_missing_pulumi_is_named(inventory: Run) -> None:
    line = one_line(inventory("--graph", path=os.pathsep.join([str(BIN), os.defpath])))
    assert line == "stack bitesbay-local: pulumi: command not found; install Pulumi or set PATH"


def test_output_that_is_no_json_is_refused(inventory: Run) -> None:
    assert "printed no JSON" in one_line(inventory("--graph", FAKE_PULUMI="noise"))


def copy_of_local(tmp_path: Path, plugin: str, hosts: str = "bitesbay: {hosts: {one: {}}}\n") -> Path:
    """An inventory folder of its own, with the given plugin file."""
    folder = tmp_path / "inventories" / "x"
    folder.mkdir(parents=True)
    (folder / "hosts.yml").write_text(hosts)
    (folder / "steward.yml").write_text(plugin)
    return folder


def test_a_hanging_pulumi_is_given_up(inventory: Run, tmp_path: Path) -> None:
    folder = copy_of_local(
        tmp_path, f"plugin: steward\nenvironment: local\ntimeout: 1\napps_dir: {REPOSITORY / 'apps'}\n"
    )
    line = one_line(inventory("-i", str(folder), "--graph", FAKE_PULUMI="slow"))
    assert line.startswith("stack bitesbay-local: pulumi gave no outputs within 1 s; try: ")


def test_wrong_app_file_is_one_line(inventory: Run, tmp_path: Path) -> None:
    apps = tmp_path / "apps"
    apps.mkdir()
    text = (REPOSITORY / "apps/bitesbay.yml").read_text()
    (apps / "bitesbay.yml").write_text(text.replace("oplog_days: 8", "oplog_days: 8\n    yearly: 1"))
    folder = copy_of_local(tmp_path, "plugin: steward\nenvironment: local\n")
    line = one_line(inventory("-i", str(folder), "--graph"))
    assert "backup.retention.yearly: is not a known key" in line


def test_group_without_an_app_file_is_refused(inventory: Run, tmp_path: Path) -> None:
    folder = copy_of_local(
        tmp_path,
        f"plugin: steward\nenvironment: local\napps_dir: {REPOSITORY / 'apps'}\n",
        hosts="bitsbay: {hosts: {one: {}}}\n",
    )
    line = one_line(inventory("-i", str(folder), "--graph"))
    assert "no group with hosts is named after an app file (bitesbay, kampyn)" in line
