"""Which full and which slices a restore uses."""

from __future__ import annotations

from datetime import UTC, datetime
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from steward.errors import ConfigError, FaultError, StewardError
from steward.manifest import MAX_ORDINAL, Closing, DataObject, Manifest, OplogRange, OplogTime, Versions
from steward.restore.chain import choose, parse_time, ranges, utc

DAY = 1_700_000_000


def moment(second: int) -> datetime:
    return datetime.fromtimestamp(DAY + second, UTC)


def at(second: int, ordinal: int = 1) -> OplogTime:
    return OplogTime(t=DAY + second, i=ordinal)


def _object(prefix: str, name: str) -> DataObject:
    digest = "0" * 64
    return DataObject(key=f"{prefix}/{name}", size=10, sha256=digest, raw_size=20, raw_sha256=digest, parts=1)


def _id(second: int, number: int) -> str:
    return f"{moment(second):%Y%m%dT%H%M%SZ}-{number:06x}"


def full(
    begin: int,
    end: int,
    *,
    oplog: bool = True,
    closing: bool = False,
    number: int = 0,
    server: str | None = None,
) -> Manifest:
    identity = _id(begin, number)
    return Manifest(
        kind="full", id=identity, app="bitesbay", environment="local", class_="daily", host="db1",
        started_at=moment(begin), finished_at=moment(end), retain_until=moment(10**6),
        object=_object(f"daily/{identity}", "dump.archive.zst"),
        oplog=OplogRange(start=at(begin), end=at(end)) if oplog else None,
        closing=Closing(object=_object(f"daily/{identity}", "oplog.bson.zst"), count=2) if closing else None,
        namespaces=[], databases=["bitesbay"], versions=Versions(steward="0", server="7"), server_id=server,
    )  # fmt: skip


def piece(
    begin: int, end: int, *, covered: int | None = None, number: int = 0, server: str | None = None
) -> Manifest:
    identity = _id(end, number)
    reach = OplogTime(t=DAY + covered, i=MAX_ORDINAL) if covered is not None else None
    return Manifest(
        kind="oplog", id=identity, app="bitesbay", environment="local", class_="oplog", host="db1",
        started_at=moment(end), finished_at=moment(end), retain_until=moment(10**6),
        object=_object(f"oplog/{identity}", "oplog.bson.zst"),
        oplog=OplogRange(start=at(begin), end=at(end), count=2, overlaps=True, covered_to=reach),
        previous="x", versions=Versions(steward="0", server="7"), server_id=server,
    )  # fmt: skip


def test_newest_full_before_the_time_and_its_slices() -> None:
    old, new = full(0, 10), full(100, 110)
    slices = [piece(0, 60), piece(60, 105), piece(105, 200), piece(200, 300)]
    chain = choose([old, new, *slices], DAY + 150)
    assert chain.base == new
    assert [s.id for s in chain.slices] == [slices[1].id, slices[2].id]
    assert chain.limit == OplogTime(t=DAY + 150, i=MAX_ORDINAL)


def test_a_dump_that_was_not_over_at_the_time_is_no_base() -> None:
    old, new = full(0, 10), full(100, 120)
    chain = choose([old, new, piece(0, 60), piece(60, 200)], DAY + 110)
    assert chain.base == old


def test_base_can_be_chosen() -> None:
    old, new = full(0, 10), full(100, 110)
    slices = [piece(0, 60), piece(60, 200)]
    chain = choose([old, new, *slices], DAY + 150, old.id)
    assert chain.base == old
    assert len(chain.slices) == 2
    with pytest.raises(ConfigError, match="no such full"):
        choose([old, new, *slices], DAY + 150, "20200101T000000Z-000000")


def test_a_hole_names_both_sides_and_their_times() -> None:
    base, first, third = full(0, 10), piece(0, 60), piece(120, 180)
    with pytest.raises(FaultError) as raised:
        choose([base, first, third], DAY + 150)
    text = str(raised.value)
    for part in (first.id, third.id, utc(DAY + 60), utc(DAY + 120), f"{utc(DAY + 10)} to {utc(DAY + 59)}"):
        assert part in text


