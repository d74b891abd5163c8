"""What would stop ``make up`` on this machine, found before anything is changed.

``python -m sandbox.preflight`` prints one line a problem and exits 2 when there
is one. Standard library alone: it runs before ``.venv`` exists.
:mod:`sandbox.staging.facts` reads the machine, :func:`problems` judges.
"""

from __future__ import annotations

import ipaddress
import sys
from urllib.parse import urlsplit

from sandbox.settings import Sandbox, current
from sandbox.staging import network
from sandbox.staging.errors import StagingError
from sandbox.staging.facts import KERNEL, Facts, gather

GIGABYTE = 1_000_000_000

#: Free space needed: tools, images, hosts and their databases; less once the image is there.
NEED_FIRST = 8 * GIGABYTE
NEED_AGAIN = 2 * GIGABYTE

#: Oldest release whose packages (Python 3.11, systemd 252, nftables) are new enough.
OLDEST = {"debian": 12.0, "ubuntu": 24.04}

#: File systems that cannot hold the writable layer of an overlay (kernel: overlayfs, "Upper and Lower").
NO_UPPER = {"overlay", "nfs", "nfs4", "cifs", "9p", "vfat", "fuse"}


def services(sandbox: Sandbox) -> dict[str, tuple[str, int]]:
    """The sandbox's services and where they listen on this machine."""
    urls = {
        "AWS endpoint": sandbox.aws_url,
        "AWS endpoint without TLS": sandbox.aws_plain_url,
        "payment stand-in": sandbox.razorpay_url,
        "mail inbox": sandbox.smtp_inbox_url,
    }
    found = {"mail sink": sandbox.smtp_address}
    for name, url in urls.items():
        parts = urlsplit(url)
        found[name] = (parts.hostname or sandbox.gateway, parts.port or 0)
    return found


def problems(sandbox: Sandbox, facts: Facts) -> list[str]:
    """One line for each thing that must be put right first."""
    found: list[str] = []
    if facts.euid != 0:
        found.append("not root: staging hosts need mounts and a bridge; run it with sudo")
    found += _system(facts)
    found += _disks(facts)
    for name in sorted(facts.lacking):
        found.append(f"the kernel has no {name} ({KERNEL[name]}); staging hosts need it")
    if not facts.writable_cgroups:
        found.append(
            "no writable control groups under /sys/fs/cgroup; in a container, run it privileged"
            " or use a machine of its own"
        )
    taken = network.conflict(sandbox, facts.interfaces)
    if taken:
        found.append(taken)
    found += _ports(sandbox, facts)
    if _only_loopback(facts.name_servers):
        found.append(
            "/etc/resolv.conf names only a server on loopback, which the hosts cannot reach;"
            " name one they can"
        )
    return found


def _system(facts: Facts) -> list[str]:
    release = facts.os_release
    name = release.get("PRETTY_NAME", "unknown")
    kind = release.get("ID", "")
    kinds = {kind, *release.get("ID_LIKE", "").split()}
    if not kinds & set(OLDEST):
        return [f"operating system {name} is neither Debian nor Ubuntu; use Debian 12 or Ubuntu 24.04"]
    found = []
    try:
        version = float(release.get("VERSION_ID", "inf"))
    except ValueError:
        version = float("inf")
    if kind in OLDEST and version < OLDEST[kind]:
        found.append(f"operating system {name} is too old; use Debian 12 or Ubuntu 24.04, or newer")
    if not facts.has_nspawn and not facts.has_apt:
        found.append("systemd-nspawn is missing and there is no apt-get to install systemd-container")
    return found


def _disks(facts: Facts) -> list[str]:
    need = NEED_AGAIN if facts.has_image else NEED_FIRST
    found = []
    for folder, (free, _) in facts.disks.items():
        if free < need:
            found.append(
                f"{folder}: {free / GIGABYTE:.1f} GB free, {need / GIGABYTE:.0f} GB needed; make room"
                " or move it to a larger disk"
            )
    state = next(iter(facts.disks.items()), None)
    if state and state[1][1].partition(".")[0] in NO_UPPER:  # "fuse.sshfs" and the like
        found.append(
            f"{state[0]} lies on {state[1][1]}, which cannot hold the hosts' disks;"
            " put the checkout on ext4, xfs or btrfs"
        )
    return found


def _ports(sandbox: Sandbox, facts: Facts) -> list[str]:
    found = []
    for service, (address, port) in services(sandbox).items():
        for listener in facts.listeners:
            if listener.port != port or listener.address not in {address, "0.0.0.0", "::"}:  # noqa: S104
                continue
            if listener.pids and listener.pids <= facts.own_pids:
                continue
            who = ", ".join(str(pid) for pid in sorted(listener.pids)) or "unknown"
            found.append(
                f"port {port} of the {service} is taken by process {who}"
                f" (listens on {listener.address}); stop it"
            )
            break
    return found


def _only_loopback(text: str) -> bool:
    words = [line.split() for line in text.splitlines()]
    servers = [word[1] for word in words if len(word) > 1 and word[0] == "nameserver"]
    try:
        return bool(servers) and all(ipaddress.ip_address(s.split("%")[0]).is_loopback for s in servers)
    except ValueError:
        return False


def check(sandbox: Sandbox) -> list[str]:
    """Problems of this machine for this sandbox, one line each; empty when it is ready."""
    return problems(sandbox, gather(sandbox))


def main() -> int:
    """Print the problems; 2 when there are any."""
    try:
        found = check(current())
    except (ValueError, StagingError) as error:
        found = [str(error)]
    for line in found:
        print(f"preflight: {line}", file=sys.stderr)
    return 2 if found else 0


if __name__ == "__main__":
    sys.exit(main())
