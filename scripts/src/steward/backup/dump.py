"""mongodump as a checked stream."""

from __future__ import annotations

import re
import threading
from collections.abc import Generator, Iterable, Sequence
from typing import TYPE_CHECKING

from steward.backup.archive import ArchiveChecker, ArchiveNamespace
from steward.config import Config
from steward.errors import StewardError
from steward.mongo import Document, tool_uri
from steward.process import run_tool

if TYPE_CHECKING:
    from pymongo import MongoClient

#: Collections that mongodump is told by name to leave alone; a command line has an end.
MAX_NAMED = 1000
_DONE = re.compile(r"done dumping (?P<name>.+) \((?P<count>\d+) documents?\)$")
_WRITING = re.compile(r"writing (?P<name>.+) to archive on stdout$")
#: Databases that belong to the server; what stands in them comes and goes.
_SERVER_DATABASES = frozenset({"admin", "config", "local"})


class Dump:
    """One run of mongodump. Read :meth:`chunks` to the end; then :attr:`namespaces` holds."""

    def __init__(self, config: Config, uri: str, left_out: Iterable[str] = ()) -> None:
        """
        Args:
            uri: the server that is dumped, without credentials.
            left_out: ``db.collection`` that exist and are not wanted: of a single database mongodump does
                not read them at all.
        """
        self._config = config
        self._uri = uri
        self._left_out = sorted(left_out)[:MAX_NAMED]
        self._said: dict[str, int] = {}
        self._begun: set[str] = set()
        self._lock = threading.Lock()
        self.namespaces: list[ArchiveNamespace] = []

    def chunks(self) -> Generator[bytes, None, None]:
        """The archive stream. It ends without an error only if the dump is complete.

        Raises:
            StewardError: mongodump is missing or failed.
            FaultError: it ended well, but what it wrote is not complete.
        """
        settings = self._config.mongodb
        login = settings.login
        uri = tool_uri(
            self._uri,
            login.username if login else None,
            login.password.get_secret_value() if login else None,
            settings.auth_source,
        )
        choice = settings.choice
        command = [self._config.tools.mongodump, "--archive"]
        if len(choice.databases) == 1:
            command.append(f"--db={choice.databases[0]}")
            command += [f"--excludeCollection={name.partition('.')[2]}" for name in self._left_out]
        filtered = choice.patterns or len(choice.databases) > 1
        checker = ArchiveChecker(wants=choice.wants if filtered else None)
        with run_tool(command, config={"uri": uri}, on_message=self._message) as running:
            for chunk in running.read():
                if kept := checker.feed(chunk):
                    yield kept
            status = running.wait()
            if status != 0:
                raise StewardError(f"mongodump failed with status {status}: {running.reason()}")
        arrived = checker.finish()
        self.namespaces = [n for n in arrived if not filtered or choice.wants(n.name)]
        self._compare(arrived)

    def _message(self, line: str) -> None:
        with self._lock:
            if found := _DONE.search(line):
                self._said[found["name"]] = int(found["count"])
            elif found := _WRITING.search(line):
                self._begun.add(found["name"])

    def _compare(self, namespaces: Iterable[ArchiveNamespace]) -> None:
        """What mongodump said it wrote against what arrived."""
        with self._lock:
            said, begun = dict(self._said), set(self._begun)
        unfinished = begun - set(said)
        if unfinished:
            raise StewardError(f"mongodump ended without finishing {', '.join(sorted(unfinished))}")
        arrived = {n.data_name: n.documents for n in namespaces}
        for name, count in said.items():
            held = arrived.get(name, 0)
            if held != count:
                raise StewardError(f"mongodump reported {count} documents of {name}, {held} arrived")


def collection_names(client: MongoClient[Document], databases: Sequence[str]) -> set[str]:
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
