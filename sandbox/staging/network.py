"""The hosts' network: a bridge, its address, masquerading, and how it all goes away again.

Names carry the sandbox's index, so ``down`` needs no record to find them. Only
``net.ipv4.ip_forward`` is shared with the rest of the machine; its value from
before is kept under ``/run/steward`` until the last sandbox lets go of it.
"""

from __future__ import annotations

import ipaddress
import json
from pathlib import Path
from typing import Any

from sandbox.settings import REPOSITORY, Sandbox
from sandbox.staging.commands import locked, run, write_whole
from sandbox.staging.errors import StagingError

RUN = Path("/run/steward")
FORWARD = Path("/proc/sys/net/ipv4/ip_forward")
BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


def owner(sandbox: Sandbox) -> str:
    """What the bridge's alias says: whose it is. The kernel keeps up to 255 bytes."""
    return f"steward {sandbox.name} of {REPOSITORY}"[:255]


def links() -> list[dict[str, Any]]:
    """Every network interface of this machine, as ``ip -j -d address`` tells it."""
    found: list[dict[str, Any]] = json.loads(run(["ip", "-j", "-d", "address", "show"]) or "[]")
    return [link for link in found if link.get("ifname")]


def conflict(sandbox: Sandbox, interfaces: list[dict[str, Any]]) -> str | None:
    """Why the bridge cannot be ours, in one line; None when it can."""
    network = ipaddress.ip_network(sandbox.network)
    for link in interfaces:
        name, alias = link["ifname"], link.get("ifalias", "")
        addresses = [a for a in link.get("addr_info", []) if a.get("family") == "inet"]
        if name == sandbox.bridge:
            bare = not addresses and not any(other.get("master") == name for other in interfaces)
            if alias == owner(sandbox) or (not alias and bare):
                continue  # ours, or half made by a killed 'up'
            whose = f"it belongs to '{alias}'" if alias else "it is not ours"
            return (
                f"bridge {name} exists and {whose}; take that sandbox down first"
                f" (sandbox/hosts down in its checkout)"
            )
        for address in addresses:
            if ipaddress.ip_address(address["local"]) in network:
                return f"address {address['local']} of interface {name} is in {network}, the hosts' network"
    return None


def ruleset(sandbox: Sandbox) -> str:
    """The nft commands that (re)make the sandbox's one table in a single transaction."""
    bridge, network = sandbox.bridge, sandbox.network
    return f"""\
table ip {bridge} {{}}
delete table ip {bridge}
table ip {bridge} {{
    chain postrouting {{
        type nat hook postrouting priority srcnat; policy accept;
        ip saddr {network} ip daddr != {network} masquerade
    }}
    chain forward {{
        type filter hook forward priority filter; policy accept;
        iifname "{bridge}" accept
        oifname "{bridge}" ct state established,related accept
    }}
}}
"""


def check(sandbox: Sandbox) -> list[dict[str, Any]]:
    """The interfaces of this machine, when bridge and network are ours to make or remove.

    Whoever has the bridge has everything that carries the sandbox's index.

    Raises:
        StagingError: (2) when the bridge or the network is somebody else's.
    """
    interfaces = links()
    problem = conflict(sandbox, interfaces)
    if problem:
        raise StagingError(problem, 2)
    return interfaces


def ensure(sandbox: Sandbox) -> None:
    """Make the bridge, its address, the nft table and forwarding; does nothing twice.

    Raises:
        StagingError: as :func:`check`.
    """
    interfaces = check(sandbox)
    bridge = sandbox.bridge
    ours = next((link for link in interfaces if link["ifname"] == bridge), None)
    if ours is None:
        run(["ip", "link", "add", "name", bridge, "type", "bridge"])
    if ours is None or ours.get("ifalias") != owner(sandbox):
        run(["ip", "link", "set", "dev", bridge, "alias", owner(sandbox)])
    if ours is None or not any(a.get("local") == sandbox.gateway for a in ours.get("addr_info", [])):
        off = Path(f"/proc/sys/net/ipv6/conf/{bridge}/disable_ipv6")
        if off.exists():
            off.write_text("1")
        run(["ip", "address", "replace", f"{sandbox.gateway}/24", "dev", bridge])
    run(["ip", "link", "set", "dev", bridge, "up"])
    run(["nft", "-f", "-"], stdin=ruleset(sandbox))
    hold_forwarding(bridge)


def remove(sandbox: Sandbox) -> None:
    """Take away everything :func:`ensure` made; does nothing when nothing is there."""
    names = {link["ifname"] for link in links()}
    for name in names:
        if name.startswith(f"vb-{sandbox.bridge}-"):
            run(["ip", "link", "delete", "dev", name])
    if f"table ip {sandbox.bridge}" in run(["nft", "list", "tables"]).splitlines():
        run(["nft", "delete", "table", "ip", sandbox.bridge])
    if sandbox.bridge in names:
        run(["ip", "link", "delete", "dev", sandbox.bridge])
    release_forwarding(sandbox.bridge, names - {sandbox.bridge})


def hold_forwarding(bridge: str, folder: Path = RUN, switch: Path = FORWARD, boot_id: Path = BOOT_ID) -> None:
    """Switch IPv4 forwarding on and note who needs it and what it was before."""
    with locked(folder / "lock", "change of ip_forward"):
        state = _forwarding(folder, boot_id)
        if state is None:
            state = {"boot": boot_id.read_text(), "before": switch.read_text().strip(), "users": []}
        if bridge not in state["users"]:
            state["users"].append(bridge)
            write_whole(folder / "forwarding.json", json.dumps(state))  # before the change, never after
        if switch.read_text().strip() != "1":
            switch.write_text("1")


def release_forwarding(
    bridge: str, interfaces: set[str], folder: Path = RUN, switch: Path = FORWARD, boot_id: Path = BOOT_ID
) -> None:
    """Give IPv4 forwarding up; the last user puts the value from before back.

    A user whose bridge is not among ``interfaces`` does not count: it is gone.
    """
    if not folder.exists():
        return
    with locked(folder / "lock", "change of ip_forward"):
        state = _forwarding(folder, boot_id)
        if state is not None and bridge in state["users"]:
            state["users"] = [name for name in state["users"] if name != bridge and name in interfaces]
            if state["users"]:
                write_whole(folder / "forwarding.json", json.dumps(state))
                return
            if switch.read_text().strip() != state["before"]:
                switch.write_text(state["before"])
        if state is None or not state["users"]:
            (folder / "forwarding.json").unlink(missing_ok=True)


def _forwarding(folder: Path, boot_id: Path) -> dict[str, Any] | None:
    """The note of who needs forwarding; one from before the last boot says nothing any more."""
    path = folder / "forwarding.json"
    if not path.exists():
        return None
    state: dict[str, Any] = json.loads(path.read_text())
    return state if state["boot"] == boot_id.read_text() else None


def forget(folder: Path = RUN) -> None:
    """Remove the folder of notes when no sandbox has one in it."""
    (folder / "lock").unlink(missing_ok=True)
    try:
        folder.rmdir()
    except OSError:
        return  # another sandbox still has its notes there, or it is gone already
