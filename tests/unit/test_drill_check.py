"""The checks of an app file, over any documents."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from bson import encode
from bson.decimal128 import Decimal128
from bson.int64 import Int64
from bson.objectid import ObjectId
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from steward.appchecks import Check, CountCheck, NewestCheck, SumCheck
from steward.drill import check as rules

NOW = datetime(2026, 11, 22, 14, 3, 7, tzinfo=UTC)
ADAPTER: TypeAdapter[Any] = TypeAdapter(Check)

identities = st.one_of(st.none(), st.integers(0, 20), st.sampled_from(["a", "b"]), st.booleans())
orders = st.lists(st.lists(identities, max_size=4), max_size=40)


@given(orders, st.sets(st.integers(0, 20)), st.integers(1, 7))
def test_references_in_batches_of_any_size(drawn: list[list[Any]], present: set[int], batch: int) -> None:
    documents = [{"_id": n, "lines": [{"item": value} for value in line]} for n, line in enumerate(drawn)]
    asked: list[int] = []

    def existing(values: list[Any]) -> Iterable[Any]:
        asked.append(len(values))
        return [v for v in values if isinstance(v, int) and not isinstance(v, bool) and v in present]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(rules, "BATCH", batch)
        finding = rules.check_references("t", iter(documents), "lines.item", existing)
    every = [(n, value) for n, line in enumerate(drawn) for value in line]
    wrong = [n for n, v in every if isinstance(v, bool) or not isinstance(v, int) or v not in present]
    assert (finding.seen, finding.wrong) == (len(every), len(wrong))
    assert finding.examples == [str(n) for n in wrong[: rules.EXAMPLES]]
    assert max(asked, default=0) <= batch


def test_a_reference_that_is_not_there_is_wrong() -> None:
    documents = [{"_id": 1}, {"_id": 2, "user": None}, {"_id": 3, "user": 1}]
    # An array that holds what was asked for may hold null as well.
    finding = rules.check_references("t", documents, "user", lambda values: [*values, None])
    assert finding.examples == ["1", "2"]


amounts = st.integers(0, 10**12)
lines = st.lists(st.tuples(amounts, st.integers(0, 1000)), max_size=6)
SUM = SumCheck(kind="sum", collection="orders", total="total", terms=["items.price * items.quantity", "tax"])


def bson_number(value: int, kind: int) -> Any:
    """The same number as the types that drivers write."""
    made: list[Any] = [value, Int64(value), float(value), Decimal128(Decimal(value))]
    return made[kind] if float(value) == value else value


@given(lines, amounts, st.integers(-2, 2), st.integers(0, 3))
def test_sums_are_exact_in_every_number_type(
    drawn: list[tuple[int, int]], tax: int, error: int, kind: int
) -> None:
    total = sum(price * quantity for price, quantity in drawn) + tax
    if total + error < 0:
        return
    document = {
        "_id": 1,
        "items": [{"price": bson_number(p, kind), "quantity": q} for p, q in drawn],
        "tax": tax,
        "total": bson_number(total + error, kind),
    }
    assert rules.check_sum(SUM, [document]).wrong == (error != 0)


def test_binary_fractions_add_up() -> None:
    document = {"items": [{"price": 0.1, "quantity": 3}], "tax": 0.2, "total": 0.5}
    assert rules.check_sum(SUM, [document]).good
    assert not rules.check_sum(SUM, [document | {"total": 0.5001}]).good


@pytest.mark.parametrize(
    "document",
    [
        {},
        {"items": [], "tax": 0},
        {"items": [], "total": 0},
        {"tax": 0, "total": 0},
        {"items": None, "tax": 0, "total": 0},
        {"items": [{"price": 1}], "tax": 0, "total": 0},
        {"items": [None], "tax": 0, "total": 0},
        {"items": ["x"], "tax": 0, "total": 0},
        {"items": [{"price": "1", "quantity": 1}], "tax": 0, "total": 1},
        {"items": [{"price": True, "quantity": 1}], "tax": 0, "total": 1},
        {"items": [{"price": [1, 2], "quantity": 1}], "tax": 0, "total": 3},
        {"items": [], "tax": 0, "total": float("nan")},
        {"items": [], "tax": 0, "total": float("inf")},
        {"items": [], "tax": Decimal128("NaN"), "total": 0},
        {"items": [], "tax": 0, "total": None},
    ],
)
def test_what_is_no_number_does_not_add_up(document: dict[str, Any]) -> None:
    assert not rules.check_sum(SUM, [document]).good
    assert rules.check_sum(SUM, [{"items": [], "tax": 0, "total": 0}]).good


@given(st.integers(-600, 10 * 3600), st.integers(1, 10))
def test_the_newest_lies_inside_the_window(age: int, hours: int) -> None:
    check = NewestCheck(kind="newest", collection="orders", field="createdAt", within_hours=hours)
    finding = rules.check_newest(check, NOW - timedelta(seconds=age), NOW)
    assert finding.good == (-300 <= age <= hours * 3600)
    assert not rules.check_newest(check, None, NOW).good


def test_counts() -> None:
    check = CountCheck(kind="count", collection="users", at_least=5)
    assert [rules.check_count(check, n).good for n in (0, 4, 5, 6)] == [False, False, True, True]


@given(st.lists(st.integers(), max_size=30), st.randoms())
def test_a_digest_depends_on_the_documents_and_not_on_their_order(values: list[int], random: Any) -> None:
    documents = [encode({"v": str(v)}) for v in values]
    shuffled = list(documents)
    random.shuffle(shuffled)
    digest = rules.combined_digest(documents)
    assert digest == rules.combined_digest(shuffled)
    assert len(digest) == 64
    assert digest != rules.combined_digest([*documents, encode({"v": "more"})])
    if documents:
        assert digest != rules.combined_digest([*documents[1:], encode({"v": "other"})])


def test_numbers_are_equal_as_mongodb_has_them() -> None:
    one = [1, Int64(1), 1.0, Decimal128("1"), Decimal128("1.0")]
    assert len({rules.same_value(value) for value in one}) == 1
    others = [True, "1", 2, [1], {"a": 1}, None, float("nan")]
    assert len({rules.same_value(value) for value in [1, *others]}) == len(others) + 1


def test_evidence_names_no_person() -> None:
    assert rules.shown_id("somebody@example.org") == "(str, not shown)"
    assert rules.shown_id(ObjectId("6b06a785bb537022df367580")) == "6b06a785bb537022df367580"


@pytest.mark.parametrize(
    "wrong",
    [
        {"kind": "sums", "collection": "orders"},
        {"kind": "reference", "source": "orders", "target": "users._id"},
        {"kind": "reference", "source": "orders.$where", "target": "users._id"},
        {"kind": "sum", "collection": "orders", "total": "total", "terms": []},
        {"kind": "sum", "collection": "orders", "total": "total", "terms": ["a*b"]},
        {"kind": "sum", "collection": "orders", "total": "total", "terms": ["a + b"]},
        {"kind": "newest", "collection": "orders", "field": "at", "within_hours": 0},
        {"kind": "count", "collection": "orders", "at_least": "1"},
        {"kind": "count", "collection": "orders", "at_least": 1, "most": 2},
    ],
)
def test_a_check_that_makes_no_sense_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        ADAPTER.validate_python(wrong)
