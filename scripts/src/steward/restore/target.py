"""The server that is restored onto: who it is, whether it may be written, its mark.

While a restore runs, the target holds a document in the database ``steward_restore``.
It is removed at the very end, so the remains of a restore that was killed can be
told from data, by people and by the next restore.
"""

from __future__ import annotations

import socket
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from steward.errors import StewardError
from steward.manifest import rfc3339
from steward.mongo import CONNECT_TIMEOUT_S, address
from steward.restore.entries import MARK_DATABASE

if TYPE_CHECKING:
    from pymongo import MongoClient

Document = dict[str, Any]
MARK_COLLECTION = "progress"
MARK_ID = "restore"
#: Building the indexes of a large collection, or counting it, may take this long.
ANSWER_TIMEOUT_S = 6 * 3600


def patient_client(
    uri: str, username: str | None, password: str | None, auth_source: str
) -> MongoClient[Document]:
    """A client that waits for commands which take hours; it connects with the first one."""
    from pymongo import MongoClient

    login: dict[str, Any] = {}
    if username is not None:
        login = {"username": username, "password": password, "authSource": auth_source}
    milliseconds = int(CONNECT_TIMEOUT_S * 1000)
    return MongoClient(
        uri,
        appname="steward restore",
        serverSelectionTimeoutMS=milliseconds,
        connectTimeoutMS=milliseconds,
        socketTimeoutMS=ANSWER_TIMEOUT_S * 1000,
        tz_aware=True,
        **login,
    )


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


@dataclass(frozen=True)
class Permission:
    """What the user has allowed in so many words."""

    drop_existing: bool = False
    into_live: bool = False


class Target:
    """A connected target server."""

    def __init__(self, uri: str, client: MongoClient[Document]) -> None:
        self.uri = uri
        self.client = client

    @property
    def name(self) -> str:
        """Its hosts, for messages."""
        return address(self.uri)

    def check_not_live(self, live: Identity, asked: bool, permission: Permission) -> str:
        """Refuse the live server of the configuration.

        Args:
            asked: whether the live server answered; if not, ``live`` holds its address only.

        Returns:
            What was found, for the report.

        Raises:
            StewardError: it is the live server, or cannot be told from it and is to be dropped.
        """
        why = identify(self.client).same_as(live)
        if why is not None:
            if not permission.into_live:
                raise StewardError(
                    f"the target {self.name} is the live server of the configuration ({why}): nothing was"
                    " written; restore onto another server, or say --into-live if this one is to be written"
                )
            return f"live server, by --into-live ({why})"
        if asked:
            return "another server than the live one"
        if permission.drop_existing and not permission.into_live:
            raise StewardError(
                "the live server of the configuration does not answer, so the target cannot be told from it:"
                " nothing was dropped; say --into-live as well if the target is the right one"
            )
        return "the live server does not answer; the addresses differ"

    def check_empty(self, databases: Iterable[str], permission: Permission) -> list[str]:
        """The databases of ``databases`` that exist, and the mark, if they may be dropped.

        Raises:
            StewardError: there are some and ``--drop-existing`` was not said.
        """
        wanted = {*databases, MARK_DATABASE}
        present = [d for d in sorted(wanted) if self.client[d].list_collection_names()]
        if not present or permission.drop_existing:
            return present
        if MARK_DATABASE in present:
            raise StewardError(
                f"the target {self.name} holds a restore that was not finished ({self._mark_text()}):"
                " nothing was written; say --drop-existing to drop it and start again"
            )
        raise StewardError(
            f"the target {self.name} is not empty (it holds {', '.join(present)}): nothing was written;"
            " choose an empty server, or say --drop-existing to drop these databases first"
        )

    def _mark_text(self) -> str:
        mark = self.client[MARK_DATABASE][MARK_COLLECTION].find_one({"_id": MARK_ID}) or {}
        return (
            f"run {mark.get('run', '?')}, begun {mark.get('started_at', '?')}, state {mark.get('state', '?')}"
        )

    def set_mark(self, run: str, facts: Document) -> None:
        """Mark the target as being restored.

        Raises:
            StewardError: another restore has marked it in this moment.
        """
        from pymongo.errors import DuplicateKeyError

        mark = {"_id": MARK_ID, "run": run, "started_at": rfc3339(datetime.now(UTC)), **facts}
        try:
            self.client[MARK_DATABASE][MARK_COLLECTION].insert_one({**mark, "state": "in progress"})
        except DuplicateKeyError as error:
            raise StewardError(f"another restore onto {self.name} has begun ({self._mark_text()})") from error

    def change_mark(self, state: str) -> None:
        """Say in the mark how far the restore has come."""
        self.client[MARK_DATABASE][MARK_COLLECTION].update_one({"_id": MARK_ID}, {"$set": {"state": state}})

    def remove_mark(self) -> None:
        """The restore is complete, or did not begin."""
        self.client.drop_database(MARK_DATABASE)

    def drop(self, databases: Iterable[str]) -> None:
        """Drop databases."""
        for database in databases:
            self.client.drop_database(database)


def sees_mark(client: MongoClient[Document], run: str) -> bool:
    """Whether a server holds the mark of this run: the proof that it is the target itself."""
    from pymongo.errors import OperationFailure

    try:
        mark = client[MARK_DATABASE][MARK_COLLECTION].find_one({"_id": MARK_ID})
    except OperationFailure:
        return False  # the login reads its own databases only; the other marks decide
    return mark is not None and mark.get("run") == run
