"""The parts of the staging hosts that need no host."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from sandbox.settings import HOSTS, INSTANCES, REPOSITORY, Sandbox
from sandbox.staging import aptsources, cgroups, cli, image, keys, network, seed, supervisor
from sandbox.staging.commands import locked, run
from sandbox.staging.errors import StagingError
from sandbox.staging.machine import Machine


@pytest.fixture
def sandbox(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Sandbox:
    """A sandbox whose state and cache are in the test's own folder."""
    monkeypatch.setattr(Sandbox, "state", property(lambda _self: tmp_path / "state"))
    monkeypatch.setenv("STEWARD_CACHE", str(tmp_path / "cache"))
    return Sandbox(name="test", index=1)


# -- names


def test_two_sandboxes_share_no_name_and_all_fit_the_kernel() -> None:
    names = [Machine(Sandbox(one, index), host).name for one, index in INSTANCES.items() for host in HOSTS]
    assert len(set(names)) == len(INSTANCES) * len(HOSTS)
    assert all(len(f"vb-{name}") <= 15 for name in names)


# -- ip_forward


class Forwarding:
    """The switch, its note and the boot id, as files."""

    def __init__(self, folder: Path, value: str) -> None:
        self.run, self.switch, self.boot = folder / "run", folder / "ip_forward", folder / "boot_id"
        self.switch.write_text(f"{value}\n")
        self.boot.write_text("first\n")

    def hold(self, bridge: str) -> None:
        network.hold_forwarding(bridge, self.run, self.switch, self.boot)

    def release(self, bridge: str, *others: str) -> None:
        network.release_forwarding(bridge, set(others), self.run, self.switch, self.boot)

    @property
    def value(self) -> str:
        return self.switch.read_text().strip()


@pytest.mark.parametrize("before", ["0", "1"])
def test_forwarding_is_put_back_by_the_last_who_leaves(tmp_path: Path, before: str) -> None:
    forward = Forwarding(tmp_path, before)
    forward.hold("steward0")
    forward.hold("steward1")
    forward.hold("steward0")  # up again
    forward.release("steward0", "steward1", "eth0")
    assert forward.value == "1"
    forward.release("steward1", "eth0")
    assert forward.value == before
    assert not (forward.run / "forwarding.json").exists()


def test_forwarding_of_a_sandbox_that_vanished_does_not_count(tmp_path: Path) -> None:
    forward = Forwarding(tmp_path, "0")
    forward.hold("steward0")
    forward.hold("steward1")
    forward.release("steward0", "eth0")  # steward1's bridge is gone
    assert forward.value == "0"


def test_forwarding_note_of_an_earlier_boot_is_void(tmp_path: Path) -> None:
    forward = Forwarding(tmp_path, "0")
    forward.hold("steward0")
    forward.boot.write_text("second\n")
    forward.switch.write_text("1\n")  # the administrator's choice since then
    forward.hold("steward0")
    forward.release("steward0")
    assert forward.value == "1"


def test_release_without_hold_changes_nothing(tmp_path: Path) -> None:
    forward = Forwarding(tmp_path, "1")
    forward.release("steward0")
    forward.hold("steward1")
    forward.release("steward0", "steward1")
    assert forward.value == "1"
    assert (forward.run / "forwarding.json").exists()


# -- apt


