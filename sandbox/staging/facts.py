"""What this machine is like: read for :mod:`sandbox.preflight`, on the standard library alone."""

from __future__ import annotations

import gzip
import ipaddress
import json
import os
import platform
import shutil
import sys
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sandbox.settings import Sandbox
from sandbox.staging import cgroups, network, seed

#: Kernel part -> the option that brings it.
KERNEL = {
    "overlay": "CONFIG_OVERLAY_FS",
    "bridge": "CONFIG_BRIDGE",
    "veth": "CONFIG_VETH",
    "nf_tables": "CONFIG_NF_TABLES",
}


@dataclass(frozen=True)
class Listener:
    """A TCP port somebody listens on; ``pids`` is empty when nobody could be found."""

    address: str
    port: int
    pids: frozenset[int]


@dataclass(frozen=True)
class Facts:
    """What :func:`gather` found out about this machine."""

    euid: int
    os_release: dict[str, str]
    has_nspawn: bool
    has_apt: bool
    has_image: bool
    #: Folder -> (bytes free, file system it lies on).
    disks: dict[Path, tuple[int, str]]
    lacking: frozenset[str]
    writable_cgroups: bool
    interfaces: list[dict[str, Any]] = field(default_factory=list)
    listeners: list[Listener] = field(default_factory=list)
    own_pids: frozenset[int] = frozenset()
    name_servers: str = ""


def gather(sandbox: Sandbox) -> Facts:
    """Read everything the judgements need; changes nothing."""
    groups = cgroups.hierarchies()
    images = sandbox.cache / "images"
    return Facts(
        euid=os.geteuid(),
        os_release=platform.freedesktop_os_release() if Path("/etc/os-release").exists() else {},
        has_nspawn=shutil.which("systemd-nspawn") is not None,
        has_apt=shutil.which("apt-get") is not None,
        has_image=images.is_dir() and any(not entry.name.startswith(".") for entry in images.iterdir()),
        disks={folder: disk(folder) for folder in (sandbox.state, sandbox.cache)},
        lacking=frozenset(name for name in KERNEL if not kernel_has(name)),
        writable_cgroups=bool(groups) and all(os.access(group, os.W_OK) for group in groups),
        interfaces=network.links() if shutil.which("ip") else [],
        listeners=listeners(),
        own_pids=own_pids(sandbox),
        name_servers=seed.name_servers(),
    )


def disk(folder: Path) -> tuple[int, str]:
    """Bytes free for ``folder`` (it need not exist yet) and the kind of file system."""
    place = folder.absolute()
    while not place.exists():
        place = place.parent
    kind, longest = "", -1
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        before, _, after = line.partition(" - ")
        point = before.split()[4]
        inside = place == Path(point) or Path(point) in place.parents
        if inside and len(point) >= longest:
            kind, longest = after.split()[0], len(point)
    return shutil.disk_usage(place).free, kind


def kernel_has(name: str, proc: Path = Path("/proc"), root: Path = Path("/"), release: str = "") -> bool:
    """Whether the running kernel has a part, built in or as a module; True when nothing tells."""
    version = release or platform.release()
    if (root / "sys/module" / name).exists():
        return True
    if name in (proc / "filesystems").read_text().split():
        return True
    modules = root / "lib/modules" / version
    for index in ("modules.builtin", "modules.dep"):
        file = modules / index
        if file.exists() and any(f"/{name}.ko" in line.split(":")[0] for line in file.open()):
            return True
    config = _kernel_config(proc / "config.gz", root / f"boot/config-{version}")
    if config is None:
        return not modules.exists()
    return f"{KERNEL[name]}=y" in config


def _kernel_config(packed: Path, plain: Path) -> set[str] | None:
    if packed.exists():
        with gzip.open(packed, "rt") as stream:
            return set(stream.read().splitlines())
    return set(plain.read_text().splitlines()) if plain.exists() else None


def listeners(proc: Path = Path("/proc")) -> list[Listener]:
    """Every listening TCP socket, from proc(5) (state 0A), with the processes that hold it."""
    found: dict[str, tuple[str, int]] = {}
    for table in ("tcp", "tcp6"):
        file = proc / "net" / table
        if not file.exists():
            continue
        for line in file.read_text().splitlines()[1:]:
            fields = line.split()
            if fields[3] == "0A":
                address, _, port = fields[1].partition(":")
                found[fields[9]] = (_address(address), int(port, 16))
    holders: dict[str, set[int]] = {}
    for entry in proc.glob("[0-9]*/fd/*"):
        try:
            target = str(entry.readlink())
        except OSError:
            continue  # the process ended while we looked
        if target.startswith("socket:[") and target[8:-1] in found:
            holders.setdefault(target[8:-1], set()).add(int(entry.parent.parent.name))
    return [Listener(a, p, frozenset(holders.get(inode, ()))) for inode, (a, p) in found.items()]


def _address(text: str) -> str:
    """The address of a proc(5) socket line: 32-bit words in the machine's byte order."""
    raw = bytes.fromhex(text)
    ordered = b"".join(
        raw[i : i + 4][::-1] if sys.byteorder == "little" else raw[i : i + 4] for i in range(0, len(raw), 4)
    )
    address = ipaddress.ip_address(ordered)
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return str(mapped or address)


def own_pids(sandbox: Sandbox) -> frozenset[int]:
    """Processes this sandbox has noted in its ``run`` folder, and their descendants."""
    recorded: set[int] = set()
    folder = sandbox.state / "run"
    for file in [*folder.rglob("*.json"), *folder.rglob("*.pid")]:
        try:
            content = json.loads(file.read_text())
            recorded.add(int(content["pid"] if isinstance(content, dict) else content))
        except (OSError, ValueError, KeyError, TypeError):
            continue  # half written or not a process note
    return frozenset(recorded | _descendants(recorded))


def _descendants(of: Iterable[int], proc: Path = Path("/proc")) -> set[int]:
    children: dict[int, list[int]] = {}
    for entry in proc.glob("[0-9]*/stat"):
        try:
            fields = entry.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        children.setdefault(int(fields[1]), []).append(int(entry.parent.name))
    found: set[int] = set()
    waiting = list(of)
    while waiting:
        for child in children.get(waiting.pop(), []):
            if child not in found:
                found.add(child)
                waiting.append(child)
    return found
