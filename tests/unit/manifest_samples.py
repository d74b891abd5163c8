"""Manifests for unit tests."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from steward.config import BackupClass
from steward.manifest import Closing, DataObject, Manifest, OplogRange, OplogTime, Versions, new_id

EPOCH = 1_795_000_000
VERSIONS = Versions(steward="0.1.0", mongodump="100.9.5", server="7.0.42")


def moment(second: int) -> datetime:
    """That many seconds after the samples begin."""
    return datetime.fromtimestamp(EPOCH + second, UTC)


def at(second: int, ordinal: int = 1) -> OplogTime:
    """An oplog time that many seconds after the samples begin."""
    return OplogTime(t=EPOCH + second, i=ordinal)


def _object(prefix: str, name: str) -> DataObject:
    return DataObject(
        key=f"{prefix}/{name}", size=10, sha256="a" * 64, raw_size=20, raw_sha256="b" * 64, parts=1
    )


def full(
    start: OplogTime | None,
    end: OplogTime | None = None,
    *,
    backup_class: BackupClass = "daily",
    new_chain: bool = False,
    closing: bool = False,
    server_id: str | None = None,
) -> Manifest:
    """A full backup; ``end`` is ``start`` when nothing was written during the dump."""
    started = moment(start.t - EPOCH if start else 0)
    backup_id = new_id(started)
    return Manifest(
        kind="full",
        id=backup_id,
        app="bitesbay",
        environment="local",
        class_=backup_class,
        host="db1",
        started_at=started,
        finished_at=started + timedelta(seconds=5),
        retain_until=started + timedelta(days=7),
        object=_object(f"{backup_class}/{backup_id}", "dump.archive.zst"),
        oplog=OplogRange(start=start, end=end or start) if start else None,
        closing=Closing(object=_object(f"{backup_class}/{backup_id}", "oplog.bson.zst"), count=2)
        if closing
        else None,
        namespaces=[],
        databases=["bitesbay"],
        new_chain=new_chain,
        versions=VERSIONS,
        server_id=server_id,
    )


def piece(
    start: OplogTime, end: OplogTime, covered_to: OplogTime | None = None, *, server_id: str | None = None
) -> Manifest:
    """An oplog slice."""
    started = moment(end.t - EPOCH)
    backup_id = new_id(started)
    return Manifest(
        kind="oplog",
        id=backup_id,
        app="bitesbay",
        environment="local",
        class_="oplog",
        host="db1",
        started_at=started,
        finished_at=started + timedelta(seconds=1),
        retain_until=started + timedelta(days=8),
        object=_object(f"oplog/{backup_id}", "oplog.bson.zst"),
        oplog=OplogRange(start=start, end=end, count=2, overlaps=True, covered_to=covered_to),
        previous=backup_id,
        versions=VERSIONS,
        server_id=server_id,
    )
