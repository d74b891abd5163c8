"""Which backups are to be read again today, so that every stored byte is read once in so many days.

Each backup has its turn, which follows from its id alone, so the load spreads evenly and no two hosts
need to agree. What was last read when stands in a small file: with it a day that was missed is caught
up, and what was found damaged or could not be read comes again the next time. A lost file makes every
backup due.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from datetime import date, timedelta
from pathlib import Path

from steward.output import note


def turn(backup_id: str, every_days: int) -> int:
    """The day within a round of ``every_days`` days on which a backup is read."""
    digest = hashlib.sha256(backup_id.encode()).digest()
    return int.from_bytes(digest[:8], "big") % every_days


def is_due(backup_id: str, last_read: date | None, today: date, every_days: int) -> bool:
    """Whether a backup is to be read today.

    It is when it was never read, or not since its last turn, today's included.
    """
    if last_read is None or last_read > today:  # of a time when a clock was wrong
        return True
    days_ago = (today.toordinal() - turn(backup_id, every_days)) % every_days
    return last_read < today - timedelta(days=days_ago)


class ReadLog:
    """When each backup was last read and found good; a file that is replaced by rename."""

    def __init__(self, path: Path) -> None:
        """Take up what the file says; an unreadable one is as good as none, and noted."""
        self._path = path
        self._read: dict[str, date] = {}
        self._writable = True
        try:
            document = json.loads(path.read_text(encoding="utf-8"))
            self._read = {str(k): date.fromisoformat(v) for k, v in document["read"].items()}
        except FileNotFoundError:
            pass
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            note(f"{path}: cannot be read, so every backup is read again: {error}")

    def due(self, ids: Iterable[str], today: date, every_days: int) -> list[str]:
        """Those of ``ids`` that are to be read today; everything else is forgotten."""
        known = list(ids)
        self._read = {i: self._read[i] for i in known if i in self._read}
        return [i for i in known if is_due(i, self._read.get(i), today, every_days)]

    def good(self, backup_id: str, today: date) -> None:
        """A backup was read today and found good; from here on a killed run has not to read it again.

        A file that cannot be written is told once: what was found is worth more.
        """
        self._read[backup_id] = today
        text = json.dumps({"read": {i: day.isoformat() for i, day in self._read.items()}}, indent=1)
        temporary = self._path.with_suffix(".tmp")  # one run at a time: the lock is held
        try:
            temporary.write_text(text + "\n", encoding="utf-8")
            temporary.replace(self._path)
        except OSError as error:
            if self._writable:
                note(f"{self._path}: cannot be written, so all is read again: {error.strerror}")
            self._writable = False
