"""Replay the commands of the oplog (entries ``c``) with ordinary commands.

Names and shapes are those of ``op_observer_impl.cpp`` and of the table ``kOpsMap`` in
``oplog.cpp`` of mongodb/mongo. Index commands only edit the catalogue.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import bson
from bson.codec_options import CodecOptions, DatetimeConversion

from steward.choice import BUCKETS
from steward.restore.entries import Entry, EntryError, Ts
from steward.restore.expectation import Expectation
from steward.restore.selection import Selection
from steward.restore.sink import Sink

#: Nothing to replay: an index build counts when it is committed, the rest is bookkeeping.
IGNORED = frozenset(
    {
        "startIndexBuild",
        "abortIndexBuild",
        "dbCheck",
        "setMultikeyMetadata",
        "dropIdent",
        "createDatabaseMetadata",
        "dropDatabaseMetadata",
        "modifyCollectionShardingIndexCatalog",
    }
)
_DROP_INDEX = ("dropIndexes", "deleteIndexes", "dropIndex", "deleteIndex")
HANDLED = frozenset(
    {
        "create",
        "drop",
        "dropDatabase",
        "renameCollection",
        "createIndexes",
        "commitIndexBuild",
        "collMod",
        "emptycapped",
        *_DROP_INDEX,
    }
)
#: Fields of a logged ``create`` that the command does not take, or that follow from others.
_CREATE_INTERNAL = frozenset({"create", "idIndex", "temp", "recordIdsReplicated", "autoIndexId"})
_COLLMOD_INTERNAL = frozenset({"collMod", "index", "noPadding", "usePowerOf2Sizes"})
#: What ``create`` of a time series takes of the options of its bucket collection.
_TIMESERIES = frozenset({"timeseries", "expireAfterSeconds", "collation", "storageEngine"})

_OPTIONS: CodecOptions[dict[str, Any]] = CodecOptions(
    tz_aware=True, datetime_conversion=DatetimeConversion.DATETIME_MS
)


def decode(document: bytes) -> dict[str, Any]:
    """A command as a mapping in its order; nothing of a user's document goes through here."""
    return bson.decode(document, _OPTIONS)


def is_view_change(entry: Entry) -> bool:
    """Views are logged as documents of ``system.views``."""
    return (
        entry.ns.endswith(".system.views")
        and entry.op in ("i", "u", "d")
        and entry.collection == "system.views"
    )


def creatable(options: Mapping[str, Any]) -> dict[str, Any]:
    """What the command ``create`` takes of the options of a collection."""
    return {name: value for name, value in options.items() if name not in _CREATE_INTERNAL}


class BorderError(EntryError):
    """An entry brings data into the selection that a restore of a part does not have."""


def wants_command(entry: Entry, selection: Selection) -> bool:
    """Whether a command touches what is restored.

    Raises:
        BorderError: a collection from outside the selection was renamed into it.
        EntryError: a command that cannot be replayed.
    """
    name = entry.command
    if name in IGNORED:
        return False
    if name == "renameCollection":
        source, target = rename_of(entry)
        wanted = selection.wants(target)
        if wanted and not selection.wants(source):
            raise _outside(entry, source, target, selection)
        return wanted or selection.wants(source)
    if not selection.wants_database(entry.database):
        return False
    if name not in HANDLED:
        raise EntryError(f"{entry}: the command {name!r} cannot be replayed")
    return name == "dropDatabase" or selection.wants(".".join(_names(entry, decode(entry.o))))


def _outside(entry: Entry, source: str, target: str, selection: Selection) -> EntryError:
    database = source.partition(".")[0]
    outside = selection.databases and database not in selection.databases
    if selection.whole or outside or not selection.backed_up.wants(source):
        return EntryError(
            f"{entry}: {source}, which is not part of the backup, was renamed to {target}, and its documents"
            " with it; restore to a second before it, or from a full that was taken after it"
        )
    return BorderError(
        f"{entry}: {source}, which is not selected, was renamed to {target}, and its documents with it:"
        f" select {source} as well (--only, --exclude)"
    )


def view_name(entry: Entry) -> str:
    """The namespace of the view that a change of ``system.views`` is about."""
    identity = {} if entry.o2 is None else decode(entry.o2)
    ns = decode(entry.o).get("_id", identity.get("_id"))
    if not isinstance(ns, str):
        raise EntryError(f"{entry}: a view without its name")
    return ns


def touched(entry: Entry) -> list[str]:
    """The namespaces that an operation is about; none for ``dropDatabase``."""
    if is_view_change(entry):
        return [view_name(entry)]
    if entry.op != "c":
        return [entry.ns]
    if entry.command == "renameCollection":
        return list(rename_of(entry))
    return [] if entry.command == "dropDatabase" else [".".join(_names(entry, decode(entry.o)))]


def rename_of(entry: Entry) -> tuple[str, str]:
    """Source and target (full namespaces) of a ``renameCollection``."""
    command = decode(entry.o)
    source, target = command.get("renameCollection"), command.get("to")
    if not isinstance(source, str) or not isinstance(target, str):
        raise EntryError(f"{entry}: renameCollection without its two names")
    return source, target


def check_dump_window(entry: Entry, base: Ts, dump_end: Ts) -> None:
    """Refuse a rename that happened while the dump was read.

    The dump may hold the collection under either name or both, and its identity
    (UUID) is not in it, so what to do cannot be told. mongodump refuses as well.
    """
    if entry.command == "renameCollection" and base < entry.ts <= dump_end:
        source, target = rename_of(entry)
        raise EntryError(
            f"{entry}: {source} was renamed to {target} while the dump was made;"
            " use an earlier full (--base) or a later one"
        )


