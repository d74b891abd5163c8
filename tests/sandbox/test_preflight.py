"""Each thing that would stop ``make up`` has its own line; a fit machine has none."""

from __future__ import annotations

import dataclasses
import gzip
import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from sandbox import preflight
from sandbox.settings import REPOSITORY, Sandbox
from sandbox.staging import facts as reading
from sandbox.staging import network
from sandbox.staging.facts import Facts, Listener

SANDBOX = Sandbox(name="up", index=0)
FIT = Facts(
    euid=0,
    os_release={"ID": "debian", "VERSION_ID": "12", "PRETTY_NAME": "Debian GNU/Linux 12"},
    has_nspawn=True,
    has_apt=True,
    has_image=False,
    disks={Path("/state"): (9_000_000_000, "ext4"), Path("/cache"): (9_000_000_000, "xfs")},
    lacking=frozenset(),
    writable_cgroups=True,
    name_servers="nameserver 192.0.2.53\n",
)


def only(**changes: object) -> str:
    """The one problem of a machine that is fit but for ``changes``."""
    (line,) = preflight.problems(SANDBOX, dataclasses.replace(FIT, **changes))  # type: ignore[arg-type]
    assert "\n" not in line
    return line


def test_fit_machine_has_no_problem() -> None:
    assert preflight.problems(SANDBOX, FIT) == []


def test_not_root() -> None:
    assert only(euid=1000) == "not root: staging hosts need mounts and a bridge; run it with sudo"


def test_other_distribution() -> None:
    line = only(os_release={"ID": "fedora", "PRETTY_NAME": "Fedora Linux 42"})
    assert line.startswith("operating system Fedora Linux 42 is neither Debian nor Ubuntu")


@pytest.mark.parametrize(("kind", "version"), [("debian", "11"), ("ubuntu", "22.04")])
def test_old_release(kind: str, version: str) -> None:
    line = only(os_release={"ID": kind, "VERSION_ID": version, "PRETTY_NAME": f"{kind} {version}"})
    assert line.startswith(f"operating system {kind} {version} is too old")


@pytest.mark.parametrize(
    "release",
    [
        {"ID": "ubuntu", "VERSION_ID": "24.04"},
        {"ID": "debian"},  # testing and unstable have no VERSION_ID
        {"ID": "linuxmint", "ID_LIKE": "ubuntu debian", "VERSION_ID": "22"},
    ],
)
def test_releases_that_are_new_enough(release: dict[str, str]) -> None:
    assert preflight.problems(SANDBOX, dataclasses.replace(FIT, os_release=release)) == []


def test_nspawn_neither_there_nor_installable() -> None:
    assert "systemd-nspawn is missing" in only(has_nspawn=False, has_apt=False)
    assert preflight.problems(SANDBOX, dataclasses.replace(FIT, has_nspawn=False)) == []


def test_full_disk() -> None:
    disks = {Path("/state"): (9_000_000_000, "ext4"), Path("/cache"): (7_900_000_000, "ext4")}
    assert only(disks=disks).startswith("/cache: 7.9 GB free, 8 GB needed")


def test_less_room_is_needed_once_the_image_is_there() -> None:
    disks = {Path("/state"): (3_000_000_000, "ext4"), Path("/cache"): (3_000_000_000, "ext4")}
    assert preflight.problems(SANDBOX, dataclasses.replace(FIT, disks=disks, has_image=True)) == []


@pytest.mark.parametrize("kind", ["overlay", "fuse.sshfs", "nfs4"])
def test_state_on_a_file_system_that_cannot_be_an_upper_layer(kind: str) -> None:
    disks = {Path("/state"): (9_000_000_000, kind), Path("/cache"): (9_000_000_000, "overlay")}
    assert only(disks=disks).startswith(f"/state lies on {kind}, which cannot hold the hosts' disks")


@pytest.mark.parametrize("name", ["overlay", "bridge", "veth", "nf_tables"])
def test_kernel_without_a_part(name: str) -> None:
    assert only(lacking=frozenset({name})).startswith(f"the kernel has no {name} (CONFIG_")


def test_no_control_groups() -> None:
    assert only(writable_cgroups=False).startswith("no writable control groups")


def test_name_server_on_loopback() -> None:
    assert "only a server on loopback" in only(name_servers="nameserver 127.0.0.1\n")
    both = dataclasses.replace(FIT, name_servers="nameserver 127.0.0.1\nnameserver 192.0.2.53\n")
    assert preflight.problems(SANDBOX, both) == []


def bridge(alias: str = "", **more: object) -> dict[str, object]:
    return {"ifname": "steward0", "ifalias": alias, "addr_info": [], **more}


def test_bridge_of_another_checkout_names_its_owner() -> None:
    line = only(interfaces=[bridge("steward up of /elsewhere")])
    assert "bridge steward0 exists and it belongs to 'steward up of /elsewhere'" in line


