"""``steward logs usage``: what logs take of the disks, and when these will be full.

A disk's use is noted at each run. How fast it grows is the median of the slopes between all pairs of notes
(the Theil-Sen estimator): neither the daily fall when logs are compressed and removed nor one large file
that came and went moves it much.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import statistics
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from itertools import combinations
from pathlib import Path
from typing import Any, Literal

from steward.logs.files import find
from steward.logs.settings import LogsConfig, UsageSettings
from steward.output import note, size_text

DAY_S = 86_400.0
#: Notes are kept for so long; a growth of half a year ago tells nothing.
HISTORY_S = 14 * DAY_S
#: A shorter time shows the hour of the day rather than the growth.
LEAST_S = DAY_S
#: Notes that are compared with each other; of more, every n-th.
MOST_NOTES = 200
State = Literal["ok", "warning", "critical"]


@dataclass(frozen=True)
class Note:
    """A disk's use at a moment: Unix time, bytes."""

    at: float
    used: int


@dataclass
class Disk:
    """A file system that holds logs. Sizes in bytes."""

    #: A folder on it.
    path: str
    total: int
    used: int
    #: What a user who is not root can still write.
    free: int
    inodes_percent: float
    growth_per_day: float | None = None

    @property
    def used_percent(self) -> float:
        """As ``df`` counts: of what ordinary users can have."""
        usable = self.used + self.free
        return 100 * self.used / usable if usable else 100.0

    @property
    def full_in_days(self) -> float | None:
        """Days until it is full, if it goes on so; None: it does not grow, or that is not known yet."""
        if self.growth_per_day is None or self.growth_per_day <= 0:
            return None
        return self.free / self.growth_per_day

    def problems(self, limits: UsageSettings) -> tuple[State, list[str]]:
        """How bad it is, and why."""
        worst = max(self.used_percent, self.inodes_percent)
        reasons = []
        if worst >= limits.warn_percent:
            what = "used" if worst == self.used_percent else "of the inodes used"
            reasons.append(f"{worst:.0f} % {what}")
        if self.full_in_days is not None and self.full_in_days < limits.full_within_days:
            reasons.append(f"full in {self.full_in_days:.1f} days")
        if worst >= limits.critical_percent or (self.full_in_days is not None and self.full_in_days < 1):
            return "critical", reasons
        return ("warning", reasons) if reasons else ("ok", [])


@dataclass
class SourceUse:
    """The logs of one program."""

    name: str
    files: int = 0
    size: int = 0
    #: Rotated files that an archive run should have taken by now.
    overdue: int = 0


@dataclass
class Usage:
    """Disks and sources."""

    limits: UsageSettings
    disks: list[Disk]
    sources: list[SourceUse]
    state: State = "ok"
    problems: list[str] = field(default_factory=list)

    def judge(self) -> None:
        """Fill :attr:`state` and :attr:`problems`."""
        order: list[State] = ["ok", "warning", "critical"]
        for disk in self.disks:
            state, reasons = disk.problems(self.limits)
            self.state = max(self.state, state, key=order.index)
            self.problems += [f"{disk.path}: {reason}" for reason in reasons]

    def text(self) -> str:
        """For people."""
        row = "{:28} {:>11} {:>11} {:>7} {:>13}  {}"
        lines = [row.format("disk", "size", "free", "used", "growth a day", "full in")]
        for disk in self.disks:
            growth = "not known yet" if disk.growth_per_day is None else _signed(disk.growth_per_day)
            full = "-" if disk.full_in_days is None else f"{disk.full_in_days:.1f} days"
            percent = f"{disk.used_percent:.0f} %"
            lines.append(
                row.format(disk.path, size_text(disk.total), size_text(disk.free), percent, growth, full)
            )
        lines += ["", "{:28} {:>11} {:>7} {:>8}".format("logs of", "size", "files", "overdue")]
        for one in sorted(self.sources, key=lambda s: -s.size):
            lines.append(f"{one.name:28} {size_text(one.size):>11} {one.files:>7} {one.overdue:>8}")
        return "\n".join(lines)

    def to_json(self) -> dict[str, Any]:
        """For ``--json``."""
        return {
            "state": self.state,
            "problems": self.problems,
            "disks": [
                {
                    "path": d.path,
                    "total_bytes": d.total,
                    "used_bytes": d.used,
                    "free_bytes": d.free,
                    "used_percent": round(d.used_percent, 1),
                    "inodes_percent": round(d.inodes_percent, 1),
                    "growth_bytes_per_day": None if d.growth_per_day is None else round(d.growth_per_day),
                    "full_in_days": None if d.full_in_days is None else round(d.full_in_days, 1),
                }
                for d in self.disks
            ],
            "sources": [
                {"name": s.name, "files": s.files, "bytes": s.size, "overdue": s.overdue}
                for s in self.sources
            ],
        }


