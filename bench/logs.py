"""``steward logs archive``: how much a core does, and that memory does not follow the size."""

from __future__ import annotations

import os
import random
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

from bench.measure import BenchError, Run, run
from bench.section import MIB, Say, Section
from bench.server import BUCKET, REGION, Server, serve
from bench.stats import Spread, table
from sandbox.settings import REPOSITORY

#: Lines and bytes: what an application logs, and what was compressed before.
KINDS = ("lines", "compressed")
_FILES = 16
_WANTED = 100
_PATHS = ("/api/orders", "/api/users", "/api/health", "/api/payments/verify")
_LINE = (
    '{"level":"info","message":"request","timestamp":"2026-11-22T%02d:%02d:%02d.%03dZ","method":"%s",'
    '"path":"%s/%d","status":%d,"ms":%.3f,"ip":"10.%d.%d.%d","requestId":"%032x"}\n'
)


def logs(folder: Path, size: int, runs: int, say: Say) -> Section:
    """A quarter of the size and all of it, as lines and as compressed files.

    Raises:
        BenchError: a run failed, or left a log on the disk.
    """
    rows, figures = [], {}
    with serve(folder / "logs") as server:
        for kind in KINDS:
            for part in (size // 4, size):
                found = [_archive(server, folder / "host", kind, part) for _ in range(runs)]
                say(f"logs, {kind}, {part / MIB:.0f} MiB: {Spread.of([r.seconds for r in found]).text()} s")
                rates = [part / 1e6 / one.cpu_seconds for one in found]
                rows.append(
                    [
                        kind,
                        f"{part / MIB:.0f}",
                        Spread.of([one.seconds for one in found]).text(),
                        Spread.of(rates).text(0),
                        f"{_WANTED}",
                        Spread.of([one.peak_bytes / MIB for one in found]).text(0),
                    ]
                )
                figures[f"{kind} {part}"] = [vars(one) for one in found]
    head = ["logs", "MiB", "wall, s", "MB a second of one core", "wanted", "peak memory, MiB"]
    text = f"{_FILES} rotated files of one host, into the server above. Lines are compressed on the way.\n\n"
    return Section("Archive of logs", text + table(head, rows), figures)


def _archive(server: Server, host: Path, kind: str, size: int) -> Run:
    server.empty()
    log = host / "log"
    log.mkdir(parents=True, exist_ok=True)
    _write(log, kind, size)
    config = host / "logs.toml"
    config.write_text(
        f"""
app = "bench"
environment = "local"
host = "bench"
state_dir = "{host}/state"
nice = 0
[[source]]
name = "api"
paths = ["{log}/*"]
[archive]
older_than_days = 30
[archive.storage]
bucket = "{BUCKET}"
region = "{REGION}"
endpoint_url = "{server.url}"
ca_file = "{server.ca_file}"
"""
    )
    command = [sys.executable, "-m", "steward.cli", "logs", "archive", "--logs-config", str(config), "--json"]
    environment = server.environment() | {"PYTHONPATH": str(REPOSITORY / "scripts/src")}
    found = run([command], Path(os.devnull), environment, server.folder / "tools.log")
    if left := list(log.iterdir()):
        raise BenchError(f"{len(left)} of {_FILES} logs were not archived")
    return found


def _write(log: Path, kind: str, size: int) -> None:
    rng = random.Random(f"{kind} {size}")  # noqa: S311 - no secret, but the same on every run
    day = datetime.now(UTC).date() - timedelta(days=40)
    block = rng.randbytes(MIB) if kind == "compressed" else _lines(rng)
    ending = ".gz" if kind == "compressed" else ""
    for number in range(_FILES):
        path = log / f"api{number}.log-{day:%Y%m%d}{ending}"
        left = size // _FILES
        with path.open("wb") as file:
            while left > 0:
                # No two blocks are equal.
                piece = rng.randbytes(16) + block[: max(left - 16, 0)]
                left -= file.write(piece)
        at = time.time() - 20 * 86_400
        os.utime(path, (at, at))


def _lines(rng: random.Random) -> bytes:
    made = bytearray()
    while len(made) < 8 * MIB:
        clock = (rng.randrange(24), rng.randrange(60), rng.randrange(60), rng.randrange(1000))
        address = (rng.randrange(256), rng.randrange(256), rng.randrange(256))
        method, path = rng.choice(("GET", "POST")), rng.choice(_PATHS)
        status = rng.choice((200, 200, 200, 201, 404, 500))
        line = _LINE % (
            *clock,
            method,
            path,
            rng.randrange(10**6),
            status,
            rng.random() * 300,
            *address,
            rng.getrandbits(128),
        )
        made += line.encode()
    return bytes(made)
