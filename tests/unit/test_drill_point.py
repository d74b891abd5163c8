"""Which second a drill restores, and that it can be restored."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from steward.drill.point import random_second
from steward.errors import StewardError
from steward.manifest import Manifest
from steward.restore.chain import choose, points, ranges
from tests.unit.manifest_samples import EPOCH, at, full, moment, piece

DAY_S = 86_400
#: Midnight after the samples begin, as seconds of the samples.
MIDNIGHT = DAY_S - EPOCH % DAY_S
DAY = moment(MIDNIGHT).date()


def store(steps: list[tuple[int, bool, bool]], begin: int = 0) -> list[Manifest]:
    """Fulls, each followed by a slice or not; a closing slice or none; times ascend.

    A slice continues the one before it, if there was one since the last full.
    """
    made, now, last = [], begin, None
    for gap, has_slice, closing in steps:
        start = now + gap
        base = full(at(start), at(start + 4), closing=closing)
        made.append(base)
        now = start + 20
        if has_slice:
            now += gap
            made.append(piece(at(start if last is None else last), at(now)))
        last = now if has_slice else None
    return made


STEPS = st.lists(st.tuples(st.integers(1, 30_000), st.booleans(), st.booleans()), max_size=8)


@given(STEPS, st.integers(0, 40))
def test_whatever_is_chosen_can_be_restored(steps: list[tuple[int, bool, bool]], days: int) -> None:
    stored = store(steps)
    day = DAY + timedelta(days=days)
    if not any(has_slice or closing for _, has_slice, closing in steps):
        with pytest.raises(StewardError, match="steward backup full"):
            random_second(stored, day, "bitesbay")
        return
    second = random_second(stored, day, "bitesbay")
    assert choose(stored, second).exact
    assert second == random_second(list(reversed(stored)), day, "bitesbay")


@given(STEPS)
def test_every_point_is_restored_from_its_full(steps: list[tuple[int, bool, bool]]) -> None:
    stored = store(steps)
    found = points(stored)
    for point in found:
        for second in (point.first, point.last):
            assert choose(stored, second).base == point.base
    joined = ranges(stored)
    assert sum(r.last - r.first + 1 for r in found if r.first != r.last) <= sum(
        r.last - r.first + 1 for r in joined
    ), "no second is in two points"


@given(STEPS, STEPS)
def test_what_is_stored_later_that_day_changes_nothing(
    before: list[tuple[int, bool, bool]], after: list[tuple[int, bool, bool]]
) -> None:
    old = [m for m in store(before) if m.oplog is not None and m.oplog.end < at(MIDNIGHT)]
    if not points(old):
        return
    new = store(after, begin=MIDNIGHT + 1)
    assert random_second(old, DAY, "bitesbay") == random_second([*old, *new], DAY, "bitesbay")


def test_the_few_old_points_have_their_turn() -> None:
    """Of a monthly full one second is left, of a day 86,400: by seconds it would never be drilled."""
    monthly, weekly = full(at(0), at(4), closing=True), full(at(50_000), at(50_004), closing=True)
    daily = full(at(90_000), at(90_004))
    stored = [monthly, weekly, daily, piece(at(90_000), at(170_000))]
    chosen = {
        choose(stored, random_second(stored, DAY + timedelta(days=n + 3), "bitesbay")).base.id
        for n in range(30)
    }
    assert chosen == {monthly.id, weekly.id, daily.id}


def test_applications_and_days_differ() -> None:
    stored = [full(at(0), at(4)), piece(at(0), at(80_000))]
    assert random_second(stored, DAY, "bitesbay") != random_second(stored, DAY, "kampyn")
    seconds = {random_second(stored, DAY + timedelta(days=n), "bitesbay") for n in range(20)}
    assert len(seconds) > 15
    midnight = datetime(DAY.year, DAY.month, DAY.day, tzinfo=UTC).timestamp()
    assert random_second(stored, DAY, "bitesbay") < midnight


def test_a_server_without_oplog_is_drilled_as_it_was_dumped() -> None:
    stored = [full(None)]
    assert choose(stored, random_second(stored, DAY, "bitesbay")).base == stored[0]
