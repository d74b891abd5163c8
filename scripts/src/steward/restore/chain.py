"""Choose what a restore reads: one full backup and the slices that follow it.

Pure: manifests in, a :class:`Chain` or an error out. A time means "everything up to
and including that second", so a time can be reached when the whole second is stored.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from steward.errors import ConfigError, FaultError, StewardError
from steward.manifest import MAX_ORDINAL, DataObject, Manifest, OplogTime, Piece, pieces

LATEST = "latest"


@dataclass(frozen=True)
class Chain:
    """What is restored: ``base``, then the entries of ``slices`` up to ``limit``."""

    base: Manifest
    slices: tuple[Piece, ...]
    #: The last oplog time that is replayed, inclusive; None: the dump as it is.
    limit: OplogTime | None

    @property
    def exact(self) -> bool:
        """Whether the result is the state of one point in time."""
        return self.limit is not None

    @property
    def objects(self) -> list[DataObject]:
        """Everything that is read, in the order it is used."""
        return [self.base.object, *(piece.object for piece in self.slices)]


@dataclass(frozen=True)
class Range:
    """Whole seconds (Unix time, both inclusive) that one full and its slices can reach."""

    base: Manifest
    first: int
    last: int


def parse_time(text: str) -> int | None:
    """Unix time of ``--at``; None for ``latest``.

    Raises:
        ConfigError: not RFC 3339 with a zone and whole seconds.
    """
    if text == LATEST:
        return None
    try:
        moment = datetime.fromisoformat(text.upper())
    except ValueError:
        moment = None
    if moment is None or "T" not in text.upper() or moment.tzinfo is None or moment.microsecond:
        raise ConfigError(
            f"--at {text!r} is not a time: write 2026-11-22T14:03:07Z (whole seconds) or 'latest'"
        )
    return int(moment.timestamp())


def utc(seconds: int) -> str:
    """A Unix time as RFC 3339 in UTC."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def choose(manifests: Sequence[Manifest], at: int | None, base_id: str | None = None) -> Chain:
    """The chain that restores the second ``at`` (None: the latest point that is stored).

    Args:
        base_id: start from this full instead of the newest one before ``at``.

    Raises:
        FaultError: slices are missing on the way; names both sides of the hole.
        StewardError: ``at`` lies outside what the store can restore.
        ConfigError: ``base_id`` names no full backup.
    """
    fulls = [m for m in manifests if m.kind == "full"]
    slices = pieces(manifests)
    if not fulls:
        raise StewardError("the store holds no full backup: run 'steward backup full' first")
    if base_id is not None:
        fulls = [m for m in fulls if m.id == base_id]
        if not fulls:
            raise ConfigError(f"--base {base_id}: no such full backup; see 'steward backup list'")
    walks = sorted((_Walk(full, slices) for full in fulls), key=lambda w: (w.start, w.full.id))
    return _latest(walks) if at is None else _at(walks, at)


def ranges(manifests: Iterable[Manifest]) -> list[Range]:
    """What every full and its slices can reach, oldest first; joined where they overlap."""
    known = list(manifests)
    slices = pieces(known)
    found = [_Walk(m, slices).range for m in known if m.kind == "full"]
    return _joined([r for r in found if r is not None])


def points(manifests: Iterable[Manifest]) -> list[Range]:
    """Each full that restores to a point, with the seconds (:func:`choose`) for which it is the base.

    Where a full's slices are gone, or the server had no oplog, that is the second in which its dump was over.
    """
    known = list(manifests)
    slices = pieces(known)
    walks = sorted((_Walk(m, slices) for m in known if m.kind == "full"), key=lambda w: (w.start, w.full.id))
    found = []
    for number, walk in enumerate(walks):
        reach = walk.range
        later = next((w.start for w in walks[number + 1 :] if w.full.oplog is not None), None)
        if reach is not None and (later is None or reach.first < later):
            found.append(Range(walk.full, reach.first, min(reach.last, later - 1) if later else reach.last))
        elif walk.exact or walk.full.oplog is None:
            found.append(Range(walk.full, walk.finished, walk.finished))
    return found


def _joined(found: list[Range]) -> list[Range]:
    joined: list[Range] = []
    for item in sorted(found, key=lambda r: (r.first, r.last)):
        if joined and item.first <= joined[-1].last + 1:
            previous = joined[-1]
            joined[-1] = Range(previous.base, previous.first, max(previous.last, item.last))
        else:
            joined.append(item)
    return joined


