"""mongodump as a checked stream."""

from __future__ import annotations

import re
import threading
from collections.abc import Generator
from typing import TYPE_CHECKING

from steward.backup.archive import ArchiveChecker, ArchiveNamespace
from steward.config import Config
from steward.errors import StewardError
from steward.mongo import Document, tool_uri
from steward.process import run_tool

if TYPE_CHECKING:
    from pymongo import MongoClient

_DONE = re.compile(r"done dumping (?P<name>.+) \((?P<count>\d+) documents?\)$")
_WRITING = re.compile(r"writing (?P<name>.+) to archive on stdout$")
#: Databases that belong to the server; what stands in them comes and goes.
_SERVER_DATABASES = frozenset({"admin", "config", "local"})


class Dump:
    """One run of mongodump. Read :meth:`chunks` to the end; then :attr:`namespaces` holds."""

    def __init__(self, config: Config) -> None:
        self._config = config
        self._said: dict[str, int] = {}
        self._begun: set[str] = set()
        self._lock = threading.Lock()
        self.namespaces: list[ArchiveNamespace] = []

    @property
    def databases(self) -> list[str]:
        """What is dumped; empty means the whole server."""
        wanted = self._config.mongodb.databases
        return list(wanted) if len(wanted) == 1 else []

    def chunks(self) -> Generator[bytes, None, None]:
        """The archive stream. It ends without an error only if the dump is complete.

        Raises:
            StewardError: mongodump is missing or failed.
            FaultError: it ended well, but what it wrote is not complete.
        """
        settings = self._config.mongodb
        login = settings.login
        uri = tool_uri(
            settings.uri,
            login.username if login else None,
            login.password.get_secret_value() if login else None,
            settings.auth_source,
        )
        command = [self._config.tools.mongodump, "--archive", *(f"--db={name}" for name in self.databases)]
        checker = ArchiveChecker()
        with run_tool(command, config={"uri": uri}, on_message=self._message) as running:
            for chunk in running.read():
                checker.feed(chunk)
                yield chunk
            status = running.wait()
            if status != 0:
                raise StewardError(f"mongodump failed with status {status}: {running.reason()}")
        self.namespaces = checker.finish()
        self._compare()

    def _message(self, line: str) -> None:
        with self._lock:
            if found := _DONE.search(line):
                self._said[found["name"]] = int(found["count"])
            elif found := _WRITING.search(line):
                self._begun.add(found["name"])

    def _compare(self) -> None:
        """What mongodump said it wrote against what arrived."""
        with self._lock:
            said, begun = dict(self._said), set(self._begun)
        unfinished = begun - set(said)
        if unfinished:
            raise StewardError(f"mongodump ended without finishing {', '.join(sorted(unfinished))}")
        arrived = {n.data_name: n.documents for n in self.namespaces}
        for name, count in said.items():
            held = arrived.get(name, 0)
            if held != count:
                raise StewardError(f"mongodump reported {count} documents of {name}, {held} arrived")


def collection_names(client: MongoClient[Document], databases: list[str]) -> set[str]:
    """``db.collection`` of every ordinary collection and view.

    Args:
        databases: empty for all of the server.
    """
    names = databases or [n for n in client.list_database_names() if n not in _SERVER_DATABASES]
    return {
        f"{database}.{collection}"
        for database in names
        for collection in client[database].list_collection_names()
        if not collection.startswith("system.")
    }


def check_complete(before: set[str], after: set[str], dumped: list[ArchiveNamespace]) -> None:
    """Every collection that existed all the time must be in the dump.

    Raises:
        StewardError: naming those that are not.
    """
    missing = (before & after) - {n.name for n in dumped}
    if missing:
        raise StewardError(
            f"the dump lacks {', '.join(sorted(missing))}; check the rights of the backup user (role backup)"
        )
