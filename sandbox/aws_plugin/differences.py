"""What changed between a resource's state and its new arguments."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from pulumi.provider.experimental.provider import PropertyDiffKind

from sandbox.aws_plugin.values import UNKNOWN, Plain


@dataclass(frozen=True)
class Difference:
    """One changed value; ``path`` as Pulumi writes it: ``rules[0].expiration.days``."""

    path: str
    kind: PropertyDiffKind


_REPLACING = {
    PropertyDiffKind.ADD: PropertyDiffKind.ADD_REPLACE,
    PropertyDiffKind.DELETE: PropertyDiffKind.DELETE_REPLACE,
    PropertyDiffKind.UPDATE: PropertyDiffKind.UPDATE_REPLACE,
}


def replacing(difference: Difference) -> Difference:
    """The same difference, marked as one that needs a new resource."""
    return Difference(difference.path, _REPLACING.get(difference.kind, difference.kind))


def _absent(value: Plain) -> bool:
    """AWS does not tell "not given" from the empty value, and neither do its providers."""
    return value is None or value in (False, 0, "", [], {})


def _document(value: str) -> Plain:
    """A JSON document behind a string, since its spaces and the order of its keys mean nothing."""
    if value.lstrip().startswith("{"):
        try:
            return json.loads(value)
        except ValueError:
            return value
    return value


def compare(old: Plain, new: Plain, path: str) -> Iterator[Difference]:
    """The differences of two values below ``path``."""
    if new is UNKNOWN or old is UNKNOWN:
        yield Difference(path, PropertyDiffKind.UPDATE)
    elif _absent(old) or _absent(new):
        if not (_absent(old) and _absent(new)):
            yield Difference(path, PropertyDiffKind.ADD if _absent(old) else PropertyDiffKind.DELETE)
    elif isinstance(old, Mapping) and isinstance(new, Mapping):
        for key in sorted(set(old) | set(new)):
            yield from compare(old.get(key), new.get(key), f"{path}.{key}")
    elif isinstance(old, list) and isinstance(new, list):
        for index in range(max(len(old), len(new))):
            yield from compare(
                old[index] if index < len(old) else None,
                new[index] if index < len(new) else None,
                f"{path}[{index}]",
            )
    elif isinstance(old, str) and isinstance(new, str):
        if _document(old) != _document(new):
            yield Difference(path, PropertyDiffKind.UPDATE)
    elif old != new or isinstance(old, bool) != isinstance(new, bool):
        yield Difference(path, PropertyDiffKind.UPDATE)
