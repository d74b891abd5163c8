"""An oplog slice: what happened since the last stored entry, or a gap and a new full."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from steward import __version__
from steward.backup.catalog import Catalog, Resume, host_name, read_catalog
from steward.backup.classes import retain_until
from steward.backup.full import lock_name
from steward.backup.oplog import DATA_NAME, ChainBrokenError, SliceReader, Window, has_oplog, window
from steward.backup.pipeline import put_compressed
from steward.backup.source import open_mongo
from steward.backup.timeline import same_server
from steward.bucketlock import BucketLock, bucket_lock
from steward.clock import check_clock
from steward.config import Config
from steward.errors import StewardError
from steward.locking import lock
from steward.manifest import Manifest, OplogRange, OplogTime, Versions, new_id
from steward.mongo import Document, ServerInfo, mongo_errors, replica_set_id, server_info
from steward.output import note
from steward.storage import Store

if TYPE_CHECKING:
    from pymongo import MongoClient


@dataclass(frozen=True)
class SliceResult:
    """What one run found and did."""

    #: The slice that was stored; None when there was nothing new, or a gap.
    manifest: Manifest | None = None
    #: How far the oplog is proven to hold nothing that is not stored.
    covered_to: OplogTime | None = None
    #: Why the chain is broken; None if it is not.
    gap: str | None = None
    #: No full backup exists that slices could continue.
    needs_full: bool = False

    def to_json(self) -> dict[str, Any]:
        """For ``--json``."""
        return {
            "slice": self.manifest.to_json() if self.manifest else None,
            "covered_to": self.covered_to.model_dump() if self.covered_to else None,
            "gap": self.gap,
            "needs_full": self.needs_full,
        }


class SliceRun:
    """One run of ``backup oplog`` against an open server; the lock is held around it."""

    def __init__(
        self, config: Config, store: Store, client: MongoClient[Document], held: BucketLock | None
    ) -> None:
        """Without ``held``, the bucket's lock, nothing is stored."""
        self._config = config
        self._store = store
        self._client = client
        self._held = held
        self._server: ServerInfo = server_info(client)
        self._server_id = replica_set_id(client)

    def run(self, catalog: Catalog, progress: Callable[[int], None] | None) -> SliceResult:
        """Continue the newest chain; where it is broken, the newest full if that lies after it."""
        resume = catalog.resume()
        if resume is None:
            return SliceResult(needs_full=True)
        try:
            return self._continue(resume, catalog, progress)
        except ChainBrokenError as broken:
            stored_to = broken.stored_to or resume.start
            gap = f"{broken}; everything after {stored_to} up to the next full backup is lost"
            later = catalog.resume_from_full()
            if later is not None and later.start > stored_to:
                with contextlib.suppress(ChainBrokenError):
                    result = self._continue(later, catalog, progress)
                    return SliceResult(result.manifest, result.covered_to, gap)
            return SliceResult(gap=gap, needs_full=True)

    def _continue(
        self, resume: Resume, catalog: Catalog, progress: Callable[[int], None] | None
    ) -> SliceResult:
        """Store everything after ``resume``.

        Raises:
            ChainBrokenError: the oplog does not continue there, or cannot be followed to its end; what
                comes before that is stored.
        """
        if not same_server(resume.server_id, self._server_id):
            raise ChainBrokenError(
                f"this is another replica set ({self._server_id}) than the one that was"
                f" backed up ({resume.server_id})"
            )
        started_at = datetime.now(UTC)
        wanted = window(self._server, resume.start, self._config.backup.oplog_settle_seconds)
        # Entries are added to what the full under them holds, whatever the configuration says by now.
        base = catalog.base_at(resume.start)
        reader = SliceReader(self._client, wanted, base.choice if base else None)
        manifest = None
        if reader.anything_new and self._held is not None:
            manifest = self._store_slice(self._held, resume, wanted, reader, started_at, progress)
        if reader.crossing is not None:
            raise ChainBrokenError(str(reader.crossing), reader.last)
        return SliceResult(manifest, wanted.limit if manifest else max(wanted.limit, resume.start))

    def _store_slice(
        self,
        held: BucketLock,
        resume: Resume,
        wanted: Window,
        reader: SliceReader,
        started_at: datetime,
        progress: Callable[[int], None] | None,
    ) -> Manifest:
        config = self._config
        backup_id = new_id(started_at)
        until = retain_until(started_at, "oplog", config.backup.retention_days)
        stored = put_compressed(
            self._store,
            f"oplog/{backup_id}/{DATA_NAME}",
            reader.chunks(),
            until,
            progress,
            recipients=config.encryption.recipients,
            compression=config.backup.compression,
        )
        manifest = Manifest(
            kind="oplog",
            id=backup_id,
            app=config.app,
            environment=config.environment,
            class_="oplog",
            host=host_name(),
            started_at=started_at,
            finished_at=datetime.now(UTC),
            retain_until=until,
            object=stored,
            oplog=OplogRange(
                start=wanted.start,
                end=reader.last,
                count=reader.count,
                overlaps=True,
                covered_to=reader.covered_to,
            ),
            previous=resume.previous,
            versions=Versions(steward=__version__, server=self._server.version),
            server_id=self._server_id,
        )
        held.confirm()
        self._store.put_json(manifest.manifest_key, manifest.to_json(), until)
        return manifest


def run_slice(
    config: Config,
    store: Store,
    *,
    dry_run: bool = False,
    progress: Callable[[int], None] | None = None,
    begin: Callable[[], None] | None = None,
) -> SliceResult:
    """Store what the oplog holds after the last stored entry, under the lock of slices.

    Args:
        begin: called once the locks are held; what it raises ends the run.

    Raises:
        StewardError: it failed, the server keeps no oplog, or this host's clock is wrong.
        LockHeldError: another run stores a slice, on this host or another.
    """
    with (
        lock(config.state_dir, lock_name(config, "oplog")),
        contextlib.nullcontext() if dry_run else bucket_lock(store, config.state_dir, "oplog") as held,
    ):
        if begin is not None:
            begin()
        with mongo_errors(config.mongodb.uri), contextlib.closing(open_mongo(config)) as client:
            if not has_oplog(client):
                raise StewardError(
                    "this MongoDB keeps no oplog, so only full backups are possible: run it as a replica set"
                    " of one (replication.replSetName in mongod.conf, then rs.initiate()) and take a full"
                    " backup"
                )
            check_clock(datetime.now(UTC), store.server_time(), "no slice is stored")
            run = SliceRun(config, store, client, held)
            return run.run(read_catalog(config, store, note), progress)
