"""steward.backup.timeline and catalog: what can be restored, and where the next slice begins."""

from __future__ import annotations

from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st

from steward.backup.catalog import Catalog
from steward.backup.timeline import chains, coverage
from steward.manifest import MAX_ORDINAL, Manifest, Scan
from steward.storage import ObjectInfo
from tests.unit.manifest_samples import EPOCH, at, full, piece


def catalog(*backups: Manifest, lost: tuple[Manifest, ...] = ()) -> Catalog:
    """A store that holds these; the data of ``lost`` are gone."""
    now = datetime.now(UTC)
    keys = [data.key for m in backups if m not in lost for data in m.objects]
    return Catalog(Scan(list(backups), {k: ObjectInfo(k, 10, now, "e") for k in keys}))


def test_a_full_and_its_slices_make_one_timeline() -> None:
    base = full(at(10), at(12))
    found = coverage([piece(at(20), at(30), at(33, MAX_ORDINAL)), base, piece(at(10), at(20))])
    assert [(t.first - EPOCH, t.last - EPOCH, t.fulls, t.slices) for t in found.timelines] == [
        (12, 33, (base.id,), 2)
    ]
    assert found.points == []
    assert found.holes == []


def test_a_full_whose_dump_is_not_covered_yet_is_only_a_point() -> None:
    base = full(at(10), at(25))
    found = coverage([base, piece(at(10), at(20))])
    assert found.timelines == []
    assert [(p.id, p.consistent) for p in found.points] == [(base.id, False)]


def test_an_idle_server_needs_no_slice_for_a_consistent_point() -> None:
    assert [p.consistent for p in coverage([full(at(10))]).points] == [True]


def test_a_closing_slice_makes_a_point_consistent_and_bridges_a_hole() -> None:
    base = full(at(10), at(25), closing=True)
    found = coverage([base])
    assert [(p.id, p.consistent) for p in found.points] == [(base.id, True)]
    assert found.timelines == []
    found = coverage([full(at(5)), piece(at(5), at(15)), base, piece(at(20), at(40), at(40, MAX_ORDINAL))])
    assert [(t.first - EPOCH, t.last - EPOCH) for t in found.timelines] == [(5, 40)]


def test_the_next_slice_does_not_continue_a_closing_slice() -> None:
    """It lies among the fulls; the hourly slices are a chain of their own."""
    last = piece(at(10), at(20))
    resume = catalog(full(at(10)), last, full(at(30), at(35), closing=True)).resume()
    assert resume is not None
    assert (resume.start, resume.previous) == (at(20), last.id)


def test_a_missing_slice_is_a_hole() -> None:
    found = coverage(
        [
            full(at(10)),
            piece(at(10), at(20), at(20, MAX_ORDINAL)),
            # the slice 20..30 is gone
            piece(at(30), at(40)),
            full(at(35)),
            piece(at(40), at(50), at(50, MAX_ORDINAL)),
        ]
    )
    assert [(t.first - EPOCH, t.last - EPOCH) for t in found.timelines] == [(10, 20), (35, 50)]
    assert [(a - EPOCH, b - EPOCH) for a, b in found.holes] == [(21, 34)]


def test_slices_of_another_server_do_not_continue_a_full() -> None:
    found = coverage([full(at(10), server_id="one"), piece(at(10), at(20), server_id="two")])
    assert found.timelines == []


def test_two_hosts_that_store_the_same_time_make_one_chain() -> None:
    found = chains([piece(at(10), at(20)), piece(at(10), at(25)), piece(at(20), at(30))])
    assert [(c.start, c.end, len(c.slices)) for c in found] == [(at(10), at(30), 3)]


@given(st.lists(st.integers(1, 50), min_size=2, max_size=15), st.data())
def test_removing_one_inner_slice_always_splits_the_chain(steps: list[int], data: st.DataObject) -> None:
    ends = [sum(steps[: n + 1]) for n in range(len(steps))]
    slices = [piece(at(a), at(b)) for a, b in zip([0, *ends], ends, strict=False)]
    assert len(chains(slices)) == 1
    if len(slices) > 2:
        del slices[data.draw(st.integers(1, len(slices) - 2))]
        shuffled = data.draw(st.permutations(slices))
        assert len(chains(shuffled)) == 2


def test_the_next_slice_continues_the_newest_slice_even_after_a_newer_full() -> None:
    last = piece(at(10), at(20))
    resume = catalog(full(at(10)), last, full(at(40))).resume()
    assert resume is not None
    assert (resume.start, resume.previous) == (at(20), last.id)


def test_after_a_gap_the_next_slice_continues_the_full_that_was_taken_for_it() -> None:
    fresh = full(at(40), new_chain=True)
    resume = catalog(full(at(10)), piece(at(10), at(20)), fresh).resume()
    assert resume is not None
    assert (resume.start, resume.previous) == (at(40), fresh.id)


def test_once_the_new_chain_has_a_slice_it_is_continued() -> None:
    last = piece(at(40), at(50))
    resume = catalog(full(at(10)), piece(at(10), at(20)), full(at(40), new_chain=True), last).resume()
    assert resume is not None
    assert resume.previous == last.id


def test_a_lost_newest_slice_is_read_again() -> None:
    first, second = piece(at(10), at(20)), piece(at(20), at(30))
    resume = catalog(full(at(10)), first, second, lost=(second,)).resume()
    assert resume is not None
    assert (resume.start, resume.previous) == (at(20), first.id)


def test_without_a_usable_full_there_is_nothing_to_continue() -> None:
    base = full(at(10))
    assert catalog().resume() is None
    assert catalog(full(None)).resume() is None
    assert catalog(base, piece(at(10), at(20)), lost=(base,)).resume() is None


def test_a_lost_object_is_damage_only_until_its_time_is_over() -> None:
    base = full(at(10))
    recent = base.model_copy(update={"retain_until": datetime(2100, 1, 1, tzinfo=UTC)})
    expired = base.model_copy(update={"retain_until": datetime(2020, 1, 1, tzinfo=UTC)})
    assert catalog(recent, lost=(recent,)).damaged == [recent]
    assert catalog(expired, lost=(expired,)).damaged == []
    assert catalog(recent).damaged == []
