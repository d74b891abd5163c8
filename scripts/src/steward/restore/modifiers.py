"""Apply a ``$v: 1`` update (``$set`` and ``$unset`` with dotted paths) to a document.

Servers up to 4.4 log updates so. FerretDB does too, with the whole document as the
value of ``$set``. Replay rules of the server: new fields are created in
lexicographic order of their paths, and a path that cannot be walked (a scalar in
the way) is skipped, for a later entry repairs it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from steward.restore.rawbson import (
    ARRAY,
    EMPTY,
    NULL_VALUE,
    OBJECT,
    MalformedBSON,
    Value,
    build,
    build_array,
    elements,
)

#: A server refuses to pad an array by more nulls than this in one update.
MAX_PADDING = 1_500_000


class ModifierError(ValueError):
    """An update document of another shape than the oplog's ``$v: 1``."""


def whole_document(update: bytes) -> bytes | None:
    """The document, when ``$set`` holds a whole one (with its ``_id``), else None.

    A server of MongoDB never logs ``_id`` in ``$set``: the field cannot change.
    FerretDB logs every update as ``{$v: 1, $set: <whole document>}``; taken as a
    replacement, it restores removed fields as removed.
    """
    for name, value in elements(update):
        if name == b"$set" and value.kind == OBJECT and any(key == b"_id" for key, _ in elements(value.data)):
            return value.data
    return None


def apply_modifiers(pre_image: bytes, update: bytes) -> bytes:
    """The document after ``$set`` and ``$unset`` of a ``$v: 1`` update.

    Raises:
        ModifierError: when the update holds anything else.
    """
    document = Value(OBJECT, pre_image)
    try:
        sections = dict(elements(update))
        unknown = set(sections) - {b"$v", b"$set", b"$unset"}
        if unknown:
            raise ModifierError(f"unknown update operator {sorted(unknown)[0]!r}")
        for operator in (b"$unset", b"$set"):
            section = sections.get(operator)
            if section is None:
                continue
            if section.kind != OBJECT:
                raise ModifierError(f"{operator.decode()} is not a document")
            for path, value in _in_path_order(elements(section.data)):
                parts = path.split(b".")
                changed = _set(document, parts, value) if operator == b"$set" else _unset(document, parts)
                document = changed or document
    except MalformedBSON as error:
        raise ModifierError(f"malformed update: {error}") from error
    return document.data


def _in_path_order(fields: Iterable[tuple[bytes, Value]]) -> list[tuple[bytes, Value]]:
    def key(item: tuple[bytes, Value]) -> list[tuple[int, int, bytes]]:
        # Array positions sort as numbers, as the server compares them.
        return [
            (0, int(part), b"") if part.isdigit() and len(part) < 10 else (1, 0, part)
            for part in item[0].split(b".")
        ]

    return sorted(fields, key=key)


def _position(part: bytes) -> int | None:
    if not part.isdigit() or (len(part) > 1 and part[:1] == b"0") or len(part) > 9:
        return None
    return int(part)


def _at(container: Value, part: bytes, change: Callable[[Value | None], Value | None]) -> Value | None:
    """``container`` with the child ``part`` replaced by ``change(child)``; None when nothing can be done."""
    if container.kind == OBJECT:
        fields = dict(elements(container.data))
        child = change(fields.get(part))
        if child is None:
            return None
        fields[part] = child
        return Value(OBJECT, build(fields.items()))
    index = _position(part)
    if container.kind != ARRAY or index is None:
        return None
    values = [value for _, value in elements(container.data)]
    if index > len(values) + MAX_PADDING:
        return None
    child = change(values[index] if index < len(values) else None)
    if child is None:
        return None
    values.extend([NULL_VALUE] * (index + 1 - len(values)))
    values[index] = child
    return Value(ARRAY, build_array(values))


def _set(container: Value, parts: list[bytes], value: Value) -> Value | None:
    head, rest = parts[0], parts[1:]
    if not rest:
        return _at(container, head, lambda _: value)
    return _at(container, head, lambda child: _set(child or Value(OBJECT, EMPTY), rest, value))


def _unset(container: Value, parts: list[bytes]) -> Value | None:
    head, rest = parts[0], parts[1:]
    if rest:
        return _at(container, head, lambda child: None if child is None else _unset(child, rest))
    if container.kind == OBJECT:
        return Value(OBJECT, build(item for item in elements(container.data) if item[0] != head))
    index = _position(head)
    if container.kind != ARRAY or index is None:
        return None
    values = [value for _, value in elements(container.data)]
    if index < len(values):
        values[index] = NULL_VALUE  # an element that is unset leaves a null, not a shorter array
    return Value(ARRAY, build_array(values))
