"""Object data as moto's keys keep it: pieces of files, never copied, read without a lock.

moto joins the parts of a multipart upload in memory (four times over) and reads
whole objects for every range. Here a key holds the received files themselves;
one that is deleted while it is being sent lives until its last reader is done.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any

from sandbox.aws_endpoint.payload import IN_MEMORY, Body

#: Bytes read and sent at once.
PIECE = 1024 * 1024

_Source = bytes | tempfile.SpooledTemporaryFile[bytes]


class Stored:
    """Read-only data made of sources one after the other; stands in for moto's file object."""

    def __init__(self, sources: Sequence[tuple[_Source, int]], md5: str) -> None:
        self._sources = list(sources)
        self.md5 = md5
        self.size = sum(size for _, size in sources)
        self._position = 0

    @classmethod
    def of(cls, body: Body) -> Stored:
        """Take over the file of a received body."""
        if body.size <= IN_MEMORY:
            return cls([(body.read(), body.size)], body.md5)
        body.file.rollover()
        body.file.flush()
        return cls([(body.file, body.size)], body.md5)

    @classmethod
    def joined(cls, parts: Sequence[Stored], md5: str) -> Stored:
        """The parts of a multipart upload, one after the other."""
        return cls([source for part in parts for source in part._sources], md5)

    def twin(self) -> Stored:
        """The same data for another holder."""
        twin = Stored((), self.md5)
        twin._sources, twin.size = list(self._sources), self.size
        return twin

    def pieces(self, start: int, stop: int) -> Iterator[bytes]:
        """The bytes from ``start`` up to ``stop``; safe beside other readers and :meth:`close`."""
        return _pieces(list(self._sources), start, stop)

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """As of a file; moto uses it."""
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self.size}[whence]
        self._position = base + offset
        return self._position

    def read(self, size: int = -1) -> bytes:
        """As of a file; moto uses it for copies."""
        stop = self.size if size is None or size < 0 else min(self.size, self._position + size)
        data = b"".join(self.pieces(self._position, stop))
        self._position = max(self._position, stop)
        return data

    def close(self) -> None:
        """Let go of the data; the system frees it with the last reader."""
        self._sources = []


def _pieces(sources: list[tuple[_Source, int]], start: int, stop: int) -> Iterator[bytes]:
    offset = 0
    for source, size in sources:
        first, last = max(start - offset, 0), min(stop - offset, size)
        if isinstance(source, bytes):
            if first < last:
                yield source[first:last]
        else:
            while first < last:
                data = os.pread(source.fileno(), min(PIECE, last - first), first)
                if not data:
                    raise OSError("the data of an object is shorter than its size")
                first += len(data)
                yield data
        offset += size


def _set_value(key: Any, value: bytes | str | Stored) -> None:
    """Replacement of moto's ``FakeKey.value`` setter: takes files over, and knows the ETag at once."""
    if isinstance(value, str):
        value = value.encode()
    if not isinstance(value, Stored):
        digest = hashlib.md5(value, usedforsecurity=False).hexdigest()
        if len(value) <= IN_MEMORY:
            value = Stored([(value, len(value))], digest)
        else:
            file: tempfile.SpooledTemporaryFile[bytes] = tempfile.SpooledTemporaryFile(1)  # noqa: SIM115 - kept
            for start, stop in pairwise([*range(0, len(value), PIECE), len(value)]):
                file.write(value[start:stop])
            value = Stored.of(Body(file, len(value), digest, ""))
    key._value_buffer.close()
    key._value_buffer = value
    key.contentsize = value.size
    if key._etag is None:
        key._etag = value.md5


def install(fake_key: Any) -> None:
    """Let moto's key class keep :class:`Stored` data."""

    def get_value(key: Any) -> bytes:
        return b"".join(stored(key).pieces(0, key.contentsize))

    def copy_without_data(key: Any, _memo: dict[int, Any]) -> Any:
        twin = object.__new__(type(key))
        twin.__dict__.update(key.__dict__)
        # Of its own, because moto closes the buffer and the parts of whatever is collected.
        twin._value_buffer = stored(key).twin()
        twin.multipart, twin.disposed = None, True
        return twin

    fake_key.value = property(get_value, _set_value)
    # moto copies every version with its data to list them.
    fake_key.__deepcopy__ = copy_without_data


def stored(key: Any) -> Stored:
    """The data of a moto key."""
    data: Stored = key._value_buffer
    return data
