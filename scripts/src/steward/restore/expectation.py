"""What the target must hold when a restore is over.

It starts as what the full backup says of itself and follows every change of the
replay, so the comparison at the end needs no second source.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from steward.choice import BUCKETS
from steward.manifest import Namespace
from steward.restore.catalogue import IndexCatalogue, from_extended_json

#: Options of ``collMod`` that listCollections shows under the same name.
_MODIFIABLE = frozenset(
    {
        "validator",
        "validationLevel",
        "validationAction",
        "changeStreamPreAndPostImages",
        "expireAfterSeconds",
        "viewOn",
        "pipeline",
    }
)


@dataclass
class Expected:
    """One collection or view."""

    type: str = "collection"
    options: dict[str, Any] = field(default_factory=dict)
    #: Number of documents; a view has none of its own.
    count: int = 0


class Expectation:
    """Collections by namespace, and the catalogue of their indexes."""

    def __init__(self) -> None:
        self.collections: dict[str, Expected] = {}
        self.indexes = IndexCatalogue()

    @classmethod
    def of(cls, namespaces: Iterable[Namespace]) -> Expectation:
        """What a full backup holds."""
        known = list(namespaces)
        expectation = cls()
        expectation.indexes = IndexCatalogue.of(known)
        for item in known:
            expectation.collections[f"{item.db}.{item.collection}"] = Expected(
                item.type, from_extended_json(item.options), item.count
            )
        return expectation

    def create(self, ns: str, options: Mapping[str, Any]) -> None:
        """A collection, time series or view was made, unless it exists."""
        if ns not in self.collections:
            kind = "view" if "viewOn" in options else "collection"
            kind = "timeseries" if "timeseries" in options else kind
            self.collections[ns] = Expected(kind, dict(options))

    def drop(self, ns: str) -> None:
        """A collection or view was dropped."""
        self.collections.pop(ns, None)
        self.indexes.drop(ns)

    def drop_database(self, database: str) -> None:
        """A database was dropped."""
        for ns in [ns for ns in self.collections if ns.partition(".")[0] == database]:
            del self.collections[ns]
        self.indexes.drop_database(database)

    def rename(self, source: str, target: str) -> None:
        """A collection was renamed; what ``target`` was before is gone."""
        self.collections[target] = self.collections.pop(source, Expected())
        self.indexes.rename(source, target)

    def modify(self, ns: str, options: Mapping[str, Any]) -> None:
        """Options were changed by ``collMod``."""
        if ns in self.collections:
            changed = {name: value for name, value in options.items() if name in _MODIFIABLE}
            self.collections[ns].options.update(changed)

    def clear(self, ns: str) -> None:
        """Every document was deleted."""
        if ns in self.collections:
            self.collections[ns].count = 0

    def added(self, ns: str, documents: int) -> None:
        """Documents were added, less those removed; makes the collection like the server does."""
        database, _, collection = ns.partition(".")
        # The documents of a time series stand in its buckets.
        series = f"{database}.{collection.removeprefix(BUCKETS)}"
        self.collections.setdefault(series, Expected()).count += documents

    def renamed(self, target: Callable[[str], str]) -> Expectation:
        """The same under other names; no two may become one."""
        other = Expectation()
        other.collections = {target(ns): expected for ns, expected in self.collections.items()}
        other.indexes = self.indexes.renamed(target)
        return other
