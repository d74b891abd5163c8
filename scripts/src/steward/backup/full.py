"""A full backup: mongodump, compressed, streamed into the store, checked, then declared."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from steward import __version__
from steward.backup import oplog
from steward.backup.catalog import host_name, read_catalog
from steward.backup.classes import choose_class, retain_until
from steward.backup.dump import Dump, check_complete, collection_names
from steward.backup.oplog import ChainBrokenError, SliceReader, Window, dump_start, newest
from steward.backup.pipeline import put_compressed
from steward.backup.source import Source, dump_source
from steward.bucketlock import BucketLock, bucket_lock
from steward.choice import Choice
from steward.clock import check_clock
from steward.config import BackupClass, Config
from steward.errors import StewardError
from steward.locking import lock
from steward.manifest import (
    Closing,
    LeftOut,
    Manifest,
    Namespace,
    OplogRange,
    OplogTime,
    Versions,
    new_id,
    rfc3339,
)
from steward.mongo import Document, ServerInfo, replica_set_id, server_info
from steward.output import note
from steward.process import tool_version
from steward.storage import Store

if TYPE_CHECKING:
    from pymongo import MongoClient

DATA_NAME = "dump.archive.zst"
#: Longest wait, in seconds, until a majority of the replica set has what the dump may hold.
MAJORITY_WAIT_S = 60.0


@dataclass(frozen=True)
class FullPlan:
    """What a full backup will do, decided before it starts."""

    id: str
    backup_class: BackupClass
    started_at: datetime
    retain_until: datetime
    collections: frozenset[str]
    #: Collections of these databases that are not wanted.
    left_out: frozenset[str]
    #: Patterns of the choice that are about no collection.
    idle: tuple[str, ...]
    choice: Choice
    oplog_start: OplogTime | None
    server: ServerInfo
    #: The secondary that is read; None: the server of the configuration.
    secondary: str | None
    mongodump: str

    def to_json(self) -> dict[str, Any]:
        """For ``--dry-run``."""
        return {
            "dry_run": True,
            "id": self.id,
            "class": self.backup_class,
            "started_at": rfc3339(self.started_at),
            "retain_until": rfc3339(self.retain_until),
            "databases": list(self.choice.databases),
            "collections": sorted(self.collections),
            "left_out": sorted(self.left_out),
            "idle_patterns": list(self.idle),
            "oplog_start": self.oplog_start.model_dump() if self.oplog_start else None,
            "server": self.server.version,
            "secondary": self.secondary,
            "mongodump": self.mongodump,
        }


def lock_name(config: Config, kind: str) -> str:
    """Full backups and slices have a lock each: slices go on while a long full runs."""
    return f"backup-{config.app}-{config.environment}-{kind}"


def plan_full(config: Config, store: Store, source: Source) -> FullPlan:
    """Decide class and retention, and note where the oplog stands.

    Raises:
        StewardError: the store, the server or mongodump is not to be had, or this host's clock is wrong.
    """
    mongodump = tool_version(config.tools.mongodump)
    catalog = read_catalog(config, store, note)
    started_at = datetime.now(UTC)
    check_clock(started_at, store.server_time(), "no backup is taken")
    backup_class = choose_class(started_at, (m.started_at for m in catalog.fulls))
    choice = config.mongodb.choice
    existing = collection_names(source.client, choice.databases)
    collections = frozenset(filter(choice.wants, existing))
    if not collections:
        keys = "mongodb.databases, include and exclude" if choice.patterns else "mongodb.databases"
        raise StewardError(
            f"no collection in {', '.join(choice.databases) or 'any database'}: nothing to back up;"
            f" check {keys} and the rights of the backup user"
        )
    return FullPlan(
        id=new_id(started_at),
        backup_class=backup_class,
        started_at=started_at,
        retain_until=retain_until(started_at, backup_class, config.backup.retention_days),
        collections=collections,
        left_out=frozenset(existing) - collections,
        idle=tuple(choice.idle(existing)),
        choice=choice,
        # The last thing before the dump starts, and never after it.
        oplog_start=dump_start(source.client),
        server=server_info(source.client),
        secondary=source.secondary,
        mongodump=mongodump,
    )


def dry_run(config: Config, store: Store) -> FullPlan:
    """Everything that :func:`run_full` does before it writes."""
    with dump_source(config) as source:
        return plan_full(config, store, source)


def run_full(
    config: Config,
    store: Store,
    *,
    new_chain: bool = False,
    progress: Callable[[int], None] | None = None,
    begin: Callable[[], None] | None = None,
) -> Manifest:
    """Take a full backup under its lock.

    Args:
        new_chain: it is taken because the chain of slices is broken.
        progress: called with the number of bytes stored so far.
        begin: called once the locks are held; what it raises ends the run.

    Raises:
        StewardError: it failed; nothing in the store counts as a backup.
        LockHeldError: another full backup of this application runs, on this host or another.
    """
    with (
        lock(config.state_dir, lock_name(config, "full")),
        bucket_lock(store, config.state_dir, "full") as held,
    ):
        if begin is not None:
            begin()
        return _take(config, store, held, new_chain=new_chain, progress=progress)


def _take(
    config: Config,
    store: Store,
    held: BucketLock,
    *,
    new_chain: bool,
    progress: Callable[[int], None] | None,
) -> Manifest:
    """The work of :func:`run_full`."""
    with dump_source(config) as source:
        client = source.client
        plan = plan_full(config, store, source)
        # What is excluded may not be there yet; what is included and is not there is missing.
        for pattern in plan.idle:
            if pattern.startswith("include "):
                note(f"mongodb.{pattern}: no collection is called so; nothing of it is in this backup")
        dump = Dump(config, source.uri, plan.left_out)
        # Closed here, so that mongodump has ended before the lock is free.
        with contextlib.closing(dump.chunks()) as archive:
            stored = put_compressed(
                store,
                f"{plan.backup_class}/{plan.id}/{DATA_NAME}",
                archive,
                plan.retain_until,
                progress,
                recipients=config.encryption.recipients,
                compression=config.backup.compression,
            )
        after = set(filter(plan.choice.wants, collection_names(client, plan.choice.databases)))
        check_complete(set(plan.collections), after, dump.namespaces)
        span = _oplog_range(config, client, plan)
        closing = _store_closing(config, store, client, plan, span)
        manifest = Manifest(
            kind="full",
            id=plan.id,
            app=config.app,
            environment=config.environment,
            class_=plan.backup_class,
            host=host_name(),
            started_at=plan.started_at,
            oplog=span,
            closing=closing,
            finished_at=datetime.now(UTC),
            retain_until=plan.retain_until,
            object=stored,
            namespaces=[
                Namespace(
                    db=n.db,
                    collection=n.collection,
                    type=n.type,
                    count=n.documents,
                    options=n.options,
                    indexes=n.indexes,
                )
                for n in dump.namespaces
            ],
            databases=list(plan.choice.databases),
            left_out=LeftOut(
                include=list(plan.choice.include),
                exclude=list(plan.choice.exclude),
                namespaces=sorted(plan.left_out),
            )
            if plan.choice.patterns
            else None,
            new_chain=new_chain,
            versions=Versions(steward=__version__, mongodump=plan.mongodump, server=plan.server.version),
            server_id=replica_set_id(client),
            secondary=plan.secondary,
        )
        held.confirm()
        store.put_json(manifest.manifest_key, manifest.to_json(), plan.retain_until)
    return manifest


def _oplog_range(config: Config, client: MongoClient[Document], plan: FullPlan) -> OplogRange | None:
    """From where slices continue this full, and up to where they must be replayed."""
    if plan.oplog_start is None:
        return None
    if plan.server.majority is None:
        # Such a server shows a write in the dump before its entry in the oplog.
        time.sleep(config.backup.oplog_settle_seconds)
    end = newest(client)
    if end is None or end < plan.oplog_start:
        # The entry it began with is gone: rolled back, or the oplog was made anew.
        raise StewardError("the oplog was replaced while the dump ran; run `steward backup full` again")
    return OplogRange(start=plan.oplog_start, end=end)


def _store_closing(
    config: Config, store: Store, client: MongoClient[Document], plan: FullPlan, span: OplogRange | None
) -> Closing | None:
    """Store what was written during the dump, so that the full is consistent by itself.

    None when nothing was written, and when it cannot be had: the backup then stands
    as good as the hourly slices make it, and a note says so.
    """
    if span is None or span.start == span.end:
        return None
    settle = 0
    try:
        if plan.server.majority is None:
            settle = config.backup.oplog_settle_seconds
            time.sleep(settle)
        else:
            _wait_for_majority(client, span.end)
        reader = SliceReader(client, Window(span.start, span.end, settle))
        stored = put_compressed(
            store,
            f"{plan.backup_class}/{plan.id}/{oplog.DATA_NAME}",
            reader.chunks(),
            plan.retain_until,
            recipients=config.encryption.recipients,
            compression=config.backup.compression,
        )
        if reader.last != span.end:
            raise ChainBrokenError(f"the oplog ends at {reader.last} instead of {span.end}")
    except ChainBrokenError as error:
        note(
            f"{plan.id} has no closing slice: {error}; without the slices of its time it will restore"
            " only as it was dumped"
        )
        return None
    return Closing(object=stored, count=reader.count)


def _wait_for_majority(client: MongoClient[Document], end: OplogTime) -> None:
    """Wait until everything up to ``end`` is in the oplog for good.

    Raises:
        ChainBrokenError: a majority does not have it in time.
    """
    deadline = time.monotonic() + MAJORITY_WAIT_S
    while (majority := server_info(client).majority) is None or majority < end:
        if time.monotonic() > deadline:
            raise ChainBrokenError(f"a majority of the replica set is at {majority}, not yet at {end}")
        time.sleep(0.5)
