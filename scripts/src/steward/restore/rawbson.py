"""BSON documents as a list of elements, without decoding their values.

The server applies oplog diffs to bytes. Decoding to Python and back would not
return the same bytes for every type (symbol, undefined and DBPointer lose their
type, a ``{$ref, $id}`` document changes its field order), so diffs are applied to
elements whose values stay as they were stored. Format: https://bsonspec.org/spec.html
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator
from typing import NamedTuple

DOUBLE, STRING, OBJECT, ARRAY, BINARY, BOOL, NULL = 0x01, 0x02, 0x03, 0x04, 0x05, 0x08, 0x0A
INT32, TIMESTAMP, INT64 = 0x10, 0x11, 0x12

_FIXED = {
    0x01: 8,  # double
    0x06: 0,  # undefined
    0x07: 12,  # ObjectId
    0x08: 1,  # bool
    0x09: 8,  # date
    0x0A: 0,  # null
    0x10: 4,  # int32
    0x11: 8,  # timestamp
    0x12: 8,  # int64
    0x13: 16,  # decimal128
    0x7F: 0,  # max key
    0xFF: 0,  # min key
}
_LENGTH_PLUS_4 = {0x02, 0x0D, 0x0E}  # string, code, symbol: int32 length, then that many bytes
_LENGTH_INCLUSIVE = {0x03, 0x04, 0x0F}  # document, array, code with scope: int32 counts itself
_INT32 = struct.Struct("<i")
_INT64 = struct.Struct("<q")
_DOUBLE = struct.Struct("<d")

EMPTY = b"\x05\x00\x00\x00\x00"


class MalformedBSON(ValueError):  # noqa: N818 - reads as what it is
    """Bytes that are not a BSON document."""


class Value(NamedTuple):
    """One value: its BSON type byte and its bytes as they stand in a document."""

    kind: int
    data: bytes


NULL_VALUE = Value(NULL, b"")


def _int32(document: bytes, at: int) -> int:
    if at + 4 > len(document):
        raise MalformedBSON("a length runs past the end of the document")
    return int(_INT32.unpack_from(document, at)[0])


def _value_size(document: bytes, kind: int, at: int) -> int:
    """Bytes of the value of type ``kind`` that starts at ``at``."""
    fixed = _FIXED.get(kind)
    if fixed is not None:
        return fixed
    if kind in _LENGTH_PLUS_4:
        size = _int32(document, at)
        if size < 1:
            raise MalformedBSON(f"a string of length {size}")
        return size + 4
    if kind in _LENGTH_INCLUSIVE:
        size = _int32(document, at)
        if size < 5:
            raise MalformedBSON(f"an embedded document of {size} bytes")
        return size
    if kind == BINARY:
        size = _int32(document, at)
        if size < 0:
            raise MalformedBSON(f"binary data of length {size}")
        return size + 5
    if kind == 0x0B:  # regular expression: two C strings
        first = document.find(b"\0", at)
        second = document.find(b"\0", first + 1) if first >= 0 else -1
        if second < 0:
            raise MalformedBSON("a regular expression without end")
        return second + 1 - at
    if kind == 0x0C:  # DBPointer: a string and an ObjectId
        return _int32(document, at) + 4 + 12
    raise MalformedBSON(f"unknown type 0x{kind:02x}")


def elements(document: bytes) -> Iterator[tuple[bytes, Value]]:
    """Field names (as stored, not decoded) and values, in order.

    Raises:
        MalformedBSON: when the bytes are not one document.
    """
    size = len(document)
    if size < 5 or _int32(document, 0) != size or document[-1] != 0:
        raise MalformedBSON("a document whose length does not match its bytes")
    at, end = 4, size - 1
    while at < end:
        kind = document[at]
        name_end = document.find(b"\0", at + 1, end)
        if name_end < 0:
            raise MalformedBSON("a field name without end")
        start = name_end + 1
        stop = start + _value_size(document, kind, start)
        if stop > end:
            raise MalformedBSON("a value runs past the end of the document")
        yield document[at + 1 : name_end], Value(kind, document[start:stop])
        at = stop


def build(fields: Iterable[tuple[bytes, Value]]) -> bytes:
    """The document that holds these fields in this order."""
    parts = [b""]
    for name, value in fields:
        parts += (bytes((value.kind,)), name, b"\0", value.data)
    parts.append(b"\0")
    parts[0] = _INT32.pack(4 + sum(map(len, parts)))
    return b"".join(parts)


def build_array(values: Iterable[Value]) -> bytes:
    """The array of these values, with the keys 0, 1, 2, ..."""
    return build((str(index).encode(), value) for index, value in enumerate(values))


def first_field(document: bytes) -> tuple[bytes, Value] | None:
    """The first field of a document, or None when it is empty."""
    return next(elements(document), None)


def field(document: bytes, name: bytes) -> Value | None:
    """The value of a top-level field, or None when the document lacks it."""
    return next((value for key, value in elements(document) if key == name), None)


def as_int(value: Value) -> int | None:
    """The whole number a value holds (int32, int64 or an integral double), else None."""
    if value.kind == INT32:
        return int(_INT32.unpack(value.data)[0])
    if value.kind == INT64:
        return int(_INT64.unpack(value.data)[0])
    if value.kind == DOUBLE:
        number = float(_DOUBLE.unpack(value.data)[0])
        return int(number) if number.is_integer() else None
    return None


def is_true(value: Value) -> bool:
    """Whether a value is the boolean ``true`` (or a non-zero number)."""
    return value.data == b"\x01" if value.kind == BOOL else bool(as_int(value))


def int32_value(number: int) -> Value:
    """An int32 value."""
    return Value(INT32, _INT32.pack(number))
