"""Names, addresses and folders of one sandbox on this machine.

``make up`` and ``make test`` each have a sandbox of their own, so that both can
run at the same time. ``STEWARD_SANDBOX`` chooses: ``up`` (default) or ``test``.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent

#: Sandbox name -> its index; the index is part of every name and address.
INSTANCES = {"up": 0, "test": 1}

#: Staging host -> (last octet of its address, application or "" for none, purpose).
HOSTS: dict[str, tuple[int, str, str]] = {
    "bitesbay-app1": (11, "bitesbay", "app"),
    "bitesbay-app2": (12, "bitesbay", "app"),
    "bitesbay-db1": (13, "bitesbay", "db"),
    "kampyn-app1": (21, "kampyn", "app"),
    "kampyn-db1": (22, "kampyn", "db"),
    "monitor1": (31, "", "monitoring"),
}


@dataclass(frozen=True)
class Sandbox:
    """One sandbox: everything that differs between two of them."""

    name: str
    index: int

    @property
    def state(self) -> Path:
        """Folder with all that this sandbox writes; removed by ``make down``."""
        return REPOSITORY / ".sandbox" / self.name

    @property
    def cache(self) -> Path:
        """Built tools and images; shared by all checkouts and kept by ``make down``."""
        root = os.environ.get("STEWARD_CACHE") or os.environ.get("XDG_CACHE_HOME")
        base = Path(root) if root else Path.home() / ".cache"
        return base if os.environ.get("STEWARD_CACHE") else base / "steward"

    @property
    def tools(self) -> Path:
        """Folder of the built tools (``bin`` of the cache)."""
        return self.cache / "bin"

    @property
    def bridge(self) -> str:
        return f"steward{self.index}"

    @property
    def network(self) -> str:
        """The hosts' network in CIDR notation."""
        return f"10.77.{self.index}.0/24"

    @property
    def gateway(self) -> str:
        """This machine's address on the bridge; the sandbox's services listen on it."""
        return f"10.77.{self.index}.1"

    def address(self, host: str) -> str:
        """Address of a staging host on the bridge."""
        return f"10.77.{self.index}.{HOSTS[host][0]}"

    @property
    def aws_url(self) -> str:
        """The AWS endpoint that production-like clients use."""
        return f"https://{self.gateway}:5443"

    @property
    def aws_plain_url(self) -> str:
        """The same endpoint without TLS; bucket policies must refuse it."""
        return f"http://{self.gateway}:5080"

    @property
    def razorpay_url(self) -> str:
        return f"http://{self.gateway}:5090"

    @property
    def smtp_address(self) -> tuple[str, int]:
        return self.gateway, 5025

    @property
    def smtp_inbox_url(self) -> str:
        """Where the mail sink shows what it received."""
        return f"http://{self.gateway}:5026"


def current() -> Sandbox:
    """The sandbox that ``STEWARD_SANDBOX`` names.

    Raises:
        ValueError: when it names none.
    """
    name = os.environ.get("STEWARD_SANDBOX", "up")
    if name not in INSTANCES:
        raise ValueError(f"STEWARD_SANDBOX: {name!r} is not one of {', '.join(INSTANCES)}")
    return Sandbox(name=name, index=INSTANCES[name])
