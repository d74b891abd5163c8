"""A live server, a bucket and ``steward`` between them, for tests of whole restores."""

from __future__ import annotations

import contextlib
import io
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from botocore.config import Config as BotoConfig
from bson.raw_bson import RawBSONDocument

from sandbox import settings
from steward import cli
from tests.faults.backup_site import wait_until
from tests.support.aws import REGION, AwsEndpoint
from tests.support.mongod import MongoServer

DATABASE = "bitesbay"
SETTLE_SECONDS = 1
Make = Callable[..., MongoServer]


@dataclass
class Result:
    """What a command ended with."""

    status: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


class Bench:
    """A live server, a bucket and the command ``steward`` between them."""

    def __init__(self, folder: Path, aws: AwsEndpoint, live: MongoServer) -> None:
        self.aws, self.live, self.folder = aws, live, folder
        self.second = 0
        self.bucket = aws.new_bucket("restore")
        # Damaged objects must be readable here, whatever their checksum.
        self.s3 = aws.client("s3", config=BotoConfig(response_checksum_validation="when_required"))
        folder.mkdir(parents=True, exist_ok=True)
        self.config = folder / "steward.toml"
        self.use_live(live)

    def use_live(self, live: MongoServer) -> None:
        """Write the configuration with this server as the live one."""
        folder, aws = self.folder, self.aws
        self.config.write_text(
            f"""
app = "bitesbay"
environment = "local"
state_dir = "{folder}/state"
[mongodb]
uri = "{live.uri}"
databases = ["{DATABASE}"]
[storage]
bucket = "{self.bucket}"
region = "{REGION}"
endpoint_url = "{aws.https_url}"
ca_file = "{aws.ca_file}"
[backup]
retention_days = {{ daily = 7, weekly = 28, monthly = 186, oplog = 8 }}
oplog_settle_seconds = {SETTLE_SECONDS}
[tools]
mongodump = "{settings.current().tools}/mongodump"
mongorestore = "{settings.current().tools}/mongorestore"
[metrics]
textfile_dir = "{folder}"
"""
        )
        secrets = folder / "secrets.toml"
        secrets.touch(mode=0o600)
        secrets.write_text(
            f"""
[mongodb]
username = "{live.username}"
password = "{live.password}"
[storage]
access_key_id = "{aws.admin_access_key_id}"
secret_access_key = "{aws.admin_secret_access_key}"
"""
        )

    def command(self, *arguments: str) -> list[str]:
        return [sys.executable, "-m", "steward.cli", "--config", str(self.config), *arguments]

    def steward(self, *arguments: str, password: str | None = None, status: int = 0) -> Result:
        """Run a command in this process, which saves the second that Python needs to start."""
        out, err = io.StringIO(), io.StringIO()
        handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
        with pytest.MonkeyPatch.context() as patch:
            patch.delenv("STEWARD_TARGET_PASSWORD", raising=False)
            if password:
                patch.setenv("STEWARD_TARGET_PASSWORD", password)
            try:
                with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
                    found = cli.main(["--config", str(self.config), *arguments])
            finally:
                for number, handler in handlers.items():
                    signal.signal(number, handler)
        result = Result(found, out.getvalue(), err.getvalue())
        assert result.status == status, f"{arguments}: {result}"
        if status:
            assert result.err.count("\n") == 1, f"not one line: {result.err}"
        return result

    def copy(self, folder: Path) -> Bench:
        """The same backups in a bucket of their own, which a test may damage."""
        other = Bench(folder, self.aws, self.live)
        other.second = self.second
        for key in self.keys(""):
            other.s3.copy_object(Bucket=other.bucket, Key=key, CopySource={"Bucket": self.bucket, "Key": key})
        return other

    def restore(
        self, target: MongoServer, at: str, *more: str, password: str | None = None, status: int = 0
    ) -> Result:
        return self.steward(
            "restore", "run", "--at", at, "--target", target.uri, "--target-username", target.username,
            "--json", *more, password=password or target.password, status=status,
        )  # fmt: skip

    def slice_after(self, second: int) -> dict[str, Any]:
        """Store a slice that covers the whole of ``second`` (by the server's clock, ours)."""
        wait_until(second + SETTLE_SECONDS)
        answer = self.steward("backup", "oplog", "--json").json
        assert isinstance(answer, dict)
        return answer

    def keys(self, prefix: str) -> list[str]:
        listed = self.s3.list_objects_v2(Bucket=self.bucket, Prefix=prefix).get("Contents", [])
        return sorted(item["Key"] for item in listed)

    def data_keys(self, prefix: str = "") -> list[str]:
        return [key for key in self.keys(prefix) if key.endswith((".zst", ".age"))]

    def encrypt_for(self, *recipients: str, identity_file: Path | None = None) -> None:
        """Encrypt new backups for these public keys; nothing else in the configuration changes."""
        text, _, _ = self.config.read_text().partition("[encryption]")
        opens = f'identity_file = "{identity_file}"\n' if identity_file else ""
        self.config.write_text(f"{text}[encryption]\nrecipients = {json.dumps(recipients)}\n{opens}")


