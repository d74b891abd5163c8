"""steward.backup.oplog: every entry of a window exactly once, or a broken chain."""

from __future__ import annotations

from datetime import UTC, datetime
from types import TracebackType
from typing import Any

import bson
import pytest
from bson.timestamp import Timestamp
from hypothesis import given
from hypothesis import strategies as st

from steward.backup.oplog import ChainBrokenError, SliceReader, Window, window
from steward.bsonio import iter_raw_bson
from steward.errors import EXIT_FAULT
from steward.manifest import MAX_ORDINAL, OplogTime
from steward.mongo import ServerInfo

SETTLE = 3


def time_of(second: int, ordinal: int = 1) -> OplogTime:
    return OplogTime(t=second, i=ordinal)


class FakeOplog:
    """A server whose ``local.oplog.rs`` holds these entries, in this natural order."""

    def __init__(self, order: list[OplogTime], batch: int = 3) -> None:
        self.order = order
        self.batch = batch
        self.local = {"oplog.rs": self}

    def find_raw_batches(self, query: dict[str, Any], batch_size: int) -> FakeOplog:
        self.query = query["ts"]
        return self

    def find_one(self, query: dict[str, Any], projection: dict[str, Any]) -> dict[str, Any] | None:
        return {"ts": query["ts"]} if OplogTime.of(query["ts"]) in self.order else None

    def __enter__(self) -> Any:
        inside = [t for t in self.order if self.query["$gte"] <= t.bson() <= self.query["$lte"]]
        raw = [
            bson.encode({"op": "i", "ns": "shop.orders", "ts": t.bson(), "o": {"pad": "x" * t.i}})
            for t in inside
        ]
        return iter([b"".join(raw[n : n + self.batch]) for n in range(0, len(raw), self.batch)])

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        return None


def read(order: list[OplogTime], wanted: Window) -> tuple[SliceReader, list[OplogTime]]:
    reader = SliceReader(FakeOplog(order), wanted)  # type: ignore[arg-type]
    raw = iter_raw_bson(reader.chunks())
    return reader, [OplogTime.of(bson.decode(document)["ts"]) for document in raw]


TIMES = st.lists(
    st.builds(time_of, st.integers(100, 140), st.integers(1, 40)), min_size=1, max_size=60, unique=True
).map(sorted)


@given(TIMES, st.integers(100, 145))
def test_a_replica_sets_slice_holds_each_entry_up_to_the_limit_once(
    times: list[OplogTime], limit: int
) -> None:
    wanted = Window(times[0], max(time_of(limit), times[0]), settle=0)
    reader, found = read(times, wanted)
    assert found == [t for t in times if t <= wanted.limit]
    assert (reader.last, reader.count) == (found[-1], len(found))
    assert reader.window.start == found[0]


@given(TIMES, st.data())
def test_entries_that_come_late_by_less_than_the_settle_time_are_put_in_order(
    times: list[OplogTime], data: st.DataObject
) -> None:
    # Each entry is written up to SETTLE - 1 seconds after its timestamp was taken.
    lateness = data.draw(st.lists(st.integers(0, SETTLE - 1), min_size=len(times), max_size=len(times)))
    order = [
        t for _, t in sorted(zip(lateness, times, strict=True), key=lambda p: (p[0] + p[1].t, p[1].i % 7))
    ]
    _, found = read(order, Window(times[0], time_of(140, MAX_ORDINAL), settle=SETTLE))
    assert found == times


@given(TIMES.filter(lambda t: len(t) > 2), st.data())
def test_consecutive_slices_overlap_by_one_entry_and_miss_none(
    times: list[OplogTime], data: st.DataObject
) -> None:
    middle = data.draw(st.sampled_from(times))
    _, first = read(times, Window(times[0], middle, settle=0))
    _, second = read(times, Window(first[-1], times[-1], settle=0))
    assert first[-1] == second[0]
    assert first + second[1:] == times


def test_an_entry_much_later_than_the_settle_time_breaks_the_chain_instead_of_being_misplaced() -> None:
    order = [time_of(100), time_of(110), time_of(115), time_of(101), time_of(120)]
    with pytest.raises(ChainBrokenError, match="out of order: 101:1 comes after"):
        read(order, Window(time_of(100), time_of(130), settle=1))


def test_two_entries_with_one_timestamp_break_the_chain() -> None:
    with pytest.raises(ChainBrokenError, match="out of order"):
        read([time_of(100), time_of(101), time_of(101)], Window(time_of(100), time_of(130), settle=0))


def test_a_start_that_was_overwritten_is_a_gap() -> None:
    with pytest.raises(
        ChainBrokenError, match=r"no longer holds the entry 99:1: its first entry .* is 100:1"
    ) as caught:
        read([time_of(100), time_of(101)], Window(time_of(99), time_of(130), settle=0))
    assert caught.value.exit_code == EXIT_FAULT


def test_an_oplog_made_anew_is_a_gap() -> None:
    with pytest.raises(ChainBrokenError, match="has none from there on"):
        read([], Window(time_of(99), time_of(130), settle=0))


def test_nothing_settled_yet_is_no_gap_while_the_start_is_there() -> None:
    wanted = Window(time_of(100), time_of(98, MAX_ORDINAL), settle=SETTLE)
    reader = SliceReader(FakeOplog([time_of(100)]), wanted)  # type: ignore[arg-type]
    assert not reader.anything_new
    with pytest.raises(ChainBrokenError):
        SliceReader(FakeOplog([time_of(99)]), wanted)  # type: ignore[arg-type]


def test_only_the_overlapping_entry_is_nothing_new() -> None:
    one = SliceReader(FakeOplog([time_of(100)]), Window(time_of(100), time_of(110), settle=0))  # type: ignore[arg-type]
    assert not one.anything_new
    two = SliceReader(FakeOplog([time_of(100), time_of(101)]), Window(time_of(100), time_of(110), settle=0))  # type: ignore[arg-type]
    assert two.anything_new


def test_the_window_ends_at_the_majority_point_or_at_the_settled_second() -> None:
    now = datetime.fromtimestamp(1000.9, UTC)
    replica = ServerInfo("7.0.14", now, "rs0", OplogTime.of(Timestamp(998, 4)))
    assert window(replica, time_of(900), SETTLE) == Window(time_of(900), time_of(998, 4), settle=0)
    single = ServerInfo("7.0.42", now, None, None)
    assert window(single, time_of(900), SETTLE) == Window(
        time_of(900), time_of(997, MAX_ORDINAL), settle=SETTLE
    )
