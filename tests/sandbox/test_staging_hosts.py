"""Real staging hosts, in a sandbox of this file's own beside any other that runs."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from sandbox.settings import INSTANCES, REPOSITORY, Sandbox
from sandbox.staging import cgroups, image, keys, network
from sandbox.staging.commands import remove_tree, run
from sandbox.staging.errors import StagingError
from sandbox.staging.machine import Machine

#: The first test may have to build the base image.
pytestmark = pytest.mark.timeout(1200)

SANDBOX = Sandbox(name="hosts-test", index=9)
HOST = "monitor1"
OTHERS = tuple(f"steward{index}" for index in INSTANCES.values())

#: ``sandbox/hosts`` with one more sandbox than the two that people use.
COMMAND = (
    "import sys, sandbox.settings as s; s.INSTANCES['hosts-test'] = 9;"
    "from sandbox.staging.cli import main; sys.exit(main(sys.argv[1:]))"
)


def start(*arguments: str) -> subprocess.Popen[str]:
    """Start the command."""
    return subprocess.Popen(
        [sys.executable, "-c", COMMAND, *arguments], cwd=REPOSITORY, text=True,
        env={**os.environ, "STEWARD_SANDBOX": SANDBOX.name},
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip


def hosts(*arguments: str, status: int = 0) -> str:
    """Run the command to its end; its output. ``status`` is what it must end with."""
    process = start(*arguments)
    out, err = process.communicate(timeout=1000)
    assert process.returncode == status, f"{arguments}: {process.returncode}\n{out}\n{err}"
    return out if status in {0, 3} else err


def on_host(command: str) -> str:
    """Run a shell command on the host."""
    return hosts("ssh", HOST, command).strip()


def until(true: Callable[[], object], seconds: float = 60) -> None:
    """Wait for something to be so."""
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, f"not so after {seconds:.0f} s"
        time.sleep(0.05)


def status_of_host() -> dict[str, Any]:
    """The host's row of ``status --json``."""
    rows = json.loads(hosts("status", "--json", status=3))["hosts"]  # the five others are absent: 3
    (row,) = (row for row in rows if row["host"] == HOST)
    return dict(row)


def traces() -> set[str]:
    """Everything on this machine that a sandbox could leave, but what the other sandboxes have."""
    found = {f"link {path.name}" for path in Path("/sys/class/net").iterdir()}
    found |= {f"nft {line}" for line in run(["nft", "list", "tables"]).splitlines()}
    found |= {f"mount {line.split()[1]}" for line in Path("/proc/mounts").read_text().splitlines()}
    found |= {f"group {path}" for root in cgroups.hierarchies() for path in root.iterdir() if path.is_dir()}
    for place in ("/run/steward", "/run/systemd/nspawn/propagate", "/run/systemd/nspawn/unix-export"):
        found |= {f"file {path}" for path in Path(place).glob("*")}
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            line = entry.read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue
        if str(SANDBOX.state) in line or f"{SANDBOX.bridge}-" in line:
            found.add(f"process {line}")
    shared = {"file /run/steward/lock", "file /run/steward/forwarding.json"}
    return {trace for trace in found if not any(other in trace for other in OTHERS)} - shared


@pytest.fixture(scope="module", autouse=True)
def _clean_before_and_after() -> Iterator[None]:
    """Nothing of an earlier run at the beginning, and nothing of this one at the end."""
    hosts("down")
    before = traces()
    image.ensure(SANDBOX)
    yield
    hosts("down")
    left = traces() - before
    remove_tree(SANDBOX.state)
    assert not left


@pytest.fixture
def up() -> dict[str, Any]:
    """The host, running."""
    hosts("up", HOST)
    return status_of_host()


def test_host_is_an_ordinary_server_that_knows_itself_and_the_others(up: dict[str, Any]) -> None:
    assert (up["state"], up["address"]) == ("running", "10.77.9.31")
    assert up["memory_bytes"] > 5_000_000
    on_host("systemctl is-system-running --wait")
    assert on_host("hostname; cat /etc/machine-id; systemctl is-active cron ssh") == "\n".join(
        [HOST, on_host("cat /etc/machine-id"), "active", "active"]
    )
    assert on_host("getent hosts bitesbay-db1").split() == ["10.77.9.13", "bitesbay-db1"]
    assert on_host("ip -4 -o route show default").startswith("default via 10.77.9.1 dev host0")
    assert on_host("ping -q -c 1 -W 5 10.77.9.1 >/dev/null && echo reached") == "reached"


def test_packages_that_roles_need_are_at_hand_without_the_network(up: dict[str, Any]) -> None:
    # Names that resolve nowhere: apt could fetch nothing.
    on_host("cp /etc/resolv.conf /root/; : > /etc/resolv.conf")
    try:
        on_host("apt-get install -y -q --no-install-recommends zstd acl")
    finally:
        on_host("cp /root/resolv.conf /etc/")
    assert on_host("dpkg-query -W -f '${db:Status-Status}' zstd") == "installed"


