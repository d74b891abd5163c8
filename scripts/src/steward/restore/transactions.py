"""Put the operations of transactions together.

A transaction stands in the oplog as one ``applyOps`` entry, as a chain of them
(``partialTxn``, linked by ``prevOpTime``), or as a prepared one that a later
``commitTransaction`` or ``abortTransaction`` closes. It takes effect at the time of
the entry that commits it. Rules: ``oplog_entry.cpp`` and ``oplog_applier_impl.cpp``
of mongodb/mongo.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace

from steward.restore import rawbson
from steward.restore.entries import Entry, EntryError, Ts, inner_operations, timestamp
from steward.restore.rawbson import OBJECT, as_int, elements, is_true

_CLOSING = ("commitTransaction", "abortTransaction")
_Key = tuple[bytes, int]


@dataclass
class _Open:
    began: Ts
    operations: list[Entry] = field(default_factory=list)


class Transactions:
    """The transactions that are open at the current entry."""

    def __init__(self, base: Ts) -> None:
        """
        Args:
            base: first entry of the replay. What that entry commits is in the dump
                already, so the begin of such a transaction is not missed.
        """
        self._base = base
        self._open: dict[_Key, _Open] = {}
        self.committed = 0
        self.aborted = 0

    @property
    def open(self) -> int:
        """Transactions that have begun and neither committed nor aborted."""
        return len(self._open)

    def operations(self, entry: Entry) -> Iterator[Entry]:
        """What takes effect with ``entry``, in order.

        Raises:
            EntryError: the begin of a transaction that commits here is missing.
        """
        command = entry.command if entry.op == "c" else ""
        if command != "applyOps" and command not in _CLOSING:
            yield entry
            return
        key = _key(entry)
        if key is None:
            if command in _CLOSING:
                raise EntryError(f"{entry}: {command} without a session")
            # Vectored writes and plain applyOps: each entry stands for itself.
            yield from inner_operations(entry)
            return
        if command == "abortTransaction":
            if self._open.pop(key, None) is not None:
                self.aborted += 1
            return
        if command == "commitTransaction":
            waiting = self._open.pop(key, None)
            if waiting is None:
                yield from self._missing(entry)
                return
            yield from self._commit(waiting.operations, entry)
            return
        flags = dict(elements(entry.o))
        waiting = self._open.get(key)
        if waiting is None and not _begins(entry):
            yield from self._missing(entry)
            return
        waiting = waiting or _Open(entry.ts)
        waiting.operations.extend(inner_operations(entry))
        whole = as_int(flags[b"count"]) if b"count" in flags else None
        if whole is not None and whole != len(waiting.operations):
            raise EntryError(
                f"{entry}: a transaction of {whole} operations, of which {len(waiting.operations)} are stored"
            )
        if _flag(flags, b"partialTxn") or _flag(flags, b"prepare"):
            self._open[key] = waiting
            return
        self._open.pop(key, None)
        yield from self._commit(waiting.operations, entry)

    def _commit(self, operations: list[Entry], entry: Entry) -> Iterator[Entry]:
        self.committed += 1
        for operation in operations:
            yield replace(operation, ts=entry.ts)

    def _missing(self, entry: Entry) -> Iterator[Entry]:
        if entry.ts > self._base:
            raise EntryError(f"{entry}: the begin of this transaction is not stored")
        yield from ()


def _key(entry: Entry) -> _Key | None:
    """Session and number of a transaction; None when the entry belongs to none.

    ``multiOpType`` other than 0 marks entries that are complete in themselves,
    although they carry session fields (vectored retryable inserts of 8.0).
    """
    lsid, number = entry.session.get(b"lsid"), entry.session.get(b"txnNumber")
    kind = entry.session.get(b"multiOpType")
    if lsid is None or number is None or (kind is not None and as_int(kind) != 0):
        return None
    return lsid.data, as_int(number) or 0


def _begins(entry: Entry) -> bool:
    """Whether an entry is the first of its transaction: no entry precedes it."""
    previous = entry.session.get(b"prevOpTime")
    if previous is None or previous.kind != OBJECT:
        return True
    ts = rawbson.field(previous.data, b"ts")
    return ts is None or timestamp(ts) == (0, 0)


def _flag(flags: dict[bytes, rawbson.Value], name: bytes) -> bool:
    return name in flags and is_true(flags[name])
