"""Points that must exist, over two backends' worth of nights."""

from __future__ import annotations

from datetime import UTC, datetime, time, timedelta

from hypothesis import given
from hypothesis import strategies as st

from steward.appfile import Retention
from steward.backup.catalog import Catalog
from steward.backup.classes import choose_class
from steward.backup.compliance import Compliance, judge
from steward.config import BackupClass, PromisedPoints
from steward.drill.evidence import Evidence, Stored
from steward.manifest import Manifest, OplogTime, Scan
from steward.metrics.figures import SERVED_BY
from steward.storage import ObjectInfo
from tests.unit.manifest_samples import full

KEEP = Retention(daily_days=7, weekly_weeks=4, monthly_months=6, oplog_days=8)
PROMISED = PromisedPoints(daily=7, weekly=4, monthly=6)
FIRST = datetime(2025, 1, 1, 2, 10, tzinfo=UTC)


def history(begin: int, nights: int, failed: frozenset[int] = frozenset()) -> list[Manifest]:
    """The fulls that a bucket shows after so many nights, begun so many days after FIRST."""
    kept: list[tuple[datetime, BackupClass]] = []
    for night in range(nights):
        now = FIRST + timedelta(days=begin + night)
        kept = visible(kept, now)
        if night not in failed:
            kept.append((now, choose_class(now, [moment for moment, _ in kept])))
    return [full(OplogTime(t=int(m.timestamp()), i=1), backup_class=c) for m, c in kept]


def visible(kept: list[tuple[datetime, BackupClass]], now: datetime) -> list[tuple[datetime, BackupClass]]:
    """What S3 has not hidden: days count until the next midnight."""
    return [
        (m, c)
        for m, c in kept
        if now < datetime.combine(m.date() + timedelta(days=KEEP.keep_days(c) + 1), time(), UTC)
    ]


def catalog(backups: list[Manifest], lost: frozenset[str] = frozenset()) -> Catalog:
    objects = {}
    for m in backups:
        for key in (m.manifest_key, *(o.key for o in m.objects if m.id not in lost)):
            objects[key] = ObjectInfo(key, 10, m.finished_at, "e")
    return Catalog(Scan(backups, objects))


def judged(found: Catalog, now: datetime, evidence: list[Stored] | None = None) -> dict[str, Compliance]:
    return {one.backup_class: one for one in judge(found, evidence or [], PROMISED, now)}


begins, nights = st.integers(0, 400), st.integers(1, 240)
#: From the end of one full to just before the end of the next.
hours = st.integers(0, 23)


@given(begins, nights, hours)
def test_nights_that_went_well_are_compliant_at_any_hour(begin: int, count: int, hour: int) -> None:
    now = FIRST + timedelta(days=begin + count - 1, hours=hour, minutes=1)
    stored = history(begin, count)
    starts = {m for m, _ in visible([(m.started_at, m.class_) for m in stored], now)}
    found = judged(catalog([m for m in stored if m.started_at in starts]), now)
    assert all(one.met for one in found.values()), [one.problem for one in found.values() if not one.met]
    if count > 220:
        assert {c: one.expected for c, one in found.items()} == {"daily": 7, "weekly": 4, "monthly": 6}


@given(begins, st.integers(2, 240), st.data())
def test_a_point_that_was_lost_is_missed(begin: int, count: int, data: st.DataObject) -> None:
    """Of a class that has no more points than are owed."""
    now = FIRST + timedelta(days=begin + count - 1, minutes=10)
    stored = history(begin, count)
    whole = judged(catalog(stored), now)
    backup_class = data.draw(st.sampled_from(sorted(SERVED_BY)))
    points = whole[backup_class].points
    lost = data.draw(st.sampled_from(sorted(points.values())))
    after = judged(catalog(stored, lost=frozenset([lost])), now)[backup_class]
    assert lost not in after.points.values()
    if len(points) == whole[backup_class].expected and len(after.points) < len(points):
        assert not after.met
        assert after.missing


def test_one_failed_night_costs_no_point_of_an_old_system() -> None:
    now = FIRST + timedelta(days=239, hours=1)
    found = judged(catalog(history(0, 240, frozenset([236]))), now)
    assert all(one.met for one in found.values())
    assert found["daily"].missing == ((FIRST + timedelta(days=236)).date().isoformat(),)
    three = judged(catalog(history(0, 240, frozenset([234, 235, 236]))), now)
    assert not three["daily"].met, "weekly and monthly fulls of earlier days do not make up for it"
    assert three["weekly"].met


def test_a_young_system_owes_what_it_can_have() -> None:
    now = FIRST + timedelta(days=2, hours=1)
    found = judged(catalog(history(0, 3)), now)
    assert [(one.expected, len(one.points), one.met) for one in found.values()] == [
        (3, 3, True),
        (1, 1, True),
        (1, 1, True),
    ]
    failed = judged(catalog(history(0, 4, frozenset([1]))), FIRST + timedelta(days=3, minutes=-10))["daily"]
    assert (failed.expected, failed.missing, failed.met) == (3, ("2025-01-02",), False)
    assert "NOT MET" in failed.text


def test_an_empty_store_has_nothing() -> None:
    found = judged(catalog([]), FIRST)
    assert [one.met for one in found.values()] == [False, False, False]


def evidence(base: Manifest, result: str, at: datetime) -> Stored:
    made = Evidence.model_validate(
        {
            "id": base.id, "app": "bitesbay", "environment": "local", "result": result, "started_at": at,
            "finished_at": at, "base_id": base.id, "base_class": base.class_,
        }
    )  # fmt: skip
    return Stored(made, at)


def test_drills_tell_when_and_how_old_the_system_is() -> None:
    stored = history(0, 70)
    now = FIRST + timedelta(days=69, hours=1)
    monthly = [m for m in stored if m.class_ == "monthly"]
    good, bad = now - timedelta(days=20), now - timedelta(days=1)
    told = judged(
        catalog(stored), now, [evidence(monthly[0], "proven", good), evidence(monthly[0], "failed", bad)]
    )
    assert (told["monthly"].last_drilled, told["weekly"].last_drilled) == (good, None)
    # Everything old was taken; that there was something is known from its drill.
    rest = [m for m in stored if m.started_at > now - timedelta(days=11)]
    assert judged(catalog(rest), now)["monthly"].met, "it looks young"
    robbed = judged(catalog(rest), now, [evidence(monthly[0], "proven", good)])
    assert robbed["monthly"].missing == ("2025-02", "2025-01")
    assert not robbed["monthly"].met
