"""The proof at the end of ``make up``: a disaster, and its undoing to the second.

Orders are written through the public API; a full backup, more orders and an
oplog slice are stored by the database host; a collection is dropped at a known
second. Then the second before it is restored onto a scratch server and compared
with what was in the live database at that second, document by document.
"""

from __future__ import annotations

import json
import secrets
import shlex
import shutil
import subprocess
import threading
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from pymongo import MongoClient
from pymongo.errors import PyMongoError

from sandbox import backup_keys, traffic
from sandbox.files import write_private
from sandbox.fingerprints import Fingerprints, differences, fingerprints
from sandbox.processes import Service, ensure, stop
from sandbox.settings import HOSTS, REPOSITORY, Sandbox
from sandbox.steps import StepError, Steps
from steward.appfile import AppFile, load_all
from steward.errors import EXIT_LOCKED

#: Orders written before the full backup, between it and the disaster, and after.
ORDERS = (60, 20, 5)
#: Who writes them; each is registered, verified by mail and logged in first.
USERS = 3
#: Bound of the orders written while the full backup runs; it ends the traffic sooner.
MOST_DURING_BACKUP = 5000
#: Of these in a second: with more, hosts and databases that share a machine slow down the backup itself.
RATE_DURING_BACKUP = 8.0
#: Port of an application's scratch server: this above its live server's.
SCRATCH_PORTS_ABOVE = 100
DROPPED = "orders"
#: A server without a majority point may tell a write that late (``oplog_settle_seconds`` of
#: steward.toml, which is 3), and a little more.
SETTLE_SECONDS = 4.0
#: Longest wait, in seconds, for late webhooks.
REST_SECONDS = 60.0


@dataclass(frozen=True)
class Proof:
    """What was seen; every figure was measured in this run."""

    app: str
    full_id: str
    full_bytes: int
    #: Only a private key that the database host does not keep opens its backups.
    encrypted: bool
    slice_ids: list[str]
    slice_entries: int
    orders_during_full: int
    disaster_at: str
    restored_to: str
    documents: int
    collections: int
    after_disaster: int
    restore_seconds: float


#: Runs steward with the two secrets of its standard input: on no command line, and the private key
#: in memory only, in a file that is gone when steward is.
_SCRIPT = """
IFS= read -r STEWARD_TARGET_PASSWORD
export STEWARD_TARGET_PASSWORD
IFS= read -r identity
[ -n "$identity" ] || exec steward "$@"
umask 077
file=$(mktemp /dev/shm/identity.XXXXXX) || exit
trap 'rm -f "$file"' EXIT
printf '%s\\n' "$identity" >"$file"
steward "$@" --identity "$file"
"""


class _Host:
    """Runs steward on a staging host as its cron does: as the user steward."""

    def __init__(self, sandbox: Sandbox, name: str, steps: Steps) -> None:
        self.name = name
        self._ssh = ["ssh", "-F", str(sandbox.state / "ssh/config"), "-o", "BatchMode=yes", name]
        self._steps = steps

    def steward(
        self, *arguments: str, seconds: float = 300, target_password: str = "", identity: str = ""
    ) -> dict[str, Any]:
        """Run ``steward --json``; its answer as an object. A run of cron is waited for.

        The password and the private key go by standard input.

        Raises:
            StepError: when it fails, with its own last line.
        """
        remote = ["runuser", "-u", "steward", "--", "sh", "-c", _SCRIPT, "sh", *arguments, "--json"]
        deadline = time.monotonic() + seconds
        while True:
            try:
                done = subprocess.run(
                    [*self._ssh, "--", shlex.join(remote)],
                    input=f"{target_password}\n{identity}\n",
                    capture_output=True,
                    text=True,
                    timeout=seconds,
                    env=dict(self._steps.environment),
                    check=False,
                )
            except subprocess.TimeoutExpired:
                raise StepError(f"{' '.join(arguments[:2])} on {self.name}: over {seconds:.0f} s") from None
            if done.returncode != EXIT_LOCKED or time.monotonic() > deadline:
                break
            time.sleep(1)
        if done.returncode != 0:
            why = (done.stderr or done.stdout).strip().splitlines()[-1:] or ["no output"]
            raise StepError(
                f"steward {' '.join(arguments[:2])} on {self.name} ended with {done.returncode}: {why[0]}"
            )
        answer: dict[str, Any] = json.loads(done.stdout)
        return answer


