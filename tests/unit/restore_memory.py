"""A server in memory for replay tests, and short ways to write oplog entries."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import bson
from bson import Timestamp

from steward.restore.applier import Applier, Counts, Replay
from steward.restore.entries import Ts
from steward.restore.expectation import Expectation
from steward.restore.rawbson import Value, field
from steward.restore.renaming import RenamingSink
from steward.restore.selection import Selection
from steward.restore.sink import Write

Doc = dict[str, Any]
LIMIT: Ts = (10**6, 0xFFFF_FFFF)


def identity(document: bytes) -> Value:
    found = field(document, b"_id")
    assert found is not None
    return found


class MemorySink:
    """Documents by namespace and id; remembers every call, in order."""

    def __init__(self, contents: Mapping[str, Sequence[Doc]] | None = None) -> None:
        self.data: dict[str, dict[Value, bytes]] = {}
        self.options: dict[str, Doc] = {}
        self.calls: list[tuple[Any, ...]] = []
        for ns, documents in (contents or {}).items():
            raw = [bson.encode(d) for d in documents]
            self.data[ns] = {identity(r): r for r in raw}

    def documents(self, ns: str) -> list[Doc]:
        return [bson.decode(raw) for raw in self.data.get(ns, {}).values()]

    def fetch(self, database: str, collection: str, ids: Sequence[Value]) -> dict[Value, bytes]:
        stored = self.data.get(f"{database}.{collection}", {})
        return {i: stored[i] for i in ids if i in stored}

    def existing(self, database: str, collection: str, ids: Sequence[Value]) -> set[Value]:
        return set(self.fetch(database, collection, ids))

    def write(self, database: str, collection: str, writes: Sequence[Write]) -> None:
        assert len({w.id for w in writes}) == len(writes), "an id twice in one batch"
        ns = f"{database}.{collection}"
        self.calls.append(("write", ns, len(writes)))
        for write in writes:
            assert write.exists == (write.id in self.data.get(ns, {})), "a wrong idea of what exists"
            if write.document is None:
                del self.data[ns][write.id]
            else:
                assert identity(write.document) == write.id
                self.data.setdefault(ns, {})[write.id] = write.document

    def exists(self, database: str, collection: str) -> bool:
        return f"{database}.{collection}" in self.data

    def create(self, database: str, collection: str, options: Mapping[str, Any]) -> None:
        ns = f"{database}.{collection}"
        self.calls.append(("create", ns))
        if ns not in self.data:
            self.data[ns] = {}
            self.options[ns] = dict(options)

    def drop(self, database: str, collection: str) -> None:
        self.calls.append(("drop", f"{database}.{collection}"))
        self.data.pop(f"{database}.{collection}", None)

    def drop_database(self, database: str) -> None:
        self.calls.append(("drop_database", database))
        for ns in [ns for ns in self.data if ns.partition(".")[0] == database]:
            del self.data[ns]

    def rename(self, source: tuple[str, str], target: tuple[str, str]) -> None:
        assert ".".join(target) not in self.data, "renamed onto an existing collection"
        self.calls.append(("rename", ".".join(source), ".".join(target)))
        self.data[".".join(target)] = self.data.pop(".".join(source))

    def modify(self, database: str, collection: str, options: Mapping[str, Any]) -> None:
        self.calls.append(("modify", f"{database}.{collection}", dict(options)))

    def clear(self, database: str, collection: str) -> None:
        self.data[f"{database}.{collection}"] = {}


def entry(op: str, o: Doc, second: int, *, ns: str = "shop.orders", ordinal: int = 1, **more: Any) -> bytes:
    """One oplog entry."""
    return bson.encode({"op": op, "ns": ns, "o": o, "ts": Timestamp(second, ordinal), "v": 2, **more})


def insert(document: Doc, second: int, **more: Any) -> bytes:
    return entry("i", document, second, **more)


def update(key: Any, o: Doc, second: int, **more: Any) -> bytes:
    return entry("u", o, second, o2={"_id": key}, **more)


def delta(key: Any, diff: Doc, second: int, **more: Any) -> bytes:
    return update(key, {"$v": 2, "diff": diff}, second, **more)


def delete(key: Any, second: int, **more: Any) -> bytes:
    return entry("d", {"_id": key}, second, **more)


def command(o: Doc, second: int, **more: Any) -> bytes:
    return entry("c", o, second, ns=more.pop("ns", "shop.$cmd"), **more)


def replay(
    sink: MemorySink,
    entries: Sequence[bytes],
    *,
    base: Ts = (0, 0),
    dump_end: Ts = (0, 0),
    limit: Ts = LIMIT,
    databases: Sequence[str] = ("shop",),
    selection: Selection | None = None,
    expected: Expectation | None = None,
) -> Counts:
    """Replay entries onto a sink, as a restore of ``selection`` does."""
    selection = selection or Selection(databases)
    bounds = Replay(base, dump_end, limit, selection)
    return Applier(RenamingSink(sink, selection), expected or Expectation(), bounds).run(entries)
