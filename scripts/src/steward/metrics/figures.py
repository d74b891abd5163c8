"""The figures that AWS alarms watch, computed from the store and from what this host's own runs found.

A figure that cannot be told is not guessed: it is left out, and its alarm takes that as breaching.
Ages count from the store's own clock: neither a host whose clock was wrong when it took a backup, nor one
whose clock is wrong now, makes an old backup look young.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any, Literal

from steward import cloudwatch_names
from steward.backup.catalog import Catalog, read_catalog
from steward.backup.timeline import chains
from steward.clock import CLOCK_TOLERANCE_S, check_clock
from steward.config import BackupClass, Config
from steward.drill.evidence import newest_proven
from steward.errors import StewardError
from steward.manifest import FULL_CLASSES, Manifest, pieces
from steward.metrics.host import HostFacts, read_facts
from steward.storage import Store

#: Class that is asked for -> classes that serve as it.
SERVED_BY: Mapping[BackupClass, tuple[BackupClass, ...]] = {
    "daily": FULL_CLASSES,
    "weekly": ("weekly", "monthly"),
    "monthly": ("monthly",),
}


@dataclass(frozen=True)
class Figure:
    """One metric; ``value`` is None when it cannot be told, and ``reason`` says why."""

    name: str
    unit: Literal["Seconds", "Count"]
    value: float | None
    reason: str = ""
    backup_class: BackupClass | None = None

    @property
    def label(self) -> str:
        """How it is called in messages."""
        return f"{self.name} of class {self.backup_class}" if self.backup_class else self.name

    def dimensions(self, app: str, environment: str) -> dict[str, str]:
        """The dimensions that alarms look it up by."""
        own = {"Class": str(self.backup_class)} if self.backup_class else {}
        return cloudwatch_names.dimensions(app, environment) | own

    def to_json(self, app: str, environment: str) -> dict[str, Any]:
        """For ``--json``."""
        told = {"reason": self.reason} if self.value is None else {"value": self.value}
        return {
            "name": self.name,
            "unit": self.unit,
            "dimensions": self.dimensions(app, environment),
            **told,
        }


def read_figures(config: Config, store: Store) -> tuple[list[Figure], datetime]:
    """Every figure as it is now, and the store's time for which they hold.

    Raises:
        StewardError: the store cannot be read, or this host's clock is wrong.
        FaultError: a damaged manifest.
    """
    catalog = read_catalog(config, store)
    now = store.server_time()
    check_clock(datetime.now(UTC), now, "nothing is published")
    facts = with_drills(config, store, read_facts(config.metrics.textfile_dir, config.app))
    return figures(catalog, facts, now), now


def with_drills(config: Config, store: Store, facts: HostFacts) -> HostFacts:
    """The facts, with the newest proven drill of any host where that is later than this host's restore."""
    try:
        drilled = newest_proven(config, store)
    except StewardError as error:
        # A stack that was not updated yet refuses the prefix; the other figures do not depend on it.
        return replace(facts, drills_unknown=str(error))
    moments = [m for m in (facts.restored_at, drilled.timestamp() if drilled else None) if m is not None]
    return replace(facts, restored_at=max(moments, default=None))


def figures(catalog: Catalog, facts: HostFacts, now: datetime) -> list[Figure]:
    """Every figure, in a fixed order.

    Args:
        now: the store's time, read after the catalogue.
    """
    return [
        *(_age(catalog, backup_class, now) for backup_class in SERVED_BY),
        _lag(catalog, facts, now),
        _gaps(catalog, facts),
        _drill(facts, now),
        _verification(facts, now),
        _damage(facts),
    ]


def stored_at(catalog: Catalog, manifest: Manifest) -> datetime:
    """When a backup was complete: by its host, or by the store, whichever is earlier.

    The store's time is right where the host's clock ran ahead; the manifest's is right where the
    objects were copied to another bucket later.
    """
    return min(manifest.finished_at, catalog.scan.objects[manifest.manifest_key].modified)


def _age(catalog: Catalog, backup_class: BackupClass, now: datetime) -> Figure:
    serving = SERVED_BY[backup_class]
    newest = max((stored_at(catalog, m) for m in catalog.fulls if m.class_ in serving), default=None)
    return Figure(
        cloudwatch_names.BACKUP_AGE_SECONDS,
        "Seconds",
        _seconds_since(newest.timestamp(), now) if newest else None,
        f"the store holds no full backup that serves as {backup_class}",
        backup_class,
    )


