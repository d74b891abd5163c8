"""One run at a time across hosts: a lock in the bucket, beside the host's own.

Two hosts that back up the same application lose nothing: slices may overlap, and two fulls are two
fulls. But each costs the database its load and the bucket its space, so only one is to work.

The lock is the object ``lock/<job>.json``, written on condition that nobody else wrote it meanwhile
(``If-None-Match``, ``If-Match``). Its holder renews it every :data:`RENEW_S` seconds. One that was
not renewed for :data:`STALE_S` is taken over; its age is the ``Date`` of the store's answer minus the
object's ``Last-Modified``, so no host's clock counts. A holder proves with a last renewal, just before
its manifest, that it still holds the lock; one that was stalled for too long fails there.

Hosts may not delete, so the lock is overwritten, and the bucket keeps every version as long as its
default lock says. That is why it is renewed rarely.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import secrets
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from steward.backup.catalog import host_name
from steward.errors import LockHeldError, StewardError
from steward.manifest import rfc3339
from steward.output import note
from steward.storage import Store, Versioned

#: Where the locks lie; not a class of backups.
PREFIX = "lock/"
RENEW_S = 300.0
STALE_S = 900.0
_MACHINE_ID = Path("/etc/machine-id")


class BucketLock:
    """A lock that this run holds; made by :func:`bucket_lock`."""

    def __init__(self, store: Store, key: str, content: dict[str, Any]) -> None:
        self._store = store
        self._key = key
        self._content = content
        self._renewals = 0
        self._etag: str | None = None
        # The renewing thread and the run's own last renewal take turns.
        self._turn = threading.Lock()

    def acquire(self) -> None:
        """Take the lock.

        Raises:
            LockHeldError: another host works.
            StewardError: the store refuses, or cannot be reached.
        """
        # Written before it is read: S3 tells that a key is missing only to who may list the whole bucket.
        found = self._put("held", None)
        if found is None:
            return
        holder = _holder(found.document)
        if holder is not None:
            age = found.age.total_seconds()
            # The host's own lock is ours, so an earlier run on this host is dead.
            if holder.get("owner") != self._content["owner"] and age <= STALE_S:
                raise LockHeldError(
                    f"{_name(holder)} holds the lock {self._key} in the bucket, renewed {age:.0f} s ago;"
                    f" wait for it, one that is dead is taken over after {STALE_S:.0f} s"
                )
            note(f"{_name(holder)} left the lock {self._key} behind {age:.0f} s ago; taken over")
        if self._put("held", found.etag) is not None:
            raise LockHeldError(
                f"another host took the lock {self._key} in the bucket this moment; wait for it"
            )

    def confirm(self) -> None:
        """Prove that the lock is still held, and for :data:`STALE_S` more; the manifest follows at once.

        Raises:
            StewardError: it was lost, or that cannot be told.
        """
        found = self.renew()
        if found is not None:
            holder = _holder(found.document)
            raise StewardError(
                f"this run was stalled and lost the lock {self._key} in the bucket to"
                f" {_name(holder) if holder else 'another run'}; nothing of it counts as a backup"
            )

    def renew(self) -> Versioned | None:
        """Write the lock again; what somebody else wrote instead, if it is lost.

        Raises:
            StewardError: the store refuses, or cannot be reached.
        """
        with self._turn:
            return self._put("held", self._etag)

    def release(self) -> None:
        """Leave the lock to others; where that fails it becomes stale, which is good enough."""
        with self._turn, contextlib.suppress(StewardError):
            self._put("released", self._etag)

    def _put(self, state: str, etag: str | None) -> Versioned | None:
        """Write the lock over the version ``etag``; what another run wrote instead, if it did."""
        # The number makes each version another one, whatever the store makes ETags of.
        self._renewals += 1
        content = {**self._content, "state": state, "number": self._renewals}
        while (stored := self._store.put_versioned(self._key, content, etag)) is None:
            found = self._store.get_versioned(self._key)
            if found is None:
                raise StewardError(
                    f"{self._key} was removed from the bucket this moment; run the command again"
                )
            if found.document == content:
                # The answer was lost, and the repetition met what the request had stored.
                stored = found.etag
                break
            if not isinstance(found.document, dict) or found.document.get("run") != self._content["run"]:
                return found
            # Our own version, of a renewal that was stored and looked as if it had failed.
            etag = found.etag
        self._etag = stored
        return None


@contextmanager
def bucket_lock(store: Store, state_dir: Path, job: str) -> Iterator[BucketLock]:
    """Hold the bucket's lock of ``job`` for the length of the block; the host's own lock is held around it.

    Args:
        state_dir: tells this steward from another one on the same host.

    Raises:
        LockHeldError: naming the holder.
        StewardError: the store refuses, or cannot be reached.
    """
    held = BucketLock(
        store,
        f"{PREFIX}{job}.json",
        {
            "owner": _owner(state_dir),
            "host": host_name(),
            "pid": os.getpid(),
            "since": rfc3339(datetime.now(UTC)),
            "run": secrets.token_hex(8),
        },
    )
    held.acquire()
    ended = threading.Event()
    thread = threading.Thread(target=_keep, args=(held, ended), name="bucket-lock", daemon=True)
    thread.start()
    try:
        yield held
    finally:
        ended.set()
        # First the thread: a renewal that comes after the release would hold what nobody holds.
        thread.join()
        held.release()


def _keep(held: BucketLock, ended: threading.Event) -> None:
    """Renew the lock until the run ends; what is lost, the run itself finds out in the end."""
    while not ended.wait(RENEW_S):
        with contextlib.suppress(StewardError):
            if held.renew() is not None:
                return


def _owner(state_dir: Path) -> str:
    """Names this steward on this host, the same in each of its runs."""
    try:
        machine = _MACHINE_ID.read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError):
        machine = ""
    text = "\0".join((host_name(), machine, str(state_dir.resolve())))
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _holder(document: object) -> dict[str, Any] | None:
    """Who holds the lock; None when it was released, or is not one of ours."""
    if isinstance(document, dict) and document.get("state") == "held":
        return document
    return None


def _name(holder: dict[str, Any]) -> str:
    return f"{holder.get('host')} (pid {holder.get('pid')}, since {holder.get('since')})"
