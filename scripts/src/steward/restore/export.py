"""``steward restore export``: a folder from which the stock tools restore to the chosen second.

The oplog in it is written anew: one entry for each operation of the restored databases, in
their order, transactions taken apart, nothing behind the second. So mongorestore needs no
limit and no part of the oplog that is not in the folder.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import json
import os
import shutil
import struct
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from steward.errors import ConfigError, FaultError, LockHeldError, StewardError
from steward.output import size_text
from steward.restore.dumpdir import split
from steward.restore.entries import Entry, EntryError
from steward.restore.exported import readme
from steward.restore.plan import Plan
from steward.restore.rawbson import BOOL, OBJECT, STRING, TIMESTAMP, Value, build, int32_value
from steward.restore.verify import chain_entries, read_object

if TYPE_CHECKING:
    from steward.restore.run import Display
    from steward.storage import Store

#: Room that must be free beside what the manifests say.
SPARE_BYTES = 64 * 1024 * 1024
#: An operation of a transaction gets an envelope of its own, which may be larger than itself.
OPLOG_GROWTH = 1.5


@dataclass
class Exported:
    """What was written. Sizes in bytes."""

    plan: Plan
    folder: Path
    needed_bytes: int
    dry_run: bool = False
    documents: int = 0
    operations: int = 0
    files: dict[str, str] = field(default_factory=dict)
    seconds: float = 0.0

    def to_json(self) -> dict[str, Any]:
        """The report for programs."""
        return {
            "result": "checked" if self.dry_run else "exported",
            "folder": str(self.folder),
            "plan": self.plan.to_json(),
            "needed_bytes": self.needed_bytes,
            "documents": self.documents,
            "oplog_operations": self.operations,
            "sha256": self.files,
            "seconds": round(self.seconds, 3),
        }


def needed(plan: Plan) -> int:
    """Bytes that the folder needs at most."""
    oplog = sum(piece.object.raw_size for piece in plan.chain.slices)
    files = 16 * 1024 * len(plan.wanted)
    return plan.chain.base.object.raw_size + int(oplog * OPLOG_GROWTH) + files + SPARE_BYTES


def export(store: Store, plan: Plan, out: Path, display: Display, *, dry_run: bool = False) -> Exported:
    """Write the folder ``out``: under another name first, so that it is whole when it is there.

    Raises:
        ConfigError: ``out`` holds something, or its parent is missing.
        StewardError: too little space; nothing is left behind.
        FaultError: a stored object is damaged; nothing is left behind.
    """
    begun = time.monotonic()
    out = out.absolute()
    result = Exported(plan, out, needed(plan), dry_run)
    _check_place(out, result.needed_bytes)
    if dry_run:
        return result
    try:
        with _unfinished(out) as folder:
            _write(store, plan, folder, result, display)
            folder.rename(out)
    except OSError as error:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        advice = "the disk is full" if full else error.strerror
        raise StewardError(f"{out}: not written, and nothing of it is left: {advice}") from error
    result.seconds = time.monotonic() - begun
    return result


def _check_place(out: Path, needed_bytes: int) -> None:
    if not out.parent.is_dir():
        raise ConfigError(f"--out {out}: {out.parent} is not a folder")
    if out.is_symlink() or (out.exists() and (not out.is_dir() or any(out.iterdir()))):
        raise ConfigError(f"--out {out}: exists and is not an empty folder; nothing was written")
    free = shutil.disk_usage(out.parent).free
    if free < needed_bytes:
        raise StewardError(
            f"--out {out}: {size_text(needed_bytes)} are needed, {size_text(free)} are free;"
            " nothing was written"
        )


@contextlib.contextmanager
def _unfinished(out: Path) -> Iterator[Path]:
    """The folder to write into, beside ``out``; what a killed run left of it is removed first."""
    folder = out.with_name(f".{out.name}.unfinished")
    folder.mkdir(mode=0o700, exist_ok=True)
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise LockHeldError(f"{folder}: another export writes it; wait for it") from error
        if not folder.exists() or _moved(folder, handle):
            raise LockHeldError(f"{out}: another export has just ended; look at it")
        try:
            _empty(folder)
            yield folder
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            raise
    finally:
        os.close(handle)


def _moved(folder: Path, handle: int) -> bool:
    """Whether the folder that was locked is no longer the one of this name."""
    return not os.path.samestat(os.fstat(handle), folder.stat())


def _empty(folder: Path) -> None:
    for path in folder.iterdir():
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()


def _write(store: Store, plan: Plan, folder: Path, result: Exported, display: Display) -> None:
    base, dump = plan.chain.base, folder / "dump"
    dump.mkdir()
    with display("dump", base.object.size, "bytes") as show:
        done = 0

        def add(size: int) -> None:
            nonlocal done
            done += size
            show(done)

        counts = split(read_object(store, base.object, add), dump, plan.selection)
    _check_counts(plan, counts)
    result.documents = sum(counts.values())
    replay = plan.replay()
    if replay is not None:
        with display("oplog", plan.entries, "entries") as show, (dump / "oplog.bson").open("xb") as file:
            entries = chain_entries(store, plan.chain)
            try:
                for operation in replay.operations(entries):
                    file.write(oplog_entry(operation))
                    result.operations += 1
                    if not result.operations % 1000:
                        show(replay.counts.entries)
            except EntryError as error:
                raise FaultError(f"the stored oplog cannot be replayed: {error}") from error
            for _ in entries:  # the rest of the last slice is read, for its digest
                pass
    manifests = {m.id: m.to_json() for m in (base, *(piece.backup for piece in plan.chain.slices))}
    (folder / "manifests.json").write_text(json.dumps(manifests, indent=2) + "\n", encoding="utf-8")
    (folder / "README.md").write_text(readme(plan, result.documents, result.operations), encoding="utf-8")
    _sums(folder, result)


def _check_counts(plan: Plan, counts: dict[str, int]) -> None:
    """Every collection is there with all of its documents."""
    written: dict[str, int] = {}
    for ns, count in counts.items():
        written[ns.replace(".system.buckets.", ".", 1)] = count
    for item in plan.wanted:
        ns = f"{item.db}.{item.collection}"
        found = written.get(ns, 0)
        if found != item.count:
            key = plan.chain.base.object.key
            raise FaultError(f"{key}: damaged dump: {found} documents of {ns} instead of {item.count}")


def oplog_entry(operation: Entry) -> bytes:
    """An entry of ``oplog.bson`` that stands for itself."""
    seconds, ordinal = operation.ts
    fields = [
        (b"ts", Value(TIMESTAMP, struct.pack("<II", ordinal, seconds))),
        (b"v", int32_value(2)),
        (b"op", _string(operation.op)),
        (b"ns", _string(operation.ns)),
        (b"o", Value(OBJECT, operation.o)),
    ]
    if operation.o2 is not None:
        fields.append((b"o2", Value(OBJECT, operation.o2)))
    if operation.upsert:
        fields.append((b"b", Value(BOOL, b"\x01")))
    return build(fields)


def _string(text: str) -> Value:
    data = text.encode()
    return Value(STRING, struct.pack("<i", len(data) + 1) + data + b"\0")


def _sums(folder: Path, result: Exported) -> None:
    """Write SHA256SUMS from what the disk holds, after having it written through."""
    for path in sorted(p for p in folder.rglob("*") if p.is_file()):
        with path.open("rb") as file:
            os.fsync(file.fileno())
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        result.files[path.relative_to(folder).as_posix()] = digest
    lines = [f"{digest}  {name}\n" for name, digest in result.files.items()]
    (folder / "SHA256SUMS").write_text("".join(lines), encoding="utf-8")
