"""A full keeps what was written while it was dumped, so that it needs no slice to be of one moment."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tests.faults.backup_site import TOOLS, FaultProxy, Site, Step, write_tool
from tests.faults.restore_bench import DATABASE, Bench, Make, contents
from tests.support.aws import AwsEndpoint
from tests.support.mongod import MongoServer

pytestmark = pytest.mark.timeout(240)

WRITER = """
import sys, pymongo
uri, user, password, database = sys.argv[1:]
with pymongo.MongoClient(uri, username=user, password=password) as client:
    orders = client[database].orders
    orders.insert_many([{"_id": f"during-{n}"} for n in range(20)])
    orders.update_one({"_id": "during-0"}, {"$set": {"state": "paid"}})
    orders.delete_one({"_id": "during-1"})
"""


def writing_dump(folder: Path, server: MongoServer, database: str) -> str:
    """A mongodump during which orders are written that its archive does not hold."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "writer.py").write_text(WRITER)
    login = f'"{server.uri}" "{server.username}" "{server.password}"'
    write = f'{sys.executable} "{folder}/writer.py" {login} "{database}"'
    return write_tool(folder / "mongodump", f'"{TOOLS}/mongodump" "$@" && {write}')


def test_a_full_restores_to_one_moment_without_any_slice(
    tmp_path: Path, aws_endpoint: AwsEndpoint, mongod: Make
) -> None:
    live, target = mongod(), mongod()
    bench = Bench(tmp_path / "bench", aws_endpoint, live)
    tool = writing_dump(tmp_path / "bin", live, DATABASE)
    bench.config.write_text(bench.config.read_text().replace(f"{TOOLS}/mongodump", tool))
    with live.client() as client:
        client[DATABASE].orders.insert_many([{"_id": f"before-{n}", "state": "new"} for n in range(50)])

    full = bench.steward("backup", "full", "--json").json
    at_its_end = contents(live)
    assert full["closing"]["count"] == 1 + 20 + 2, "the entry it starts from, and every write"
    with live.client() as client:
        client[DATABASE].orders.delete_many({})

    (point,) = bench.steward("backup", "list", "--json").json["points"]
    assert (point["id"], point["consistent"]) == (full["id"], True)
    report = bench.restore(target, "latest").json
    assert report["plan"]["exact"]
    assert [piece["key"] for piece in report["plan"]["slices"]] == [full["closing"]["object"]["key"]]
    assert contents(target) == at_its_end

    (key,) = bench.data_keys(f"{full['class']}/{full['id']}/oplog")
    bench.s3.put_object(Bucket=bench.bucket, Key=key, Body=b"x" * full["closing"]["object"]["size"])
    refused = bench.restore(mongod(), "latest", status=3)
    assert f"{key}: damaged" in refused.err
    bench.s3.delete_object(Bucket=bench.bucket, Key=key)
    (found,) = bench.steward("backup", "list", "--json").json["backups"]
    assert found["state"] == "damaged"


@pytest.mark.parametrize("name", ["create", "part", "complete"])
def test_a_full_killed_while_it_stores_its_closing_slice_never_counts(
    site: Site, proxy: FaultProxy, tmp_path: Path, name: str
) -> None:
    site.write(mongodump=writing_dump(tmp_path / "bin", site.server, site.database))

    def rule(step: Step) -> str:
        return "stall" if step.name == name and step.key.endswith("oplog.bson.zst") else "pass"

    proxy.rule = rule
    with site.started("full") as process:
        assert proxy.stalled.wait(60)
        process.kill()
        process.wait()
    proxy.rule = lambda _: "pass"
    assert site.json("list")["backups"] == []
    assert site.keys(), "the dump itself had been stored"


def test_without_writes_during_the_dump_nothing_more_is_stored(site: Site) -> None:
    full = site.json("full")
    assert "closing" not in full
    names = [key.rpartition("/")[2] for key in site.keys()]  # noqa: SIM118 - the bucket's keys
    assert sorted(names) == ["dump.archive.zst", "manifest.json"]


def test_an_oplog_that_went_over_its_start_during_the_dump_is_told(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The backup stands as it is, and says that it is not of one moment."""
    from steward.backup import full as full_module
    from steward.backup.oplog import ChainBrokenError

    def overwritten(*_: object) -> None:
        raise ChainBrokenError("the oplog was overwritten while it was read; it is too small")

    monkeypatch.setattr(full_module, "SliceReader", overwritten)
    site.write(mongodump=writing_dump(tmp_path / "bin", site.server, site.database))
    done = site.run("full", "--json")
    assert "has no closing slice: the oplog was overwritten" in done.stderr
    (point,) = site.json("list")["points"]
    assert point["consistent"] is False
