"""The parts of the bench: what each measures, and its section of the page."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from bench import archive, contestants
from bench.contestants import CONTESTANTS, Contestant
from bench.database import chain, whole
from bench.downtime import TITLE as DOWNTIME
from bench.downtime import downtime
from bench.logs import logs
from bench.measure import BenchError, Run, run
from bench.section import MIB, Say, Section
from bench.server import Server, serve
from bench.site import TITLE as SITE
from bench.site import site
from bench.stats import Spread, table
from sandbox.settings import REPOSITORY

_START_LIMIT_S = 60.0


def pipeline(folder: Path, size: int, runs: int, say: Say) -> Section:
    """All contestants in turn, round by round, so that a slow moment of the machine meets them all.

    Raises:
        BenchError: a tool failed, or what it stored is not what it was given.
    """
    source = _archive(folder, size, say)
    digest = contestants.archive_digest(source)
    found: dict[str, list[Run]] = {contestant.name: [] for contestant in CONTESTANTS}
    with serve(folder / "pipeline") as server:
        for number in range(runs):
            for contestant in CONTESTANTS:
                measured = _store(contestant, server, source)
                found[contestant.name].append(measured)
                say(f"round {number + 1} of {runs}: {contestant.name}: {measured.seconds:.2f} s")
                if number == 0:
                    contestants.check(contestant, server, digest)
            server.empty()
    seconds = {name: Spread.of([one.seconds for one in all_]) for name, all_ in found.items()}
    own = seconds[CONTESTANTS[0].name].median
    rows = []
    for contestant in CONTESTANTS:
        all_ = found[contestant.name]
        rows.append(
            [
                contestant.name,
                seconds[contestant.name].text(),
                Spread.of([one.cpu_seconds for one in all_]).text(),
                Spread.of([one.peak_bytes / MIB for one in all_]).text(0),
                f"{seconds[contestant.name].median / own:.2f}",
                f"{contestant.target:g}" if contestant.target else "",
            ]
        )
    stored = f"{source.stat().st_size / MIB:.0f} MiB of BSON into an S3 server on loopback, behind TLS.\n\n"
    header = ["tool", "wall, s", "CPU, s", "peak memory, MiB", "times steward's wall", "wanted"]
    return Section(
        "From a stream to an object",
        stored + table(header, rows),
        {name: [vars(one) for one in all_] for name, all_ in found.items()},
    )


def memory(folder: Path, size: int, runs: int, say: Say) -> Section:
    """steward's peak at a quarter of the size, the size and four times it."""
    source = _archive(folder, size, say)
    quarter = folder / "quarter.bson"
    archive.write(quarter, size // 4)
    found: dict[str, list[Run]] = {}
    with serve(folder / "memory") as server:
        for path, repeat in ((quarter, 1), (source, 1), (source, 4)):
            name = f"{path.stat().st_size * repeat / MIB:.0f}"
            for _ in range(runs if repeat == 1 else 1):
                measured = _store(CONTESTANTS[0], server, path, repeat)
                found.setdefault(name, []).append(measured)
                say(f"memory at {name} MiB: {measured.peak_bytes / MIB:.0f} MiB")
    rows = [
        [name, str(len(all_)), Spread.of([one.peak_bytes / MIB for one in all_]).text(0)]
        for name, all_ in found.items()
    ]
    return Section(
        "Memory and size",
        "steward alone; wanted are less than 200 MiB at every size.\n\n"
        + table(["stream, MiB", "runs", "peak memory, MiB"], rows),
        {name: [vars(one) for one in all_] for name, all_ in found.items()},
    )


def start(_folder: Path, _size: int, runs: int, say: Say) -> Section:
    """``steward --help``, once before that counts: Python keeps what it compiled then.

    Raises:
        BenchError: it failed.
    """
    values = []
    program = Path(sys.executable).with_name("python")
    for number in range(runs + 1):
        before = time.monotonic()
        done = subprocess.run(
            [str(program), "-m", "steward.cli", "--help"],
            env={"PATH": "/usr/bin:/bin", "PYTHONPATH": str(REPOSITORY / "scripts/src")},
            capture_output=True,
            timeout=_START_LIMIT_S,
            check=False,
        )
        if done.returncode or b"backup" not in done.stdout:
            raise BenchError(f"steward --help ended with status {done.returncode}")
        if number:
            values.append((time.monotonic() - before) * 1000)
    say(f"steward --help: {Spread.of(values).text(0)} ms")
    return Section(
        "Start",
        table(["command", "wall, ms", "wanted, ms"], [["steward --help", Spread.of(values).text(0), "150"]]),
        {"milliseconds": values},
    )


PARTS: dict[str, Callable[[Path, int, int, Say], Section]] = {
    "pipeline": pipeline,
    "memory": memory,
    "whole": whole,
    "chain": chain,
    "logs": logs,
    "start": start,
    "downtime": downtime,
    "site": site,
}
#: Parts for which the hosts of ``make up`` have to run, and their titles; the others want the machine alone.
ON_HOSTS = {"downtime": DOWNTIME, "site": SITE}
#: The tools that parts need beside those of the contestants.
NEEDS = {"downtime": ("vegeta",), "site": (), "start": ()}


def _archive(folder: Path, size: int, say: Say) -> Path:
    path = folder / "archive.bson"
    if not path.exists():
        say("making the archive")
        archive.write(path, size)
    return path


def _store(contestant: Contestant, server: Server, source: Path, repeat: int = 1) -> Run:
    """One run into an empty bucket; what was stored stays for a check."""
    server.empty()
    contestant.prepare(server)
    environment = contestants.environment(server)
    return run(contestant.commands(server), source, environment, server.folder / "tools.log", repeat)