def test_own_archive_is_found_in_both_forms(tmp_path: Path) -> None:
    (tmp_path / "sources.list.d").mkdir()
    (tmp_path / "sources.list").write_text(
        "# deb http://old.example/debian bookworm main\n"
        "deb [arch=amd64 signed-by=/a.gpg] http://mirror.example/debian bookworm main contrib # own\n"
        "deb http://docker.example/linux bookworm stable\n"
        "deb-src http://mirror.example/debian bookworm main\n"
    )
    (tmp_path / "sources.list.d/debian.sources").write_text(
        "Types: deb deb-src\nURIs: http://mirror.example/debian http://two.example/debian\n"
        "Suites: bookworm-updates trixie\nComponents: main\n\n"
        "Types: deb\nURIs: http://off.example/debian\nSuites: bookworm\nComponents: main\nEnabled: no\n\n"
        "Types: deb\nURIs: http://sec.example\n# comment\nSuites:\n bookworm-security\nComponents: main\n"
    )
    (tmp_path / "sources.list.d/saved.sources.bak").write_text("deb http://bak.example bookworm main\n")
    assert aptsources.sources("bookworm", tmp_path).splitlines() == [
        "deb http://mirror.example/debian bookworm main",
        "deb http://mirror.example/debian bookworm-updates main",
        "deb http://two.example/debian bookworm-updates main",
        "deb http://sec.example bookworm-security main",
    ]


def test_another_distribution_has_no_own_archive(tmp_path: Path) -> None:
    (tmp_path / "sources.list").write_text("deb http://archive.example/ubuntu noble main\n")
    assert aptsources.sources("bookworm", tmp_path) == ""


def test_apt_settings_that_decide_whether_an_archive_is_read_are_kept() -> None:
    dump = 'Acquire::Check-Valid-Until "false";\nAcquire::http::Proxy "";\nDir::Cache "x";\n'
    assert aptsources.options(dump, {"http_proxy": "http://proxy.example:3128"}) == [
        'Acquire::Languages "none";',
        'Acquire::Check-Valid-Until "false";',
        'Acquire::http::Proxy "http://proxy.example:3128";',
    ]


# -- image


def test_image_name_follows_the_recipe() -> None:
    first = image.digest(image.recipe("deb a", []))
    assert first == image.digest(image.recipe("deb a", []))
    assert first != image.digest(image.recipe("deb b", []))
    assert first != image.digest(image.recipe("deb a", ["x"]))


def fake_mmdebstrap(folder: Path, monkeypatch: pytest.MonkeyPatch, script: str) -> None:
    folder.mkdir()
    tool = folder / "mmdebstrap"
    tool.write_text(
        f"#!/bin/sh\nfor last; do case $last in */.build-*[!t]) target=$last;; esac; done\n{script}\n"
    )
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")


