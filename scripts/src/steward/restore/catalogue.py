"""The indexes that the restored collections must have in the end.

Indexes are built after the replay: unique ones would refuse states that were
passed through on the way, and the TTL monitor would delete documents too early.
So the replay only edits this catalogue.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from bson import json_util
from bson.binary import UuidRepresentation

from steward.manifest import Namespace

#: An index as listIndexes gives it.
Spec = dict[str, Any]

JSON_OPTIONS = json_util.JSONOptions(
    json_mode=json_util.JSONMode.CANONICAL,
    tz_aware=True,
    uuid_representation=UuidRepresentation.UNSPECIFIED,
)
#: ``background`` has had no meaning since 4.2, ``ns`` is refused since 4.4.
_OUTDATED = frozenset({"ns", "background"})


def from_extended_json(document: Mapping[str, Any]) -> dict[str, Any]:
    """A document of the manifest (canonical extended JSON) with BSON's types."""
    decoded: dict[str, Any] = json_util.loads(json.dumps(document), json_options=JSON_OPTIONS)
    return decoded


def buildable(spec: Spec) -> Spec:
    """The index as ``createIndexes`` takes it on servers of every version."""
    kept = {name: value for name, value in spec.items() if name not in _OUTDATED}
    if kept.get("v") == 2:
        del kept["v"]  # the default; a few servers do not know the word
    return kept


def same_index(left: Spec, right: Spec) -> bool:
    """Whether two index descriptions mean the same, whatever the order of options.

    The order of the fields of the key counts.
    """
    a, b = buildable(left), buildable(right)
    if list(a.get("key", {}).items()) != list(b.get("key", {}).items()):
        return False
    return _without_defaults(a) == _without_defaults(b)


def _without_defaults(spec: Spec) -> Spec:
    return {name: value for name, value in spec.items() if not (value is False and name != "key")}


class IndexCatalogue:
    """Indexes by namespace and name; the one on ``_id`` is the server's own and left out."""

    def __init__(self) -> None:
        self._indexes: dict[str, dict[str, Spec]] = {}

    @classmethod
    def of(cls, namespaces: Iterable[Namespace]) -> IndexCatalogue:
        """The indexes of the collections of a full backup."""
        catalogue = cls()
        for namespace in namespaces:
            for document in namespace.indexes:
                catalogue.add(f"{namespace.db}.{namespace.collection}", from_extended_json(document))
        return catalogue

    def of_namespace(self, ns: str) -> list[Spec]:
        """The indexes of one collection."""
        return list(self._indexes.get(ns, {}).values())

    def namespaces(self) -> list[str]:
        """The collections that have indexes, sorted."""
        return sorted(ns for ns, indexes in self._indexes.items() if indexes)

    def add(self, ns: str, spec: Spec) -> None:
        """An index was built; one of the same name is replaced by it."""
        name = spec.get("name")
        if isinstance(name, str) and name != "_id_":
            self._indexes.setdefault(ns, {})[name] = spec

    def remove(self, ns: str, which: Any) -> None:
        """An index was dropped: by name, names, key pattern, or all with ``*``."""
        indexes = self._indexes.get(ns, {})
        if which == "*":
            indexes.clear()
        elif isinstance(which, str):
            indexes.pop(which, None)
        elif isinstance(which, list):
            for item in which:
                self.remove(ns, item)
        elif isinstance(which, Mapping):
            self.remove(ns, self._by_key(ns, which))

    def drop(self, ns: str) -> None:
        """A collection was dropped."""
        self._indexes.pop(ns, None)

    def drop_database(self, database: str) -> None:
        """A database was dropped."""
        for ns in [ns for ns in self._indexes if ns.partition(".")[0] == database]:
            del self._indexes[ns]

    def rename(self, source: str, target: str) -> None:
        """A collection was renamed; what ``target`` had before is gone."""
        self._indexes[target] = self._indexes.pop(source, {})

    def renamed(self, target: Callable[[str], str]) -> IndexCatalogue:
        """The same indexes on collections of other names."""
        other = IndexCatalogue()
        other._indexes = {target(ns): indexes for ns, indexes in self._indexes.items()}
        return other

    def modify(self, ns: str, change: Mapping[str, Any]) -> None:
        """An index was changed by ``collMod`` (its field ``index``)."""
        name = change.get("name")
        names = [name] if isinstance(name, str) else self._by_key(ns, change.get("keyPattern") or {})
        for found in names:
            spec = self._indexes.get(ns, {}).get(found)
            if spec is None:
                continue
            for option in ("expireAfterSeconds", "hidden", "prepareUnique", "unique"):
                if option in change:
                    spec[option] = change[option]
            if change.get("unique"):
                spec.pop("prepareUnique", None)  # the server removes it when the index becomes unique
            if change.get("forceNonUnique"):
                spec.pop("unique", None)
                spec.pop("prepareUnique", None)

    def _by_key(self, ns: str, key: Mapping[str, Any]) -> list[str]:
        wanted = list(key.items())
        return [
            name
            for name, spec in self._indexes.get(ns, {}).items()
            if list(spec.get("key", {}).items()) == wanted
        ]
