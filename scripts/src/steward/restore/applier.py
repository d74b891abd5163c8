"""Replay oplog entries on a restored dump, up to a point in time.

Entries may be replayed over data that holds their effect already (the dump is newer
than the first ones), and the whole replay may be repeated: the end is the same.

Writes are gathered in windows. Within a window the final state of each document is
worked out in memory, in the order of the entries, and written once; commands end a
window. No unique index exists yet (see :mod:`steward.restore.catalogue`), so the
order of writes to different documents has no effect of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass, field

from steward.choice import public
from steward.restore.ddl import (
    Commands,
    check_dump_window,
    is_view_change,
    touched,
    view_name,
    wants_command,
)
from steward.restore.delta import DeltaError, apply_delta
from steward.restore.entries import (
    IGNORED_OPS,
    Entry,
    EntryError,
    Ts,
    UpdateKind,
    parse,
    time_of,
    update_kind,
)
from steward.restore.expectation import Expectation
from steward.restore.modifiers import ModifierError, apply_modifiers, whole_document
from steward.restore.rawbson import OBJECT, MalformedBSON, Value, build
from steward.restore.rawbson import field as raw_field
from steward.restore.selection import Selection
from steward.restore.sink import Sink, Write
from steward.restore.transactions import Transactions

#: A window ends after so many operations or so many bytes of them.
WINDOW_OPERATIONS = 1000
WINDOW_BYTES = 8 * 1024 * 1024


@dataclass
class Counts:
    """What a replay did. All are numbers of operations unless said otherwise."""

    #: Entries that were read.
    entries: int = 0
    inserts: int = 0
    updates: int = 0
    deletes: int = 0
    commands: int = 0
    #: Entries without an effect of their own (noop, bookkeeping).
    noops: int = 0
    #: Entries stored twice because slices overlap.
    duplicates: int = 0
    #: Entries older than the dump.
    before_dump: int = 0
    #: Operations on namespaces that are not restored.
    not_selected: int = 0
    #: Updates of documents that the dump no longer had: deleted again before it was over.
    missing: int = 0
    #: The same after the dump was over. Not zero: the data and the oplog do not fit.
    missing_after_dump: int = 0
    transactions: int = 0
    aborted_transactions: int = 0
    #: Transactions that had not committed at the point in time; not applied.
    open_transactions: int = 0

    @property
    def applied(self) -> int:
        """Operations that were applied."""
        return self.inserts + self.updates + self.deletes + self.commands

    def to_json(self) -> dict[str, int]:
        """For the report."""
        return {**asdict(self), "applied": self.applied}


@dataclass
class Replay:
    """The bounds of a replay, all inclusive."""

    #: ``oplog.start`` of the full: older entries are in the dump.
    base: Ts
    #: ``oplog.end`` of the full: from here on the state is exact.
    dump_end: Ts
    limit: Ts
    selection: Selection
    counts: Counts = field(default_factory=Counts)
    #: The newest entry that was read within the limit.
    last: Ts | None = None
    #: Selected namespaces that the operations are about, by their old names.
    names: set[str] = field(default_factory=set)

    def operations(self, raw_entries: Iterable[bytes]) -> Iterator[Entry]:
        """The operations to apply, in order, checked; transactions are put together.

        Raises:
            EntryError: an entry that cannot be replayed, or entries out of order
                within what the caller gives as one stream.
        """
        transactions = Transactions(self.base)
        counts = self.counts
        for raw in raw_entries:
            ts = time_of(raw)
            if ts > self.limit:
                break
            counts.entries += 1
            if self.last is not None and ts <= self.last:
                counts.duplicates += 1
                continue
            self.last = ts
            if ts < self.base:
                counts.before_dump += 1
                continue
            try:
                for operation in transactions.operations(parse(raw)):
                    if self._wanted(operation):
                        self._remember(operation)
                        yield operation
            except MalformedBSON as error:
                raise EntryError(f"oplog entry {ts[0]}:{ts[1]} is damaged: {error}") from error
            counts.transactions = transactions.committed
            counts.aborted_transactions = transactions.aborted
        counts.open_transactions = transactions.open

    def _wanted(self, entry: Entry) -> bool:
        if entry.op == "n" or entry.op in IGNORED_OPS:
            self.counts.noops += 1
            return False
        if entry.op == "c":
            if entry.ts == self.base:
                # The first entry is what the server had done before the dump began.
                # Documents may be written again, but a drop could hit newer data.
                self.counts.before_dump += 1
                return False
            if not wants_command(entry, self.selection):
                self.counts.not_selected += 1
                return False
            check_dump_window(entry, self.base, self.dump_end)
            return True
        if entry.op not in ("i", "u", "d"):
            raise EntryError(f"{entry}: an operation of an unknown kind")
        if not self.selection.wants(view_name(entry) if is_view_change(entry) else entry.ns):
            self.counts.not_selected += 1
            return False
        if not is_view_change(entry):
            entry.document_id()
        if entry.op == "u":
            update_kind(entry)
        return True

    def _remember(self, operation: Entry) -> None:
        if operation.op != "c" and operation.ns in self.names:
            return  # nearly all of them, so no name is taken apart
        self.names.update(public(ns) for ns in touched(operation) if self.selection.wants(ns))


class Applier:
    """Applies operations to a sink."""

    def __init__(self, sink: Sink, expected: Expectation, replay: Replay) -> None:
        self._sink = sink
        self._replay = replay
        self._expected = expected
        self._commands = Commands(sink, expected, replay.selection)
        self._window: list[Entry] = []
        self._window_bytes = 0
        #: Time of the last operation that was applied.
        self.last_applied: Ts | None = None

    def run(self, raw_entries: Iterable[bytes], on_progress: Callable[[int], None] | None = None) -> Counts:
        """Replay a stream of entries (BSON, ascending) up to the limit.

        Args:
            on_progress: called with the number of operations applied so far.

        Raises:
            EntryError: an entry that cannot be replayed.
        """
        counts = self._replay.counts
        for operation in self._replay.operations(raw_entries):
            if operation.op == "c" or is_view_change(operation):
                self._flush()
                self._apply_command(operation)
            else:
                self._window.append(operation)
                self._window_bytes += len(operation.o)
                if len(self._window) >= WINDOW_OPERATIONS or self._window_bytes >= WINDOW_BYTES:
                    self._flush()
            if on_progress is not None:
                on_progress(counts.applied)
        self._flush()
        return counts

    def _apply_command(self, entry: Entry) -> None:
        if entry.op == "c":
            self._commands.apply(entry)
        else:
            self._commands.apply_view(entry)
        self._replay.counts.commands += 1
        self.last_applied = entry.ts

    def _flush(self) -> None:
        """Write the window: per collection, the last state of each document."""
        window, self._window, self._window_bytes = self._window, [], 0
        by_collection: dict[tuple[str, str], list[Entry]] = {}
        for entry in window:
            by_collection.setdefault((entry.database, entry.collection), []).append(entry)
        for (database, collection), entries in by_collection.items():
            writes = self._final_states(database, collection, entries)
            if writes:
                self._sink.write(database, collection, writes)
        if window:
            self.last_applied = window[-1].ts

    def _final_states(self, database: str, collection: str, entries: list[Entry]) -> list[Write]:
        ids: dict[Value, bool] = {}  # id -> whether its content is needed
        for entry in entries:
            ids.setdefault(entry.document_id(), entry.op == "u")
        needed = [identity for identity, content in ids.items() if content]
        stored = self._sink.fetch(database, collection, needed) if needed else {}
        others = [identity for identity, content in ids.items() if not content]
        present = set(stored) | (self._sink.existing(database, collection, others) if others else set())
        states: dict[Value, bytes | None] = {}
        for entry in entries:
            identity = entry.document_id()
            if identity not in states:
                states[identity] = stored.get(identity)
            self._step(entry, identity, states)
        ns = f"{database}.{collection}"
        writes = []
        for identity, document in states.items():
            exists = identity in present
            if document is None and not exists:
                continue
            if identity in stored and stored[identity] == document:
                continue
            self._expected.added(ns, (document is not None) - exists)
            writes.append(Write(identity, document, exists))
        return writes

    def _step(self, entry: Entry, identity: Value, states: dict[Value, bytes | None]) -> None:
        """Advance one document by one operation."""
        counts = self._replay.counts
        if entry.op == "i":
            states[identity] = entry.o
            counts.inserts += 1
        elif entry.op == "d":
            states[identity] = None
            counts.deletes += 1
        else:
            current = states[identity]
            if current is None and not entry.upsert:
                if entry.ts > self._replay.dump_end:
                    counts.missing_after_dump += 1
                else:
                    counts.missing += 1
                return
            states[identity] = updated(entry, current)
            counts.updates += 1


def updated(entry: Entry, current: bytes | None) -> bytes:
    """The document after an update entry; ``current`` is None for an upsert of a missing one.

    Raises:
        EntryError: the update is malformed.
    """
    kind = update_kind(entry)
    if kind is UpdateKind.REPLACEMENT:
        return entry.o
    before = build([(b"_id", entry.document_id())]) if current is None else current
    try:
        if kind is UpdateKind.DELTA:
            diff = raw_field(entry.o, b"diff")
            if diff is None or diff.kind != OBJECT:
                raise DeltaError("malformed diff: it is not a document")
            return apply_delta(before, diff.data)
        whole = whole_document(entry.o)
        if whole is not None:
            return whole
        return apply_modifiers(before, entry.o)
    except (DeltaError, ModifierError, MalformedBSON) as error:
        raise EntryError(f"{entry}: {error}") from error