def _lag(catalog: Catalog, facts: HostFacts, now: datetime) -> Figure:
    name = cloudwatch_names.RECOVERABLE_LAG_SECONDS
    newest = newest_restorable(catalog, facts)
    if newest is None:
        return Figure(name, "Seconds", None, "no moment can be restored")
    if newest > now.timestamp() + CLOCK_TOLERANCE_S:
        # Not a lag of 0: an entry of the future says nothing about the last minutes.
        reason = (
            f"the newest oplog entry is {newest - now.timestamp():.0f} s in the future, check MongoDB's clock"
        )
        return Figure(name, "Seconds", None, reason)
    return Figure(name, "Seconds", _seconds_since(newest, now))


def newest_restorable(catalog: Catalog, facts: HostFacts) -> float | None:
    """The newest moment (Unix time) that can be restored, as far as is proven; None if there is none."""
    coverage = catalog.coverage()
    moments: list[float] = [timeline.last for timeline in coverage.timelines]
    # A full's last entry may be old: nothing was written after it until the dump began.
    moments += [
        min(max(m.oplog.end.t, m.started_at.timestamp()), stored_at(catalog, m).timestamp())
        for m in catalog.fulls
        if m.oplog is not None and m.consistent_alone
    ]
    # An idle database stores no slices; that it had nothing to store is known to this host alone. It
    # counts for the timeline that it was found for, and while no slice of it is lost.
    same = bool(coverage.timelines) and coverage.timelines[-1].first == facts.proven_from
    if same and facts.proven_to is not None and not any(m.kind == "oplog" for m in catalog.damaged):
        moments.append(facts.proven_to)
    return max(moments, default=None)


def _gaps(catalog: Catalog, facts: HostFacts) -> Figure:
    full = catalog.newest_full()
    if full is None or full.oplog is None:
        reason = "the store holds no full backup that slices could continue"
        return Figure(cloudwatch_names.OPLOG_GAPS, "Count", None, reason)
    start = full.oplog.start
    # What continues the full begins at it or before; a chain that begins later does so behind a hole.
    holes = sum(chain.start > start for chain in chains(pieces(catalog.intact)))
    # A gap that a run found is in the store only once there is something behind it.
    found = facts.gap_found_at is not None and facts.gap_found_at > full.started_at.timestamp()
    return Figure(cloudwatch_names.OPLOG_GAPS, "Count", float(holes or found))


def _drill(facts: HostFacts, now: datetime) -> Figure:
    name = cloudwatch_names.DRILL_AGE_SECONDS
    if facts.restored_at is None:
        reason = "no restore was compared and found equal, here or by a drill"
        unknown = f" ({facts.drills_unknown})" if facts.drills_unknown else ""
        return Figure(name, "Seconds", None, reason + unknown)
    return _age_of_proof(name, facts.restored_at, now, "the last verified restore lies in the future")


def _verification(facts: HostFacts, now: datetime) -> Figure:
    name = cloudwatch_names.VERIFY_AGE_SECONDS
    if facts.verified_at is None:
        reason = "this host has not verified the stored backups and found all good"
        return Figure(name, "Seconds", None, reason)
    return _age_of_proof(name, facts.verified_at, now, "the last good verification lies in the future")


def _damage(facts: HostFacts) -> Figure:
    reason = "this host has not verified the stored backups"
    return Figure(cloudwatch_names.DAMAGED_OBJECTS, "Count", facts.damaged, reason)


def _age_of_proof(name: str, moment: float, now: datetime, ahead: str) -> Figure:
    """The age of a moment (Unix time); of one in the future it is not told, and ``ahead`` is why."""
    if moment > now.timestamp() + CLOCK_TOLERANCE_S:
        return Figure(name, "Seconds", None, ahead)
    return Figure(name, "Seconds", _seconds_since(moment, now))


def _seconds_since(moment: float, now: datetime) -> float:
    """Seconds from a moment (Unix time) until ``now``; a little of the future counts as now."""
    return max(0.0, now.timestamp() - moment)