def test_a_hole_right_behind_the_full_names_the_full() -> None:
    base, later = full(0, 10), piece(30, 60)
    with pytest.raises(FaultError, match=base.id) as raised:
        choose([base, later], DAY + 40)
    assert later.id in str(raised.value)


def test_latest_does_not_pass_over_a_hole_in_silence() -> None:
    with pytest.raises(FaultError, match="not stored between"):
        choose([full(0, 10), piece(0, 60), piece(120, 180)], None)


def test_latest_after_a_new_chain() -> None:
    new = full(110, 115)
    chain = choose([full(0, 10), piece(0, 60), new, piece(110, 180)], None)
    assert (chain.base, chain.limit) == (new, at(180))


@pytest.mark.parametrize("second", [5, 61, 1000])
def test_outside_of_what_is_stored_says_from_and_to(second: int) -> None:
    with pytest.raises(StewardError) as raised:
        choose([full(0, 10), piece(0, 60, covered=60)], DAY + second)
    assert f"{utc(DAY + 10)} to {utc(DAY + 60)}" in str(raised.value)
    assert raised.value.exit_code == 1


def test_a_second_counts_only_when_all_of_it_is_stored() -> None:
    stored = [full(0, 10), piece(0, 60)]
    assert choose(stored, DAY + 59).limit == OplogTime(t=DAY + 59, i=MAX_ORDINAL)
    with pytest.raises(StewardError, match="latest"):
        choose(stored, DAY + 60)
    assert choose(stored, None).limit == at(60)


def test_an_idle_slice_carries_on() -> None:
    base, idle = full(0, 10), piece(60, 60, covered=500)
    chain = choose([base, piece(0, 60), idle], DAY + 400)
    assert idle.id in [s.id for s in chain.slices]


def test_a_slice_that_does_not_begin_with_the_last_stored_entry_is_behind_a_hole() -> None:
    # The first says that nothing follows up to 100, the second has an entry at 80.
    with pytest.raises(FaultError, match="not stored between"):
        choose([full(0, 10), piece(0, 60, covered=100), piece(80, 200)], DAY + 150)


def test_a_full_without_oplog_restores_only_to_itself() -> None:
    base = full(0, 10, oplog=False)
    for time in (DAY + 10, None):
        chain = choose([base], time)
        assert (chain.base, chain.slices, chain.exact) == (base, (), False)
    with pytest.raises(StewardError, match=f"only as it was dumped: {base.id} with --at {utc(DAY + 10)}"):
        choose([base], DAY + 11)


def test_a_full_that_no_slice_makes_consistent_restores_only_to_itself() -> None:
    chain = choose([full(0, 10)], DAY + 10)
    assert not chain.exact
    chain = choose([full(0, 10), piece(0, 5)], None)
    assert not chain.exact


def test_a_full_without_writes_during_the_dump_is_exact_alone() -> None:
    chain = choose([full(10, 10)], None)
    assert (chain.exact, chain.limit) == (True, at(10))


@pytest.mark.parametrize("time", [DAY + 10, None])
def test_a_closing_slice_makes_a_full_exact_when_its_slices_are_gone(time: int | None) -> None:
    base = full(0, 10, closing=True)
    chain = choose([base], time)
    assert (chain.base, chain.limit) == (base, at(10))
    assert [data.key for data in chain.objects] == [data.key for data in base.objects]
    with pytest.raises(StewardError, match=f"recoverable: .*{base.id} alone with --at {utc(DAY + 10)}"):
        choose([base], DAY + 11)


def test_a_closing_slice_is_not_read_where_the_slices_reach_further() -> None:
    chain = choose([full(0, 10, closing=True), slice_ := piece(0, 60)], DAY + 30)
    assert [s.id for s in chain.slices] == [slice_.id]


