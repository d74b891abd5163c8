"""Apply a ``{$v: 2, diff: ...}`` update of the oplog to a document.

The format is the server's own (``document_diff_serialization`` and
``document_diff_applier`` of mongodb/mongo, 5.0 and later). A diff is applied to the
whole document in memory and written back whole: field names in a diff are literal
('a.b', '$x', '' are legal), so it cannot be expressed as $set and $unset with
dotted paths, and field order is part of the result.
"""

from __future__ import annotations

import struct

from steward.restore.rawbson import (
    ARRAY,
    BINARY,
    NULL_VALUE,
    OBJECT,
    MalformedBSON,
    Value,
    as_int,
    build,
    build_array,
    elements,
    first_field,
    is_true,
)

#: BSON documents may be nested this deep on a server (``kMaxBSONDepth`` is 200 by default).
MAX_DEPTH = 250
#: No array of a 16 MiB document has more elements than this (3 bytes is the least for one).
MAX_ARRAY = 6_000_000


class DeltaError(ValueError):
    """A diff that breaks the format; nothing was changed."""


def apply_delta(pre_image: bytes, diff: bytes) -> bytes:
    """The document after the update, byte for byte as the server would store it.

    Args:
        pre_image: the document before the update, BSON.
        diff: the value of the field ``diff`` of the oplog entry, BSON.

    Raises:
        DeltaError: when the diff is malformed. A diff that merely does not fit the
            pre-image is no error: during a replay over a newer dump that is normal,
            and a later entry repairs the field.
    """
    try:
        return _apply_document(pre_image, diff, 0)
    except MalformedBSON as error:
        raise DeltaError(f"malformed diff: {error}") from error


def _apply_document(pre_image: bytes, diff: bytes, depth: int) -> bytes:
    if depth > MAX_DEPTH:
        raise DeltaError("malformed diff: nested too deeply")
    fields = dict(elements(pre_image))
    inserted: dict[bytes, Value] = {}
    seen_sections: set[bytes] = set()
    touched: set[bytes] = set()
    empty = True
    for name, section in elements(diff):
        empty = False
        if name in seen_sections:
            raise DeltaError(f"malformed diff: section {_text(name)} appears twice")
        seen_sections.add(name)
        if section.kind != OBJECT:
            raise DeltaError(f"malformed diff: section {_text(name)} is not a document")
        if name in (b"d", b"u", b"i", b"b"):
            _check_order(name, seen_sections)
            for key, value in elements(section.data):
                _touch(key, touched)
                if name == b"d":
                    fields.pop(key, None)
                elif name == b"u":
                    fields[key] = value  # in place when present, else at the end
                elif name == b"i":
                    fields.pop(key, None)
                    inserted[key] = value
                else:
                    _apply_binary(fields, key, value)
        elif name[:1] == b"s":
            key = name[1:]
            _touch(key, touched)
            if key in fields:
                fields[key] = _apply_sub_diff(fields[key], section.data, depth + 1)
        else:
            raise DeltaError(f"malformed diff: unknown section {_text(name)}")
    if empty:
        raise DeltaError("malformed diff: it is empty")
    fields.update(inserted)
    return build(fields.items())


_ORDER = {b"d": 0, b"u": 1, b"i": 2, b"b": 3}


def _check_order(name: bytes, seen: set[bytes]) -> None:
    """The sections stand in the order d, u, i, b, and before every sub-diff."""
    for other in seen:
        if other == name:
            continue
        if other not in _ORDER or _ORDER[other] > _ORDER[name]:
            raise DeltaError(f"malformed diff: section {_text(name)} after {_text(other)}")


def _touch(key: bytes, touched: set[bytes]) -> None:
    """One field may stand in one section only (server error 4728000)."""
    if key in touched:
        raise DeltaError(f"malformed diff: field {_text(key)} appears in two sections")
    touched.add(key)


def _apply_sub_diff(value: Value, diff: bytes, depth: int) -> Value:
    """The value after its sub-diff; null when its type is not the one the diff was made for."""
    first = first_field(diff)
    if first is None:
        raise DeltaError("malformed diff: a sub-diff is empty")
    if first[0] == b"a":
        return Value(ARRAY, _apply_array(value.data, diff, depth)) if value.kind == ARRAY else NULL_VALUE
    return Value(OBJECT, _apply_document(value.data, diff, depth)) if value.kind == OBJECT else NULL_VALUE


def _apply_array(pre_image: bytes, diff: bytes, depth: int) -> bytes:
    if depth > MAX_DEPTH:
        raise DeltaError("malformed diff: nested too deeply")
    parts = elements(diff)
    _, header = next(parts)
    if not is_true(header):
        raise DeltaError("malformed diff: the array header is not true")
    values = [value for _, value in elements(pre_image)]
    limit: int | None = None
    last = -1
    for name, change in parts:
        if name == b"l":
            limit = as_int(change)
            if last >= 0 or limit is None or not 0 <= limit <= MAX_ARRAY:
                raise DeltaError("malformed diff: the new length of an array is wrong")
            del values[limit:]
            continue
        index = _index(name)
        if index <= last:
            raise DeltaError("malformed diff: array positions are not ascending")
        if limit is not None and index >= limit:
            raise DeltaError(f"malformed diff: position {index} is beyond the new length {limit}")
        last = index
        values.extend([NULL_VALUE] * (index + 1 - len(values)))
        if name[:1] == b"u":
            values[index] = change
        elif change.kind != OBJECT:
            raise DeltaError(f"malformed diff: section {_text(name)} is not a document")
        else:
            values[index] = _apply_sub_diff(values[index], change.data, depth + 1)
    if limit is not None:
        values.extend([NULL_VALUE] * (limit - len(values)))
    return build_array(values)


def _index(name: bytes) -> int:
    digits = name[1:]
    if name[:1] not in (b"u", b"s") or not digits.isdigit() or len(digits) > 8:
        raise DeltaError(f"malformed diff: unknown array section {_text(name)}")
    index = int(digits)
    if index > MAX_ARRAY:
        raise DeltaError(f"malformed diff: array position {index}")
    return index


def _apply_binary(fields: dict[bytes, Value], key: bytes, patch: Value) -> None:
    """Section ``b`` (8.0 and later): keep the first ``o`` bytes, append ``d``."""
    if patch.kind != OBJECT:
        raise DeltaError("malformed diff: a binary section is not a document")
    parts = dict(elements(patch.data))
    offset = as_int(parts[b"o"]) if b"o" in parts else None
    data = parts.get(b"d")
    if offset is None or offset < 0 or data is None or data.kind != BINARY:
        raise DeltaError("malformed diff: a binary section lacks its offset or its data")
    current = fields.get(key)
    if current is None or current.kind != BINARY:
        return  # the dump is newer than this entry: a later one rewrites the field
    subtype, content = current.data[4:5], current.data[5:]
    if offset > len(content):
        return
    joined = content[:offset] + data.data[5:]
    fields[key] = Value(BINARY, struct.pack("<i", len(joined)) + subtype + joined)


def _text(name: bytes) -> str:
    return repr(name.decode("utf-8", "replace"))