class _Walk:
    """A full and the slices that follow it without a hole."""

    def __init__(self, full: Manifest, slices: Iterable[Piece]) -> None:
        self.full = full
        self.links: list[Piece] = []
        oplog = full.oplog
        self.start = oplog.end.t if oplog else int(full.finished_at.timestamp())
        if oplog is None:
            return
        #: The newest entry that is stored, and how far it is known that no other follows.
        self.end = oplog.start
        # Without a write during the dump, the dump itself is the state of one point.
        self.reach = (oplog.covered_to or oplog.end) if oplog.start == oplog.end else oplog.start
        # Slices of another replica set are another history, whatever their times.
        pool = [s for s in slices if None in (s.server_id, full.server_id) or s.server_id == full.server_id]
        while True:
            at = (self.end, self.reach)
            following = [s for s in pool if _range(s)[0] <= self.end and _range(s)[1:] > at]
            if not following:
                break
            best = max(following, key=lambda s: (*_range(s)[1:], s.id))
            self.links.append(best)
            _, self.end, covered = _range(best)
            self.reach = max(self.reach, covered)
        beyond = [s for s in pool if _range(s)[0] > self.end]
        #: The slice on the other side of a hole, if there is one.
        self.beyond = min(beyond, key=lambda s: (_range(s)[0], s.id)) if beyond else None

    @property
    def exact(self) -> bool:
        """All that was written during the dump is stored, so that it can be made consistent."""
        return self.full.oplog is not None and self.reach >= self.full.oplog.end

    @property
    def range(self) -> Range | None:
        """The whole seconds that can be restored, if any."""
        if not self.exact or self.reach.whole_second() < self.start:
            return None
        return Range(self.full, self.start, self.reach.whole_second())

    @property
    def finished(self) -> int:
        """The second in which the dump was over."""
        return int(self.full.finished_at.timestamp())

    def chain(self, limit: OplogTime) -> Chain:
        """This chain up to ``limit``, without slices that begin later."""
        return Chain(self.full, tuple(s for s in self.links if _range(s)[0] <= limit), limit)

    def alone(self) -> Chain:
        """The full by itself: the moment its dump was over if that is stored, else the dump as it is."""
        if self.exact and self.full.oplog is not None:
            return self.chain(self.full.oplog.end)
        return Chain(self.full, (), None)

    def hole(self) -> str | None:
        """The hole behind this chain, in words; None when nothing is stored behind it."""
        if self.full.oplog is None or self.beyond is None:
            return None
        before = self.links[-1].label if self.links else f"full {self.full.id}"
        left = f"{before} (up to {utc(self.end.t)}, {self.end})"
        first = _range(self.beyond)[0]
        return f"{left} and {self.beyond.label} (from {utc(first.t)}, {first})"


def _range(piece: Piece) -> tuple[OplogTime, OplogTime, OplogTime]:
    """First entry, last entry and reach of a slice."""
    oplog = piece.oplog
    return oplog.start, oplog.end, oplog.covered_to or oplog.end


def _at(walks: Sequence[_Walk], at: int) -> Chain:
    limit = OplogTime(t=at, i=MAX_ORDINAL)
    before = [w for w in walks if w.full.oplog is not None and w.full.oplog.end <= limit]
    if before:
        newest = before[-1]
        if newest.exact and newest.reach.whole_second() >= at:
            return newest.chain(limit)
    for walk in reversed(walks):
        if walk.finished == at:
            return walk.alone()
    if before and (hole := before[-1].hole()) is not None:
        raise FaultError(
            f"{utc(at)} cannot be restored: the oplog is not stored between {hole}; {_recoverable(walks)}"
        )
    raise StewardError(f"{utc(at)} cannot be restored: it is outside what is stored; {_recoverable(walks)}")


def _latest(walks: Sequence[_Walk]) -> Chain:
    exact = [w for w in walks if w.exact]
    without_oplog = [w for w in walks if w.full.oplog is None]
    best = max(exact, key=lambda w: (w.reach, w.start), default=None)
    plain = max(without_oplog, key=lambda w: w.finished, default=None)
    if best is not None and (plain is None or plain.finished <= best.reach.t):
        hole = best.hole()
        if hole is not None:
            raise FaultError(
                f"the latest point cannot be restored: the oplog is not stored between {hole};"
                f" to restore what lies before, say so with --at: {_recoverable(walks)}"
            )
        return best.chain(best.reach)
    return (plain or walks[-1]).alone()


def _recoverable(walks: Sequence[_Walk]) -> str:
    """What can be restored instead, for error messages."""
    found = _joined([r for r in (w.range for w in walks) if r is not None])
    texts = [f"{utc(r.first)} to {utc(r.last)}" for r in found]
    exact = [w for w in walks if w.exact]
    if exact:
        reach = max(w.reach for w in exact)
        texts.append(f"'latest' ({utc(reach.t)}, entry {reach})")
    texts += [f"{w.full.id} alone with --at {utc(w.finished)}" for w in walks if w.exact and not w.range]
    texts += [f"only as it was dumped: {w.full.id} with --at {utc(w.finished)}" for w in walks if not w.exact]
    return "recoverable: " + "; ".join(texts)
