"""From an archive of mongodump to the folder that mongodump writes without ``--archive``.

In a folder mongorestore replays an oplog in the same run that loads the dump, and builds
the indexes afterwards; with an archive it cannot. Formats: ``common/archive/spec.md``,
``mongodump/prepare.go`` and ``mongorestore/filepath.go`` of mongodb/mongo-tools.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import IO, Any
from urllib.parse import quote_plus

from steward.backup.archive import MAGIC
from steward.bsonio import MAX_DOCUMENT_BYTES, MIN_DOCUMENT_BYTES
from steward.errors import FaultError
from steward.restore.selection import Selection

_TERMINATOR = (-1).to_bytes(4, "little", signed=True)
#: Longer names (escaped) are cut by mongodump, and marked, and stand in the metadata.
_LONGEST_NAME = 238


def file_name(collection: str) -> str:
    """The name of a collection's files, without their endings."""
    escaped = quote_plus(collection)
    if len(escaped) <= _LONGEST_NAME:
        return escaped
    digest = base64.urlsafe_b64encode(hashlib.sha1(collection.encode(), usedforsecurity=False).digest())
    return f"{escaped[:208]}%24{digest[:27].decode()}"


def split(archive: Iterable[bytes], folder: Path, selection: Selection) -> dict[str, int]:
    """Write the selected collections of an archive into ``folder``, which exists.

    Returns:
        The number of documents of each collection that has a file of documents.

    Raises:
        FaultError: the archive is damaged.
        OSError: the disk is full, or cannot be written.
    """
    items = _items(archive)
    _whole(next(items, None))  # versions of the tools
    while (item := _next(items)) is not None:
        _write_metadata(_decoded(item), folder, selection)
    counts: dict[str, int] = {}
    files: dict[str, IO[bytes]] = {}
    try:
        for header in items:
            block = _decoded(_whole(header))
            ns = f"{block['db']}.{block['collection']}"
            wanted = selection.wants(ns)
            if wanted and ns not in counts:
                counts[ns] = 0
                files[ns] = _data_file(folder, block).open("xb")
            while (document := _next(items)) is not None:
                if wanted:
                    files[ns].write(document)
                    counts[ns] += 1
            if block["EOF"] and wanted:
                files.pop(ns).close()
        if files:
            raise FaultError(f"the archive ends before {min(files)} is complete")
    finally:
        for file in files.values():
            file.close()
    return counts


def _write_metadata(found: Mapping[str, Any], folder: Path, selection: Selection) -> None:
    if not selection.wants(f"{found['db']}.{found['collection']}"):
        return
    parent = folder / found["db"]
    parent.mkdir(exist_ok=True)
    path = parent / f"{file_name(found['collection'])}.metadata.json"
    path.write_text(found.get("metadata") or "{}", encoding="utf-8")


def _data_file(folder: Path, block: Mapping[str, Any]) -> Path:
    parent = folder / str(block["db"])
    parent.mkdir(exist_ok=True)
    return parent / f"{file_name(block['collection'])}.bson"


def _items(chunks: Iterable[bytes]) -> Iterator[bytes | None]:
    """The documents of an archive; None for a terminator."""
    buffer = bytearray()
    begun = False
    for chunk in chunks:
        buffer += chunk
        position = 0
        while len(buffer) - position >= 4:
            head = bytes(buffer[position : position + 4])
            size = int.from_bytes(head, "little")
            if not begun:
                if size != MAGIC:
                    raise FaultError("the dump does not begin as an archive")
                begun, size = True, 4
            elif head == _TERMINATOR:
                yield None
                size = 4
            elif not MIN_DOCUMENT_BYTES <= size <= MAX_DOCUMENT_BYTES:
                raise FaultError(f"the archive is damaged: a document of {size} bytes")
            elif len(buffer) - position < size:
                break
            else:
                yield bytes(buffer[position : position + size])
            position += size
        del buffer[:position]
    if buffer:
        raise FaultError("the archive ends inside a document")


def _next(items: Iterator[bytes | None]) -> bytes | None:
    try:
        return next(items)
    except StopIteration:
        raise FaultError("the archive ends in the middle") from None


def _whole(item: bytes | None) -> bytes:
    if item is None:
        raise FaultError("the archive is damaged: a header is missing")
    return item


def _decoded(item: bytes) -> dict[str, Any]:
    import bson

    try:
        return bson.decode(item)
    except bson.errors.InvalidBSON as error:
        raise FaultError("a header of the archive is not BSON") from error
