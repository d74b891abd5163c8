"""What damage costs: the seconds and single points that cannot be restored any more."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from steward.backup.timeline import coverage, same_server
from steward.config import RetentionDays
from steward.manifest import Manifest, OplogRange, pieces

#: First and last second (Unix time), both included.
Span = tuple[int, int]


@dataclass(frozen=True)
class Loss:
    """What could be restored with everything in place, and cannot be as it is."""

    seconds: tuple[Span, ...] = ()
    #: Ids of fulls that restored to one moment by themselves.
    points: tuple[str, ...] = ()


def loss(whole: Iterable[Manifest], damaged: Collection[str]) -> Loss:
    """What is lost of ``whole`` when the objects with the keys ``damaged`` cannot be used."""
    known = list(whole)
    before, after = coverage(known), coverage(without(known, damaged))
    seconds = subtract(
        [(t.first, t.last) for t in before.timelines], [(t.first, t.last) for t in after.timelines]
    )
    left = {(p.id, consistent) for p in after.points for consistent in {p.consistent, False}}
    left |= {(i, consistent) for t in after.timelines for i in t.fulls for consistent in (True, False)}
    points = [p.id for p in before.points if (p.id, p.consistent) not in left]
    return Loss(tuple(seconds), tuple(points))


def without(manifests: Iterable[Manifest], damaged: Collection[str]) -> list[Manifest]:
    """What is left of the backups. A full without its closing slice is still a dump."""
    left = []
    for manifest in manifests:
        if manifest.object.key in damaged:
            continue
        if manifest.closing is not None and manifest.closing.object.key in damaged:
            left.append(manifest.model_copy(update={"closing": None}))
        else:
            left.append(manifest)
    return left


def subtract(whole: Iterable[Span], part: Iterable[Span]) -> list[Span]:
    """The seconds of ``whole`` that are not in ``part``, in order, joined where they touch."""
    found: list[Span] = []
    removed = sorted(part)
    for first, last in sorted(whole):
        if found:
            first = max(first, found[-1][1] + 1)
        for start, end in removed:
            if end < first or start > last:
                continue
            if start > first:
                _add(found, first, start - 1)
            first = end + 1
        if first <= last:
            _add(found, first, last)
    return found


def _add(found: list[Span], first: int, last: int) -> None:
    if found and found[-1][1] + 1 == first:
        found[-1] = (found[-1][0], last)
    else:
        found.append((first, last))


@dataclass(frozen=True)
class Vanished:
    """A backup that another one continues, and of which nothing is left."""

    id: str
    continued_by: Manifest
    #: A slice as it must have been, at least; None when nothing is stored before it.
    bridge: Manifest | None


def started(backup_id: str) -> datetime | None:
    """The start time in an id; None if it is no id."""
    try:
        return datetime.strptime(backup_id[:16], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
    except ValueError:
        return None


def vanished(
    manifests: Sequence[Manifest], others: Collection[str], retention: RetentionDays, now: datetime
) -> list[Vanished]:
    """Backups that must still be there, as the slice that continues each says, and are not.

    Args:
        others: ids of which something else is known.
        now: what had to be kept until then may have expired.
    """
    known = {m.id for m in manifests} | set(others)
    # An id does not tell a slice from a daily full.
    kept = timedelta(days=min(retention.oplog, retention.daily))
    found = []
    for manifest in manifests:
        before = manifest.previous
        if before is None or before in known:
            continue
        since = started(before)
        if since is not None and since + kept > now:
            found.append(Vanished(before, manifest, _bridge(manifests, before, manifest)))
    return found


def _bridge(manifests: Iterable[Manifest], backup_id: str, after: Manifest) -> Manifest | None:
    """A slice from the newest entry that is stored before ``after`` to its first one."""
    if after.oplog is None:
        return None
    begin = after.oplog.start
    ends = [
        p.oplog.end
        for p in pieces(manifests)
        if p.id != after.id and p.oplog.start < begin and same_server(p.server_id, after.server_id)
    ]
    # A full without slices of its own ends where its slices would begin.
    ends += [
        m.oplog.start
        for m in manifests
        if m.kind == "full" and m.oplog is not None and m.oplog.start < begin
        and same_server(m.server_id, after.server_id)
    ]  # fmt: skip
    if not ends or max(ends) >= begin:
        return None
    span = OplogRange(start=max(ends), end=begin, count=after.oplog.count, covered_to=begin)
    data = after.object.model_copy(update={"key": f"{after.class_}/{backup_id}/"})
    return after.model_copy(update={"id": backup_id, "object": data, "oplog": span})


def unconnected(manifests: Iterable[Manifest]) -> list[tuple[Manifest, Manifest]]:
    """Slices that do not begin where what they continue ends, each with what it continues."""
    by_id = {m.id: m for m in manifests}
    found = []
    for manifest in by_id.values():
        before = by_id.get(manifest.previous or "")
        if before is None or before.oplog is None or manifest.oplog is None:
            continue
        reach = before.oplog.end if before.kind == "oplog" else before.oplog.start
        if manifest.oplog.start > reach:
            found.append((before, manifest))
    return found
