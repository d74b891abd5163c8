"""The server goes away in the middle: restarted, its login lost, its disk full. Nothing half-done counts."""

from __future__ import annotations

import json
import secrets
from pathlib import Path

import pytest

from tests.faults.backup_site import TOOLS, FaultProxy, Site, poll, write_tool
from tests.faults.restore_bench import DATABASE, Bench, Make, contents
from tests.support.aws import AwsEndpoint
from tests.support.mongod import MongoServer

pytestmark = pytest.mark.timeout(240)

#: mongodump, which waits after its first kilobytes until the file ``go`` is there.
PAUSED = """\
exec bash -c 'set -o pipefail
"{mongodump}" "$@" | {{ head -c 4096; touch "{reached}"; while ! [ -e "{go}" ]; do sleep 0.1; done; cat; }}' \
mongodump "$@"
"""


def test_a_server_that_is_restarted_during_a_dump_or_takes_the_login_away(
    tmp_path: Path, aws_endpoint: AwsEndpoint, proxy: FaultProxy, mongod: Make
) -> None:
    server = mongod()
    bucket = aws_endpoint.new_bucket("backup", ObjectLockEnabledForBucket=True)
    site = Site(tmp_path / "site", aws_endpoint, server, bucket, proxy.url)
    for _ in range(10):  # more than one batch of a cursor (16 MB), which mongodump takes into its memory
        site.insert(250, pad="x" * 10_000)
    users = server.folder / "users.json"
    good = users.read_text()
    for case in ("restarted", "login lost"):
        reached, go = tmp_path / f"{case} reached", tmp_path / f"{case} go"
        paused = PAUSED.format(mongodump=TOOLS / "mongodump", reached=reached, go=go)
        site.write(mongodump=write_tool(tmp_path / "bin/mongodump", paused))
        with site.started("full") as process:
            poll(reached.exists, "the dump is under way")
            server.stop()
            if case == "login lost":
                users.write_text(json.dumps({server.username: "another"}))
            server.start()
            go.touch()
            _, message = process.communicate(timeout=120)
        assert process.returncode == 1, message
        assert message.startswith("steward: mongodump failed with status ")
        assert message.count("\n") == 1
        assert server.password not in message
        assert site.json("list")["backups"] == []
        assert site.uploads() == []
        assert site.metric("steward_backup_last_run_success", kind="full") == 0
    site.write()
    assert "Authentication failed" in site.fails("full")
    users.write_text(good)
    server.stop()
    server.start()
    site.run("full")
    assert [b["state"] for b in site.json("list")["backups"]] == ["ok"]


def test_a_disk_that_fills_up_during_a_restore(
    tmp_path: Path, aws_endpoint: AwsEndpoint, mongod: Make, small_disk: Path
) -> None:
    live, fresh = mongod(), mongod()
    bench = Bench(tmp_path / "bench", aws_endpoint, live)
    with live.client() as client:
        for _ in range(16):  # a MB each
            client[DATABASE].orders.insert_many([{"data": secrets.token_bytes(100_000)} for _ in range(10)])
    before = contents(live)
    bench.steward("backup", "full", "--json")
    target = MongoServer(small_disk / "mongod", login=True, oplog_mb=0)
    target.start()
    try:
        failed = bench.restore(target, "latest", status=1)
        assert "full" in failed.err or "failed" in failed.err
        assert failed.out == ""
        again = bench.restore(target, "latest", status=1)  # what is there half is not built upon
        assert again.out == ""
    finally:
        target.kill()
    bench.restore(fresh, "latest")
    assert contents(fresh) == before
