"""steward.backup.loss: what damage costs, in seconds and points."""

from __future__ import annotations

import itertools
from datetime import timedelta

from hypothesis import given
from hypothesis import strategies as st

from steward.backup.loss import Span, loss, started, subtract, unconnected, vanished
from steward.config import RetentionDays
from steward.manifest import Manifest
from tests.unit.manifest_samples import EPOCH, at, full, moment, piece

RETENTION = RetentionDays(daily=8, weekly=29, monthly=187, oplog=8)
SPANS = st.lists(st.tuples(st.integers(0, 60), st.integers(0, 20)).map(lambda t: (t[0], t[0] + t[1])))


def seconds_of(spans: list[Span]) -> set[int]:
    return {second for first, last in spans for second in range(first, last + 1)}


@given(SPANS, SPANS)
def test_what_is_left_is_the_difference_of_sets(whole: list[Span], part: list[Span]) -> None:
    found = subtract(whole, part)
    assert seconds_of(found) == seconds_of(whole) - seconds_of(part)
    assert all(a[1] + 1 < b[0] for a, b in itertools.pairwise(found)), "in order and joined"


def hourly(*, closing: bool = False) -> list[Manifest]:
    """A full of second 0 and slices that end at 10, 20, 30 and 40."""
    slices = [piece(at(n), at(n + 10), at(n + 10)) for n in (0, 10, 20, 30)]
    base = full(at(0), at(2) if closing else None, closing=closing)
    return [base, *_linked(base.id, slices)]


def _linked(first: str, slices: list[Manifest]) -> list[Manifest]:
    ids = [first, *(m.id for m in slices)]
    return [m.model_copy(update={"previous": before}) for m, before in zip(slices, ids, strict=False)]


def test_a_slice_costs_everything_behind_it_up_to_the_next_full() -> None:
    base, *slices = hourly()
    damaged = {slices[1].object.key}
    assert loss([base, *slices], damaged).seconds == ((EPOCH + 10, EPOCH + 39),)
    later = full(at(25))
    assert loss([base, later, *slices], damaged).seconds == ((EPOCH + 10, EPOCH + 24),)
    assert loss([base, *slices], set()).seconds == ()


def test_a_full_costs_nothing_where_an_earlier_one_leads_to_the_same_seconds() -> None:
    base, *slices = hourly()
    later = full(at(20))
    assert loss([base, later, *slices], {later.object.key}) == loss([base], set())
    assert loss([base, later, *slices], {base.object.key}).seconds == ((EPOCH, EPOCH + 19),)


def test_a_full_alone_is_a_point() -> None:
    weekly = full(at(0), at(2), backup_class="weekly", closing=True)
    assert weekly.closing is not None
    assert loss([weekly], {weekly.object.key}).points == (weekly.id,)
    assert loss([weekly], {weekly.closing.object.key}).points == (weekly.id,), "not of one moment any more"


def test_a_closing_slice_costs_nothing_while_slices_hold_the_same() -> None:
    base, *slices = hourly(closing=True)
    assert base.closing is not None
    assert loss([base, *slices], {base.closing.object.key}) == loss([base], set())


def test_a_vanished_slice_is_told_by_the_one_that_continues_it() -> None:
    base, *slices = hourly()
    left = [base, slices[0], slices[2], slices[3]]
    (found,) = vanished(left, [], RETENTION, moment(60))
    assert (found.id, found.continued_by) == (slices[1].id, slices[2])
    assert found.bridge is not None
    bridged = loss([*left, found.bridge], {found.bridge.object.key})
    assert bridged.seconds == ((EPOCH + 10, EPOCH + 39),)
    assert vanished(left, [slices[1].id], RETENTION, moment(60)) == []


def test_what_has_expired_has_not_vanished() -> None:
    *_, last = hourly()
    assert last.previous is not None
    begun = started(last.previous)
    assert begun is not None
    expiry = begun + timedelta(days=8)
    assert vanished([last], [], RETENTION, expiry) == []
    (found,) = vanished([last], [], RETENTION, expiry - timedelta(seconds=1))
    assert found.bridge is None


def test_a_slice_must_begin_where_what_it_continues_ends() -> None:
    base, *slices = hourly()
    assert unconnected([base, *slices]) == []
    odd = slices[1].model_copy(update={"oplog": piece(at(15), at(20)).oplog})
    assert unconnected([base, slices[0], odd]) == [(slices[0], odd)]
    late = slices[0].model_copy(update={"oplog": piece(at(5), at(10)).oplog})
    assert unconnected([base, late]) == [(base, late)]
