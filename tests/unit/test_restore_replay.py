"""Replaying oplog entries: documents, bounds, transactions."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import bson
import pytest
from bson import Int64, Timestamp
from hypothesis import given, settings
from hypothesis import strategies as st

from steward.restore import applier
from steward.restore.entries import EntryError, parse, update_kind
from steward.restore.expectation import Expectation
from steward.restore.modifiers import ModifierError, apply_modifiers
from steward.restore.selection import Selection
from steward.restore.sink import id_filter
from tests.unit.restore_memory import (
    Doc,
    MemorySink,
    command,
    delete,
    delta,
    entry,
    insert,
    replay,
    update,
)

ORDERS = "shop.orders"
LSID = {"id": bson.Binary(UUID(int=1).bytes, 4), "uid": b"u" * 32}
NULL_OPTIME = {"ts": Timestamp(0, 0), "t": Int64(-1)}


# --- single documents ---


def test_insert_update_delete() -> None:
    sink = MemorySink({ORDERS: [{"_id": 1, "a": 1}, {"_id": 2}]})
    counts = replay(sink, [insert({"_id": 3}, 1), delta(1, {"u": {"a": 2}}, 2), delete(2, 3)])
    assert sink.documents(ORDERS) == [{"_id": 1, "a": 2}, {"_id": 3}]
    assert (counts.inserts, counts.updates, counts.deletes) == (1, 1, 1)


def test_an_insert_replaces_what_the_dump_has() -> None:
    sink = MemorySink({ORDERS: [{"_id": 1, "newer": True}]})
    replay(sink, [insert({"_id": 1, "a": 1}, 1)])
    assert sink.documents(ORDERS) == [{"_id": 1, "a": 1}]


def test_an_update_of_a_missing_document_is_skipped_and_counted() -> None:
    sink = MemorySink()
    entries = [delta(1, {"u": {"a": 1}}, 1), update(1, {"_id": 1, "a": 2}, 5), delete(1, 6)]
    counts = replay(sink, entries, dump_end=(3, 1))
    assert (counts.missing, counts.missing_after_dump) == (1, 1)
    assert sink.data == {}, "no collection came into being"


def test_the_upsert_flag_inserts() -> None:
    sink = MemorySink()
    replay(sink, [delta(1, {"u": {"a": 1}}, 1, b=True), update(2, {"_id": 2, "x": 1}, 2, b=True)])
    assert sink.documents(ORDERS) == [{"_id": 1, "a": 1}, {"_id": 2, "x": 1}]


def test_a_replacement_may_have_fields_named_like_a_diff() -> None:
    document = {"_id": 1, "$v": 2, "diff": {"u": {"a": 1}}, "$diff": 1}
    sink = MemorySink({ORDERS: [{"_id": 1}]})
    replay(sink, [update(1, document, 1)])
    assert sink.documents(ORDERS) == [document]


def test_only_the_id_selects_the_document() -> None:
    sink = MemorySink({ORDERS: [{"_id": 1, "region": "new"}]})
    replay(sink, [entry("u", {"$v": 2, "diff": {"u": {"a": 1}}}, 1, o2={"region": "old", "_id": 1})])
    assert sink.documents(ORDERS) == [{"_id": 1, "region": "new", "a": 1}]


def test_the_order_of_fields_in_an_id_counts() -> None:
    sink = MemorySink({ORDERS: [{"_id": {"a": 1, "b": 2}}, {"_id": {"b": 2, "a": 1}}]})
    replay(sink, [delete({"b": 2, "a": 1}, 1)])
    assert sink.documents(ORDERS) == [{"_id": {"a": 1, "b": 2}}]


def test_filters_match_an_id_that_looks_like_an_operator() -> None:
    reference = parse(delete({"$ref": "x", "$id": 1}, 1)).document_id()
    assert id_filter([reference]) == bson.encode({"_id": {"$eq": {"$ref": "x", "$id": 1}}})
    several = [parse(delete(n, 1)).document_id() for n in (1, 2)]
    assert bson.decode(id_filter(several)) == {"_id": {"$in": [1, 2]}}


@pytest.mark.parametrize(
    "o", [{"$v": 3, "diff": {}}, {"$v": 2, "diff": 1}, {"$inc": {"a": 1}}, {}, {"$v": 2}]
)
def test_updates_of_an_unknown_kind_are_refused(o: Doc) -> None:
    with pytest.raises(EntryError, match="unknown kind"):
        update_kind(parse(update(1, o, 1)))


# --- $v: 1 ---


@pytest.mark.parametrize(
    ("pre", "change", "post"),
    [
        ({"_id": 1, "a": 1}, {"$v": 1, "$set": {"a": 2}}, {"_id": 1, "a": 2}),
        ({"_id": 1}, {"$set": {"b": 1, "a": 2}}, {"_id": 1, "a": 2, "b": 1}),
        (
            {"_id": 1, "a": {"b": 1}},
            {"$set": {"a.b": 2, "a.c.d": 3}},
            {"_id": 1, "a": {"b": 2, "c": {"d": 3}}},
        ),
        ({"_id": 1, "a": [1, 2]}, {"$set": {"a.1": 9, "a.3": 8}}, {"_id": 1, "a": [1, 9, None, 8]}),
        ({"_id": 1, "a": [0] * 11}, {"$set": {"a.10": 1, "a.9": 1}}, {"_id": 1, "a": [0] * 9 + [1, 1]}),
        ({"_id": 1, "a": 5}, {"$set": {"a.b": 2}}, {"_id": 1, "a": 5}),
        ({"_id": 1, "a": [1]}, {"$set": {"a.x": 2}}, {"_id": 1, "a": [1]}),
        ({"_id": 1, "a": 1, "b": 2}, {"$unset": {"a": True}}, {"_id": 1, "b": 2}),
        ({"_id": 1, "a": {"b": 1}}, {"$unset": {"a.b": True, "x.y": True}}, {"_id": 1, "a": {}}),
        ({"_id": 1, "a": [1, 2]}, {"$unset": {"a.0": True, "a.7": True}}, {"_id": 1, "a": [None, 2]}),
    ],
)
def test_modifiers(pre: Doc, change: Doc, post: Doc) -> None:
    assert bson.decode(apply_modifiers(bson.encode(pre), bson.encode(change))) == post
    assert list(bson.decode(apply_modifiers(bson.encode(pre), bson.encode(change)))) == list(post)


def test_modifiers_of_another_kind_are_refused() -> None:
    with pytest.raises(ModifierError, match="unknown update operator"):
        apply_modifiers(bson.encode({"_id": 1}), bson.encode({"$inc": {"a": 1}}))


def test_a_whole_document_in_set_replaces() -> None:
    sink = MemorySink({ORDERS: [{"_id": 1, "gone": True, "a": 1}]})
    replay(sink, [update(1, {"$v": 1, "$set": {"_id": 1, "a": 2}}, 1)])
    assert sink.documents(ORDERS) == [{"_id": 1, "a": 2}]


# --- bounds ---


def test_bounds_are_inclusive_and_duplicates_are_dropped() -> None:
    sink = MemorySink()
    entries = [insert({"_id": n}, n) for n in (1, 2, 3, 3, 2, 4, 5)]
    counts = replay(sink, entries, base=(2, 1), limit=(4, 0xFFFFFFFF))
    assert [d["_id"] for d in sink.documents(ORDERS)] == [2, 3, 4]
    assert (counts.before_dump, counts.duplicates, counts.entries) == (1, 2, 6)


def test_the_limit_counts_ordinals() -> None:
    sink = MemorySink()
    replay(sink, [insert({"_id": n}, 7, ordinal=n) for n in (1, 2, 3)], limit=(7, 2))
    assert [d["_id"] for d in sink.documents(ORDERS)] == [1, 2]


def test_namespaces_that_are_not_restored() -> None:
    sink = MemorySink()
    names = ["local.x", "config.transactions", "admin.system.users", "other.x", "steward_restore.progress"]
    counts = replay(sink, [insert({"_id": 1}, n, ns=ns) for n, ns in enumerate(names, 1)])
    assert (sink.data, counts.not_selected) == ({}, 5)
    everything = Selection()
    assert everything.wants("other.x.y")
    assert not any(
        map(everything.wants, ["__mdb_internal_search.x", "admin.system.version", "local.oplog.rs"])
    )


@pytest.mark.parametrize("op", ["n", "km", "ci", "cu", "cd", "xi", "xd"])
def test_bookkeeping_is_skipped(op: str) -> None:
    assert replay(MemorySink(), [entry(op, {"_id": 1, "x": 1}, 1)]).noops == 1


def test_an_unknown_operation_stops() -> None:
    with pytest.raises(EntryError, match="unknown kind"):
        replay(MemorySink(), [entry("zz", {}, 1)])


@pytest.mark.parametrize("raw", [b"\5\0\0\0\0", bson.encode({"ts": 5}), bson.encode({"ts": Timestamp(1, 1)})])
def test_what_is_no_entry_stops(raw: bytes) -> None:
    with pytest.raises(EntryError):
        replay(MemorySink(), [raw])


# --- transactions ---


def apply_ops(
    operations: list[Doc], second: int, *, session: bool = True, number: int = 1, **more: Any
) -> bytes:
    flags = {k: more.pop(k) for k in ("partialTxn", "prepare", "count") if k in more}
    fields = {"lsid": LSID, "txnNumber": Int64(number), "prevOpTime": NULL_OPTIME} if session else {}
    return command({"applyOps": operations, **flags}, second, ns="admin.$cmd", **{**fields, **more})


def op(kind: str, o: Doc, ns: str = ORDERS, **more: Any) -> Doc:
    return {"op": kind, "ns": ns, "o": o, **more}


def closing(name: str, second: int, number: int = 1) -> bytes:
    return command(
        {name: 1},
        second,
        ns="admin.$cmd",
        lsid=LSID,
        txnNumber=Int64(number),
        prevOpTime={"ts": Timestamp(1, 1), "t": Int64(1)},
    )


LINK = {"prevOpTime": {"ts": Timestamp(1, 1), "t": Int64(1)}}


def test_a_transaction_in_one_entry() -> None:
    sink = MemorySink({ORDERS: [{"_id": 1, "a": 1}]})
    inner = [
        op("i", {"_id": 2}),
        op("u", {"$v": 2, "diff": {"u": {"a": 2}}}, o2={"_id": 1}),
        op("d", {"_id": 2}),
    ]
    assert replay(sink, [apply_ops(inner, 1)]).transactions == 1
    assert sink.documents(ORDERS) == [{"_id": 1, "a": 2}]


def test_a_chain_takes_effect_with_its_last_entry() -> None:
    entries = [
        apply_ops([op("i", {"_id": 1})], 1, partialTxn=True),
        insert({"_id": "between"}, 2),
        apply_ops([op("i", {"_id": 2})], 3, partialTxn=True, **LINK),
        apply_ops([op("i", {"_id": 3})], 4, count=Int64(3), **LINK),
    ]
    sink = MemorySink()
    counts = replay(sink, entries)
    assert [d["_id"] for d in sink.documents(ORDERS)] == ["between", 1, 2, 3]
    assert (counts.transactions, counts.open_transactions) == (1, 0)
    early = MemorySink()
    counts = replay(early, entries, limit=(3, 9))
    assert [d["_id"] for d in early.documents(ORDERS)] == ["between"]
    assert counts.open_transactions == 1


@pytest.mark.parametrize(("end", "left"), [("commitTransaction", [1, 2]), ("abortTransaction", [])])
def test_a_prepared_transaction_waits(end: str, left: list[int]) -> None:
    entries = [
        apply_ops([op("i", {"_id": 1})], 1, partialTxn=True),
        apply_ops([op("i", {"_id": 2})], 2, prepare=True, **LINK),
        closing(end, 3),
    ]
    sink = MemorySink()
    replay(sink, entries, limit=(2, 9))
    assert sink.documents(ORDERS) == []
    counts = replay(sink, entries)
    assert [d["_id"] for d in sink.documents(ORDERS)] == left
    assert counts.aborted_transactions == (end == "abortTransaction")


def test_transactions_of_one_session_are_kept_apart() -> None:
    entries = [
        apply_ops([op("i", {"_id": 1})], 1, number=1, prepare=True),
        apply_ops([op("i", {"_id": 2})], 2, number=2),
        closing("abortTransaction", 3, number=1),
        closing("abortTransaction", 4, number=9),
    ]
    sink = MemorySink()
    replay(sink, entries)
    assert [d["_id"] for d in sink.documents(ORDERS)] == [2]


@pytest.mark.parametrize(
    "entries",
    [
        [closing("commitTransaction", 5)],
        [apply_ops([op("i", {"_id": 3})], 5, **LINK)],
        [
            apply_ops([op("i", {"_id": 1})], 4, partialTxn=True),
            apply_ops([op("i", {"_id": 3})], 5, count=9, **LINK),
        ],
    ],
    ids=["commit alone", "tail alone", "too few operations"],
)
def test_a_transaction_without_its_begin_is_lost_data(entries: list[bytes]) -> None:
    with pytest.raises(EntryError, match="transaction"):
        replay(MemorySink(), entries)


def test_a_transaction_happens_when_it_commits() -> None:
    lost = op("u", {"$v": 2, "diff": {"u": {"a": 1}}}, o2={"_id": "nowhere"})
    entries = [apply_ops([lost], 2, prepare=True), closing("commitTransaction", 5)]
    counts = replay(MemorySink(), entries, dump_end=(3, 1))
    assert (counts.missing, counts.missing_after_dump) == (0, 1)


def test_what_commits_with_the_first_entry_is_in_the_dump() -> None:
    sink = MemorySink()
    replay(sink, [closing("commitTransaction", 5), insert({"_id": 1}, 6)], base=(5, 1))
    assert [d["_id"] for d in sink.documents(ORDERS)] == [1]


def test_entries_that_are_complete_in_themselves() -> None:
    vectored = apply_ops(
        [op("i", {"_id": 1})], 1, multiOpType=1, prevOpTime={"ts": Timestamp(9, 9), "t": Int64(3)}
    )
    batched = apply_ops([op("i", {"_id": 2})], 2, session=False, partialTxn=True)
    nested = apply_ops([op("c", {"applyOps": [op("i", {"_id": 3})]}, "admin.$cmd")], 3, session=False)
    foreign = apply_ops([op("i", {"_id": 4}, "other.x")], 4, session=False)
    retryable = insert({"_id": 5}, 5, lsid=LSID, txnNumber=Int64(1), prevOpTime=NULL_OPTIME)
    sink = MemorySink()
    counts = replay(sink, [vectored, batched, nested, foreign, retryable])
    assert [d["_id"] for d in sink.documents(ORDERS)] == [1, 2, 3, 5]
    assert (counts.transactions, counts.not_selected) == (0, 1)


# --- the whole: windows, counts, repetition ---

STEP = st.one_of(
    st.tuples(st.just("i"), st.integers(0, 4), st.integers(0, 9)),
    st.tuples(st.just("r"), st.integers(0, 4), st.integers(0, 9)),
    st.tuples(st.just("u"), st.integers(0, 4), st.integers(0, 9)),
    st.tuples(st.just("d"), st.integers(0, 4), st.integers(0, 9)),
)


def history(steps: list[tuple[str, int, int]]) -> tuple[list[bytes], list[dict[int, Doc]]]:
    """What a server would log, and the collection after each entry (index 0: before the first)."""
    state: dict[int, Doc] = {}
    states, entries = [dict(state)], []
    for kind, key, value in steps:
        second = len(entries) + 1
        if kind == "i" and key not in state:
            state[key] = {"_id": key, "a": value, "log": [value]}
            entries.append(insert(state[key], second))
        elif kind == "r" and key in state:
            state[key] = {"_id": key, "b": value, "log": []}
            entries.append(update(key, state[key], second))
        elif kind == "u" and key in state:
            before = state[key]
            state[key] = {**before, "a": value, "log": [*before["log"], value]}
            diff = {"u": {"a": value}, "slog": {"a": True, f"u{len(before['log'])}": value}}
            entries.append(delta(key, diff, second))
        elif kind == "d" and key in state:
            del state[key]
            entries.append(delete(key, second))
        else:
            continue
        states.append(dict(state))
    return entries, states


@settings(max_examples=200)
@given(
    steps=st.lists(STEP, max_size=40),
    window=st.integers(1, 7),
    cuts=st.tuples(st.integers(0, 40), st.integers(0, 40), st.integers(0, 40)),
    picks=st.lists(st.integers(0, 40), min_size=5, max_size=5),
)
def test_a_fuzzy_dump_and_its_oplog_give_the_state_of_the_point(
    steps: list[tuple[str, int, int]], window: int, cuts: tuple[int, int, int], picks: list[int]
) -> None:
    """Each document was dumped at another moment between begin and end of the dump."""
    entries, states = history(steps)
    begin, end, limit = sorted(min(cut, len(entries)) for cut in cuts)
    dump = []
    for key, pick in enumerate(picks):
        moment = begin + pick % (end - begin + 1)
        if key in states[moment]:
            dump.append(states[moment][key])
    sink = MemorySink({ORDERS: dump})
    expected = Expectation()
    expected.added(ORDERS, len(dump))
    bounds = {"base": (begin, 1), "dump_end": (end, 1), "limit": (limit, 1)}
    original = applier.WINDOW_OPERATIONS
    applier.WINDOW_OPERATIONS = window
    try:
        counts = replay(sink, entries, expected=expected, **bounds)
        result = {d["_id"]: d for d in sink.documents(ORDERS)}
        replay(sink, entries, **bounds)
        again = {d["_id"]: d for d in sink.documents(ORDERS)}
    finally:
        applier.WINDOW_OPERATIONS = original
    assert {k: list(d.items()) for k, d in result.items()} == {
        k: list(d.items()) for k, d in states[limit].items()
    }
    assert again == result
    assert expected.collections[ORDERS].count == len(result)
    assert counts.missing_after_dump == 0