def _timestamp(moment: float) -> str:
    return datetime.fromtimestamp(moment, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _next_second(after: float) -> float:
    """Wait until the clock is in the second after ``after``; returns the time then."""
    while int(time.time()) <= int(after):
        time.sleep(0.02)
    return time.time()


def _at_rest(live: MongoClient[Any], app: AppFile) -> tuple[float, Fingerprints]:
    """Wait until the data rest; returns a time, and what they are and were at the end of the second before.

    Webhooks of payments come when they like, and the stand-in's oplog tells a write only some
    time after it can be read. So the data are read, the margin for that is waited for, and they
    are read again within one second: when both are equal, that is what they were when the second
    began, and the oplog has all of it under earlier ones.
    """
    deadline = time.monotonic() + REST_SECONDS
    while time.monotonic() < deadline:
        before = fingerprints(live)
        time.sleep(SETTLE_SECONDS)
        began = _next_second(time.time())
        if fingerprints(live) == before and int(time.time()) == int(began):
            return began, before
    raise StepError(f"{app.title}: its data still change {REST_SECONDS:.0f} s after the last order")


def _client(uri: str, username: str, password: str) -> MongoClient[Any]:
    return MongoClient(
        uri,
        username=username,
        password=password,
        authSource="admin",
        authMechanism="SCRAM-SHA-256",
        serverSelectionTimeoutMS=10_000,
    )


def _write_orders(
    sandbox: Sandbox,
    app: AppFile,
    orders: int,
    seed: int,
    stop: threading.Event | None = None,
    rate: float = traffic.ORDERS_PER_SECOND,
) -> int:
    """Write orders through one of the application's hosts; how many were taken.

    Raises:
        StepError: when one was refused or lost.
    """
    front = next(h for h, (_, name, kind) in HOSTS.items() if name == app.name and kind == "app")
    result = traffic.run(
        f"https://{app.domains['local']}",
        connect=sandbox.address(front),
        ca_file=sandbox.state / "ca" / "ca.pem",
        orders=orders,
        seed=seed,
        users=USERS,
        rate=rate,
        stop=stop,
    )
    if result.errors:
        raise StepError(f"{result.errors} requests of {result.requests} failed: {result.error_texts[0]}")
    return result.orders_created


def _full_under_traffic(sandbox: Sandbox, app: AppFile, host: _Host, seed: int) -> tuple[dict[str, Any], int]:
    """Take a full backup while orders are written; its answer and the number of those orders."""
    stop = threading.Event()
    with ThreadPoolExecutor(max_workers=1) as pool:
        writing = pool.submit(_write_orders, sandbox, app, MOST_DURING_BACKUP, seed, stop, RATE_DURING_BACKUP)
        try:
            full = host.steward("backup", "full")
        finally:
            stop.set()
        return full, writing.result()


def run(sandbox: Sandbox, app: AppFile, login: Mapping[str, str], steps: Steps) -> Proof:
    """Carry the proof out for one application.

    Raises:
        StepError: when any part of it fails or the restored data differ.
    """
    database_host = next(h for h, (_, name, kind) in HOSTS.items() if name == app.name and kind == "db")
    live_uri = f"mongodb://{sandbox.address(database_host)}:{app.mongodb.port}/?directConnection=true"
    host = _Host(sandbox, database_host, steps)
    seed = secrets.randbelow(1_000_000)
    before, between, after = ORDERS

    with _client(live_uri, login["backup_username"], login["backup_password"]) as live:
        with steps.step(f"{app.title}: {before} orders through the API"):
            _write_orders(sandbox, app, before, seed)
        with steps.step(f"{app.title}: full backup while orders are written"):
            full, during = _full_under_traffic(sandbox, app, host, seed + 3)
        with steps.step(f"{app.title}: {between} more orders, then the disaster"):
            _write_orders(sandbox, app, between, seed + 1)
            disaster, expected = _at_rest(live, app)
            live[app.mongodb.database].drop_collection(DROPPED)
            _next_second(disaster)
            _write_orders(sandbox, app, after, seed + 2)
        with steps.step(f"{app.title}: oplog slice"):
            time.sleep(SETTLE_SECONDS)
            host.steward("backup", "oplog")
        damaged = fingerprints(live)

    target_time = _timestamp(disaster - 1)
    with steps.step(f"{app.title}: restore to {target_time} on a scratch server"):
        began = time.monotonic()
        restored = _restore(sandbox, app, host, target_time, steps)
        seconds = time.monotonic() - began
    wrong = differences(expected, restored)
    if wrong:
        raise StepError(f"the restored data differ from what was there at {target_time}: {'; '.join(wrong)}")
    if not differences(expected, damaged):
        raise StepError("the disaster left no trace, so the comparison proves nothing")
    return _summary(host, app, full, during, expected, damaged, _timestamp(disaster), target_time, seconds)


def _restore(sandbox: Sandbox, app: AppFile, host: _Host, at: str, steps: Steps) -> Fingerprints:
    """Restore onto a fresh scratch server on this machine; the fingerprints of what it then holds."""
    # Of the application's own: both proofs run at the same time.
    name, folder = f"scratch-{app.name}", sandbox.state / "scratch" / app.name
    port = sorted(load_all(REPOSITORY / "apps")).index(app.name) + app.mongodb.port + SCRATCH_PORTS_ABOVE
    password = secrets.token_urlsafe(18)
    write_private(folder / "users.json", json.dumps({"scratch": password}))
    data = folder / f"data-{secrets.token_hex(4)}"
    service = Service(
        name,
        [
            str(sandbox.tools / "steward-mongod"),
            f"--bind={sandbox.gateway}",
            f"--port={port}",
            f"--data={data}",
            f"--users={folder / 'users.json'}",
        ],
        (sandbox.gateway, port),
    )
    stop(sandbox.state, name)
    ensure(sandbox.state, service, steps.environment)
    uri = f"mongodb://{sandbox.gateway}:{port}/?directConnection=true"
    private = backup_keys.identity_file(sandbox, app.name)
    try:
        host.steward(
            *("restore", "run", "--at", at, "--target", uri, "--target-username", "scratch"),
            target_password=password,
            identity=private.read_text().strip() if private.exists() else "",
        )
        with _client(uri, "scratch", password) as client:
            return fingerprints(client)
    except PyMongoError as error:
        raise StepError(f"the scratch server cannot be read: {error}") from error
    finally:
        stop(sandbox.state, name)
        if data.exists():
            shutil.rmtree(data)


def _summary(
    host: _Host,
    app: AppFile,
    full: Mapping[str, Any],
    during: int,
    expected: Mapping[str, Mapping[bytes, bytes]],
    damaged: Mapping[str, Mapping[bytes, bytes]],
    disaster: str,
    restored_to: str,
    seconds: float,
) -> Proof:
    shown = host.steward("backup", "show", str(full["id"]))
    slices = [e for e in host.steward("backup", "list")["backups"] if e["kind"] == "oplog"]
    slices = [e for e in slices if e["id"] > str(full["id"])]
    dropped = f"{app.mongodb.database}.{DROPPED}"
    return Proof(
        app=app.title,
        full_id=str(full["id"]),
        full_bytes=int(shown["object"]["size"]),
        encrypted="encryption" in shown["object"],
        slice_ids=[str(e["id"]) for e in slices],
        slice_entries=sum(int(e["oplog"]["count"]) for e in slices),
        orders_during_full=during,
        disaster_at=disaster,
        restored_to=restored_to,
        documents=sum(len(found) for found in expected.values()),
        collections=len(expected),
        after_disaster=len(damaged.get(dropped, {})),
        restore_seconds=seconds,
    )
