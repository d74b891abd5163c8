"""Evaluate the checks of an app file. Pure: documents come as iterables and are never all held."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from itertools import islice
from typing import Any

from bson import encode
from bson.decimal128 import Decimal128
from bson.objectid import ObjectId

from steward.appchecks import CountCheck, NewestCheck, SumCheck

Document = Mapping[str, Any]
#: References that are looked up at once.
BATCH = 1000
#: Wrong documents that a finding names.
EXAMPLES = 5
#: The clocks of application and database may differ by as much.
CLOCK_TOLERANCE = timedelta(minutes=5)
#: Relative error of sums in which a number is not whole: binary fractions do not add up exactly.
_FRACTION_TOLERANCE = Fraction(1, 10**9)


@dataclass
class Finding:
    """How a check came out."""

    check: str
    #: Documents, or references, that were looked at.
    seen: int = 0
    wrong: int = 0
    #: Ids of wrong documents, and never their content: evidence is kept for months.
    examples: list[str] = field(default_factory=list)
    #: What was found, where it is no number of documents.
    found: str = ""

    @property
    def good(self) -> bool:
        """Whether it holds."""
        return self.wrong == 0

    def add_wrong(self, document: Document) -> None:
        """Note a wrong document."""
        self.wrong += 1
        if len(self.examples) < EXAMPLES:
            self.examples.append(shown_id(document.get("_id")))

    def to_json(self) -> dict[str, Any]:
        """For the evidence."""
        return {
            "check": self.check,
            "good": self.good,
            "seen": self.seen,
            "wrong": self.wrong,
            "examples": self.examples,
            "found": self.found,
        }

    def __str__(self) -> str:
        if self.good:
            return f"{self.check}: holds ({self.found or f'{self.seen} seen'})"
        ids = f" (_id {', '.join(self.examples)})" if self.examples else ""
        return f"{self.check}: {self.found or f'{self.wrong} of {self.seen} are wrong'}{ids}"


def shown_id(value: object) -> str:
    """An id that may be written down: a text may be somebody's address."""
    shown = isinstance(value, ObjectId | int) and not isinstance(value, bool)
    return str(value) if shown else f"({type(value).__name__}, not shown)"


def values_at(document: object, path: str) -> Iterator[Any]:
    """Every value of a dotted path; arrays on the way, and at its end, give each of their elements."""
    if isinstance(document, list | tuple):
        for element in document:
            yield from values_at(element, path)
    elif not path:
        yield document
    elif isinstance(document, Mapping):
        name, _, rest = path.partition(".")
        if name in document:
            yield from values_at(document[name], rest)


def check_references(
    text: str, documents: Iterable[Document], path: str, existing: Callable[[list[Any]], Iterable[Any]]
) -> Finding:
    """Every value of ``path`` exists.

    Args:
        existing: those of some values, at most :data:`BATCH`, that exist.
    """
    finding = Finding(text)
    stream = _references(documents, path)
    while batch := list(islice(stream, BATCH)):
        wanted = {same_value(value): value for _, value in batch if value is not None}
        present = {same_value(value) for value in existing(list(wanted.values()))} if wanted else set()
        for document, value in batch:
            finding.seen += 1
            if value is None or same_value(value) not in present:
                finding.add_wrong(document)
    return finding


def _references(documents: Iterable[Document], path: str) -> Iterator[tuple[Document, Any]]:
    for document in documents:
        own = {"_id": document.get("_id")}
        found = False
        for value in values_at(document, path):
            found = True
            yield own, value
        if not found and not _empty_array_at(document, path):
            yield own, None


def _empty_array_at(document: object, path: str) -> bool:
    """Whether the path ends early at an array without elements: nothing in it can be wrong."""
    for name in path.split("."):
        if not isinstance(document, Mapping) or name not in document:
            return False
        document = document[name]
        if isinstance(document, list | tuple):
            return not document
    return False


