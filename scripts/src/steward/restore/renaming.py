"""A sink that writes what is replayed under other names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from steward.restore.rawbson import Value
from steward.restore.selection import Selection
from steward.restore.sink import Sink, Write


class RenamingSink:
    """Takes the names of the backup and hands on those of the target; see :class:`Sink`.

    So the replay, and what is expected of it, know the old names alone.
    """

    def __init__(self, sink: Sink, selection: Selection) -> None:
        self._sink = sink
        self._selection = selection

    def _name(self, database: str, collection: str) -> tuple[str, str]:
        target, _, name = self._selection.target(f"{database}.{collection}").partition(".")
        return target, name

    def fetch(self, database: str, collection: str, ids: Sequence[Value]) -> dict[Value, bytes]:
        return self._sink.fetch(*self._name(database, collection), ids)

    def existing(self, database: str, collection: str, ids: Sequence[Value]) -> set[Value]:
        return self._sink.existing(*self._name(database, collection), ids)

    def write(self, database: str, collection: str, writes: Sequence[Write]) -> None:
        self._sink.write(*self._name(database, collection), writes)

    def exists(self, database: str, collection: str) -> bool:
        return self._sink.exists(*self._name(database, collection))

    def create(self, database: str, collection: str, options: Mapping[str, Any]) -> None:
        self._sink.create(*self._name(database, collection), options)

    def drop(self, database: str, collection: str) -> None:
        self._sink.drop(*self._name(database, collection))

    def drop_database(self, database: str) -> None:
        """Only for whole restores, which rename nothing."""
        self._sink.drop_database(database)

    def rename(self, source: tuple[str, str], target: tuple[str, str]) -> None:
        self._sink.rename(self._name(*source), self._name(*target))

    def modify(self, database: str, collection: str, options: Mapping[str, Any]) -> None:
        self._sink.modify(*self._name(database, collection), options)

    def clear(self, database: str, collection: str) -> None:
        self._sink.clear(*self._name(database, collection))
