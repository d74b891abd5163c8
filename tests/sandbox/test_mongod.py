"""The MongoDB stand-in refuses who has not logged in, as the real server does."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from pymongo import MongoClient, ReplaceOne
from pymongo.errors import OperationFailure

from sandbox import settings
from sandbox.settings import REPOSITORY
from tests.faults.backup_site import children
from tests.support.mongod import MongoServer

Make = Callable[..., MongoServer]


def test_right_password_reads_and_writes(mongod: Make) -> None:
    with mongod().client() as client:
        client.shop.orders.insert_one({"_id": 1, "total": 12.5})
        assert client.shop.orders.find_one() == {"_id": 1, "total": 12.5}


def test_driver_negotiates_the_mechanism_by_itself(mongod: Make) -> None:
    server = mongod()
    with MongoClient(server.uri, username=server.username, password=server.password) as client:
        assert client.admin.command("ping")["ok"] == 1


@pytest.mark.parametrize(("user", "password"), [("tester", "wrong"), ("nobody", "x")])
def test_wrong_login_is_refused(mongod: Make, user: str, password: str) -> None:
    server = mongod()
    with (
        server.client(username=user, password=password) as client,
        pytest.raises(OperationFailure, match="Authentication failed"),
    ):
        client.shop.orders.find_one()


@pytest.mark.parametrize("command", ["find", "listDatabases", "insert", "dropDatabase"])
def test_nothing_is_done_without_a_login(mongod: Make, command: str) -> None:
    server = mongod()
    with MongoClient(server.uri) as client, pytest.raises(OperationFailure) as refused:
        client.shop.command(command, "orders", **({"documents": [{"a": 1}]} if command == "insert" else {}))
    assert refused.value.code == 13
    with server.client() as client:
        assert client.list_database_names() in ([], ["local"])


@pytest.mark.parametrize(
    "start",
    [
        "MongoServer(folder / 'server', login=True, oplog_mb=0).start()",
        "aws.start(folder)",
    ],
    ids=["database", "endpoint"],
)
def test_servers_of_tests_end_with_a_test_process_that_is_killed(tmp_path: Path, start: str) -> None:
    """Its fixtures are not ended then, and a port that stays taken or a full memory meets the next run."""
    program = f"""
import pathlib, sys, time
from tests.support import aws
from tests.faults.backup_site import children
from tests.support.mongod import MongoServer
folder = pathlib.Path({str(tmp_path)!r})
{start}
print("started", flush=True)
time.sleep(600)
"""
    with subprocess.Popen([sys.executable, "-c", program], cwd=REPOSITORY, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"started\n"
        try:
            [server] = children(process.pid)
        finally:
            process.kill()
    deadline = time.monotonic() + 20
    while Path(f"/proc/{server}").exists():
        assert time.monotonic() < deadline, "the server lives on"
        time.sleep(0.05)


def test_writes_reach_the_oplog_and_survive_a_kill(mongod: Make) -> None:
    server = mongod()
    with server.client() as client:
        client.shop.orders.insert_many([{"_id": n} for n in range(50)])
        client.shop.orders.delete_one({"_id": 0})
    server.kill()
    server.start()
    with server.client() as client:
        assert client.shop.orders.count_documents({}) == 49
        kinds = [entry["op"] for entry in client.local["oplog.rs"].find({"ns": "shop.orders"})]
    assert kinds == ["i"] * 50 + ["d"]


def test_times_of_the_newest_entries_are_those_of_the_database(mongod: Make) -> None:
    """The front reads them from the file; asked for one field more, the database answers itself."""
    server = mongod()
    with server.client() as client:
        client.shop.orders.insert_many([{"_id": n} for n in range(50)])
        client.shop.orders.delete_one({"_id": 0})
        entries = client.local["oplog.rs"]
        for limit in (1, 7, 200):
            own, fast = (
                list(entries.find({}, {**fields}).sort("$natural", -1).limit(limit))
                for fields in ({"ts": 1, "op": 1}, {"ts": 1})
            )
            assert fast == [{"_id": entry["_id"], "ts": entry["ts"]} for entry in own]
            assert len(fast) == min(limit, 51)
        assert own[0]["op"] == "d"


def test_stock_mongodump_logs_in(mongod: Make, tmp_path: Path) -> None:
    server = mongod()
    with server.client() as client:
        client.shop.orders.insert_many([{"_id": n} for n in range(10)])
    config = tmp_path / "dump.yaml"
    config.touch(mode=0o600)
    config.write_text(f"password: {server.password}\n")
    dump = subprocess.run(
        [
            str(settings.current().tools / "mongodump"),
            f"--uri={server.uri}",
            f"--username={server.username}",
            "--authenticationDatabase=admin",
            "--authenticationMechanism=SCRAM-SHA-256",
            f"--config={config}",
            "--db=shop",
            f"--out={tmp_path / 'dump'}",
        ],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert dump.returncode == 0, dump.stderr
    assert (tmp_path / "dump/shop/orders.bson").stat().st_size == 10 * len(b"\x0e\0\0\0\x10_id\0\0\0\0\0\0")


def test_users_file_that_others_can_read_is_refused(tmp_path: Path) -> None:
    users = tmp_path / "users.json"
    users.write_text("{}")
    users.chmod(0o644)
    run = subprocess.run(
        [str(settings.current().tools / "steward-mongod"), f"--data={tmp_path / 'd'}", f"--users={users}"],
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
    )
    assert run.returncode == 1
    assert "others can read it" in run.stderr


def test_a_rotated_password_needs_no_restart(mongod: Make) -> None:
    server = mongod()
    (server.folder / "users.json").write_text(f'{{"{server.username}": "rotated"}}')
    server.password = "rotated"
    with server.client() as client:
        assert client.admin.command("ping")["ok"] == 1


def test_of_many_who_take_a_document_at_once_one_gets_it(mongod: Make) -> None:
    """As the application takes a payment, by its answer and by its webhook; the oplog tells the same one."""
    server = mongod(oplog_mb=64)
    with server.client() as client, ThreadPoolExecutor(16) as pool:
        payments = client.shop.payments
        for key in range(30):
            payments.insert_one({"_id": key, "status": "created"})

            def take(value: int, key: int = key) -> bool:
                found = payments.find_one_and_update(
                    {"_id": key, "status": "created"}, {"$set": {"status": "captured", "by": value}}
                )
                return found is not None

            assert sum(pool.map(take, range(16))) == 1


@pytest.mark.parametrize("login", [True, False])
def test_many_statements_in_one_write_are_carried_out(mongod: Make, login: bool) -> None:
    """A real server takes 100,000; this one tells drivers a number that it can carry out."""
    server = mongod(login=login)
    with server.client(timeoutMS=60_000) as client:
        client.shop.orders.insert_many([{"_id": n} for n in range(250)])
        done = client.shop.orders.bulk_write([ReplaceOne({"_id": n}, {"n": n}) for n in range(250)])
        assert done.modified_count == 250
        assert client.shop.orders.count_documents({"n": {"$gte": 0}}) == 250