def text(second: int) -> str:
    return datetime.fromtimestamp(second, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def contents(server: MongoServer) -> dict[str, list[bytes]]:
    """Every document of the database as bytes, by collection, in the order of its id."""
    with server.client(document_class=RawBSONDocument) as client:
        database = client[DATABASE]
        return {
            name: sorted(bytes(document.raw) for document in database[name].find())
            for name in database.list_collection_names()
        }


def is_untouched(server: MongoServer) -> bool:
    with server.client() as client:
        return not set(client.list_database_names()) - {"admin", "config", "local"}


def fill(live: MongoServer, orders: int = 300) -> None:
    """Orders and users with their indexes."""
    with live.client() as client:
        database = client[DATABASE]
        database.orders.insert_many([{"_id": n, "state": "new", "items": [n]} for n in range(orders)])
        database.orders.create_index("state")
        database.users.insert_many([{"_id": n, "mail": f"user{n}@example.org"} for n in range(50)])
        database.users.create_index("mail", unique=True)


def traffic(server: MongoServer, start: int, count: int = 40) -> None:
    """New, changed and removed orders."""
    with server.client() as client:
        orders = client[DATABASE].orders
        for n in range(start, start + count):
            orders.insert_one({"_id": n, "state": "new", "note": "temporary"})
            orders.update_one({"_id": n}, {"$set": {"state": "paid"}, "$unset": {"note": ""}})
        orders.delete_many({"_id": {"$gte": start, "$lt": start + 5}})
        orders.delete_one({"_id": start // 1000})  # one that the dump holds
        orders.update_one({"_id": start // 100}, {"$set": {"state": "late"}})
        client[DATABASE].payments.insert_one({"_id": start, "amount": 9.5})


def kill_in_state(bench: Bench, target: MongoServer, state: str, *more: str) -> bool:
    """Start a restore and kill it as soon as the mark says ``state``; False if it was faster."""
    command = bench.command(
        "restore", "run", "--at", "latest", "--target", target.uri, "--target-username", target.username,
        "--drop-existing", "--yes", *more,
    )  # fmt: skip
    process = subprocess.Popen(
        command,
        env={**os.environ, "STEWARD_TARGET_PASSWORD": target.password},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        with target.client() as client:
            while process.poll() is None:
                mark = client.steward_restore.progress.find_one({"_id": "restore"})
                if mark is not None and mark["state"] == state:
                    os.killpg(process.pid, signal.SIGKILL)
                    process.wait(20)
                    # The mark may have gone on in the instant before the signal.
                    return "steward_restore" in client.list_database_names()
    finally:
        process.kill()
        process.wait(20)
    return False


@pytest.fixture(scope="session")
def stored(tmp_path_factory: pytest.TempPathFactory, aws_endpoint: AwsEndpoint) -> Iterator[Bench]:
    """A live server with some orders, a full backup and three slices. Tests must not change it."""
    folder = tmp_path_factory.mktemp("stored")
    live = MongoServer(folder / "live", login=True, oplog_mb=64)
    live.start()
    try:
        made = Bench(folder / "bench", aws_endpoint, live)
        fill(live)
        made.steward("backup", "full", "--json")
        for start in (1000, 2000, 3000):
            traffic(live, start, count=5)
            made.second = int(time.time())
            made.slice_after(made.second)
        yield made
    finally:
        live.stop()
