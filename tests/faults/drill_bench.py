"""A site with backups of a small shop, and ``steward drill`` beside it."""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from sandbox import settings
from steward.metrics import read
from tests.faults.backup_site import FaultProxy
from tests.faults.restore_bench import DATABASE, Bench
from tests.support.aws import AwsEndpoint
from tests.support.mongod import MongoServer

SERVER = [
    str(settings.current().tools / "steward-mongod"),
    "--bind",
    "127.0.0.1",
    "--port",
    "{port}",
    "--data",
    "{dir}",
    "--users",
    "{users}",
]
CHECKS = [
    '{kind = "count", collection = "users", at_least = 5}',
    '{kind = "reference", source = "orders.user", target = "users._id"}',
    '{kind = "sum", collection = "orders", total = "total", terms = ["items.price * items.quantity", "tax"]}',
    '{kind = "newest", collection = "orders", field = "createdAt", within_hours = 1}',
]


class DrillBench(Bench):
    """A bench with ``[drill]`` in its configuration."""

    def use_live(self, live: MongoServer) -> None:
        super().use_live(live)
        self.state.mkdir(exist_ok=True)
        self.use_server(SERVER)

    def use_server(self, server: list[str], min_free_mb: int = 1) -> None:
        """Write the configuration with this scratch server."""
        plain = self.config.read_text().partition("\n[backup.points]")[0]
        checks = ", ".join(CHECKS)
        self.config.write_text(
            f"{plain}\n[backup.points]\ndaily = 7\nweekly = 4\nmonthly = 6\n"
            f"[drill]\nserver = {json.dumps(server)}\nmin_free_mb = {min_free_mb}\nchecks = [{checks}]\n"
        )

    def through(self, proxy: FaultProxy) -> None:
        """Reach the store through a proxy that can fail."""
        self.config.write_text(self.config.read_text().replace(self.aws.https_url, proxy.url))

    @contextmanager
    def started(self, *arguments: str) -> Iterator[subprocess.Popen[str]]:
        """A drill that runs while the block does; killed at its end if it still does."""
        process = subprocess.Popen(
            self.command("drill", "run", *arguments),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        try:
            yield process
        finally:
            if process.poll() is None:
                process.kill()
            process.communicate()

    @property
    def state(self) -> Path:
        """Where drills have their folders."""
        return self.folder / "state"

    def folders(self) -> list[Path]:
        """What drills have left."""
        found = self.state / "drill"
        return sorted(found.iterdir()) if found.is_dir() else []

    def servers(self) -> list[int]:
        """Processes that serve a scratch server of this bench."""
        needle = os.fsencode(f"{self.state}/drill/")
        found = []
        for path in Path("/proc").iterdir():
            try:
                if path.name.isdigit() and needle in (path / "cmdline").read_bytes():
                    found.append(int(path.name))
            except OSError:
                continue
        return found

    def evidence(self) -> list[dict[str, Any]]:
        """Every evidence.json in the bucket, oldest first."""
        keys = [key for key in self.keys("evidence/") if key.endswith("/evidence.json")]
        bodies = [self.s3.get_object(Bucket=self.bucket, Key=key)["Body"].read() for key in keys]
        return [json.loads(body) for body in bodies]

    def metric(self, name: str) -> float | None:
        """A value of the textfiles of drills and restores."""
        for file in ("steward_drill_bitesbay", "steward_restore"):
            for sample, _, value in read(self.folder / f"{file}.prom"):
                if sample == name:
                    return value
        return None

    @property
    def verified(self) -> float | None:
        """When something was last proven, for the alarm."""
        return self.metric("steward_restore_last_verified_timestamp_seconds")


def fill(live: MongoServer, orders: int = 40) -> None:
    """Users and their orders, all of it sound."""
    with live.client() as client:
        shop = client[DATABASE]
        shop.users.insert_many([{"_id": n, "mail": f"user{n}@example.org"} for n in range(10)])
        shop.users.create_index("mail", unique=True)
        shop.orders.insert_many([order(n) for n in range(orders)])
        shop.orders.create_index("user")


def order(number: int, **changes: Any) -> dict[str, Any]:
    """A sound order, and what is wrong with it."""
    items = [{"price": 100 + number, "quantity": 2}, {"price": 50, "quantity": 1}]
    sound = {
        "_id": number,
        "user": number % 10,
        "items": items,
        "tax": 7,
        "total": (100 + number) * 2 + 50 + 7,
        "createdAt": datetime.now(UTC),
    }
    return sound | changes


def back_up(bench: DrillBench, *orders: dict[str, Any]) -> None:
    """A full backup, then these orders, then a slice with them."""
    bench.steward("backup", "full", "--json")
    with bench.live.client() as client:
        client[DATABASE].orders.insert_many(list(orders) or [order(1000)])
    bench.second = int(time.time())
    bench.slice_after(bench.second)


@pytest.fixture(scope="session")
def drill_store(tmp_path_factory: pytest.TempPathFactory, aws_endpoint: AwsEndpoint) -> Iterator[DrillBench]:
    """A live server with a full and a slice stored. Tests must not change it."""
    folder = tmp_path_factory.mktemp("drill")
    live = MongoServer(folder / "live", login=True, oplog_mb=64)
    live.start()
    try:
        fill(live)
        made = DrillBench(folder / "bench", aws_endpoint, live)
        back_up(made)
        yield made
    finally:
        live.stop()


@pytest.fixture
def bench(drill_store: DrillBench, tmp_path: Path) -> DrillBench:
    """A copy of the backups."""
    copied = DrillBench(tmp_path / "bench", drill_store.aws, drill_store.live)
    copied.second = drill_store.second
    for key in drill_store.keys(""):
        source = {"Bucket": drill_store.bucket, "Key": key}
        copied.s3.copy_object(Bucket=copied.bucket, Key=key, CopySource=source)
    return copied
