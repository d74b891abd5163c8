"""steward.choice: what a pattern means, and what of an archive and of an oplog it leaves."""

from __future__ import annotations

import fnmatch
import re
from typing import Any

import bson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from steward.backup.archive import ArchiveChecker
from steward.backup.oplog import Crossing, SliceReader, Window, crossing
from steward.bsonio import iter_raw_bson
from steward.choice import Choice, check_pattern
from steward.manifest import MAX_ORDINAL, OplogTime
from steward.restore.entries import EntryError
from steward.restore.selection import Selection
from tests.unit.restore_memory import MemorySink, command, insert, replay
from tests.unit.test_backup_archive import ARCHIVE, block, ending, prelude
from tests.unit.test_backup_oplog_reading import FakeOplog

ORDERS = "shop.orders"
LETTERS = st.text("ab.*", min_size=1, max_size=6)
NAMES = st.builds(
    "{}.{}".format, st.text("ab", min_size=1, max_size=3), st.text("ab.", min_size=1, max_size=5)
)


def simple(pattern: str, name: str) -> bool:
    """The same meaning by way of the shell's patterns, one part at a time."""
    parts = pattern.partition("."), name.partition(".")
    return all(re.fullmatch(fnmatch.translate(parts[0][n].replace("[", "[[]")), parts[1][n]) for n in (0, 2))


@given(st.builds("{}.{}".format, st.text("ab*", min_size=1, max_size=4), LETTERS), NAMES)
def test_a_star_is_any_run_of_characters_within_its_part(pattern: str, name: str) -> None:
    assert Choice(include=(pattern,)).wants(name) == simple(pattern, name)


@given(
    st.lists(LETTERS.map("a*.{}".format), max_size=3), st.lists(LETTERS.map("*.{}".format), max_size=3), NAMES
)
def test_exclude_wins_and_a_database_without_anything_wanted_is_told(
    include: list[str], exclude: list[str], name: str
) -> None:
    choice = Choice((), tuple(include), tuple(exclude))
    included = not include or any(simple(p, name) for p in include)
    assert choice.wants(name) == (included and not any(simple(p, name) for p in exclude))
    if choice.wants(name):
        assert choice.wants_database(name.partition(".")[0])


@pytest.mark.parametrize(
    ("choice", "wanted", "not_wanted"),
    [
        (Choice(), ["shop.orders", "x.y"], []),
        (Choice(("shop",)), ["shop.a"], ["shop2.a"]),
        (Choice((), ("shop.*",)), ["shop.a", "shop.a.b"], ["shop2.a", "xshop.a"]),
        (Choice((), (), ("*.sessions",)), ["shop.sessions.old", "a.b"], ["shop.sessions", "x.sessions"]),
        (Choice((), (), ("shop.tmp_*",)), ["shop.tmp", "x.tmp_1"], ["shop.tmp_1", "shop.tmp_"]),
        (Choice((), ("logs_*.*",), ("logs_b.*",)), ["logs_a.x"], ["logs_b.x", "logs.x"]),
        # A time series and the buckets that hold its documents are one.
        (Choice((), (), ("shop.climate",)), ["shop.x"], ["shop.climate", "shop.system.buckets.climate"]),
        # Special characters of regular expressions and of the shell are ordinary ones.
        (Choice((), (), ("shop.a+b[1]?",)), ["shop.aab1", "shop.a+b1x"], ["shop.a+b[1]?"]),
        # What becomes a wanted collection a moment later.
        (Choice((), ("shop.a",)), ["shop.tmp.agg_out.42", "shop.tmpAb1x2.convertToCapped.x"], ["shop.tmp"]),
        (Choice((), (), ("shop.*",)), ["x.y"], ["shop.tmp.agg_out.42"]),
    ],
)  # fmt: skip
def test_what_is_wanted(choice: Choice, wanted: list[str], not_wanted: list[str]) -> None:
    assert [ns for ns in wanted if not choice.wants(ns)] == []
    assert [ns for ns in not_wanted if choice.wants(ns)] == []


@pytest.mark.parametrize("text", ["shop", "shop.", ".orders", "", "shop.a\0b"])
def test_what_is_no_pattern_is_told(text: str) -> None:
    with pytest.raises(ValueError, match=r"is not database\.collection"):
        check_pattern(text)


def test_patterns_about_nothing_are_found() -> None:
    choice = Choice(("shop",), ("shop.o*", "shop.uers"), ("shop.tmp_*",))
    assert choice.idle([ORDERS, "shop.users"]) == ["include shop.uers", "exclude shop.tmp_*"]
    assert choice.foreign() is None
    assert Choice(("shop",), (), ("*.x", "sho.y")).foreign() == "sho.y"


# --- the archive ---


@given(
    st.integers(1, 400), st.sampled_from([["shop.orders"], ["shop.users"], ["shop.orders", "shop.users"], []])
)
def test_a_filtered_archive_is_the_one_of_the_wanted_collections(size: int, wanted: list[str]) -> None:
    checker = ArchiveChecker(wants=wanted.__contains__)
    kept = b"".join(
        checker.feed(ARCHIVE[position : position + size]) for position in range(0, len(ARCHIVE), size)
    )
    found = checker.finish()
    expected = prelude(*wanted)
    if "shop.orders" in wanted:
        expected += block("shop.orders", {"a": 1}, {"a": "x" * 300})
    if "shop.users" in wanted:
        expected += block("shop.users", {"u": 1})
    if "shop.orders" in wanted:
        expected += block("shop.orders", {"a": 3})
    expected += b"".join(ending(name) for name in ("shop.users", "shop.orders") if name in wanted)
    assert kept == expected
    # What is dropped is counted too: it was promised by mongodump and must have come.
    assert {n.name: n.documents for n in found} == {"shop.orders": 3, "shop.users": 1}