class Commands:
    """Replays commands on a sink and keeps what is expected of it."""

    def __init__(self, sink: Sink, expected: Expectation, selection: Selection) -> None:
        self._sink = sink
        self._expected = expected
        self._selection = selection
        self._handlers: dict[str, Callable[[Entry, dict[str, Any]], None]] = {
            "create": self._create,
            "drop": self._drop,
            "dropDatabase": self._drop_database,
            "renameCollection": self._rename,
            "createIndexes": self._create_index,
            "commitIndexBuild": self._commit_index_build,
            "collMod": self._modify,
            "emptycapped": self._clear,
            **dict.fromkeys(_DROP_INDEX, self._drop_index),
        }

    def apply(self, entry: Entry) -> None:
        """Replay one command that :func:`wants_command` wants.

        Raises:
            EntryError: its shape is not known.
        """
        handler = self._handlers.get(entry.command)
        if handler is None:
            raise EntryError(f"{entry}: the command {entry.command!r} cannot be replayed")
        handler(entry, decode(entry.o))

    def _create(self, entry: Entry, command: dict[str, Any]) -> None:
        database, collection = _names(entry, command)
        if collection.startswith(BUCKETS):
            # The user's time series makes the buckets, not the other way round.
            collection = collection.removeprefix(BUCKETS)
            options = {name: value for name, value in command.items() if name in _TIMESERIES}
        else:
            options = creatable(command)
        self._expected.create(f"{database}.{collection}", options)
        self._sink.create(database, collection, options)

    def _drop(self, entry: Entry, command: dict[str, Any]) -> None:
        database, collection = _names(entry, command)
        self._expected.drop(f"{database}.{collection}")
        collection = collection.removeprefix(BUCKETS)
        self._expected.drop(f"{database}.{collection}")
        self._sink.drop(database, collection)

    def _drop_database(self, entry: Entry, _: dict[str, Any]) -> None:
        if self._selection.whole and not self._selection.backed_up.patterns:
            self._sink.drop_database(entry.database)
        else:  # on the target the database may hold more than what is restored
            for ns in self._expected.collections:
                database, collection = _split(ns)
                if database == entry.database:
                    self._sink.drop(database, collection)
        self._expected.drop_database(entry.database)

    def _rename(self, entry: Entry, command: dict[str, Any]) -> None:
        source, target = rename_of(entry)
        old, new = _split(source), _split(target)
        if not self._selection.wants(target):
            self._expected.drop(source)
            self._sink.drop(*old)
            return
        if not self._sink.exists(*old):
            raise EntryError(f"{entry}: {source} was renamed, but the restored data has no {source}")
        if command.get("dropTarget"):  # a UUID, or true on older servers
            self._sink.drop(*new)
        self._expected.rename(source, target)
        self._sink.rename(old, new)

    def _create_index(self, entry: Entry, command: dict[str, Any]) -> None:
        database, collection = _names(entry, command)
        spec = {name: value for name, value in command.items() if name != "createIndexes"}
        self._expected.indexes.add(f"{database}.{collection}", spec)

    def _commit_index_build(self, entry: Entry, command: dict[str, Any]) -> None:
        database, collection = _names(entry, command)
        specs = command.get("indexes")
        if not isinstance(specs, list):
            raise EntryError(f"{entry}: commitIndexBuild without its indexes")
        for spec in specs:
            self._expected.indexes.add(f"{database}.{collection}", spec)

    def _drop_index(self, entry: Entry, command: dict[str, Any]) -> None:
        database, collection = _names(entry, command)
        self._expected.indexes.remove(f"{database}.{collection}", command.get("index"))

    def _modify(self, entry: Entry, command: dict[str, Any]) -> None:
        database, collection = _names(entry, command)
        change = command.get("index")
        if isinstance(change, Mapping):
            self._expected.indexes.modify(f"{database}.{collection}", change)
        options = {name: value for name, value in command.items() if name not in _COLLMOD_INTERNAL}
        if options:
            collection = collection.removeprefix(BUCKETS)
            self._expected.modify(f"{database}.{collection}", options)
            self._sink.modify(database, collection, options)

    def _clear(self, entry: Entry, command: dict[str, Any]) -> None:
        database, collection = _names(entry, command)
        self._expected.clear(f"{database}.{collection}")
        self._sink.clear(database, collection)

    def apply_view(self, entry: Entry) -> None:
        """Replay a change of ``system.views`` as create or drop of the view."""
        ns, document = view_name(entry), decode(entry.o)
        database, view = _split(ns)
        if entry.op == "d":
            self._expected.drop(ns)
            self._sink.drop(database, view)
            return
        if not isinstance(document.get("viewOn"), str):
            raise EntryError(f"{entry}: a change of the view {ns} of an unknown kind")
        if str(document["viewOn"]).startswith(BUCKETS):
            return  # a time series; its bucket collection has made it
        options = {name: value for name, value in document.items() if name != "_id"}
        self._expected.drop(ns)
        self._expected.create(ns, options)
        self._sink.drop(database, view)
        self._sink.create(database, view, options)


def _names(entry: Entry, command: dict[str, Any]) -> tuple[str, str]:
    """Database and collection of a command: its first value names the collection."""
    collection = next(iter(command.values()), None)
    if not isinstance(collection, str) or not collection:
        raise EntryError(f"{entry}: the command names no collection")
    return entry.database, collection


def _split(ns: str) -> tuple[str, str]:
    database, _, collection = ns.partition(".")
    return database, collection
