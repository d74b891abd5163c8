"""The server that is restored onto: who it is, whether it may be written, its mark.

While a restore runs, the target holds a document in the database ``steward_restore``.
It is removed at the very end, so the remains of a restore that was killed can be
told from data, by people and by the next restore.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from steward.errors import StewardError
from steward.manifest import rfc3339
from steward.mongo import CONNECT_TIMEOUT_S, address
from steward.restore.entries import MARK_DATABASE
from steward.restore.identity import Identity, identify

if TYPE_CHECKING:
    from pymongo import MongoClient

Document = dict[str, Any]
MARK_COLLECTION = "progress"
MARK_ID = "restore"
#: The server's code for a collection that is there already.
NAMESPACE_EXISTS = 48
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

    def check_empty(self, writes: Iterable[str], permission: Permission) -> list[str]:
        """What of ``writes`` exists, and the mark, if it may be dropped.

        Args:
            writes: databases, or collections as ``database.collection``.

        Raises:
            StewardError: there is something and ``--drop-existing`` was not said.
        """
        present = self._present({*writes, MARK_DATABASE})
        if not present or permission.drop_existing:
            return present
        if MARK_DATABASE in present:
            raise StewardError(
                f"the target {self.name} holds a restore that was not finished ({self._mark_text()}):"
                " nothing was written; say --drop-existing to drop it and start again"
            )
        if all("." in item for item in present):
            raise StewardError(
                f"the target {self.name} has {', '.join(present)} already: nothing was written;"
                " choose other names (--rename), or say --drop-existing to drop these collections first"
            )
        raise StewardError(
            f"the target {self.name} is not empty (it holds {', '.join(present)}): nothing was written;"
            " choose an empty server, or say --drop-existing to drop these databases first"
        )

    def _present(self, items: Iterable[str]) -> list[str]:
        """Those of databases and collections that exist, sorted."""
        by_database: dict[str, list[str]] = {}
        for item in sorted(items):
            by_database.setdefault(item.partition(".")[0], []).append(item)
        found: list[str] = []
        for database, wanted in by_database.items():
            names = self.client[database].list_collection_names()
            found += [i for i in wanted if (i.partition(".")[2] in names if "." in i else names)]
        return sorted(found)

    def claim(self, collections: Mapping[str, Mapping[str, Any]]) -> None:
        """Create collections, none of which may exist: what others made meanwhile stays theirs.

        Args:
            collections: options by namespace.

        Raises:
            StewardError: one exists; those that were created are gone again.
        """
        from pymongo.errors import OperationFailure

        made: list[str] = []
        for ns, options in collections.items():
            database, _, collection = ns.partition(".")
            try:
                self.client[database].command({"create": collection, **options})
            except OperationFailure as error:
                if error.code != NAMESPACE_EXISTS:
                    raise
                self.drop([item for item in made if not self._documents(item)])
                raise StewardError(
                    f"{ns} has come into being on the target {self.name} in this moment: it was left alone;"
                    " choose another name (--rename)"
                ) from error
            made.append(ns)

    def _documents(self, ns: str) -> int:
        database, _, collection = ns.partition(".")
        return self.client[database][collection].count_documents({}, limit=1)

    def check_absent(self, collections: Iterable[str]) -> None:
        """Refuse to go on where somebody else has made one of these collections.

        Raises:
            StewardError: naming it.
        """
        if present := self._present(collections):
            raise StewardError(
                f"{', '.join(present)} came into being on the target {self.name} during the restore:"
                " left alone; what was restored so far is incomplete"
            )

    def mark(self) -> Document | None:
        """The mark, if there is one."""
        return self.client[MARK_DATABASE][MARK_COLLECTION].find_one({"_id": MARK_ID})

    def check_remains(self, mark: Document, writes: Iterable[str]) -> None:
        """Refuse to take a mark away while remains of its restore would stay.

        Raises:
            StewardError: the earlier restore has written more than this one drops.
        """
        dropped = set(writes)
        left = [i for i in mark.get("writes", []) if not {i, i.partition(".")[0]} & dropped]
        if left := self._present(left):
            raise StewardError(
                f"the target {self.name} holds the remains of another restore: {', '.join(left)}"
                f" ({self._mark_text()}): nothing was written; drop them by hand, or repeat that restore"
            )

    def _mark_text(self) -> str:
        mark = self.mark() or {}
        return (
            f"run {mark.get('run', '?')}, begun {mark.get('started_at', '?')}, state {mark.get('state', '?')}"
        )

    def set_mark(self, run: str, facts: Document, old: Document | None = None) -> None:
        """Mark the target as being restored.

        Args:
            old: the mark of an earlier restore, which this one takes the place of, so that
                there is no moment without a mark.

        Raises:
            StewardError: another restore has marked it in this moment.
        """
        from pymongo.errors import DuplicateKeyError

        mark = {"_id": MARK_ID, "run": run, "started_at": rfc3339(datetime.now(UTC)), **facts}
        mark["state"] = "in progress"
        marks = self.client[MARK_DATABASE][MARK_COLLECTION]
        try:
            if old is None:
                marks.insert_one(mark)
                return
            if marks.replace_one({"_id": MARK_ID, "run": old.get("run")}, mark).matched_count:
                return
        except DuplicateKeyError:
            pass
        raise StewardError(f"another restore onto {self.name} has begun ({self._mark_text()})")

    def unmark(self, old: Document | None) -> None:
        """Take the mark of this run back: the mark of before, if any, stands again."""
        if old is None:
            self.remove_mark()
        else:
            self.client[MARK_DATABASE][MARK_COLLECTION].replace_one({"_id": MARK_ID}, old)

    def change_mark(self, state: str) -> None:
        """Say in the mark how far the restore has come."""
        self.client[MARK_DATABASE][MARK_COLLECTION].update_one({"_id": MARK_ID}, {"$set": {"state": state}})

    def remove_mark(self) -> None:
        """The restore is complete, or did not begin."""
        self.client.drop_database(MARK_DATABASE)

    def drop(self, items: Iterable[str]) -> None:
        """Drop databases, and collections (``database.collection``)."""
        for item in items:
            database, dot, collection = item.partition(".")
            if dot:
                self.client[database].drop_collection(collection)
            else:
                self.client.drop_database(database)


def sees_mark(client: MongoClient[Document], run: str) -> bool:
    """Whether a server holds the mark of this run: the proof that it is the target itself."""
    from pymongo.errors import OperationFailure

    try:
        mark = client[MARK_DATABASE][MARK_COLLECTION].find_one({"_id": MARK_ID})
    except OperationFailure:
        return False  # the login reads its own databases only; the other marks decide
    return mark is not None and mark.get("run") == run
