"""``python -m bench.recovery``: how long a slice takes, and how long a restore takes by its size.

The figures of docs/recovery.md. The stand-in database and an S3 endpoint on loopback, so they say
what steward and this machine do, not what a real server or a network adds.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench.database import fill, mongod
from bench.stats import Spread, table
from tests.faults.restore_bench import DATABASE, Bench
from tests.support import aws

#: A slice holds this part of the documents as new ones: an hour of a busy shop beside all its orders.
SLICE_SHARE = 20
MB = 1e6


@dataclass
class Figures:
    """What was measured at one size."""

    documents: int
    archive_mb: float = 0.0
    full_s: float = 0.0
    slice_s: list[float] = field(default_factory=list)
    restore_s: list[float] = field(default_factory=list)
    load_documents_per_s: list[float] = field(default_factory=list)
    replay_entries_per_s: list[float] = field(default_factory=list)
    estimate_s: int = 0

    def row(self) -> list[str]:
        """A row of :data:`HEADER`."""
        return [
            f"{self.documents:,}",
            f"{self.archive_mb:.1f}",
            f"{self.full_s:.1f}",
            Spread.of(self.slice_s).text(),
            Spread.of(self.restore_s).text(1),
            f"{self.estimate_s}",
            Spread.of(self.load_documents_per_s).text(0),
            Spread.of(self.replay_entries_per_s).text(0),
        ]


HEADER = (
    "documents",
    "archive, MB",
    "full, s",
    "slice, s",
    "restore, s",
    "estimated, s",
    "loaded a second",
    "replayed a second",
)


def main() -> None:
    """Measure every size and print the table."""
    parser = argparse.ArgumentParser(prog="python -m bench.recovery", description=__doc__)
    parser.add_argument("--documents", type=int, nargs="+", default=[1000, 10_000, 40_000], metavar="N")
    parser.add_argument("--runs", type=int, default=3, help="slices and restores of each size; default 3")
    options = parser.parse_args()
    if min(options.documents) < SLICE_SHARE or options.runs < 1:
        parser.error(f"--documents takes {SLICE_SHARE} or more, --runs 1 or more")
    with tempfile.TemporaryDirectory(prefix="steward-recovery-") as name:
        folder = Path(name)
        process, endpoint = aws.start(folder)
        try:
            rows = [measure(folder / str(n), endpoint, n, options.runs).row() for n in options.documents]
        finally:
            aws.stop(process)
    print(table(HEADER, rows), end="")


def measure(folder: Path, endpoint: aws.AwsEndpoint, documents: int, runs: int) -> Figures:
    """One full of so many documents; then, ``runs`` times, a slice and a restore of all up to it."""
    found = Figures(documents)
    with mongod(folder / "live", oplog_mb=256) as live:
        bench = Bench(folder / "bench", endpoint, live)
        fill(live, range(documents), DATABASE)
        begun = time.monotonic()
        bench.steward("backup", "full", "--json")
        found.full_s = time.monotonic() - begun
        for number in range(runs):
            first = documents + number * (documents // SLICE_SHARE)
            fill(live, range(first, first + documents // SLICE_SHARE), DATABASE)
            settled(int(time.time()))
            begun = time.monotonic()
            bench.steward("backup", "oplog", "--json")
            found.slice_s.append(time.monotonic() - begun)
            with mongod(folder / f"target{number}", oplog_mb=256) as target:
                add(found, bench.restore(target, "latest").json)
    return found


def add(found: Figures, report: dict[str, Any]) -> None:
    """The figures of one restore, from its own report."""
    plan, seconds = report["plan"], report["seconds"]
    found.archive_mb = plan["base"]["raw_bytes"] / MB
    found.estimate_s = plan["estimate_seconds"]
    found.restore_s.append(seconds["total"])
    found.load_documents_per_s.append(report["documents_loaded"] / seconds["load"])
    found.replay_entries_per_s.append(report["replay"]["applied"] / seconds["replay"])


def settled(second: int) -> None:
    """Let what was written until ``second`` settle, so that the slice holds it."""
    while time.time() < second + 3:
        time.sleep(0.1)


if __name__ == "__main__":
    main()
