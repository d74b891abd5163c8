"""``steward logs archive``: rotated logs that are old enough go to cold storage and leave the disk.

A file is read twice: for its digest, which is part of its key, and to send it. So a run that was killed
after an upload finds the object by its key and only removes the file; and a file of the same name with
another content is another object. The file is removed when the service has confirmed what it holds, and
only if nobody has changed it meanwhile. Nothing is written to the disk on the way.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import Any

from steward.backup.pipeline import Meter, compress
from steward.clock import check_clock
from steward.logs.files import HeldFile, LogFile, NotYet, find, hold
from steward.logs.settings import ArchiveSettings, LogsConfig
from steward.logs.store import PREFIX, LogStore
from steward.output import size_text

READ_BYTES = 1024 * 1024
#: What is compressed already is stored as it is.
_COMPRESSED = (".gz", ".zst", ".xz", ".bz2")
#: A file that was written to within this time is left for another day, whatever its name says.
QUIET = timedelta(days=1)
Progress = Callable[[int], None]


@dataclass(frozen=True)
class Archived:
    """A file that is in the archive, and no longer on the disk. Sizes in bytes."""

    path: str
    key: str
    size: int
    #: As it is stored; None when an earlier run had stored it.
    stored: int | None

    def to_json(self) -> dict[str, Any]:
        """For ``--json``."""
        return {"path": self.path, "key": self.key, "size": self.size, "stored": self.stored}


@dataclass
class ArchiveReport:
    """What a run did."""

    dry_run: bool
    archived: list[Archived] = field(default_factory=list)
    #: Path -> why it stays for another day.
    kept: dict[str, str] = field(default_factory=dict)
    #: Path -> what went wrong with this file alone.
    failed: dict[str, str] = field(default_factory=dict)
    #: Removed by somebody else meanwhile.
    vanished: int = 0

    @property
    def size(self) -> int:
        """Bytes that left the disk, or would."""
        return sum(one.size for one in self.archived)

    @property
    def summary(self) -> str:
        """In a few words."""
        verb = "would be archived" if self.dry_run else "archived"
        return f"{len(self.archived)} files ({size_text(self.size)}) {verb}"

    def text(self) -> str:
        """For people."""
        lines = [f"{one.path} -> {one.key}" for one in self.archived]
        lines += [f"{path}: stays, it {reason}" for path, reason in self.kept.items()]
        return "\n".join([*lines, self.summary])

    def to_json(self) -> dict[str, Any]:
        """For ``--json``."""
        return {
            "dry_run": self.dry_run,
            "archived": [one.to_json() for one in self.archived],
            "bytes": self.size,
            "kept": self.kept,
            "failed": self.failed,
            "vanished": self.vanished,
        }


def old_files(config: LogsConfig, older_than_days: int, today: date) -> list[LogFile]:
    """Rotated files whose day is more than so many days ago, the oldest first.

    Raises:
        StewardError: a log folder cannot be read.
    """
    last = today - timedelta(days=older_than_days)
    found = [log for log in find(config.source) if log.day is not None and log.day < last]
    return sorted(found, key=lambda log: (log.day or date.min, log.source, log.name))


def archive(
    config: LogsConfig, settings: ArchiveSettings, store: LogStore, *, dry_run: bool, progress: Progress
) -> ArchiveReport:
    """Archive what is old enough.

    Args:
        progress: called with the bytes of logs that were sent so far.

    Raises:
        StewardError: the store or a folder cannot be used, or this host's clock is wrong; what was archived
            before is.
    """
    now = datetime.now(UTC)
    check_clock(now, store.server_time(), "no log is archived")
    report, sent = ArchiveReport(dry_run), 0

    def show(size: int) -> None:
        nonlocal sent
        sent += size
        progress(sent)

    for log in old_files(config, settings.older_than_days, now.date()):
        path = str(log.path).encode("utf-8", "backslashreplace").decode()
        if path != str(log.path):
            # Neither a key nor what is printed can hold it; the others must not wait for it.
            report.failed[path] = "its name is not UTF-8"
            continue
        # A time in the future is no sign of a write: the clock was wrong then.
        if timedelta(0) <= now - datetime.fromtimestamp(log.modified, UTC) < QUIET:
            report.kept[path] = "was written to within the last day"
            continue
        try:
            with hold(log) as held:
                report.archived.append(_archive(config, store, log, held, show, dry_run=dry_run))
        except FileNotFoundError:
            report.vanished += 1
        except NotYet as reason:
            report.kept[path] = str(reason)
        except OSError as error:
            report.failed[path] = error.strerror or str(error)
    return report


def _archive(
    config: LogsConfig, store: LogStore, log: LogFile, held: HeldFile, show: Progress, *, dry_run: bool
) -> Archived:
    digest = hashlib.file_digest(held.file, "sha256").hexdigest()
    key = key_of(config.host, log, digest)
    if dry_run:
        return Archived(str(log.path), key, held.size, None)
    if store.size(key) is None:
        held.file.seek(0)
        meter = Meter()
        chunks = _checked(meter.watch(_read(held, show)), meter, digest)
        stored = store.put(key, chunks if _is_compressed(log.name) else compress(chunks)).size
    else:
        stored = None
    held.remove()
    return Archived(str(log.path), key, held.size, stored)


def key_of(host: str, log: LogFile, digest: str) -> str:
    """Where a file is archived: by host and day, and by its content."""
    if log.day is None:
        raise ValueError(f"{log.name} has no day")
    ending = "" if _is_compressed(log.name) else ".zst"
    return f"{PREFIX}{host}/{log.day:%Y/%m/%d}/{log.source}/{digest[:32]}-{log.name}{ending}"


def _is_compressed(name: str) -> bool:
    return name.endswith(_COMPRESSED)


def _read(held: HeldFile, show: Progress) -> Iterator[bytes]:
    while chunk := held.file.read(READ_BYTES):
        yield chunk
        show(len(chunk))


def _checked(chunks: Iterator[bytes], meter: Meter, digest: str) -> Iterator[bytes]:
    """The stream; it ends with an error, and so no object, unless it is the one that was read before."""
    yield from chunks
    if meter.digest.hexdigest() != digest:
        raise NotYet("was changed while it was archived")