def _signed(size: float) -> str:
    return f"{'-' if size < 0 else '+'}{size_text(round(abs(size)))}"


def growth_per_day(notes: Iterable[Note]) -> float | None:
    """Bytes a day; None while the notes span less than a day."""
    known = sorted(notes, key=lambda n: n.at)
    if len(known) < 2 or known[-1].at - known[0].at < LEAST_S:
        return None
    step = math.ceil(len(known) / MOST_NOTES)
    known = known[::-1][::step][::-1]  # the newest one is always among them
    slopes = [(b.used - a.used) / (b.at - a.at) for a, b in combinations(known, 2) if b.at > a.at]
    return statistics.median(slopes) * DAY_S if slopes else None


class History:
    """The notes of earlier runs, a line each: damaged ones and those of the future are forgotten."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def read(self, now: float) -> list[tuple[float, dict[str, int]]]:
        """Moment, and bytes used by disk."""
        try:
            lines = self._path.read_text(encoding="utf-8").splitlines()
        except (OSError, UnicodeDecodeError):
            return []
        found = []
        for line in lines:
            try:
                document = json.loads(line)
                at, used = float(document["at"]), {str(k): int(v) for k, v in document["used"].items()}
            except (ValueError, TypeError, KeyError, AttributeError):
                continue
            if now - HISTORY_S <= at <= now:
                found.append((at, used))
        return found

    def write(self, notes: list[tuple[float, dict[str, int]]]) -> None:
        """Keep these, by rename; a full disk is told, for what was found still counts."""
        temporary = self._path.with_suffix(".tmp")
        try:
            self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            text = "".join(json.dumps({"at": at, "used": used}) + "\n" for at, used in notes)
            temporary.write_text(text, encoding="utf-8")
            temporary.replace(self._path)
        except OSError as error:
            with contextlib.suppress(OSError):
                temporary.unlink()
            note(f"{self._path}: the growth cannot be noted: {error.strerror}")


def measure(config: LogsConfig, overdue: Mapping[str, int], now: float | None = None) -> Usage:
    """Look at the disks and sources, and note the disks' use.

    Args:
        overdue: source -> files that should have been archived.
        now: Unix time.

    Raises:
        StewardError: a log folder cannot be read.
    """
    now = time.time() if now is None else now
    uses = {
        source.name: SourceUse(source.name, overdue=overdue.get(source.name, 0)) for source in config.source
    }
    for log in find(config.source):
        uses[log.source].files += 1
        uses[log.source].size += log.size
    disks = _disks(config)
    history = History(config.state_dir / f"logs-usage-{config.app}-{config.environment}.jsonl")
    notes = history.read(now)
    notes.append((now, {disk.path: disk.used for disk in disks}))
    history.write(notes)
    for disk in disks:
        disk.growth_per_day = growth_per_day(
            Note(at, used[disk.path]) for at, used in notes if disk.path in used
        )
    found = Usage(config.usage, disks, list(uses.values()))
    found.judge()
    return found


def _disks(config: LogsConfig) -> list[Disk]:
    """Each file system that a source lies on, once, by its first folder."""
    folders = sorted({str(Path(path).parent) for source in config.source for path in source.paths})
    found: dict[int, Disk] = {}
    for folder in folders:
        try:
            device, facts = Path(folder).stat().st_dev, os.statvfs(folder)
        except FileNotFoundError:
            continue
        if device not in found:
            found[device] = Disk(
                path=folder,
                total=facts.f_blocks * facts.f_frsize,
                used=(facts.f_blocks - facts.f_bfree) * facts.f_frsize,
                free=facts.f_bavail * facts.f_frsize,
                inodes_percent=100 * (1 - facts.f_favail / facts.f_files) if facts.f_files else 0.0,
            )
    return list(found.values())