def same_value(value: Any) -> Any:
    """A key that two values share when MongoDB calls them equal: 1 and 1.0 are, 1 and true are not."""
    if isinstance(value, Decimal128):
        value = value.to_decimal()
    if isinstance(value, int | float | Decimal) and not isinstance(value, bool):
        return ("number", "nan" if value != value else value)
    return (type(value).__name__, encode({"": value}))


def check_sum(check: SumCheck, documents: Iterable[Document]) -> Finding:
    """In every document, ``total`` is the sum of ``terms``."""
    finding = Finding(check.text)
    for document in documents:
        finding.seen += 1
        total, whole = _single(document, check.total), Fraction(0)
        for term in check.terms:
            part = product_sum(document, term)
            if part is None:
                total = None
                break
            whole += part
        if total is None:
            finding.add_wrong(document)
            continue
        exact = total.denominator == 1 and whole.denominator == 1
        allowed = 0 if exact else _FRACTION_TOLERANCE * max(Fraction(1), abs(total))
        if abs(total - whole) > allowed:
            finding.add_wrong(document)
    return finding


def product_sum(document: Document, term: str) -> Fraction | None:
    """The value of one term: ``items.price * items.quantity`` is a sum over the elements of ``items``.

    None when a field is missing or no number: then the sum is not what it claims to be.
    """
    paths = term.split(" * ")
    parent = paths[0].rpartition(".")[0]
    if not parent or any(path.rpartition(".")[0] != parent for path in paths):
        return _product(document, paths)
    if next(values_at(document, parent), None) is None:
        return Fraction(0) if _empty_array_at(document, parent) else None
    total = Fraction(0)
    for element in values_at(document, parent):
        part = _product(element, [path.rpartition(".")[2] for path in paths])
        if part is None:
            return None
        total += part
    return total


def _product(document: object, paths: Iterable[str]) -> Fraction | None:
    product = Fraction(1)
    for path in paths:
        factor = _single(document, path)
        if factor is None:
            return None
        product *= factor
    return product


def _single(document: object, path: str) -> Fraction | None:
    """The one number at a path; None when there is none, or several."""
    values = list(islice(values_at(document, path), 2))
    return as_number(values[0]) if len(values) == 1 else None


def as_number(value: object) -> Fraction | None:
    """A number of BSON, exactly; None for everything else, NaN and the infinities among it."""
    if isinstance(value, Decimal128):
        value = value.to_decimal()
    if isinstance(value, bool) or not isinstance(value, int | float | Decimal):
        return None
    try:
        return Fraction(value)
    except (ValueError, OverflowError):
        return None


def check_newest(check: NewestCheck, newest: datetime | None, restored: datetime) -> Finding:
    """The newest date lies inside the window before the restored second."""
    finding = Finding(check.text, seen=int(newest is not None))
    if newest is None:
        finding.wrong, finding.found = 1, "there is none"
        return finding
    age = restored - newest
    found, second = (f"{moment.astimezone(UTC):%Y-%m-%d %H:%M:%S}" for moment in (newest, restored))
    finding.found = f"the newest is of {found}, the restored second is {second}"
    finding.wrong = int(not -CLOCK_TOLERANCE <= age <= timedelta(hours=check.within_hours))
    return finding


def check_count(check: CountCheck, documents: int) -> Finding:
    """A collection has at least so many documents."""
    return Finding(
        check.text, documents, int(documents < check.at_least), found=f"{documents} {check.collection}"
    )


def combined_digest(documents: Iterable[bytes]) -> str:
    """A digest of a set of documents in any order: the sum of their SHA-256, modulo 2**256.

    Two restores of one second have the same. A server stores in any order, so the order must not
    count, and sorting would not be constant memory. It tells accidents, not forgeries.
    """
    import hashlib

    total = 0
    for raw in documents:
        total += int.from_bytes(hashlib.sha256(raw).digest())
    return f"{total % 2**256:064x}"