def test_failed_build_names_the_log_and_leaves_no_image(
    tmp_path: Path, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake_mmdebstrap(tmp_path / "bin", monkeypatch, 'mkdir -p "$target"; echo "E: no archive"; exit 25')
    with pytest.raises(StagingError, match=r"mmdebstrap failed \(no archive\); see .*image\.log"):
        image.ensure(sandbox)
    assert not image.current(sandbox).exists()


def test_remains_of_a_killed_build_never_count(
    tmp_path: Path, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    remains = image.folder(sandbox) / f".build-{image.current(sandbox).name}-1"
    (remains / "etc").mkdir(parents=True)
    folders = " ".join(f'"$target/{Path(name).parent}"' for name in image.FILES)
    fake_mmdebstrap(tmp_path / "bin", monkeypatch, f'mkdir -p {folders}; echo whole > "$target/etc/issue"')
    built = image.ensure(sandbox)
    assert built == image.current(sandbox)
    assert (built / "etc/issue").read_text() == "whole\n"
    assert not remains.exists()
    assert sorted(p.name for p in image.folder(sandbox).iterdir()) == [".lock", built.name]


# -- seed


@pytest.fixture
def layer(tmp_path: Path) -> seed.Layer:
    """An image with one stock authority, and an empty upper layer."""
    root = tmp_path / "image"
    (root / "etc/ssl/certs").mkdir(parents=True)
    (root / "root").mkdir(mode=0o700)
    (root / "etc/ssl/certs/ca-certificates.crt").write_text(authority(tmp_path, "stock"))
    (tmp_path / "upper").mkdir()
    return seed.Layer(root, tmp_path / "upper")


def authority(folder: Path, name: str) -> str:
    """A self-signed certificate."""
    target = folder / f"{name}.pem"
    key = [
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:P-256",
        "-nodes",
        "-keyout",
        f"{folder}/{name}.key",
    ]
    run(["openssl", "req", "-x509", *key, "-out", str(target), "-subj", f"/CN={name}", "-days", "9"])
    return target.read_text()


def test_trusted_authorities_are_in_the_bundle_and_under_their_hash(
    tmp_path: Path, layer: seed.Layer
) -> None:
    seed.trust(layer, {"own.crt": authority(tmp_path, "own")})
    certs = layer.upper / "etc/ssl/certs"
    bundle = (certs / "ca-certificates.crt").read_text()
    assert len(seed.certificates(bundle)) == 2
    # OpenSSL itself says whether the hashed link is right; its target is absolute inside the host.
    (certs / "own.pem").unlink()
    shutil.copy(layer.upper / seed.LOCAL / "own.crt", certs / "own.pem")
    run(["openssl", "verify", "-no-CAfile", "-CApath", str(certs), str(tmp_path / "own.pem")])


def test_trusting_twice_adds_nothing(tmp_path: Path, layer: seed.Layer) -> None:
    extra = {"own.crt": authority(tmp_path, "own"), "known.crt": (tmp_path / "stock.pem").read_text()}
    seed.trust(layer, extra)
    once = sorted((p.name, p.read_bytes() if p.is_file() else b"") for p in layer.upper.rglob("*"))
    seed.trust(layer, extra)
    assert sorted((p.name, p.read_bytes() if p.is_file() else b"") for p in layer.upper.rglob("*")) == once


def test_machine_authorities_are_those_its_distribution_does_not_ship(tmp_path: Path) -> None:
    stock, own = authority(tmp_path, "stock"), authority(tmp_path, "own")
    (tmp_path / "bundle.crt").write_text(stock + own)
    (tmp_path / "shipped/mozilla").mkdir(parents=True)
    (tmp_path / "shipped/mozilla/stock.crt").write_text(stock)
    found = seed.machine_authorities(tmp_path / "bundle.crt", tmp_path / "shipped")
    assert found == seed.certificates(own)


def test_folders_keep_the_mode_of_the_image(layer: seed.Layer) -> None:
    layer.put("root/.profile", "x")
    assert (layer.upper / "root").stat().st_mode & 0o777 == 0o700


def test_name_servers_of_a_machine_with_resolved(tmp_path: Path) -> None:
    (tmp_path / "resolv.conf").write_text("nameserver 127.0.0.53\n")
    (tmp_path / "resolve").mkdir()
    (tmp_path / "resolve/resolv.conf").write_text("# from dhcp\nnameserver 192.0.2.1\nsearch example\n")
    assert seed.name_servers(tmp_path, tmp_path / "resolve") == "nameserver 192.0.2.1\nsearch example\n"
    assert seed.name_servers(tmp_path, tmp_path / "none") == "nameserver 127.0.0.53\n"


# -- keys


def test_every_host_is_known_before_it_boots(
    sandbox: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keys, "control_folder", lambda _sandbox: tmp_path / "control")
    keys.ensure(sandbox)
    known = (sandbox.state / "ssh/known_hosts").read_text()
    keys.ensure(sandbox)
    assert (sandbox.state / "ssh/known_hosts").read_text() == known
    for host in HOSTS:
        blob = keys.host_key(sandbox, host)[1].split()[1]
        shown = run(["ssh", "-F", str(keys.config_file(sandbox)), "-G", host])
        assert f"{host},{sandbox.address(host)} ssh-ed25519 {blob}\n" in known
        assert f"hostname {sandbox.address(host)}\n" in shown
        assert "stricthostkeychecking true\n" in shown
    assert len(set(known.splitlines())) == len(HOSTS)
    assert (sandbox.state / "ssh").stat().st_mode & 0o077 == 0
    assert (sandbox.state / "ssh/id_ed25519").stat().st_mode & 0o077 == 0


def test_control_sockets_fit_a_socket_address() -> None:
    for name, index in INSTANCES.items():
        # 40 hex digits of %C, and 17 bytes that ssh adds while it makes the socket.
        path = f"{keys.control_folder(Sandbox(name, index))}/{'c' * 40}.{'r' * 16}"
        assert len(path) < 108


# -- processes


def test_control_group_hierarchies_of_old_and_new_machines() -> None:
    new = "30 24 0:26 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate\n"
    old = (
        "31 25 0:27 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n"
        "32 25 0:28 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,xattr,name=systemd\n"
        "33 25 0:29 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n"
    )
    assert cgroups.hierarchies(new) == [Path("/sys/fs/cgroup")]
    assert cgroups.hierarchies(old) == [Path("/sys/fs/cgroup/systemd"), Path("/sys/fs/cgroup/unified")]
    both = "34 25 0:30 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct\n"
    alike = "35 25 0:31 / /sys/fs/cgroup/cpuset rw - cgroup cgroup rw,cpuset\n"
    assert cgroups.processors(old + alike + both) == Path("/sys/fs/cgroup/cpu,cpuacct")
    assert cgroups.processors(new) is cgroups.processors(old + alike) is None


def test_reused_process_id_is_not_a_running_host(sandbox: Sandbox) -> None:
    machine = Machine(sandbox, "monitor1")
    machine.run_file.parent.mkdir(parents=True)
    ticks = supervisor.process_identity(os.getpid())[1]
    machine.run_file.write_text(json.dumps({"pid": os.getpid(), "start_ticks": ticks}))
    assert machine.running()
    machine.run_file.write_text(json.dumps({"pid": os.getpid(), "start_ticks": ticks - 1}))
    assert machine.running() is None
    machine.run_file.write_text("{")
    assert machine.running() is None


def test_supervisor_boots_again_on_reboot_and_ends_on_poweroff(tmp_path: Path) -> None:
    script = 'echo boot >> "$1"; test "$(wc -l < "$1")" -lt 3 && exit 133; exit 0'
    config = {
        "run_file": str(tmp_path / "run.json"),
        "root": str(tmp_path),
        "cgroups": [],
        "mount": ["true"],
        "command": ["sh", "-c", script, "sh", str(tmp_path / "boots")],
    }
    (tmp_path / "config.json").write_text(json.dumps(config))
    file = REPOSITORY / "sandbox/staging/supervisor.py"
    done = subprocess.run(
        [sys.executable, "-I", str(file), str(tmp_path / "config.json")],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "boots").read_text() == "boot\n" * 3
    assert not (tmp_path / "run.json").exists()


def test_lock_is_waited_for_only_so_long(tmp_path: Path) -> None:
    with (
        locked(tmp_path / "lock", "test"),
        pytest.raises(StagingError, match="another test still runs") as caught,
        locked(tmp_path / "lock", "test", timeout=0.1),
    ):
        pytest.fail("the lock was given twice")
    assert caught.value.exit_code == 4
    with locked(tmp_path / "lock", "test", timeout=0.1):
        pass


# -- command line


@pytest.mark.parametrize("arguments", [["up", "nohost"], ["reset", "nohost"], ["ssh", "nohost"]])
def test_unknown_host_is_wrong_usage(
    sandbox: Sandbox, arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(arguments) == 2
    assert "sandbox/hosts: no host 'nohost'; the hosts are bitesbay-app1," in capsys.readouterr().err


def test_unknown_sandbox_is_wrong_configuration(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("STEWARD_SANDBOX", "prod")
    assert cli.main(["status"]) == 2
    assert "'prod' is not one of up, test" in capsys.readouterr().err


def test_missing_tool_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(StagingError, match="no-such-tool: not installed; run 'make up'"):
        run(["no-such-tool"])


def test_help_shows_examples(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        cli.main(["--help"])
    assert ended.value.code == 0
    assert "sandbox/hosts ssh bitesbay-app1" in capsys.readouterr().out
