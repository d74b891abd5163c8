"""Fulls that leave something out: what they hold, what a restore makes of the oplog, and the border."""

from __future__ import annotations

import subprocess
import time
from pathlib import Path

import pytest
from bson import Timestamp

from steward.errors import EXIT_FAULT
from tests.faults.backup_site import wait_until
from tests.faults.restore_bench import DATABASE, SETTLE_SECONDS, Bench, Make, contents, fill, text, traffic
from tests.support.aws import AwsEndpoint
from tests.support.mongod import MongoServer

pytestmark = pytest.mark.timeout(240)

EXCLUDE = f'exclude = ["{DATABASE}.sessions", "*.tmp_*"]'


@pytest.fixture
def bench(tmp_path: Path, aws_endpoint: AwsEndpoint, live: MongoServer) -> Bench:
    """Orders, users and what nobody wants back; sessions and temporary collections are left out."""
    made = Bench(tmp_path / "bench", aws_endpoint, live)
    choose(made, EXCLUDE)
    fill(live, orders=100)
    with live.client() as client:
        client[DATABASE].sessions.insert_many([{"_id": n, "pad": "x" * 500} for n in range(500)])
        client[DATABASE].tmp_import.insert_one({"_id": 1})
    return made


@pytest.fixture
def live(mongod: Make) -> MongoServer:
    """The live server."""
    return mongod()


@pytest.fixture
def second(bench: Bench) -> int:
    """A whole second after a full, a slice and changes on both sides of the border."""
    bench.steward("backup", "full", "--json")
    traffic(bench.live, 1000)
    with bench.live.client() as client:
        database = client[DATABASE]
        database.sessions.update_one({"_id": 3}, {"$set": {"seen": True}})
        database.sessions.delete_one({"_id": 4})
        database.sessions.insert_one({"_id": "new"})
        database.tmp_export.insert_one({"_id": 1})
    rename(bench.live, "tmp_export", "tmp_other")
    rename(bench.live, "users", "customers")
    found = int(time.time())
    wait_until(found + 1)
    return found


def rename(server: MongoServer, source: str, target: str) -> None:
    """Rename a collection; the stand-in does, but does not log it."""
    with server.client() as client:
        client[DATABASE][source].rename(target)
        # Behind everything of this second, and before what comes later.
        second = int(time.time())
        command = {"renameCollection": f"{DATABASE}.{source}", "to": f"{DATABASE}.{target}"}
        entry = {"op": "c", "ns": f"{DATABASE}.$cmd", "o": command, "ts": Timestamp(second, 1 << 30), "v": 2}
        client.local["oplog.rs"].insert_one(entry)
    wait_until(second + 1)


def choose(bench: Bench, *lines: str) -> None:
    """Put lines into ``[mongodb]``."""
    whole = bench.config.read_text()
    before, found, after = whole.partition(f'databases = ["{DATABASE}"]\n')
    assert found
    bench.config.write_text("\n".join([before + found.strip(), *lines, after]))


def test_a_full_holds_what_was_chosen_and_a_restore_brings_just_that(
    bench: Bench, second: int, mongod: Make
) -> None:
    before = contents(bench.live)
    bench.slice_after(second)
    shown = bench.steward("backup", "show", bench.keys("monthly/")[0].split("/")[1], "--json").json
    assert shown["left_out"] == {
        "include": [],
        "exclude": [f"{DATABASE}.sessions", "*.tmp_*"],
        "namespaces": [f"{DATABASE}.sessions", f"{DATABASE}.tmp_import"],
    }
    assert sorted(n["collection"] for n in shown["namespaces"]) == ["orders", "users"]
    # 500 sessions of 500 bytes are not in the archive.
    assert shown["object"]["raw_size"] < 100_000
    listed = bench.steward("backup", "list", "--json").json["backups"]
    assert [b["left_out"] for b in listed] == [2, 0]

    plan = bench.steward("restore", "plan", "--at", text(second), "--json").json
    assert (
        f"left out of this full by its configuration: {DATABASE}.sessions, {DATABASE}.tmp_import"
        in (plan["notes"])
    )
    target = mongod()
    report = bench.restore(target, text(second)).json
    assert contents(target) == {name: before[name] for name in ("orders", "customers", "payments")}
    # An entry of before the dump, five changes, and the two writes into the oplog itself.
    assert report["replay"]["not_selected"] == 8
    assert bench.steward("backup", "verify", "--deep", "--json").json["good"]
    out = bench.folder / "export"
    bench.steward("restore", "export", "--at", text(second), "--out", str(out))
    assert {path.name.partition(".")[0] for path in (out / "dump" / DATABASE).iterdir()} == {
        "orders",
        "users",
    }
    assert b"sessions" not in (out / "dump" / "oplog.bson").read_bytes()


