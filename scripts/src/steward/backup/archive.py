"""A check of mongodump's archive stream while it passes by.

mongodump's exit status and messages say what it believes it wrote; this says
what arrived. The format is described in ``common/archive/spec.md`` of
mongodb/mongo-tools: a magic number, a header, one metadata document a
collection, a terminator, then blocks of documents, and for each collection a
closing header with ``EOF: true``.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from steward.bsonio import MAX_DOCUMENT_BYTES, MIN_DOCUMENT_BYTES, check_document
from steward.errors import FaultError

MAGIC = 0x8199E26D
_TERMINATOR = -1
_INT32 = struct.Struct("<i")
_UINT32 = struct.Struct("<I")


@dataclass
class ArchiveNamespace:
    """One collection or view as the archive holds it."""

    db: str
    collection: str
    type: str
    options: dict[str, Any]
    indexes: list[dict[str, Any]]
    documents: int = 0
    ended: bool = False

    @property
    def name(self) -> str:
        """``db.collection``."""
        return f"{self.db}.{self.collection}"

    @property
    def data_name(self) -> str:
        """Where its documents stand; those of a time series are in its buckets."""
        prefix = "system.buckets." if self.type == "timeseries" else ""
        return f"{self.db}.{prefix}{self.collection}"


class ArchiveChecker:
    """Feed it every chunk of the stream, then call :meth:`finish`."""

    def __init__(self, *, every_value: bool = False, wants: Callable[[str], bool] | None = None) -> None:
        """Look at lengths and headers, or with ``every_value`` also at each value of each document.

        Args:
            wants: whether :meth:`feed` passes on a namespace; without it everything is.
        """
        self._every_value = every_value
        self._wants = wants
        self._keep = True  # what is looked at now is passed on
        self.namespaces: dict[str, ArchiveNamespace] = {}  # by data_name
        self.server_version = ""
        self._rest = b""
        self._skip = 0  # bytes of a document that are still to come
        self._offset = 0  # of the next byte to look at, for messages
        self._state = self._magic
        self._current: ArchiveNamespace | None = None

    def feed(self, chunk: bytes) -> bytes:
        """Look at the next bytes.

        Returns:
            What of them is wanted, a whole archive in the end; a few bytes may come with a later call.

        Raises:
            FaultError: this is no archive, or a damaged one.
        """
        whole = chunk
        kept: list[bytes] | None = [] if self._wants is not None else None
        if self._skip:
            passed = min(self._skip, len(chunk))
            self._skip -= passed
            self._offset += passed
            if kept is not None and self._keep:
                kept.append(chunk[:passed])
            if self._skip:
                return whole if kept is None else b"".join(kept)
            chunk = chunk[passed:]
        data = self._rest + chunk if self._rest else chunk
        position = 0
        while True:
            advanced = self._state(data, position)
            if advanced < 0:
                break
            if kept is not None and self._keep:
                kept.append(data[position : position + advanced])
            position += advanced
            self._offset += advanced
        # A document that goes on in the next chunk may have been passed already.
        beyond = position - len(data)
        self._rest = b"" if beyond >= 0 else bytes(data[position:])
        if beyond > 0:
            self._skip = beyond
            self._offset -= beyond
        return whole if kept is None else b"".join(kept)

    def finish(self) -> list[ArchiveNamespace]:
        """The stream is over: everything in it must be complete.

        Raises:
            FaultError: it ended early.
        """
        if self._state == self._magic:
            raise FaultError("mongodump wrote no archive")
        if self._state != self._header or self._rest or self._skip:
            raise FaultError(f"the archive ends in the middle, at byte {self._offset}")
        for namespace in self.namespaces.values():
            if not namespace.ended:
                raise FaultError(f"the archive ends before {namespace.name} is complete")
        return list(self.namespaces.values())

    # Each state takes the data and a position, and returns by how much to
    # advance, or -1 when it needs more bytes.

    def _magic(self, data: bytes, position: int) -> int:
        if len(data) - position < 4:
            return -1
        if _UINT32.unpack_from(data, position)[0] != MAGIC:
            raise FaultError("what mongodump wrote does not begin as an archive")
        self._state = self._first
        return 4

    def _first(self, data: bytes, position: int) -> int:
        document, size = self._document(data, position)
        if document is None:
            return -1
        self.server_version = str(document.get("server_version", ""))
        self._state = self._prelude
        return size

    def _prelude(self, data: bytes, position: int) -> int:
        if self._terminator(data, position):
            self._state = self._header
            self._keep = True
            return 4
        document, size = self._document(data, position)
        if document is None:
            return -1
        try:
            metadata = json.loads(document.get("metadata") or "{}")
            namespace = ArchiveNamespace(
                db=document["db"],
                collection=document["collection"],
                type=document.get("type") or "collection",
                options=metadata.get("options") or {},
                indexes=metadata.get("indexes") or [],
            )
        except (ValueError, KeyError, AttributeError) as error:
            raise FaultError(f"the archive's metadata at byte {self._offset} is damaged") from error
        self.namespaces[namespace.data_name] = namespace
        self._keep = self._wants is None or self._wants(namespace.name)
        return size

    def _header(self, data: bytes, position: int) -> int:
        document, size = self._document(data, position)
        if document is None or len(data) - position < size + 4:
            return -1
        try:
            name = f"{document['db']}.{document['collection']}"
            ended = document["EOF"]
        except KeyError as error:
            raise FaultError(f"the archive's block at byte {self._offset} has no name") from error
        namespace = self.namespaces.get(name)
        if namespace is None:  # system collections may come without metadata
            db, _, collection = name.partition(".")
            namespace = ArchiveNamespace(db, collection, "collection", {}, [])
            self.namespaces[name] = namespace
        self._keep = self._wants is None or self._wants(name)
        if namespace.ended:
            raise FaultError(f"the archive goes on with {name} after its end, at byte {self._offset}")
        if ended:
            if not self._terminator(data, position + size):
                raise FaultError(f"the archive's end of {name} at byte {self._offset} is damaged")
            namespace.ended = True
            return size + 4
        self._current = namespace
        self._state = self._body
        return size

    def _body(self, data: bytes, position: int) -> int:
        # The hot loop: only the lengths are looked at.
        unpack = _INT32.unpack_from
        end = len(data) - 4
        count = 0
        here = position
        while here <= end:
            size = unpack(data, here)[0]
            if not MIN_DOCUMENT_BYTES <= size <= MAX_DOCUMENT_BYTES:
                if size != _TERMINATOR:
                    offset = self._offset + here - position
                    raise FaultError(f"the archive is damaged at byte {offset}: a document of {size} bytes")
                here += 4
                self._state = self._header
                break
            if self._every_value:
                if here + size > len(data):
                    break  # a document that can be looked at must be here as a whole
                self._check(data[here : here + size], self._offset + here - position)
            here += size
            count += 1
        if self._current is None:
            raise FaultError("the archive has documents outside a collection")
        self._current.documents += count
        return here - position if here > position else -1

    @staticmethod
    def _check(raw: bytes, offset: int) -> None:
        try:
            check_document(raw)
        except FaultError as error:
            raise FaultError(f"the document at byte {offset} of the archive is {error}") from error

    def _document(self, data: bytes, position: int) -> tuple[dict[str, Any] | None, int]:
        """The whole document at a position and its size; None while it is incomplete."""
        import bson

        if len(data) - position < 4:
            return None, 0
        size = _INT32.unpack_from(data, position)[0]
        if not MIN_DOCUMENT_BYTES <= size <= MAX_DOCUMENT_BYTES:
            raise FaultError(f"the archive is damaged at byte {self._offset}: a header of {size} bytes")
        if len(data) - position < size:
            return None, 0
        try:
            return bson.decode(data[position : position + size]), size
        except bson.errors.InvalidBSON as error:
            raise FaultError(f"the archive's header at byte {self._offset} is not BSON") from error

    @staticmethod
    def _terminator(data: bytes, position: int) -> bool:
        return len(data) - position >= 4 and _INT32.unpack_from(data, position)[0] == _TERMINATOR