# --- the oplog ---

CHOICE = Choice(("shop",), (), ("shop.tmp_*",))
AT = OplogTime(t=100, i=5)


def entry(o: dict[str, Any], ts: OplogTime = AT, op: str = "c", ns: str = "shop.$cmd") -> bytes:
    return bson.encode({"op": op, "ns": ns, "ts": ts.bson(), "o": o})


def rename(source: str, target: str) -> dict[str, Any]:
    return {"renameCollection": source, "to": target}


@pytest.mark.parametrize(
    ("raw", "found"),
    [
        (entry(rename("shop.tmp_a", ORDERS)), ("shop.tmp_a", ORDERS)),
        (entry(rename("other.a", ORDERS)), ("other.a", ORDERS)),
        (
            entry({"applyOps": [{"op": "c", "ns": "shop.$cmd", "o": rename("shop.tmp_a", "shop.b")}]}),
            ("shop.tmp_a", "shop.b"),
        ),
        (entry(rename(ORDERS, "shop.tmp_a")), None),
        (entry(rename("shop.a", "shop.b")), None),
        (entry(rename("other.a", "other.b")), None),
        (entry(rename("shop.tmp.agg_out.1", "shop.b")), None),
        (entry({"_id": 1, "note": "renameCollection"}, op="i", ns=ORDERS), None),
        (entry({"renameCollection": 5, "to": ORDERS}), None),
    ],
)
def test_a_rename_into_the_backup_is_found(raw: bytes, found: tuple[str, str] | None) -> None:
    assert crossing(AT, raw, CHOICE) == (Crossing(AT, *found) if found else None)


class Entries(FakeOplog):
    """Whole entries instead of times."""

    def __init__(self, raw: list[bytes]) -> None:
        super().__init__([])
        self.raw = raw

    def __enter__(self) -> Any:
        return iter(self.raw)


@pytest.mark.parametrize("position", [1, 2, 4])
def test_a_slice_ends_before_such_a_rename_and_covers_the_time_up_to_it(position: int) -> None:
    times = [OplogTime(t=100 + n, i=1) for n in range(5)]
    raw = [entry({"_id": n}, t, op="i", ns=ORDERS) for n, t in enumerate(times)]
    raw[position] = entry(rename("shop.tmp_a", "shop.a"), times[position])
    wanted = Window(times[0], times[-1], settle=0)
    reader = SliceReader(Entries(raw), wanted, CHOICE)  # type: ignore[arg-type]
    assert reader.anything_new == (position > 1)
    assert list(iter_raw_bson(reader.chunks())) == raw[:position]
    assert reader.crossing == Crossing(times[position], "shop.tmp_a", "shop.a")
    assert (reader.last, reader.covered_to) == (times[position - 1], OplogTime(t=100 + position, i=0))
    whole = SliceReader(Entries(raw), wanted)  # type: ignore[arg-type]
    assert list(iter_raw_bson(whole.chunks())) == raw


def test_the_time_before_the_first_entry_of_a_second_is_the_end_of_the_one_before() -> None:
    assert Crossing(OplogTime(t=9, i=0), "a.b", "c.d").before == OplogTime(t=8, i=MAX_ORDINAL)
    assert Crossing(OplogTime(t=9, i=1), "a.b", "c.d").before == OplogTime(t=9, i=0)


# --- the replay over a full that left something out ---

BACKED_UP = Selection(["shop"], backed_up=CHOICE)


def test_entries_of_what_was_left_out_are_skipped_also_within_transactions() -> None:
    operations = [
        {"op": "i", "ns": ORDERS, "o": {"_id": 1}},
        {"op": "i", "ns": "shop.tmp_a", "o": {"_id": 1}},
        {"op": "u", "ns": "shop.tmp_a", "o": {"$v": 2, "diff": {"u": {"x": 1}}}, "o2": {"_id": 7}},
    ]
    sink = MemorySink()
    entries = [
        insert({"_id": 5}, 1, ns="shop.tmp_a"),
        command({"applyOps": operations}, 2, ns="admin.$cmd"),
        command({"create": "tmp_b"}, 3),
        command({"drop": "tmp_a"}, 4),
    ]
    counts = replay(sink, entries, selection=BACKED_UP)
    assert {ns: sink.documents(ns) for ns in sink.data} == {ORDERS: [{"_id": 1}]}
    assert (counts.not_selected, counts.missing_after_dump) == (5, 0)


def test_a_rename_from_what_was_left_out_is_refused_and_one_into_it_drops() -> None:
    with pytest.raises(EntryError, match=r"shop\.tmp_a, which is not part of the backup, was renamed to"):
        replay(MemorySink(), [command(rename("shop.tmp_a", ORDERS), 1)], selection=BACKED_UP)
    sink = MemorySink({ORDERS: [{"_id": 1}], "shop.users": [{"_id": 2}]})
    replay(sink, [command(rename(ORDERS, "shop.tmp_a"), 1)], selection=BACKED_UP)
    assert list(sink.data) == ["shop.users"]


def test_a_dropped_database_drops_what_was_restored_of_it_and_nothing_else() -> None:
    sink = MemorySink({"shop.tmp_a": [{"_id": 1}]})  # of the target's own
    replay(sink, [insert({"_id": 1}, 1), command({"dropDatabase": 1}, 2)], selection=BACKED_UP)
    assert list(sink.data) == ["shop.tmp_a"]
