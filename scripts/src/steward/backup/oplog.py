"""Reading the oplog: its newest entry, how far it may be read, and the entries themselves.

On a replica set entries are read up to the majority point, which can never be
rolled back, and come in the order of their timestamps. A server that has an
oplog but no majority point takes the timestamp before it writes the entry, so
entries of different connections can appear a little late and out of order. Such
a server is read only up to now minus the settle time, and entries are put in
order within that time.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

from steward.bsonio import iter_raw_bson
from steward.choice import Choice
from steward.errors import FaultError, StewardError
from steward.manifest import MAX_ORDINAL, OplogTime
from steward.mongo import Document, ServerInfo

if TYPE_CHECKING:
    from pymongo import MongoClient

#: The cursor's place was overwritten: the oplog is smaller than what is written meanwhile.
_CAPPED_POSITION_LOST = 136
_BATCH_ENTRIES = 1000
#: Name of an object that holds a stretch of the oplog.
DATA_NAME = "oplog.bson.zst"
#: Newest entries looked at where they may be out of order.
_NEWEST = 200
OUTPUT_BYTES = 1024 * 1024


class ChainBrokenError(FaultError):
    """The oplog does not continue where the last stored entry ends, or cannot be followed any further.

    Attributes:
        stored_to: how far it is stored all the same, if that is farther than before.
    """

    def __init__(self, message: str, stored_to: OplogTime | None = None) -> None:
        super().__init__(message)
        self.stored_to = stored_to


@dataclass(frozen=True)
class Crossing:
    """A rename that brings a collection into the backup whose documents no backup holds."""

    at: OplogTime
    source: str
    target: str

    @property
    def before(self) -> OplogTime:
        """The last time that lies before it."""
        if self.at.i:
            return OplogTime(t=self.at.t, i=self.at.i - 1)
        return OplogTime(t=self.at.t - 1, i=MAX_ORDINAL)

    def __str__(self) -> str:
        return (
            f"{self.source}, which the backups leave out, was renamed to {self.target} (oplog entry"
            f" {self.at}), and its documents with it"
        )


def crossing(at: OplogTime, raw: bytes, choice: Choice) -> Crossing | None:
    """The crossing that an entry is, if it is one.

    An entry that cannot be understood is none: verification tells of it.
    """
    # Nearly every entry ends here.
    if b"renameCollection" not in raw:
        return None
    from steward.restore.ddl import rename_of
    from steward.restore.entries import EntryError, inner_operations, parse
    from steward.restore.rawbson import MalformedBSON

    try:
        entry = parse(raw)
        listed = entry.op == "c" and entry.command == "applyOps"
        for operation in inner_operations(entry) if listed else [entry]:
            if operation.op == "c" and operation.command == "renameCollection":
                source, target = rename_of(operation)
                if choice.wants(target) and not choice.wants(source):
                    return Crossing(at, source, target)
    except (EntryError, MalformedBSON):
        pass
    return None


@dataclass(frozen=True)
class Window:
    """What part of the oplog to read; both ends are included."""

    start: OplogTime
    limit: OplogTime
    #: Seconds within which entries may be out of order; 0 on a replica set.
    settle: int


def has_oplog(client: MongoClient[Document]) -> bool:
    """The server keeps an oplog (a replica set member does, a standalone does not).

    Raises:
        StewardError: this is a mongos, behind which each shard has its own.
    """
    if client.admin.command("hello").get("msg") == "isdbgrid":
        raise StewardError("mongodb.uri leads to a mongos: point it to one replica set, a shard at a time")
    return "oplog.rs" in client.local.list_collection_names(filter={"name": "oplog.rs"})


def newest(client: MongoClient[Document]) -> OplogTime | None:
    """The newest entry; None when there is no oplog or nothing in it."""
    if not has_oplog(client):
        return None
    entries = client.local["oplog.rs"].find({}, {"ts": 1}).sort("$natural", -1).limit(_NEWEST)
    return max((OplogTime.of(entry["ts"]) for entry in entries), default=None)


def dump_start(client: MongoClient[Document]) -> OplogTime | None:
    """From where the oplog must be replayed over a dump that begins after this call.

    That is the newest entry, or the first entry of the oldest transaction that
    is still open: its operations become visible only with its commit.
    """
    position = newest(client)
    if position is None:
        return None
    open_transactions = client.config["transactions"].find(
        {"state": {"$in": ["prepared", "inProgress"]}}, {"startOpTime": 1}
    )
    starts = [OplogTime.of(t["startOpTime"]["ts"]) for t in open_transactions if t.get("startOpTime")]
    return min([position, *starts])


def window(server: ServerInfo, start: OplogTime, settle_seconds: int) -> Window:
    """How far the oplog may be read now."""
    if server.majority is not None:
        return Window(start, server.majority, settle=0)
    settled = int(server.time.timestamp()) - settle_seconds
    return Window(start, OplogTime(t=max(settled, 0), i=MAX_ORDINAL), settle=settle_seconds)


class SliceReader:
    """The entries of one window, as ``oplog.bson`` holds them.

    Making one reads the first entry and proves that it is the window's start.

    Raises:
        ChainBrokenError: the start is no longer in the oplog, or the oplog went on
            over the cursor.
    """

    def __init__(self, client: MongoClient[Document], wanted: Window, choice: Choice | None = None) -> None:
        """
        Args:
            choice: what the full holds that these entries continue; without it all of the server.
        """
        self.window = wanted
        self._choice = choice or Choice()
        #: Reading ends before it.
        self.crossing: Crossing | None = None
        self.last = wanted.start
        self.count = 0
        self._entries = self._ordered(self._raw(client))
        first = next(self._entries, None)
        if first is None and wanted.limit < wanted.start and self._start_exists(client):
            return  # nothing is settled yet; the start itself is still there
        if first is None or first[0] != wanted.start:
            found = f"its first entry from there on is {first[0]}" if first else "it has none from there on"
            raise ChainBrokenError(f"the oplog no longer holds the entry {wanted.start}: {found}")
        self.count = 1
        self._first = first[1]
        self._second = self._next()

    @property
    def anything_new(self) -> bool:
        """There is more than the entry that overlaps."""
        return self.count > 0 and (self.count > 1 or self._second is not None)

    def chunks(self) -> Iterator[bytes]:
        """The entries, the overlapping one first, in chunks of about 1 MiB; once.

        Raises:
            FaultError: the entries are not in order.
        """
        buffer = bytearray(self._first)
        entry = self._second
        while entry is not None:
            position, raw = entry
            if position <= self.last:
                raise ChainBrokenError(f"the oplog is out of order: {position} comes after {self.last}")
            self.last = position
            self.count += 1
            buffer += raw
            if len(buffer) >= OUTPUT_BYTES:
                yield bytes(buffer)
                buffer.clear()
            entry = self._next()
        if buffer:
            yield bytes(buffer)

    @property
    def covered_to(self) -> OplogTime:
        """No entry lies between the last one that was read and this."""
        if self.crossing is not None:
            return self.crossing.before
        return max(self.window.limit, self.last)

    def _next(self) -> tuple[OplogTime, bytes] | None:
        """The next entry; None at the end of what can be followed."""
        entry = next(self._entries, None)
        if entry is not None and not self._choice.everything:
            self.crossing = crossing(*entry, self._choice)
        return None if self.crossing is not None else entry

    def _start_exists(self, client: MongoClient[Document]) -> bool:
        found = client.local["oplog.rs"].find_one({"ts": self.window.start.bson()}, {"ts": 1})
        return found is not None

    def _raw(self, client: MongoClient[Document]) -> Iterator[tuple[OplogTime, bytes]]:
        """Entries as the server gives them, with their timestamps."""
        from bson.raw_bson import RawBSONDocument
        from pymongo.errors import OperationFailure

        query: dict[str, Any] = {"ts": {"$gte": self.window.start.bson(), "$lte": self.window.limit.bson()}}
        try:
            with client.local["oplog.rs"].find_raw_batches(query, batch_size=_BATCH_ENTRIES) as batches:
                # The stubs call it a cursor of documents; each item is a batch of raw BSON.
                for raw in iter_raw_bson(cast("Iterator[bytes]", batches)):
                    yield OplogTime.of(RawBSONDocument(raw)["ts"]), raw
        except OperationFailure as error:
            if error.code != _CAPPED_POSITION_LOST:
                raise
            raise ChainBrokenError("the oplog was overwritten while it was read; it is too small") from error

    def _ordered(self, entries: Iterator[tuple[OplogTime, bytes]]) -> Iterator[tuple[OplogTime, bytes]]:
        """Put entries that are up to ``settle`` seconds late into order; memory holds that much.

        An entry that came in second s proves that everything before s minus
        the settle time has come.
        """
        if not self.window.settle:
            yield from entries
            return
        heap: list[tuple[int, int, int, bytes]] = []
        newest_second = 0
        for number, (position, raw) in enumerate(entries):
            heapq.heappush(heap, (position.t, position.i, number, raw))
            newest_second = max(newest_second, position.t)
            while heap and heap[0][0] < newest_second - self.window.settle:
                second, ordinal, _, document = heapq.heappop(heap)
                yield OplogTime(t=second, i=ordinal), document
        while heap:
            second, ordinal, _, document = heapq.heappop(heap)
            yield OplogTime(t=second, i=ordinal), document
