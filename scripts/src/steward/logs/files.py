"""Finding rotated logs, and holding on to one so that nobody can put another in its place.

The folders belong to the users that write the logs, and steward runs as root: no link is followed, and
a file is removed by its name in the folder that was opened, only while it still is the file that was read.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import fnmatch
import os
import re
import stat
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date
from io import BufferedReader
from pathlib import Path, PurePosixPath

from steward.errors import StewardError
from steward.logs.settings import Source

#: The day in the name of a rotated file: of logrotate (``dateext``), and of Winston's daily files.
_DAY = re.compile(r"(?<!\d)(20\d\d)-?([01]\d)-?([0-3]\d)(?!\d)")


class NotYet(Exception):  # noqa: N818 - not an error: the file stays for another day
    """Why a file is left where it is."""


@dataclass(frozen=True)
class LogFile:
    """One file in a log folder."""

    source: str
    folder: Path
    name: str
    #: Bytes, and Unix time of the last write.
    size: int
    modified: float

    @property
    def path(self) -> Path:
        """Where it lies."""
        return self.folder / self.name

    @property
    def day(self) -> date | None:
        """The day in its name; None for one that is not rotated."""
        return day_of(self.name)


def day_of(name: str) -> date | None:
    """The last day that a file's name tells, if any."""
    for found in reversed(list(_DAY.finditer(name))):
        with contextlib.suppress(ValueError):
            return date(*map(int, found.groups()))
    return None


def find(sources: Iterable[Source]) -> Iterator[LogFile]:
    """Every ordinary file of these sources, once, by source and name. What vanishes meanwhile is left out.

    Raises:
        StewardError: a folder cannot be read.
    """
    seen: set[Path] = set()
    for source in sources:
        for pattern in source.paths:
            parts = PurePosixPath(pattern)
            folder = Path(parts.parent)
            try:
                names = sorted(fnmatch.filter(os.listdir(folder), parts.name))  # noqa: PTH208 - as bytes of names
            except FileNotFoundError:
                continue  # a program that has not logged yet
            except OSError as error:
                raise StewardError(f"{folder}: cannot be read: {error.strerror}") from error
            for name in names:
                path = folder / name
                with contextlib.suppress(FileNotFoundError):
                    found = path.lstat()
                    if stat.S_ISREG(found.st_mode) and path not in seen:
                        seen.add(path)
                        yield LogFile(source.name, folder, name, found.st_size, found.st_mtime)


class HeldFile:
    """A file that is open for reading; made by :func:`hold`."""

    def __init__(self, folder: int, file: BufferedReader, name: str) -> None:
        self._folder = folder
        self._name = name
        self._seen = os.fstat(file.fileno())
        self.file = file

    @property
    def size(self) -> int:
        """Bytes when it was opened."""
        return self._seen.st_size

    def unchanged(self) -> bool:
        """Nobody has written to it since it was opened, nor put another in its place."""
        now = os.fstat(self.file.fileno())
        try:
            named = os.stat(self._name, dir_fd=self._folder, follow_symlinks=False)
        except FileNotFoundError:
            return False
        return _same(now, self._seen) and _same(named, self._seen)

    def remove(self) -> None:
        """Remove it.

        Raises:
            NotYet: it is no longer the file that was read.
            OSError: it cannot be removed.
        """
        if not self.unchanged() or is_written(self.file.fileno()):
            raise NotYet("was changed while it was archived")
        os.unlink(self._name, dir_fd=self._folder)


def _same(one: os.stat_result, other: os.stat_result) -> bool:
    return (one.st_dev, one.st_ino, one.st_size, one.st_mtime_ns, one.st_nlink) == (
        other.st_dev,
        other.st_ino,
        other.st_size,
        other.st_mtime_ns,
        other.st_nlink,
    )


@contextmanager
def hold(log: LogFile) -> Iterator[HeldFile]:
    """Open a file that nobody writes to.

    Raises:
        FileNotFoundError: it is gone.
        NotYet: a program still has it open for writing, or it is not what was listed.
        OSError: it cannot be opened.
    """
    folder = os.open(log.folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        try:
            # Not blocking: a pipe with this name would hold us for ever.
            flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
            handle = os.open(log.name, flags, dir_fd=folder)
        except OSError as error:
            if error.errno == errno.ELOOP:
                raise NotYet("is a link") from error
            raise
        with os.fdopen(handle, "rb") as file:
            found = os.fstat(handle)
            if not stat.S_ISREG(found.st_mode):
                raise NotYet("is no file")
            if found.st_nlink != 1:
                # It may be anybody's file under a second name.
                raise NotYet(f"has {found.st_nlink} names (hard links)")
            if is_written(handle):
                raise NotYet("is open for writing")
            yield HeldFile(folder, file, log.name)
    finally:
        os.close(folder)


def is_written(handle: int) -> bool:
    """Whether a process has this file open for writing, as far as the kernel tells us.

    A read lease is granted only while nobody has (fcntl(2), "Leases"); it is given back at once. Some
    file systems know no leases, and others' files need a right (CAP_LEASE): then nobody counts as writing.
    """
    try:
        fcntl.fcntl(handle, fcntl.F_SETLEASE, fcntl.F_RDLCK)
    except BlockingIOError:
        return True
    except OSError:
        return False
    fcntl.fcntl(handle, fcntl.F_SETLEASE, fcntl.F_UNLCK)
    return False
