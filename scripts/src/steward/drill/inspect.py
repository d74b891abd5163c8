"""Look at a restored server: the digest of each collection, and the application's checks."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, cast

from steward.appchecks import Check, CountCheck, NewestCheck, ReferenceCheck, SumCheck
from steward.drill import check as rules
from steward.drill.check import Finding

if TYPE_CHECKING:
    from pymongo import MongoClient
    from pymongo.database import Database

Document = dict[str, Any]


def collections(client: MongoClient[Document], databases: list[str]) -> list[dict[str, Any]]:
    """Name, number of documents and digest of each collection, in one pass over it."""
    found = []
    for name in databases:
        database = client[name]
        for collection in sorted(database.list_collection_names(filter={"type": "collection"})):
            if collection.startswith("system."):
                continue
            seen = _Counted(database, collection)
            digest = rules.combined_digest(seen)
            found.append({"name": f"{name}.{collection}", "documents": seen.count, "digest": digest})
    return found


class _Counted:
    """The documents of a collection as bytes, counted while they pass."""

    def __init__(self, database: Database[Document], collection: str) -> None:
        self.count = 0
        # Raw batches are bytes, whatever the cursor's type says.
        self._batches = cast("Iterator[bytes]", database[collection].find_raw_batches({}))

    def __iter__(self) -> Iterator[bytes]:
        from steward.bsonio import iter_raw_bson

        for raw in iter_raw_bson(self._batches):
            self.count += 1
            yield raw


def run_checks(database: Database[Document], checks: Sequence[Check], restored: datetime) -> list[Finding]:
    """Evaluate checks, in their order.

    Args:
        restored: the second that was restored.
    """
    from bson.codec_options import DatetimeConversion

    # A date that Python cannot hold must fail its check, and not the drill.
    options = database.codec_options.with_options(
        tz_aware=True, datetime_conversion=DatetimeConversion.DATETIME_CLAMP
    )
    readable = database.with_options(codec_options=options)
    return [_run_check(readable, check, restored) for check in checks]


def _run_check(database: Database[Document], check: Check, restored: datetime) -> Finding:
    if isinstance(check, ReferenceCheck):
        collection, _, path = check.source.partition(".")
        where, _, key = check.target.partition(".")

        def existing(values: list[Any]) -> Iterator[Any]:
            for document in database[where].find({key: {"$in": values}}, _only(key)):
                yield from rules.values_at(document, key)

        return rules.check_references(check.text, database[collection].find({}, _only(path)), path, existing)
    if isinstance(check, SumCheck):
        fields = [check.total, *(path for term in check.terms for path in term.split(" * "))]
        return rules.check_sum(check, database[check.collection].find({}, _only(*fields)))
    if isinstance(check, NewestCheck):
        return rules.check_newest(check, _newest(database, check), restored)
    return _count(database, check)


def _count(database: Database[Document], check: CountCheck) -> Finding:
    return rules.check_count(check, database[check.collection].count_documents({}))


def _newest(database: Database[Document], check: NewestCheck) -> datetime | None:
    dates = database[check.collection].find({check.field: {"$type": "date"}}, _only(check.field))
    for document in dates.sort(check.field, -1).limit(1):
        found = [v for v in rules.values_at(document, check.field) if isinstance(v, datetime)]
        return max(found, default=None)
    return None


def _only(*fields: str) -> Mapping[str, Any]:
    """A projection to these fields; of two paths, one of which holds the other, a server takes one."""
    paths = set(fields)
    return {path: 1 for path in paths if not any(path.startswith(f"{other}.") for other in paths)}