def test_a_rename_into_the_backup_ends_the_chain_and_a_new_full_begins_another(
    bench: Bench, second: int, mongod: Make
) -> None:
    before = contents(bench.live)
    rename(bench.live, "tmp_other", "reports")
    with bench.live.client() as client:
        client[DATABASE].reports.insert_one({"_id": "later"})
    crossed = int(time.time())
    wait_until(crossed + 1 + SETTLE_SECONDS)
    run = subprocess.run(bench.command("backup", "oplog"), capture_output=True, text=True, timeout=60)
    told = run.stderr.splitlines()[-1]
    assert run.returncode == EXIT_FAULT
    assert f"{DATABASE}.tmp_other, which the backups leave out, was renamed to {DATABASE}.reports" in told
    assert "a new full backup was taken" in told

    listed = bench.steward("backup", "list", "--json").json
    assert [b["kind"] for b in listed["backups"]] == ["full", "oplog", "full"]
    [line] = listed["timelines"]
    assert text(second) <= line["to"] < text(crossed)
    target = mongod()
    bench.restore(target, text(second))
    assert contents(target) == {name: before[name] for name in ("orders", "customers", "payments")}

    # From then on the chain goes on from the new full, without another complaint.
    with bench.live.client() as client:
        client[DATABASE].reports.insert_one({"_id": "after"})
    later = int(time.time())
    wait_until(later + 1)
    now = contents(bench.live)
    assert bench.slice_after(later)["gap"] is None
    [hole] = bench.steward("backup", "list", "--json").json["holes"]
    assert line["to"] < hole["from"] <= text(crossed)
    target = mongod()
    refused = bench.restore(target, hole["from"], status=EXIT_FAULT)
    assert "the oplog is not stored between" in refused.err
    bench.restore(target, text(later))
    assert contents(target) == {name: now[name] for name in ("orders", "customers", "payments", "reports")}


def test_a_rename_out_of_the_backup_is_a_drop(bench: Bench, second: int, mongod: Make) -> None:
    rename(bench.live, "payments", "tmp_payments")
    renamed = int(time.time())
    wait_until(renamed + 1)
    now = contents(bench.live)
    assert bench.slice_after(renamed)["gap"] is None
    target = mongod()
    bench.restore(target, text(renamed))
    assert contents(target) == {name: now[name] for name in ("orders", "customers")}
    target = mongod()
    bench.restore(target, text(second))
    assert "payments" in contents(target)


def test_an_older_full_with_another_choice_refuses_what_it_does_not_have(
    bench: Bench, second: int, mongod: Make
) -> None:
    old = bench.keys("monthly/")[0].split("/")[1]
    bench.slice_after(second)
    bench.config.write_text(bench.config.read_text().replace(EXCLUDE, ""))
    bench.steward("backup", "full", "--json")
    rename(bench.live, "tmp_other", "reports")
    renamed = int(time.time())
    wait_until(renamed + 1)
    now = contents(bench.live)
    bench.slice_after(renamed)
    target = mongod()
    refused = bench.restore(target, text(renamed), "--base", old, status=EXIT_FAULT)
    assert f"{DATABASE}.tmp_other, which is not part of the backup, was renamed" in refused.err
    assert contents(target) == {}
    bench.restore(target, text(renamed))
    assert contents(target) == now


def test_of_several_databases_nothing_else_is_stored(bench: Bench) -> None:
    with bench.live.client() as client:
        client["other"].things.insert_one({"_id": 1})
        client["third"].things.insert_one({"_id": 1})
    whole = bench.config.read_text()
    bench.config.write_text(
        whole.replace(f'databases = ["{DATABASE}"]', f'databases = ["{DATABASE}", "other"]')
    )
    manifest = bench.steward("backup", "full", "--json").json
    assert sorted(f"{n['db']}.{n['collection']}" for n in manifest["namespaces"]) == [
        f"{DATABASE}.orders",
        f"{DATABASE}.users",
        "other.things",
    ]
    assert manifest["databases"] == [DATABASE, "other"]


def test_patterns_that_are_about_nothing_are_told_and_nothing_at_all_is_an_error(bench: Bench) -> None:
    choose(bench, f'include = ["{DATABASE}.orders", "{DATABASE}.oders"]')
    planned = bench.steward("backup", "full", "--dry-run")
    assert f"mongodb.include {DATABASE}.oders: no collection is called so" in planned.err
    assert f"left out: {DATABASE}.sessions, {DATABASE}.tmp_import, {DATABASE}.users" in planned.out
    taken = bench.steward("backup", "full")
    assert f"mongodb.include {DATABASE}.oders: no collection is called so" in taken.err
    assert "in 1 collections (3 left out)" in taken.out
    bench.config.write_text(bench.config.read_text().replace(f"{DATABASE}.orders", f"{DATABASE}.none"))
    refused = bench.steward("backup", "full", status=1).err
    assert "nothing to back up; check mongodb.databases, include and exclude" in refused