def test_up_again_leaves_the_running_host_alone(up: dict[str, Any]) -> None:
    hosts("up", HOST)
    assert status_of_host()["booted_at"] == up["booted_at"]


def test_authority_that_came_later_is_trusted_after_up(up: dict[str, Any]) -> None:
    folder = SANDBOX.state / "ca"
    folder.mkdir(exist_ok=True)
    subject = ["-subj", "/CN=hosts-test", "-days", "9"]
    key = [
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:P-256",
        "-nodes",
        "-keyout",
        str(folder / "ca.key"),
    ]
    run(["openssl", "req", "-x509", *key, "-out", str(folder / "ca.pem"), *subject])
    hosts("up", HOST)
    local = "/usr/local/share/ca-certificates/steward-sandbox.crt"
    assert on_host(f"openssl verify -no-CAfile -CApath /etc/ssl/certs {local}").endswith("OK")


def test_reboot_from_inside_comes_back_with_its_disk(up: dict[str, Any]) -> None:
    on_host("touch /root/kept")
    start("ssh", HOST, "systemctl reboot").communicate(timeout=60)  # the connection may be cut: any status
    until(lambda: status_of_host()["booted_at"] not in {up["booted_at"], None})
    hosts("up", HOST)  # waits for ssh; the host runs already
    assert on_host("ls /root/kept") == "/root/kept"


def test_host_that_died_is_started_again_by_up(up: dict[str, Any]) -> None:
    machine = Machine(SANDBOX, HOST)
    record = machine.running()
    assert record
    on_host("touch /root/survives")
    for pid in (record["pid"], record["nspawn"]):  # as the kernel would when memory runs out
        os.kill(pid, signal.SIGKILL)
    until(lambda: machine.running() is None)
    assert status_of_host()["state"] == "stopped"
    hosts("up", HOST)
    assert status_of_host()["booted_at"] > up["booted_at"]
    assert on_host("ls /root/survives") == "/root/survives"


def test_reset_gives_a_fresh_disk_and_keeps_the_known_key(up: dict[str, Any]) -> None:
    before = on_host("cat /etc/ssh/ssh_host_ed25519_key.pub")
    old = on_host("touch /root/old; cat /etc/machine-id")
    hosts("reset", HOST)
    assert on_host("cat /etc/ssh/ssh_host_ed25519_key.pub") == before
    assert on_host("ls /root; cat /etc/machine-id") != old


def test_host_that_cannot_boot_names_its_log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hosts("down")
    tool = tmp_path / "systemd-nspawn"
    tool.write_text("#!/bin/sh\necho 'no such root' >&2\nexit 1\n")
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    machine = Machine(SANDBOX, HOST)
    keys.ensure(SANDBOX)
    machine.start(image.ensure(SANDBOX))
    with pytest.raises(StagingError, match=r"^monitor1: ended while it booted; see .*/host-monitor1\.log$"):
        machine.wait()
    assert "no such root" in machine.log.read_text()
    machine.remove()


def test_down_removes_everything_and_may_be_repeated() -> None:
    hosts("down")
    before = traces()
    hosts("up", HOST)
    assert traces() > before
    hosts("down")
    assert traces() == before
    hosts("down")
    assert traces() == before
    assert not (SANDBOX.state / "hosts").exists()


@pytest.mark.parametrize("moment", ["bridge", "boot"])
def test_down_after_a_killed_up_leaves_nothing(moment: str) -> None:
    hosts("down")
    before = traces()
    process = start("up", HOST)
    if moment == "bridge":
        until(lambda: Path(f"/sys/class/net/{SANDBOX.bridge}").exists())
    else:
        until(lambda: Machine(SANDBOX, HOST).running())
    process.kill()
    process.communicate()
    hosts("down")
    assert traces() == before


def test_up_continues_after_a_killed_up() -> None:
    hosts("down")
    process = start("up", HOST)
    until(lambda: Machine(SANDBOX, HOST).running())
    process.kill()
    process.communicate()
    hosts("up", HOST)
    assert status_of_host()["state"] == "running"


def test_somebody_elses_bridge_is_left_alone() -> None:
    hosts("down")
    run(["ip", "link", "add", "name", SANDBOX.bridge, "type", "bridge"])
    try:
        run(["ip", "link", "set", "dev", SANDBOX.bridge, "alias", "steward up of /elsewhere"])
        for command in ("up", "down"):
            message = hosts(command, status=2)
            assert message.startswith(f"sandbox/hosts: bridge {SANDBOX.bridge} exists and it belongs to")
        assert network.links()[-1]["ifalias"] == "steward up of /elsewhere"
    finally:
        run(["ip", "link", "delete", "dev", SANDBOX.bridge])
