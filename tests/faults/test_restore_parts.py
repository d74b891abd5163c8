"""Restoring a part of a backup, under other names, beside what the target holds."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from bson import Timestamp

from steward.restore.target import Target
from tests.faults.backup_site import wait_until
from tests.faults.restore_bench import (
    DATABASE,
    Bench,
    Make,
    contents,
    is_untouched,
    kill_in_state,
    text,
    traffic,
)
from tests.support.aws import AwsEndpoint

pytestmark = pytest.mark.timeout(240)

ORDERS = f"{DATABASE}.orders"
COPY = f"{DATABASE}.orders_restored"
#: The first example of the runbook.
BESIDE = ("--only", ORDERS, "--rename", f"{ORDERS}={COPY}")


def test_a_dropped_collection_comes_back_beside_the_live_ones(
    tmp_path: Path, aws_endpoint: AwsEndpoint, mongod: Make
) -> None:
    live = mongod()
    bench = Bench(tmp_path / "bench", aws_endpoint, live)
    with live.client() as client:
        client[DATABASE].orders.insert_many([{"_id": n, "state": "new"} for n in range(100)])
        client[DATABASE].orders.create_index("state")
        client[DATABASE].users.insert_one({"_id": 1})
    bench.steward("backup", "full", "--json")
    traffic(live, 1000)
    second = int(time.time())
    wait_until(second + 1)
    before = contents(live)
    with live.client() as client:
        client[DATABASE].drop_collection("orders")
        client[DATABASE].orders.insert_one({"_id": "after the accident"})
    bench.slice_after(second + 1)
    after = contents(live)

    refused = bench.restore(live, text(second), *BESIDE, status=1)
    assert "--into-live" in refused.err
    assert contents(live) == after
    report = bench.restore(live, text(second), *BESIDE, "--into-live", "--yes").json

    assert contents(live) == {**after, "orders_restored": before["orders"]}
    assert report["writes"] == [COPY]
    assert report["compared"] == {"collections": 1, "documents": len(before["orders"])}
    with live.client() as client:
        assert "state_1" in client[DATABASE].orders_restored.index_information()
        assert "steward_restore" not in client.list_database_names()
    assert not (bench.folder / "steward_restore.prom").exists(), "a part proves no whole restore"

    with live.client() as client:
        client[DATABASE].orders_restored.insert_one({"_id": "mine"})
    again = bench.restore(live, text(second), *BESIDE, "--into-live", "--yes", status=1)
    assert f"has {COPY} already" in again.err
    assert len(contents(live)["orders_restored"]) == len(before["orders"]) + 1
    bench.restore(live, text(second), *BESIDE, "--into-live", "--drop-existing", "--yes")
    assert contents(live) == {**after, "orders_restored": before["orders"]}


def test_a_part_is_what_the_whole_holds_of_it(stored: Bench, mongod: Make) -> None:
    target = mongod()
    with target.client() as client:
        client[DATABASE].mine.insert_one({"_id": 1})
    report = stored.restore(
        target, "latest", "--exclude", f"{DATABASE}.users", "--rename", f"{DATABASE}.*=old.*_1"
    ).json
    live = contents(stored.live)
    with target.client() as client:
        assert sorted(client.old.list_collection_names()) == ["orders_1", "payments_1"]
        assert list(client.old.orders_1.find().sort("_id")) == list(_live(stored, "orders"))
        assert list(client.old.payments_1.find()) == list(_live(stored, "payments"))
        assert list(client[DATABASE].list_collection_names()) == ["mine"]
    assert report["compared"] == {
        "collections": 2, "documents": len(live["orders"]) + len(live["payments"])
    }  # fmt: skip


def _live(bench: Bench, collection: str) -> list[dict[str, object]]:
    with bench.live.client() as client:
        return list(client[DATABASE][collection].find().sort("_id"))


def test_a_collection_that_only_the_oplog_makes(stored: Bench, mongod: Make) -> None:
    target = mongod()
    part = ("--only", f"{DATABASE}.payments")
    plan = stored.steward("restore", "plan", *part, "--json").json
    assert plan["collections"] == []
    assert any("nothing in the full" in note for note in plan["notes"])
    stored.restore(target, "latest", *part)
    assert contents(target) == {"payments": contents(stored.live)["payments"]}


def test_the_plan_shows_the_part(stored: Bench) -> None:
    plan = stored.steward("restore", "plan", *BESIDE, "--json").json
    assert plan["collections"] == [{"name": ORDERS, "restored_as": COPY, "documents": 300}]
    assert plan["documents"] == 300
    told = stored.steward("restore", "plan", *BESIDE).out
    assert f"{ORDERS} as {COPY}, 300 documents" in told
    for wrong in (["--rename", f"{ORDERS}={DATABASE}.users"], ["--only", "orders"], ["--only", "other.x"]):
        stored.steward("restore", "plan", *wrong, status=2)


def test_an_option_about_nothing_is_refused(stored: Bench, mongod: Make) -> None:
    target = mongod()
    for wrong in (["--only", f"{DATABASE}.oders"], ["--rename", f"{DATABASE}.oders={COPY}"]):
        refused = stored.restore(target, "latest", *wrong, status=2)
        assert "oders" in refused.err
    nothing = stored.restore(target, "latest", "--exclude", f"{DATABASE}.*", status=2)
    assert "nothing is left" in nothing.err
    assert is_untouched(target)


def test_a_rename_into_the_part_is_refused_before_anything_is_written(
    tmp_path: Path, aws_endpoint: AwsEndpoint, mongod: Make
) -> None:
    live, target = mongod(), mongod()
    bench = Bench(tmp_path / "bench", aws_endpoint, live)
    with live.client() as client:
        client[DATABASE].orders.insert_one({"_id": "old"})
        client[DATABASE].staging.insert_one({"_id": "new"})
    bench.steward("backup", "full", "--json")
    with live.client() as client:  # the stand-in renames, but does not log it
        second = int(time.time()) + 1
        rename = {"renameCollection": f"{DATABASE}.staging", "to": ORDERS, "dropTarget": True}
        entry = {"op": "c", "ns": f"{DATABASE}.$cmd", "o": rename, "ts": Timestamp(second, 1), "v": 2}
        client.local["oplog.rs"].insert_one(entry)
    bench.slice_after(second)
    refused = bench.restore(target, "latest", "--only", ORDERS, status=1)
    assert f"select {DATABASE}.staging as well" in refused.err
    assert is_untouched(target)
    bench.restore(target, "latest", "--only", ORDERS, "--only", f"{DATABASE}.staging")
    with target.client() as client:
        assert list(client[DATABASE].orders.find()) == [{"_id": "new"}]
        assert client[DATABASE].list_collection_names() == ["orders"]


@pytest.mark.parametrize("state", ["in progress", "dump loaded"])
def test_a_killed_restore_of_a_part_is_recognised(stored: Bench, mongod: Make, state: str) -> None:
    target = mongod()
    with target.client() as client:
        client[DATABASE].orders.insert_one({"_id": "live"})
    killed = (kill_in_state(stored, target, state, *BESIDE) for _ in range(5))
    assert any(killed), f"never seen in the state {state!r}"
    for more in (BESIDE, ()):
        refused = stored.restore(target, "latest", *more, status=1)
        assert "was not finished" in refused.err
    if "orders_restored" in contents(target):  # not yet, if it was killed right after its mark
        other = ("--only", f"{DATABASE}.users", "--drop-existing", "--yes")
        left = stored.restore(target, "latest", *other, status=1)
        assert f"remains of another restore: {COPY}" in left.err
    stored.restore(target, "latest", *BESIDE, "--drop-existing", "--yes")
    found = contents(target)
    assert sorted(found) == ["orders", "orders_restored"]
    assert found["orders_restored"] == contents(stored.live)["orders"]
    assert len(found["orders"]) == 1
    with target.client() as client:
        assert "steward_restore" not in client.list_database_names()


def test_a_collection_that_appears_between_check_and_write_is_left_alone(
    stored: Bench, mongod: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = mongod()
    claim = Target.claim

    def late(self: Target, *arguments: object) -> None:
        with target.client() as client:
            client[DATABASE].users.insert_one({"_id": "mine"})
        claim(self, *arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(Target, "claim", late)
    part = ("--only", ORDERS, "--only", f"{DATABASE}.users")
    refused = stored.restore(target, "latest", *part, status=1)
    assert "has come into being" in refused.err
    assert list(contents(target)) == ["users"]
    assert len(contents(target)["users"]) == 1
    with target.client() as client:
        assert "steward_restore" not in client.list_database_names()


def test_a_collection_that_appears_before_the_replay_makes_it_is_left_alone(
    stored: Bench, mongod: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = mongod()
    change = Target.change_mark

    def late(self: Target, state: str) -> None:
        with target.client() as client:
            client[DATABASE].payments.insert_one({"_id": "mine"})
        change(self, state)

    monkeypatch.setattr(Target, "change_mark", late)
    refused = stored.restore(target, "latest", "--exclude", f"{DATABASE}.users", status=1)
    assert "during the restore" in refused.err
    assert len(contents(target)["payments"]) == 1
    with target.client() as client:
        assert "steward_restore" in client.list_database_names()
