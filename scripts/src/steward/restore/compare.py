"""Build the indexes, and compare the target with what it must hold."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from steward.choice import BUCKETS
from steward.restore.catalogue import Spec, buildable, same_index
from steward.restore.expectation import Expectation, Expected

if TYPE_CHECKING:
    from pymongo import MongoClient

Document = dict[str, Any]

#: Options a server adds or rounds by itself; they say nothing about the data.
_NOT_COMPARED = frozenset({"autoIndexId", "idIndex", "uuid", "flags", "recordIdsReplicated"})
#: A capped collection's size is rounded up to a multiple of this many bytes.
_CAPPED_STEP = 256


@dataclass(frozen=True)
class Difference:
    """Something that is not as it must be."""

    namespace: str
    what: str
    expected: str
    found: str

    def __str__(self) -> str:
        return f"{self.namespace}: {self.what}: expected {self.expected}, found {self.found}"

    def to_json(self) -> dict[str, str]:
        """For the report."""
        return asdict(self)


def build_indexes(client: MongoClient[Document], expected: Expectation) -> tuple[int, list[Difference]]:
    """Build every index of the catalogue; the number built and those that failed.

    Raises:
        PyMongoError: the server was lost.
    """
    from pymongo.errors import OperationFailure

    built, failed = 0, []
    for ns in expected.indexes.namespaces():
        if ns not in expected.collections:
            continue
        database, _, collection = ns.partition(".")
        specs = [buildable(spec) for spec in expected.indexes.of_namespace(ns)]
        try:
            # One command reads the collection once for all of its indexes.
            client[database].command({"createIndexes": collection, "indexes": specs})
            built += len(specs)
        except OperationFailure:
            for spec in specs:  # find the culprit, build the others
                try:
                    client[database].command({"createIndexes": collection, "indexes": [spec]})
                    built += 1
                except OperationFailure as error:
                    said = (error.details or {}).get("errmsg") or "refused"
                    failed.append(
                        Difference(ns, f"index {spec.get('name')}", "built", " ".join(said.split()))
                    )
    return built, failed


def compare(
    client: MongoClient[Document],
    expected: Expectation,
    databases: Iterable[str],
    among: Collection[str] | None = None,
) -> list[Difference]:
    """Collections, their kind, options, number of documents and indexes.

    Args:
        databases: those that were restored; nothing else may be in them.
        among: look at these namespaces alone, as the rest is not the restore's.
    """
    found: dict[str, Expected] = {}
    for database in databases:
        for info in client[database].list_collections():
            ns = f"{database}.{info['name']}"
            if _is_compared(str(info["name"])) and (among is None or ns in among):
                found[ns] = Expected(str(info.get("type", "collection")), dict(info.get("options") or {}))
    wanted = {ns: e for ns, e in expected.collections.items() if _is_compared(ns.partition(".")[2])}
    differences: list[Difference] = []
    for ns in sorted(wanted.keys() | found.keys()):
        here, there = wanted.get(ns), found.get(ns)
        if here is None or there is None:
            differences.append(
                Difference(
                    ns, "collection", "present" if here else "absent", "present" if there else "absent"
                )
            )
            continue
        differences += _compare_one(client, ns, here, there, expected.indexes.of_namespace(ns))
    return differences


def _is_compared(collection: str) -> bool:
    """The server's own collections inside a database follow from the others."""
    return not collection.startswith("system.") or collection == "system.js"


def _compare_one(
    client: MongoClient[Document], ns: str, here: Expected, there: Expected, indexes: list[Spec]
) -> list[Difference]:
    database, _, collection = ns.partition(".")
    differences = []
    if here.type != there.type:
        differences.append(Difference(ns, "kind", here.type, there.type))
    if _options(here.options) != _options(there.options):
        differences.append(
            Difference(ns, "options", str(_options(here.options)), str(_options(there.options)))
        )
    if here.type == "view":
        return differences
    data = BUCKETS + collection if here.type == "timeseries" else collection
    documents = client[database][data].count_documents({})
    if documents != here.count:
        differences.append(Difference(ns, "documents", str(here.count), str(documents)))
    wanted = {str(spec.get("name")): spec for spec in indexes}
    present = {
        str(spec["name"]): dict(spec)
        for spec in client[database][collection].list_indexes()
        if spec["name"] != "_id_"
    }
    for name in sorted(wanted.keys() | present.keys()):
        if name not in present or name not in wanted:
            state = ("present", "absent") if name in wanted else ("absent", "present")
            differences.append(Difference(ns, f"index {name}", *state))
        elif not same_index(wanted[name], present[name]):
            differences.append(
                Difference(ns, f"index {name}", str(buildable(wanted[name])), str(buildable(present[name])))
            )
    return differences


def _options(options: Mapping[str, Any]) -> dict[str, Any]:
    kept = {k: v for k, v in options.items() if k not in _NOT_COMPARED and v not in (None, False, {}, [])}
    size = kept.get("size")
    if kept.get("capped") and isinstance(size, int | float):
        kept["size"] = -(-int(size) // _CAPPED_STEP) * _CAPPED_STEP
    return kept
