"""What the stored backups allow to be restored: timelines, single points and holes.

Slices that touch or overlap form a chain without a missing entry. A full backup
inside a chain opens a timeline: every second from the end of its dump to the end
of the chain can be restored.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from steward.manifest import Manifest, OplogTime, Piece, pieces, rfc3339


def _second(unix: int) -> str:
    return rfc3339(datetime.fromtimestamp(unix, UTC)).replace(".000Z", "Z")


@dataclass
class Chain:
    """Contiguous slices."""

    start: OplogTime
    end: OplogTime
    covered_to: OplogTime
    server_id: str | None
    slices: list[Piece] = field(default_factory=list)

    def holds(self, full: Manifest) -> bool:
        """The full can be followed by this chain's slices without a missing entry."""
        return (
            full.oplog is not None
            and self.start <= full.oplog.start <= self.end
            and same_server(full.server_id, self.server_id)
        )


@dataclass(frozen=True)
class Timeline:
    """A range of restorable seconds (Unix time, both included)."""

    first: int
    last: int
    fulls: tuple[str, ...]
    slices: int

    def to_json(self) -> dict[str, Any]:
        """For ``backup list``."""
        return {
            "from": _second(self.first),
            "to": _second(self.last),
            "fulls": list(self.fulls),
            "slices": self.slices,
        }


@dataclass(frozen=True)
class Point:
    """A full backup that no chain continues.

    ``consistent`` is False when the database was written to during the dump
    and no closing slice was stored: the restored data are then of different
    moments within it.
    """

    id: str
    at: datetime
    consistent: bool

    def to_json(self) -> dict[str, Any]:
        """For ``backup list``."""
        return {"id": self.id, "at": rfc3339(self.at), "consistent": self.consistent}


@dataclass(frozen=True)
class Coverage:
    """Everything that can be restored, oldest first."""

    timelines: list[Timeline]
    points: list[Point]

    @property
    def holes(self) -> list[tuple[int, int]]:
        """Seconds between two timelines, first and last missing one."""
        found = []
        for before, after in zip(self.timelines, self.timelines[1:], strict=False):
            if before.last + 1 < after.first:
                found.append((before.last + 1, after.first - 1))
        return found

    def to_json(self) -> dict[str, Any]:
        """For ``backup list``."""
        return {
            "timelines": [t.to_json() for t in self.timelines],
            "points": [p.to_json() for p in self.points],
            "holes": [{"from": _second(a), "to": _second(b)} for a, b in self.holes],
        }


def same_server(one: str | None, other: str | None) -> bool:
    """False only when both identities are known and differ."""
    return one is None or other is None or one == other


def chains(slices: Iterable[Piece]) -> list[Chain]:
    """Join slices that touch or overlap, in order of time."""
    found: list[Chain] = []
    for piece in sorted(slices, key=lambda p: (p.oplog.start, p.oplog.end)):
        span = piece.oplog
        covered = span.covered_to or span.end
        chain = found[-1] if found else None
        if chain and span.start <= chain.end and same_server(piece.server_id, chain.server_id):
            chain.end = max(chain.end, span.end)
            chain.covered_to = max(chain.covered_to, covered)
            chain.server_id = chain.server_id or piece.server_id
            chain.slices.append(piece)
        else:
            found.append(Chain(span.start, span.end, covered, piece.server_id, [piece]))
    return found


def coverage(manifests: Iterable[Manifest]) -> Coverage:
    """What these backups, all of them intact, allow to be restored."""
    backups = list(manifests)
    fulls = [m for m in backups if m.kind == "full"]
    timelines: list[Timeline] = []
    used: set[str] = set()
    for chain in chains(pieces(backups)):
        bases = [
            m for m in fulls if chain.holds(m) and m.oplog is not None and m.oplog.end <= chain.covered_to
        ]
        if not bases:
            continue
        first = min(m.oplog.end.t for m in bases if m.oplog is not None)
        last = chain.covered_to.whole_second()
        if last < first:  # not one whole second yet
            continue
        used |= {m.id for m in bases}
        timelines.append(Timeline(first, last, tuple(m.id for m in bases), len(chain.slices)))
    timelines.sort(key=lambda t: (t.first, t.last))
    points = [Point(m.id, m.finished_at, consistent=m.consistent_alone) for m in fulls if m.id not in used]
    return Coverage(timelines, points)
