"""Whole backups and restores of a database beside the stock tools, and what follows a full.

The stand-in database of the sandbox serves all of them, so the figures compare the ways around it; what a
real server does is its own affair.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from bench import tools
from bench.contestants import environment
from bench.measure import BenchError, run
from bench.section import Say, Section
from bench.server import BUCKET, REGION, Server, serve
from bench.stats import Spread, table
from sandbox.files import write_private
from sandbox.settings import REPOSITORY, current
from tests.support.mongod import MongoServer

#: Orders of about 500 bytes under three indexes.
DOCUMENTS = 40_000
SLICE_ENTRIES = 10_000
_DATABASE = "bench"
_LIMIT_S = 900.0
_SETTLE_S = 1


def whole(folder: Path, _size: int, runs: int, say: Say) -> Section:
    """A database into the bucket and back: steward, and the stock tools in a pipe.

    Raises:
        BenchError: a tool failed, or what it restored is not what was there.
    """
    found: dict[str, list[float]] = {}
    # Without an oplog: the stock tools store none.
    with serve(folder / "whole") as server, mongod(folder / "whole/live", oplog_mb=0) as live:
        fill(live, range(DOCUMENTS))
        steward = _Steward(server, live)
        for number in range(runs):
            server.empty()
            ways: dict[str, tuple[Callable[[], float], Callable[[MongoServer], float]]] = {
                "steward": (steward.backup, steward.restore),
                "mongodump --gzip, aws s3 cp": (
                    lambda: _stock_backup(server, live),
                    lambda target: _stock_restore(server, target),
                ),
            }
            for name, (backup, restore) in ways.items():
                found.setdefault(f"backup, {name}", []).append(backup())
                with mongod(folder / f"whole/{number}-{name.partition(' ')[0]}", oplog_mb=0) as target:
                    found.setdefault(f"restore, {name}", []).append(restore(target))
                    if (count := _count(target)) != DOCUMENTS:
                        raise BenchError(f"{name}: {count} documents were restored instead of {DOCUMENTS}")
                say(f"round {number + 1} of {runs}: {name}: " + _last(found, name))
    rows = []
    for what in ("backup", "restore"):
        own = Spread.of(found[f"{what}, steward"]).median
        for name, values in found.items():
            if name.startswith(f"{what}, "):
                ratio = Spread.of(values).median / own
                rows.append(
                    [name, Spread.of(values).text(), f"{ratio:.2f}", "" if "steward" in name else "1"]
                )
    head = ["what", "wall, s", "times steward's wall", "wanted"]
    text = (
        f"{DOCUMENTS:,} documents of about 500 bytes in one collection with three indexes, each way with its"
        " start. steward also reads every stored byte before a restore, builds the indexes, and compares"
        " collections and indexes with what they must be; the stock tools here do none of this.\n\n"
    )
    return Section("A whole database", text + table(head, rows), dict(found))


def chain(folder: Path, _size: int, runs: int, say: Say) -> Section:
    """A slice of 10,000 entries, their replay, and a deep verification of all that is stored.

    Raises:
        BenchError: a command failed.
    """
    slices, replays, verified = [], [], []
    with serve(folder / "chain") as server:
        for number in range(runs):
            server.empty()
            # A server of its own in each round: the stand-in reads its whole oplog for a slice.
            with mongod(folder / f"chain/live{number}", oplog_mb=256) as live:
                fill(live, range(DOCUMENTS))
                time.sleep(_SETTLE_S + 1)  # or the slice would hold these too
                steward = _Steward(server, live)
                steward.backup()
                fill(live, range(DOCUMENTS, DOCUMENTS + SLICE_ENTRIES))
                time.sleep(_SETTLE_S + 1)
                answer, seconds = steward.timed("backup", "oplog", "--json")
                count = answer["slice"]["oplog"]["count"]
                if count < SLICE_ENTRIES:
                    raise BenchError(f"the slice holds {count} entries instead of {SLICE_ENTRIES}")
                slices.append(seconds)
                with mongod(folder / f"chain/target{number}", oplog_mb=0) as target:
                    report = steward.restored(target)
                    replays.append(report["replay"]["applied"] / report["seconds"]["replay"])
                _, seconds = steward.timed("backup", "verify", "--deep", "--json")
                verified.append(report["verified"]["raw_bytes"] / 1e6 / seconds)
            say(
                f"round {number + 1} of {runs}: slice {slices[-1]:.2f} s, replay {replays[-1]:.0f} entries/s,"
                f" verify {verified[-1]:.0f} MB/s"
            )
    rows = [
        [f"a slice of {SLICE_ENTRIES:,} entries, s", Spread.of(slices).text()],
        ["replayed entries a second", Spread.of(replays).text(0)],
        ["verified MB a second, before compression", Spread.of(verified).text(1)],
    ]
    text = f"On {DOCUMENTS:,} documents; commands with their start. Replay waits for the database.\n\n"
    figures = {"slice": slices, "replay": replays, "verify": verified}
    return Section("Slice, replay, verification", text + table(["what", "value"], rows), figures)


class _Steward:
    """The command with a configuration for these servers."""

    def __init__(self, server: Server, live: MongoServer) -> None:
        self._config = server.folder / "steward.toml"
        self._environment = {**os.environ, "PYTHONPATH": str(REPOSITORY / "scripts/src")}
        bins = current().tools
        self._config.write_text(
            f"""
