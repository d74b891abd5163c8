"""Which server is which: what tells the live one from a target, as far as servers say it."""

from __future__ import annotations

import socket
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pymongo import MongoClient

Document = dict[str, Any]


@dataclass(frozen=True)
class Identity:
    """What tells one server from another, as far as the server says it."""

    addresses: frozenset[tuple[str, int]]
    #: Marks of the process: hello.topologyVersion.processId, or host name and process id.
    process: frozenset[str] = field(default_factory=frozenset)
    replica_set: str | None = None

    def same_as(self, other: Identity) -> str | None:
        """Why both are one server (or one replica set); None when nothing says so."""
        if shared := self.process & other.process:
            return f"same process ({min(shared)})"
        if self.replica_set is not None and self.replica_set == other.replica_set:
            return f"same replica set ({self.replica_set})"
        if shared_address := self.addresses & other.addresses:
            host, port = min(shared_address)
            return f"same address ({host}:{port})"
        return None


def identify(client: MongoClient[Document]) -> Identity:
    """Ask a server who it is. What the login may not ask is left out."""
    from pymongo.errors import OperationFailure

    from steward.mongo import replica_set_id

    process: set[str] = set()
    hello = client.admin.command("hello")
    identifier = (hello.get("topologyVersion") or {}).get("processId")
    if identifier is not None:
        process.add(f"process {identifier}")
    try:
        status = client.admin.command("serverStatus", repl=0, metrics=0, locks=0)
    except OperationFailure:
        status = {}
    if status.get("host") and status.get("pid"):
        process.add(f"{status['host']} pid {status['pid']}")
    return Identity(resolved(client.nodes), frozenset(process), replica_set_id(client))


def resolved(nodes: Iterable[tuple[str, int | None]]) -> frozenset[tuple[str, int]]:
    """IP addresses and ports of hosts; a name that does not resolve stays as it is."""
    found: set[tuple[str, int]] = set()
    for host, port in nodes:
        number = 27017 if port is None else port
        try:
            infos = socket.getaddrinfo(host, number, type=socket.SOCK_STREAM)
        except OSError:
            found.add((host, number))
        else:
            found.update((str(info[4][0]), number) for info in infos)
    return frozenset(found)


def uri_addresses(uri: str) -> frozenset[tuple[str, int]]:
    """The addresses a URI names, for a server that cannot be asked."""
    from pymongo.uri_parser import parse_uri

    return resolved(parse_uri(uri)["nodelist"])
