"""``backup verify``: whether what is stored is there, whole, locked and without a hole.

Without reading data: every manifest parses; every object is there, has its size, and is locked as long
as its manifest promises; slices continue each other. Deep: every byte is read, compared with its digest
and unpacked, every document and every oplog entry is gone through and counted.

No lock against backups is needed: what has a manifest never changes, and what has none is not looked at.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import TypeVar

from steward.backup.catalog import check_owner
from steward.backup.loss import unconnected, vanished
from steward.backup.verification import Finding, Unknown, Verification
from steward.bsonio import check_document
from steward.config import Config
from steward.encryption import NoKeyError
from steward.errors import FaultError, StewardError
from steward.manifest import ALL_CLASSES, MANIFEST_NAME, DataObject, Manifest, Scan, parse
from steward.restore.verify import slice_entries, verify_archive
from steward.storage import ObjectInfo, Store

#: The store is given up after so many objects in a row that it did not answer for.
GIVE_UP_AFTER = 3
REQUESTS_AT_ONCE = 8
#: S3 keeps the end of a lock in whole seconds.
LOCK_TOLERANCE = timedelta(seconds=1)

Answer = TypeVar("Answer")
Progress = Callable[[int], None]


class Verifier:
    """One look at the store; :meth:`read` may follow."""

    def __init__(self, config: Config, store: Store) -> None:
        self._config = config
        self._store = store
        self._failures = 0  # in a row

    def look(self, ids: Iterable[str] = ()) -> Verification:
        """Check everything that can be told without reading data.

        Args:
            ids: what is found is told of these backups only (or beginnings of their ids); none: of all.

        Raises:
            StewardError: the store cannot be listed, or holds another application's backups.
        """
        wanted = tuple(ids)
        now = self._store.server_time()
        found = Verification(now, self._list())
        hidden = self._hidden()
        self._read_manifests(found)
        check_owner(self._config, found.scan.manifests)
        removed = self._removed(found, hidden)
        kept = [m for m in found.scan.manifests if m.retain_until > now]
        for manifest in kept:
            self._check_present(found, manifest, hidden)
        self._check_each_object(found, [m for m in kept if m.id.startswith(wanted or "")])
        found.whole = [m for m in found.scan.manifests if m in kept or found.scan.intact(m)] + removed
        self._check_chain(found)
        if wanted:
            found.findings = [f for f in found.findings if f.backup.startswith(wanted)]
            found.unknown = [u for u in found.unknown if u.backup.startswith(wanted)]
        return found

    def read(self, found: Verification, manifest: Manifest, progress: Progress | None = None) -> None:
        """Read all of a backup that is there; what is wrong or cannot be read is noted in ``found``."""

        def count(size: int) -> None:
            found.bytes_read += size
            if progress is not None:
                progress(found.bytes_read)

        good, sealed = True, False
        for data in manifest.objects:
            if data.key in found.unusable:
                good = False
                continue

            def read(data: DataObject = data) -> bool:
                self._read_object(manifest, data, count)
                return True

            try:
                good &= self._ask(found, manifest.id, data.key, read) is not None
            except FaultError as error:
                good = False
                found.findings.append(Finding("damaged", manifest.id, data.key, str(error), (data.key,)))
            except NoKeyError:  # told only after every stored byte was read and compared
                sealed = True
        if good:
            found.read.append(manifest.id)
            if sealed:
                found.sealed.append(manifest.id)

    def _read_object(self, manifest: Manifest, data: DataObject, count: Progress) -> None:
        if manifest.kind == "full" and data is manifest.object:
            verify_archive(self._store, manifest, count, every_value=True)
        elif manifest.piece is not None:
            for raw in slice_entries(self._store, manifest.piece, count):
                try:
                    check_document(raw)
                except FaultError as error:
                    raise FaultError(f"{data.key}: damaged slice: {error}") from error

    def _ask(
        self, found: Verification, backup_id: str, key: str, call: Callable[[], Answer]
    ) -> Answer | None:
        """What the store answers; None, and noted, when it does not (each call has its own retries).

        Raises:
            FaultError, NoKeyError: of the call.
        """
        if self._failures >= GIVE_UP_AFTER:
            reason = f"not asked for: the store failed {GIVE_UP_AFTER} times in a row"
            found.unknown.append(Unknown(backup_id, key, reason))
            return None
        try:
            answer = call()
        except (FaultError, NoKeyError):
            self._failures = 0
            raise
        except StewardError as error:
            self._failures += 1
            found.unknown.append(Unknown(backup_id, key, str(error)))
            return None
        self._failures = 0
        return answer

    def _list(self) -> Scan:
        return Scan([], {info.key: info for c in ALL_CLASSES for info in self._store.list_prefix(f"{c}/")})

    def _hidden(self) -> dict[str, str]:
        """Key -> version of what was deleted and is still there."""
        return dict(pair for c in ALL_CLASSES for pair in self._store.list_hidden(f"{c}/"))

    def _read_manifests(self, found: Verification) -> None:
        keys = [key for key in found.scan.objects if key.endswith("/" + MANIFEST_NAME)]

        def load(key: str) -> Manifest | None:
            backup_id = _id_of(key)
            try:
                return self._ask(found, backup_id, key, lambda: parse(key, self._store.get_json(key)))
            except FaultError as error:
                found.findings.append(Finding("manifest", backup_id, key, str(error), None))
                return None

        with ThreadPoolExecutor(REQUESTS_AT_ONCE) as pool:
            loaded = [m for m in pool.map(load, keys) if m is not None]
        found.scan.manifests.extend(sorted(loaded, key=lambda m: (m.started_at, m.id)))

    def _removed(self, found: Verification, hidden: dict[str, str]) -> list[Manifest]:
        """Backups whose manifest was deleted before its time."""
        removed = []
        for key, version in hidden.items():
            if not key.endswith("/" + MANIFEST_NAME):
                continue

            def load(key: str = key, version: str = version) -> Manifest:
                return parse(key, self._store.get_json(key, version))

            try:
                manifest = self._ask(found, _id_of(key), key, load)
            except FaultError as error:
                found.findings.append(Finding("manifest", _id_of(key), key, str(error), None))
                continue
            if manifest is None or manifest.retain_until <= found.now:
                continue  # expired, as it should
            removed.append(manifest)
            unusable = tuple(data.key for data in manifest.objects)
            problem = f"{key}: deleted before {manifest.retain_until:%Y-%m-%d %H:%M} UTC, {_back(version)}"
            found.findings.append(Finding("manifest", manifest.id, key, problem, unusable))
        return removed

    def _check_present(self, found: Verification, manifest: Manifest, hidden: dict[str, str]) -> None:
        for data in manifest.objects:
            info = found.scan.objects.get(data.key)
            if info is None:
                rest = _back(hidden[data.key]) if data.key in hidden else "and no version of it is left"
                problem = f"{data.key}: missing in the bucket although its manifest is there, {rest}"
                found.findings.append(Finding("missing", manifest.id, data.key, problem, (data.key,)))
            elif info.size != data.size:
                problem = f"{data.key}: damaged, {info.size} bytes instead of {data.size}"
                found.findings.append(Finding("damaged", manifest.id, data.key, problem, (data.key,)))

    def _check_each_object(self, found: Verification, kept: list[Manifest]) -> None:
        """What only a request for each object tells: its lock and its checksum."""
        locks = bool(self._config.storage.object_lock_mode)
        asked: list[tuple[Manifest, str, DataObject | None]] = []
        for manifest in kept:
            asked += [(manifest, data.key, data) for data in manifest.objects if found.scan.holds(data)]
            asked += [(manifest, manifest.manifest_key, None)] if locks else []

        def check(item: tuple[Manifest, str, DataObject | None]) -> None:
            manifest, key, data = item
            info = self._ask(found, manifest.id, key, lambda: self._store.head(key))
            if info is None:
                return
            if data is not None and not _checksum_fits(info, data):
                problem = f"{key}: damaged, the store's checksum of it is not the one of the manifest"
                found.findings.append(Finding("damaged", manifest.id, key, problem, (key,)))
            until = info.locked_until
            if locks and (until is None or until < manifest.retain_until - LOCK_TOLERANCE):
                told = f"locked only until {until:%Y-%m-%d %H:%M}" if until else "not locked"
                promised = f"instead of until {manifest.retain_until:%Y-%m-%d %H:%M} UTC"
                problem = f"{key}: {told} {promised}; it could be deleted before its time"
                found.findings.append(Finding("unlocked", manifest.id, key, problem))

        with ThreadPoolExecutor(REQUESTS_AT_ONCE) as pool:
            list(pool.map(check, asked))
        found.objects = len(asked)
        found.findings.sort(key=lambda f: (f.backup, f.key))

    def _check_chain(self, found: Verification) -> None:
        """Find what is not there although a slice continues it."""
        known = {u.backup for u in found.unknown} | {m.id for m in found.scan.manifests}
        retention = self._config.backup.retention_days
        for gone in vanished(found.whole, known, retention, found.now):
            unusable = None
            if gone.bridge is not None:
                found.whole.append(gone.bridge)
                unusable = (gone.bridge.object.key,)
            named = [n for n, f in enumerate(found.findings) if f.backup == gone.id]
            if named:  # its manifest cannot be read: now it is known what that costs
                old = found.findings[named[0]]
                found.findings[named[0]] = Finding(old.kind, old.backup, old.key, old.problem, unusable)
                continue
            problem = f"{gone.id}: nothing of it is left, although {gone.continued_by.id} continues it"
            found.findings.append(Finding("vanished", gone.id, f"oplog/{gone.id}/", problem, unusable))
        for before, after in unconnected(found.whole):
            problem = f"{after.manifest_key}: it begins behind the end of {before.id}, which it continues"
            found.findings.append(Finding("unconnected", after.id, after.manifest_key, problem, None))


def _id_of(key: str) -> str:
    return key.split("/")[1]


def _back(version: str) -> str:
    return f"but a version of it is left: copy {version} back"


def _checksum_fits(info: ObjectInfo, data: DataObject) -> bool:
    """Whether the store's own checksum is that of the manifest, where the manifest tells it.

    It does for an object of one part: S3 keeps the digest of the parts' digests, with "-" and their
    number behind it, or the digest itself for an object that was not uploaded in parts.
    """
    if info.checksum is None or data.parts != 1:
        return True
    told, _, parts = info.checksum.partition("-")
    if parts not in ("", "1"):  # copied in other parts since
        return True
    whole = bytes.fromhex(data.sha256)
    return told in {base64.b64encode(d).decode("ascii") for d in (whole, hashlib.sha256(whole).digest())}
