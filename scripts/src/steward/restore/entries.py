"""Oplog entries: their envelope, what kind of change they are.

Field names and meanings are those of ``src/mongo/db/repl/oplog_entry.idl`` of
mongodb/mongo. Values stay undecoded (see :mod:`steward.restore.rawbson`).
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum

from steward.restore.rawbson import (
    ARRAY,
    OBJECT,
    STRING,
    TIMESTAMP,
    MalformedBSON,
    Value,
    as_int,
    elements,
    field,
    first_field,
    is_true,
)

#: An oplog time: seconds and ordinal, as they compare.
Ts = tuple[int, int]

#: Bookkeeping of the storage engine and of global indexes; nothing to replay.
IGNORED_OPS = frozenset({"ci", "cd", "cu", "km", "xi", "xd"})
#: Accounts, sharding catalogue and oplog come from the host's own set-up, not from a backup.
NOT_RESTORED = ("admin", "config", "local")
#: Where a restore keeps its own mark on the target.
MARK_DATABASE = "steward_restore"

_TIMESTAMP = struct.Struct("<II")  # ordinal, then seconds


class EntryError(ValueError):
    """An entry that cannot be replayed; the message says which and why."""


class UpdateKind(Enum):
    """How the document after an update is found."""

    REPLACEMENT = "replacement"
    DELTA = "delta"
    MODIFIERS = "modifiers"


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry, or one operation inside an ``applyOps`` entry."""

    ts: Ts
    op: str
    ns: str
    o: bytes
    o2: bytes | None
    #: The flag ``b`` of the entry: an update that inserts when nothing matches.
    upsert: bool
    #: Fields that only transactions need: lsid, txnNumber, prevOpTime, multiOpType.
    session: dict[bytes, Value]

    @property
    def database(self) -> str:
        """The part of the namespace before the first dot."""
        return self.ns.partition(".")[0]

    @property
    def collection(self) -> str:
        """The part of the namespace behind the first dot."""
        return self.ns.partition(".")[2]

    @property
    def command(self) -> str:
        """The name of the command (first field of ``o``) of an entry ``c``."""
        first = first_field(self.o)
        return first[0].decode("utf-8", "replace") if first else ""

    def __str__(self) -> str:
        return f"oplog entry {self.ts[0]}:{self.ts[1]} ({self.op} {self.ns})"

    def document_id(self) -> Value:
        """The ``_id`` of the document an i, u or d entry is about.

        Only ``_id`` selects the document; a shard key beside it may be outdated.
        """
        source = self.o2 if self.op == "u" else self.o
        found = field(source, b"_id") if source is not None else None
        if found is None:
            raise EntryError(f"{self}: no _id says which document is meant")
        return found


_SESSION_FIELDS = frozenset({b"lsid", b"txnNumber", b"prevOpTime", b"multiOpType"})


def parse(raw: bytes) -> Entry:
    """An entry of the oplog from its BSON.

    Raises:
        EntryError: not an oplog entry.
    """
    try:
        fields = dict(elements(raw))
        ts = fields.get(b"ts")
        if ts is None or ts.kind != TIMESTAMP:
            raise EntryError("an oplog entry without its time 'ts'")
        return _entry(fields, timestamp(ts))
    except MalformedBSON as error:
        raise EntryError(f"an oplog entry is not BSON: {error}") from error


def time_of(raw: bytes) -> Ts:
    """Only the time of an entry, which is much cheaper than :func:`parse`.

    Raises:
        EntryError: not an oplog entry.
    """
    try:
        for name, value in elements(raw):
            if name == b"ts" and value.kind == TIMESTAMP:
                return timestamp(value)
    except MalformedBSON as error:
        raise EntryError(f"an oplog entry is not BSON: {error}") from error
    raise EntryError("an oplog entry without its time 'ts'")


def timestamp(value: Value) -> Ts:
    """Seconds and ordinal of a BSON timestamp."""
    ordinal, seconds = _TIMESTAMP.unpack(value.data)
    return seconds, ordinal


def _entry(fields: dict[bytes, Value], ts: Ts) -> Entry:
    where = f"oplog entry {ts[0]}:{ts[1]}"
    op, ns = _string(fields, b"op", where), _string(fields, b"ns", where)
    o, o2, upsert = fields.get(b"o"), fields.get(b"o2"), fields.get(b"b")
    if o is None or o.kind != OBJECT:
        if op != "n" and op not in IGNORED_OPS:
            raise EntryError(f"{where}: no document 'o'")
        o = Value(OBJECT, b"\x05\0\0\0\0")
    return Entry(
        ts=ts,
        op=op,
        ns=ns,
        o=o.data,
        o2=o2.data if o2 is not None and o2.kind == OBJECT else None,
        upsert=upsert is not None and is_true(upsert),
        session={name: fields[name] for name in _SESSION_FIELDS if name in fields},
    )


def _string(fields: dict[bytes, Value], name: bytes, where: str) -> str:
    value = fields.get(name)
    if value is None or value.kind != STRING:
        raise EntryError(f"{where}: no text {name.decode()!r}")
    return value.data[4:-1].decode("utf-8", "replace")


def inner_operations(entry: Entry) -> Iterator[Entry]:
    """The operations of an ``applyOps`` entry; nested ones are opened too.

    They carry no time of their own: they happen at the time of ``entry``.
    """
    listed = field(entry.o, b"applyOps")
    if listed is None or listed.kind != ARRAY:
        raise EntryError(f"{entry}: applyOps without its operations")
    for _, value in elements(listed.data):
        if value.kind != OBJECT:
            raise EntryError(f"{entry}: an operation that is no document")
        inner = _entry(dict(elements(value.data)), entry.ts)
        if inner.op == "c" and inner.command == "applyOps":
            yield from inner_operations(inner)
        else:
            yield inner


def update_kind(entry: Entry) -> UpdateKind:
    """How an ``u`` entry says what the document becomes.

    A document with ``_id`` is a replacement even if it has fields named ``$v`` and
    ``diff``: user documents may, so ``_id`` must be looked at first.

    Raises:
        EntryError: a kind of update that is not known.
    """
    fields = dict(elements(entry.o))
    if b"_id" in fields:
        return UpdateKind.REPLACEMENT
    version = as_int(fields[b"$v"]) if b"$v" in fields else 1
    if version == 2 and b"diff" in fields and fields[b"diff"].kind == OBJECT:
        return UpdateKind.DELTA
    if version == 1 and fields and set(fields) <= {b"$v", b"$set", b"$unset"}:
        return UpdateKind.MODIFIERS
    names = ", ".join(name.decode("utf-8", "replace") for name in fields)
    raise EntryError(f"{entry}: an update of an unknown kind (its fields: {names})")