def test_a_closing_slice_carries_over_a_hole_in_the_slices() -> None:
    old, new = full(0, 10), full(100, 110, closing=True)
    chain = choose([old, new, piece(0, 102), piece(108, 200)], DAY + 150, old.id)
    assert [s.label.split()[0] for s in chain.slices] == ["oplog", "the", "oplog"]


def test_behind_a_closing_slice_a_hole_is_named() -> None:
    base, after = full(0, 10, closing=True), piece(60, 200)
    with pytest.raises(FaultError, match=f"between the closing slice of {base.id} .* and oplog {after.id}"):
        choose([base, after], DAY + 100)


def test_slices_of_another_replica_set_are_another_history() -> None:
    base = full(0, 10, server="a")
    with pytest.raises(StewardError, match="outside"):
        choose([base, piece(0, 60, server="b")], DAY + 30)
    assert choose([base, piece(0, 60, server="a")], DAY + 30).slices


def test_nothing_stored() -> None:
    with pytest.raises(StewardError, match="no full backup"):
        choose([piece(0, 10)], None)


@pytest.mark.parametrize(
    ("text", "second"),
    [
        ("2026-11-22T14:03:07Z", 1795356187),
        ("2026-11-22t14:03:07z", 1795356187),
        ("2026-11-22T15:03:07+01:00", 1795356187),
        ("latest", None),
    ],
)
def test_times(text: str, second: int | None) -> None:
    assert parse_time(text) == second


@pytest.mark.parametrize(
    "text", ["", "now", "2026-11-22", "2026-11-22T14:03:07", "2026-11-22T14:03:07.5Z", "1795356187", "Latest"]
)
def test_times_that_are_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="whole seconds"):
        parse_time(text)


@given(
    cuts=st.lists(st.integers(1, 400), min_size=2, max_size=8, unique=True).map(sorted),
    lost=st.integers(0, 6),
    base_begin=st.integers(1, 390),
    base_length=st.integers(0, 30),
    second=st.integers(0, 420),
)
def test_a_chain_is_found_exactly_when_every_entry_is_stored(
    cuts: list[int], lost: int, base_begin: int, base_length: int, second: int
) -> None:
    """Against a model: the set of seconds whose entries are in some slice."""
    slices = [piece(a, b, number=n) for n, (a, b) in enumerate(pairwise(cuts))]
    if lost < len(slices):
        del slices[lost]
    base = full(base_begin, base_begin + base_length)
    steps = {(s, s + 1) for m in slices if m.oplog for s in range(m.oplog.start.t - DAY, m.oplog.end.t - DAY)}
    # Complete through `second`: the next second's first entry must be stored too.
    needed = {(s, s + 1) for s in range(base_begin, second + 1)}
    possible = second >= base_begin + base_length and needed <= steps
    try:
        chain = choose([base, *slices], DAY + second)
    except StewardError:
        assert not possible
        return
    if chain.limit in (None, at(base_begin + base_length)):  # the full by itself
        assert not possible
        assert second == base_begin + base_length
        assert chain.exact is ({(s, s + 1) for s in range(base_begin, second)} <= steps)
        return
    assert possible
    reach = base_begin
    for link in chain.slices:
        assert link.oplog is not None
        assert link.oplog.start.t - DAY <= reach
        reach = link.oplog.end.t - DAY
    assert reach > second


FULLS = st.tuples(st.integers(0, 50), st.integers(0, 20))


@given(st.lists(FULLS, min_size=1, max_size=5, unique_by=lambda full: full[0]))
def test_every_second_that_is_called_recoverable_is(fulls: list[tuple[int, int]]) -> None:
    stored = [full(b, b + n, number=k) for k, (b, n) in enumerate(fulls)] + [piece(0, 40), piece(40, 60)]
    found = ranges(stored)
    for item in found:
        for second in (item.first, item.last):
            assert choose(stored, second).exact
    for before, after in pairwise(found):
        assert before.last + 1 < after.first