app = "bench"
environment = "local"
state_dir = "{server.folder}/state"
[mongodb]
uri = "{live.uri}"
databases = ["{_DATABASE}"]
[storage]
bucket = "{BUCKET}"
region = "{REGION}"
endpoint_url = "{server.url}"
ca_file = "{server.ca_file}"
[backup]
retention_days = {{ daily = 7, weekly = 28, monthly = 186, oplog = 8 }}
oplog_settle_seconds = {_SETTLE_S}
[tools]
mongodump = "{bins}/mongodump"
mongorestore = "{bins}/mongorestore"
"""
        )
        secrets = (
            f'[mongodb]\nusername = "{live.username}"\npassword = "{live.password}"\n[storage]\n'
            f'access_key_id = "{server.access_key_id}"\nsecret_access_key = "{server.secret_access_key}"\n'
        )
        write_private(server.folder / "secrets.toml", secrets)

    def timed(self, *arguments: str, **more: str) -> tuple[Any, float]:
        """Run a command; its JSON and seconds."""
        command = [sys.executable, "-m", "steward.cli", "--config", str(self._config), *arguments]
        begun = time.monotonic()
        done = subprocess.run(
            command,
            env={**self._environment, **more},
            capture_output=True,
            text=True,
            timeout=_LIMIT_S,
            check=False,
        )
        seconds = time.monotonic() - begun
        if done.returncode:
            raise BenchError(f"steward {' '.join(arguments[:2])}: {done.stderr.strip().splitlines()[-1:]}")
        return json.loads(done.stdout), seconds

    def backup(self) -> float:
        """A full."""
        return self.timed("backup", "full", "--json")[1]

    def restored(self, target: MongoServer) -> Any:
        """The report of a restore of the latest point."""
        return self._restore(target)[0]

    def restore(self, target: MongoServer) -> float:
        """The seconds of one."""
        return self._restore(target)[1]

    def _restore(self, target: MongoServer) -> tuple[Any, float]:
        return self.timed(
            "restore", "run", "--at", "latest", "--target", target.uri, "--target-username", target.username,
            "--json", STEWARD_TARGET_PASSWORD=target.password,
        )  # fmt: skip


def _tool_config(server: Server, target: MongoServer) -> str:
    path = server.folder / f"uri-{target.port}.yml"
    login = f"{target.username}:{target.password}@127.0.0.1:{target.port}"
    write_private(path, f"uri: mongodb://{login}/?directConnection=true&authSource=admin\n")
    return f"--config={path}"


def _stock_backup(server: Server, live: MongoServer) -> float:
    dump = [str(current().tools / "mongodump"), _tool_config(server, live), f"--db={_DATABASE}"]
    upload = [tools.system_tool("aws"), "s3", "cp", "--only-show-errors", "-", f"s3://{BUCKET}/stock"]
    commands = [[*dump, "--gzip", "--archive"], upload]
    return run(commands, Path(os.devnull), environment(server), server.folder / "tools.log").seconds


def _stock_restore(server: Server, target: MongoServer) -> float:
    download = [tools.system_tool("aws"), "s3", "cp", "--only-show-errors", f"s3://{BUCKET}/stock", "-"]
    load = [str(current().tools / "mongorestore"), _tool_config(server, target), "--gzip", "--archive"]
    # The stand-in refuses the indexes as mongorestore words them.
    commands = [download, [*load, "--noIndexRestore"]]
    return run(commands, Path(os.devnull), environment(server), server.folder / "tools.log").seconds


@contextmanager
def mongod(folder: Path, *, oplog_mb: int) -> Iterator[MongoServer]:
    """An empty database server while the block runs."""
    made = MongoServer(folder, login=True, oplog_mb=oplog_mb)
    made.start()
    try:
        yield made
    finally:
        made.stop()


def fill(live: MongoServer, ids: range, database: str = _DATABASE) -> None:
    """Orders of about 500 bytes, under three indexes."""
    with live.client() as client:
        orders = client[database].orders
        for name in ("user", "createdAt"):
            orders.create_index(name)
        for start in range(ids.start, ids.stop, 1000):
            numbers = range(start, min(start + 1000, ids.stop))
            orders.insert_many(
                [
                    {"_id": n, "user": n % 997, "createdAt": n, "state": "paid", "note": f"{n:>400}"}
                    for n in numbers
                ]
            )


def _count(server: MongoServer) -> int:
    with contextlib.closing(server.client()) as client:
        return client[_DATABASE].orders.count_documents({})


def _last(found: dict[str, list[float]], name: str) -> str:
    return ", ".join(f"{what} {found[f'{what}, {name}'][-1]:.2f} s" for what in ("backup", "restore"))
