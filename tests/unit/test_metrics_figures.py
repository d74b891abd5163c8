"""steward.metrics.figures: what alarms are told, over any store, and with clocks that are wrong."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from steward.backup import report, verify_metrics
from steward.backup.catalog import Catalog
from steward.clock import CLOCK_TOLERANCE_S
from steward.cloudwatch_names import (
    BACKUP_AGE_SECONDS,
    DAMAGED_OBJECTS,
    DRILL_AGE_SECONDS,
    OPLOG_GAPS,
    RECOVERABLE_LAG_SECONDS,
    VERIFY_AGE_SECONDS,
)
from steward.config import BackupClass
from steward.manifest import MAX_ORDINAL, Manifest, Scan
from steward.metrics import Metric, update
from steward.metrics.figures import Figure, figures
from steward.metrics.host import HostFacts, read_facts
from steward.restore import textfile
from steward.storage import ObjectInfo
from tests.unit.manifest_samples import EPOCH, at, full, moment, piece

NOW = 100_000
NOTHING = HostFacts()


def catalog(
    *backups: Manifest, lost: tuple[Manifest, ...] = (), copied_at: datetime | None = None
) -> Catalog:
    """A store that got these when they were finished, or at ``copied_at``; the data of ``lost`` are gone."""
    objects = {}
    for m in backups:
        stored = copied_at or m.finished_at
        for key in [m.manifest_key, *(data.key for data in m.objects if m not in lost)]:
            objects[key] = ObjectInfo(key, 10, stored, "e")
    return Catalog(Scan(list(backups), objects))


def one(found: list[Figure], name: str, backup_class: BackupClass | None = None) -> Figure:
    (figure,) = [f for f in found if (f.name, f.backup_class) == (name, backup_class)]
    return figure


def told(found: Catalog, name: str, facts: HostFacts = NOTHING, now: int = NOW) -> float | None:
    return one(figures(found, facts, moment(now)), name).value


def ages(found: Catalog, now: int = NOW) -> tuple[float | None, ...]:
    """Daily, weekly, monthly."""
    made = figures(found, NOTHING, moment(now))
    return tuple(one(made, BACKUP_AGE_SECONDS, c).value for c in ("daily", "weekly", "monthly"))


def at_age(seconds: int, backup_class: BackupClass) -> Manifest:
    """A full that was finished so many seconds before now."""
    return full(at(NOW - seconds - 5), backup_class=backup_class)


def test_a_longer_kept_full_serves_the_shorter_classes() -> None:
    assert ages(catalog(at_age(300, "monthly"), at_age(200, "weekly"), at_age(100, "daily"))) == (
        100,
        200,
        300,
    )
    assert ages(catalog(at_age(300, "daily"), at_age(200, "monthly"))) == (200, 200, 200)
    assert ages(catalog(at_age(300, "daily"), at_age(200, "weekly"))) == (200, 200, None)


CLASSES = st.sampled_from(["daily", "weekly", "monthly"])
FULLS = st.lists(st.tuples(st.integers(0, NOW - 10), CLASSES, st.booleans()), max_size=12)


@given(FULLS)
def test_ages_of_any_store(drawn: list[tuple[int, BackupClass, bool]]) -> None:
    """The rule in other words: rank the classes, and look at intact ones of at least that rank."""
    rank = {"daily": 0, "weekly": 1, "monthly": 2}
    backups = [at_age(age, c) for age, c, _ in drawn]
    lost = tuple(b for b, (_, _, gone) in zip(backups, drawn, strict=True) if gone)
    found = ages(catalog(*backups, lost=lost))
    for wanted, value in zip(rank, found, strict=True):
        able = [age for age, c, gone in drawn if not gone and rank[c] >= rank[wanted]]
        assert value == (min(able) if able else None)
    missing_last = [NOW * 2 if value is None else value for value in found]
    assert missing_last == sorted(missing_last), "the longer a class is kept, the rarer it is taken"


@given(FULLS, st.integers(0, NOW - 10), CLASSES)
def test_another_backup_makes_no_age_longer(
    drawn: list[tuple[int, BackupClass, bool]], age: int, backup_class: BackupClass
) -> None:
    backups = [at_age(a, c) for a, c, _ in drawn]
    before, after = ages(catalog(*backups)), ages(catalog(*backups, at_age(age, backup_class)))
    for earlier, later in zip(before, after, strict=True):
        assert earlier is None or (later is not None and later <= earlier)


def test_a_backup_of_a_host_whose_clock_ran_ahead_does_not_look_young() -> None:
    wrong = at_age(-50_000, "daily")
    assert ages(catalog(wrong, copied_at=moment(NOW - 900)))[0] == 900


def test_a_copied_backup_keeps_its_age() -> None:
    assert ages(catalog(at_age(900, "daily"), copied_at=moment(NOW - 10)))[0] == 900


def test_without_any_backup_nothing_is_told() -> None:
    found = figures(catalog(), NOTHING, moment(NOW))
    assert [f.name for f in found if f.value is not None] == []
    assert all(f.reason for f in found)
    assert len(found) == 8


def test_lag_counts_from_the_last_second_that_slices_cover() -> None:
    base, last = full(at(10)), piece(at(10), at(20), at(33, MAX_ORDINAL))
    assert told(catalog(base, last), RECOVERABLE_LAG_SECONDS) == NOW - 33
    assert told(catalog(base, last, lost=(last,)), RECOVERABLE_LAG_SECONDS) == NOW - 10
    assert told(catalog(last), RECOVERABLE_LAG_SECONDS) is None, "slices without a full restore nothing"


def test_a_full_that_is_of_one_moment_can_be_restored_alone() -> None:
    assert told(catalog(full(at(10), at(12), closing=True)), RECOVERABLE_LAG_SECONDS) == NOW - 12
    assert told(catalog(full(at(10), at(12))), RECOVERABLE_LAG_SECONDS) is None
    assert told(catalog(full(None)), RECOVERABLE_LAG_SECONDS) is None


def test_an_idle_database_has_no_lag_once_its_oplog_was_read() -> None:
    found = catalog(full(at(10)), last := piece(at(10), at(20), at(20, MAX_ORDINAL)))
    proven = HostFacts(proven_from=EPOCH + 10, proven_to=EPOCH + NOW - 60)
    assert told(found, RECOVERABLE_LAG_SECONDS, proven) == 60
    other = replace(proven, proven_from=EPOCH + 11)
    assert told(found, RECOVERABLE_LAG_SECONDS, other) == NOW - 20, "it was said of another timeline"
    kept = last.model_copy(update={"retain_until": datetime.now(UTC) + timedelta(days=1)})
    lost = piece(at(20), at(30)).model_copy(update={"retain_until": kept.retain_until})
    damaged = catalog(full(at(10)), kept, lost, lost=(lost,))
    assert told(damaged, RECOVERABLE_LAG_SECONDS, proven) == NOW - 20


def test_an_entry_of_the_future_is_no_lag_of_zero() -> None:
    def ahead(seconds: int) -> Catalog:
        return catalog(full(at(10)), piece(at(10), at(20), at(NOW + seconds, MAX_ORDINAL)))

    assert told(ahead(CLOCK_TOLERANCE_S), RECOVERABLE_LAG_SECONDS) == 0
    assert told(ahead(CLOCK_TOLERANCE_S + 1), RECOVERABLE_LAG_SECONDS) is None


@given(st.lists(st.integers(1, 50), min_size=1, max_size=12), st.data())
def test_every_run_of_missing_slices_is_one_hole(steps: list[int], data: st.DataObject) -> None:
    """A missing newest slice is no hole, but lag: its entries may still be in the oplog."""
    ends = [sum(steps[: n + 1]) for n in range(len(steps))]
    slices = [piece(at(10 + a), at(10 + b)) for a, b in zip([0, *ends], ends, strict=False)]
    there = data.draw(st.lists(st.booleans(), min_size=len(slices), max_size=len(slices)))
    gone = [s for s, keep in zip(slices, there, strict=True) if not keep]
    damaged = tuple(s for s in gone if data.draw(st.booleans()))  # the others have no manifest either
    kept = [s for s in slices if s not in gone or s in damaged]
    older = [full(at(3)), piece(at(3), at(6))]  # before the newest full: not looked at
    holes = sum(now and not before for before, now in zip([True, *there], there, strict=False))
    found = catalog(*data.draw(st.permutations([*older, full(at(10)), *kept])), lost=damaged)
    assert told(found, OPLOG_GAPS) == holes


def test_a_gap_that_a_run_found_counts_until_a_full_follows() -> None:
    found = catalog(full(at(10)), piece(at(10), at(20)))
    assert told(found, OPLOG_GAPS, HostFacts(gap_found_at=EPOCH + 100)) == 1
    after = catalog(full(at(10)), piece(at(10), at(20)), full(at(200), new_chain=True))
    assert told(after, OPLOG_GAPS, HostFacts(gap_found_at=EPOCH + 100)) == 0


def test_holes_cannot_be_told_without_a_full_with_oplog() -> None:
    assert told(catalog(full(None)), OPLOG_GAPS) is None


def test_the_age_of_the_last_good_restore() -> None:
    assert told(catalog(), DRILL_AGE_SECONDS, HostFacts(restored_at=EPOCH + NOW - 70)) == 70
    late = HostFacts(restored_at=EPOCH + NOW + CLOCK_TOLERANCE_S + 1)
    assert told(catalog(), DRILL_AGE_SECONDS, late) is None


def test_the_age_of_the_last_good_verification_and_what_the_last_one_found() -> None:
    assert told(catalog(), VERIFY_AGE_SECONDS, HostFacts(verified_at=EPOCH + NOW - 70)) == 70
    assert told(catalog(), DAMAGED_OBJECTS, HostFacts(verified_at=EPOCH + NOW - 70)) is None
    late = HostFacts(verified_at=EPOCH + NOW + CLOCK_TOLERANCE_S + 1)
    assert told(catalog(), VERIFY_AGE_SECONDS, late) is None
    for damaged in (0.0, 3.0):
        assert told(catalog(), DAMAGED_OBJECTS, HostFacts(damaged=damaged)) == damaged
    assert told(catalog(), VERIFY_AGE_SECONDS, HostFacts(damaged=0)) is None


def test_what_runs_of_this_host_found_is_read_back(tmp_path: Path) -> None:
    def write(app: str, gap: float) -> None:
        values: dict[tuple[Metric, tuple[str, ...]], float] = {
            (report.RECOVERABLE_FROM, (app,)): 1.0,
            (report.RECOVERABLE_TO, (app,)): 2.0,
            (report.LAST_RUN, (app, "full")): 4.0,
            (report.LAST_RUN, (app, "oplog")): 3.0,
            (report.GAP, (app,)): gap,
        }
        update(tmp_path, report.file_name(app), report.ALL, values)

    write("bitesbay", 0)
    assert read_facts(tmp_path, "bitesbay") == HostFacts(1.0, 2.0, None, None)
    write("bitesbay", 1)
    update(tmp_path, textfile.FILE, (textfile.VERIFIED,), {(textfile.VERIFIED, ("bitesbay",)): 5.0})
    assert read_facts(tmp_path, "bitesbay") == HostFacts(1.0, 2.0, 3.0, 5.0)
    found: dict[tuple[Metric, tuple[str, ...]], float] = {
        (verify_metrics.LAST_SUCCESS, ("bitesbay",)): 6.0,
        (verify_metrics.DAMAGED, ("bitesbay",)): 2.0,
    }
    update(tmp_path, verify_metrics.file_name("bitesbay"), tuple(m for m, _ in found), found)
    assert read_facts(tmp_path, "bitesbay") == HostFacts(1.0, 2.0, 3.0, 5.0, verified_at=6.0, damaged=2.0)
    assert read_facts(tmp_path, "kampyn") == NOTHING
    assert read_facts(tmp_path / "none", "bitesbay") == NOTHING
    assert read_facts(None, "bitesbay") == NOTHING