def test_bridge_of_that_name_in_use_by_somebody() -> None:
    line = only(interfaces=[bridge(), {"ifname": "veth1", "master": "steward0"}])
    assert "bridge steward0 exists and it is not ours" in line


def test_own_bridge_and_half_made_bridge_are_no_problem() -> None:
    own = [{"family": "inet", "local": "10.77.0.1"}]
    for link in (bridge(network.owner(SANDBOX), addr_info=own), bridge()):
        assert preflight.problems(SANDBOX, dataclasses.replace(FIT, interfaces=[link])) == []


def test_network_in_use_elsewhere() -> None:
    taken = {"ifname": "tun0", "addr_info": [{"family": "inet", "local": "10.77.0.200"}]}
    assert only(interfaces=[taken]).startswith("address 10.77.0.200 of interface tun0 is in 10.77.0.0/24")


@pytest.mark.parametrize("address", ["0.0.0.0", "::", "10.77.0.1"])  # noqa: S104
def test_port_taken(address: str) -> None:
    line = only(listeners=[Listener(address, 5443, frozenset({4242}))])
    assert line == f"port 5443 of the AWS endpoint is taken by process 4242 (listens on {address}); stop it"


@pytest.mark.parametrize("port", [5443, 5080, 5090, 5025, 5026])
def test_every_service_port_is_looked_at(port: int) -> None:
    assert f"port {port} of the " in only(listeners=[Listener("::", port, frozenset())])


def test_port_held_by_ourselves_or_on_another_address() -> None:
    for listener in (
        Listener("10.77.0.1", 5443, frozenset({7})),
        Listener("127.0.0.1", 5443, frozenset({8})),
    ):
        fit = dataclasses.replace(FIT, listeners=[listener], own_pids=frozenset({7}))
        assert preflight.problems(SANDBOX, fit) == []


def test_all_problems_are_told_at_once() -> None:
    bad = dataclasses.replace(FIT, euid=1, writable_cgroups=False, lacking=frozenset({"veth"}))
    assert len(preflight.problems(SANDBOX, bad)) == 3


# -- reading the machine


def test_listening_sockets_and_their_processes_are_found() -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as four,
        socket.create_server(("::1", 0), family=socket.AF_INET6) as six,
    ):
        found = reading.listeners()
        for server, address in ((four, "127.0.0.1"), (six, "::1")):
            port = server.getsockname()[1]
            assert Listener(address, port, frozenset({os.getpid()})) in found


def test_own_processes_are_those_noted_and_their_children(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Sandbox, "state", property(lambda _self: tmp_path))
    (tmp_path / "run/services").mkdir(parents=True)
    with subprocess.Popen(["sleep", "60"]) as child:
        try:
            (tmp_path / "run/services/aws.json").write_text(json.dumps({"pid": os.getpid()}))
            (tmp_path / "run/half.json").write_text("{")
            assert {os.getpid(), child.pid} <= reading.own_pids(SANDBOX)
        finally:
            child.kill()


def kernel(tmp_path: Path, config: str | None, *, modules: str | None = None) -> Path:
    (tmp_path / "proc").mkdir()
    (tmp_path / "proc/filesystems").write_text("nodev\tproc\n\text4\n")
    if config is not None:
        (tmp_path / "proc/config.gz").write_bytes(gzip.compress(config.encode()))
    if modules is not None:
        (tmp_path / "lib/modules/6.1").mkdir(parents=True)
        (tmp_path / "lib/modules/6.1/modules.dep").write_text(modules)
    return tmp_path


@pytest.mark.parametrize(
    ("config", "modules", "has"),
    [
        ("CONFIG_VETH=y\n", None, True),
        ("# CONFIG_VETH is not set\n", None, False),
        ("CONFIG_VETH=m\n", "kernel/drivers/net/veth.ko.xz:\n", True),
        ("CONFIG_VETH=m\n", "kernel/fs/ext4/ext4.ko: kernel/drivers/net/veth.ko\n", False),
        (None, "kernel/fs/ext4/ext4.ko:\n", False),
        (None, None, True),  # nothing tells; the first host will
    ],
)
def test_kernel_parts(tmp_path: Path, config: str | None, modules: str | None, has: bool) -> None:
    root = kernel(tmp_path, config, modules=modules)
    assert reading.kernel_has("veth", root / "proc", root, "6.1") is has


def test_command_prints_a_line_a_problem_and_exits_2(monkeypatch: pytest.MonkeyPatch) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "sandbox.preflight"],
        cwd=REPOSITORY, env={**os.environ, "STEWARD_SANDBOX": "no-such"},
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 2
    assert done.stderr == "preflight: STEWARD_SANDBOX: 'no-such' is not one of up, test\n"


def test_runs_on_the_standard_library_alone() -> None:
    """It comes before .venv: no site-packages, only this checkout."""
    code = f"import sys; sys.path.insert(0, {str(REPOSITORY)!r}); import sandbox.preflight"
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", code], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
