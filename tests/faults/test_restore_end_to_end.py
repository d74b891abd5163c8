"""``steward restore`` with real tools: MongoDB servers, an S3 endpoint, mongodump, mongorestore."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import zstandard

from sandbox import settings
from steward import mongo
from steward.restore import prepare
from tests.faults.backup_site import wait_until
from tests.faults.restore_bench import (
    DATABASE,
    Bench,
    Make,
    contents,
    fill,
    is_untouched,
    kill_in_state,
    text,
    traffic,
)
from tests.support.aws import AwsEndpoint

pytestmark = pytest.mark.timeout(240)


@pytest.fixture
def bench(stored: Bench, tmp_path: Path) -> Bench:
    """A copy of the backups."""
    return stored.copy(tmp_path / "bench")


def test_restores_to_the_second_before_the_disaster(
    tmp_path: Path, aws_endpoint: AwsEndpoint, mongod: Make
) -> None:
    live, target = mongod(), mongod()
    bench = Bench(tmp_path / "bench", aws_endpoint, live)
    fill(live, orders=100)
    bench.steward("backup", "full", "--json")
    traffic(live, 1000)
    bench.slice_after(int(time.time()))
    traffic(live, 2000)
    second = int(time.time())
    wait_until(second + 1)  # the whole second is over
    before = contents(live)
    with live.client() as client:  # what happens after the chosen second must not come back
        client[DATABASE].orders.insert_one({"_id": "too late"})
        client[DATABASE].drop_collection("users")
        client[DATABASE].drop_collection("orders")
    bench.slice_after(second + 1)

    plan = bench.steward("restore", "plan", "--at", text(second), "--json").json
    assert plan["exact"]
    assert len(plan["slices"]) == 2
    report = bench.restore(target, text(second)).json

    assert report["result"] == "restored"
    assert contents(target) == before
    with target.client() as client:
        assert client[DATABASE].users.index_information()["mail_1"]["unique"]
        assert "state_1" in client[DATABASE].orders.index_information()
        assert "steward_restore" not in client.list_database_names()
    assert report["compared"] == {"collections": 3, "documents": sum(map(len, before.values()))}
    # The entry from which the replay starts is in the dump already and is applied once more.
    assert report["replay"]["applied"] == 1 + 2 * (40 + 40 + 5 + 1 + 1 + 1)
    assert int(report["recovery_point"]["last_applied"].partition(":")[0]) <= second
    metrics = (bench.folder / "steward_restore.prom").read_text()
    assert 'steward_restore_last_verified_timestamp_seconds{app="bitesbay"}' in metrics


def test_restores_latest_and_a_full_as_it_was_dumped(bench: Bench, mongod: Make) -> None:
    target = mongod()
    bench.restore(target, "latest")
    assert contents(target) == contents(bench.live)
    for key in bench.keys("oplog/"):
        bench.s3.delete_object(Bucket=bench.bucket, Key=key)
    report = bench.restore(target, "latest", "--drop-existing", "--yes").json
    assert report["plan"]["slices"] == []
    assert {name: len(found) for name, found in contents(target).items()} == {"orders": 300, "users": 50}


def test_a_target_that_is_not_empty_is_refused_and_left_alone(bench: Bench, mongod: Make) -> None:
    target = mongod()
    with target.client() as client:
        client[DATABASE].orders.insert_one({"_id": "mine"})
    refused = bench.restore(target, "latest", status=1)
    assert "is not empty" in refused.err
    assert "--drop-existing" in refused.err
    assert len(contents(target)["orders"]) == 1
    with target.client() as client:
        assert "steward_restore" not in client.list_database_names()
    unasked = bench.restore(target, "latest", "--drop-existing", status=2)
    assert "--yes" in unasked.err
    assert len(contents(target)["orders"]) == 1
    bench.restore(target, "latest", "--drop-existing", "--yes")
    assert contents(target) == contents(bench.live)


def test_the_live_server_is_refused_under_any_name(bench: Bench) -> None:
    before = contents(bench.live)
    for host in ("127.0.0.1", "localhost"):
        uri = bench.live.uri.replace("127.0.0.1", host)
        refused = bench.steward(
            "restore", "run", "--at", "latest", "--target", uri, "--target-username", bench.live.username,
            "--drop-existing", "--yes", password=bench.live.password, status=1,
        )  # fmt: skip
        assert "is the live server" in refused.err
        assert "--into-live" in refused.err
    assert contents(bench.live) == before


def test_a_live_server_set_up_anew_can_be_restored_onto(bench: Bench, mongod: Make) -> None:
    new = mongod()
    bench.use_live(new)
    bench.restore(new, "latest", status=1)
    assert is_untouched(new)
    told = bench.steward(
        "restore", "run", "--at", "latest", "--target", new.uri, "--target-username", new.username,
        "--into-live", "--yes", password=new.password,
    )  # fmt: skip
    assert "3 collections" in told.out
    assert "no difference" in told.out
    assert contents(new) == contents(bench.live)


def test_nothing_is_dropped_while_the_live_server_is_silent(
    bench: Bench, mongod: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = mongod()
    with target.client() as client:
        client[DATABASE].orders.insert_one({"_id": "mine"})
    gone = mongod()
    bench.use_live(gone)
    gone.stop()
    monkeypatch.setattr(prepare, "LIVE_TIMEOUT_S", 0.5)
    refused = bench.restore(target, "latest", "--drop-existing", "--yes", status=1)
    assert "does not answer" in refused.err
    assert len(contents(target)["orders"]) == 1
    empty = mongod()  # the disaster itself: the live server is gone
    assert bench.restore(empty, "latest").json["result"] == "restored"


def _damage(bench: Bench, key: str, change: Callable[[bytearray], bytes]) -> None:
    body = bytearray(bench.s3.get_object(Bucket=bench.bucket, Key=key)["Body"].read())
    bench.s3.put_object(Bucket=bench.bucket, Key=key, Body=bytes(change(body)))


def _flip(body: bytearray) -> bytes:
    body[len(body) // 2] ^= 0x10
    return bytes(body)


def _recompress(body: bytearray) -> bytes:
    raw = zstandard.ZstdDecompressor().decompressobj().decompress(bytes(body))
    return zstandard.ZstdCompressor(level=3, write_checksum=True).compress(raw[: len(raw) - 1] + b"\1")


@pytest.mark.parametrize("kind", ["full", "slice"])
@pytest.mark.parametrize(
    "damage",
    [_flip, lambda body: bytes(body[:-7]), lambda body: bytes(body) + b"more", _recompress],
    ids=["flipped", "truncated", "longer", "replaced"],
)
def test_a_damaged_object_is_found_before_anything_is_written(
    bench: Bench, mongod: Make, kind: str, damage: Callable[[bytearray], bytes]
) -> None:
    key = next(k for k in bench.data_keys() if k.startswith("oplog/") == (kind == "slice"))
    _damage(bench, key, damage)
    target = mongod()
    refused = bench.restore(target, "latest", status=3)
    assert key in refused.err
    assert is_untouched(target)


def test_a_missing_object_is_found_before_anything_is_written(bench: Bench, mongod: Make) -> None:
    key = bench.data_keys("oplog/")[0]
    bench.s3.delete_object(Bucket=bench.bucket, Key=key)
    target = mongod()
    assert any(key in text for text in bench.steward("restore", "plan", "--json").json["notes"])
    refused = bench.restore(target, "latest", status=3)
    assert f"{key}: missing" in refused.err
    assert is_untouched(target)


def test_a_lost_slice_is_a_hole_with_two_names(bench: Bench, mongod: Make) -> None:
    first, lost, third = (key.split("/")[1] for key in bench.data_keys("oplog/"))
    at_lost = text(bench.second)
    for key in bench.keys(f"oplog/{lost}/"):
        bench.s3.delete_object(Bucket=bench.bucket, Key=key)
    target = mongod()
    for at in (at_lost, "latest"):
        refused = bench.restore(target, at, status=3)
        assert first in refused.err
        assert third in refused.err
    assert is_untouched(target)


def test_a_manifest_of_another_schema_is_refused(bench: Bench, mongod: Make) -> None:
    key = next(k for k in bench.keys("") if k.endswith("/manifest.json"))
    manifest = json.loads(bench.s3.get_object(Bucket=bench.bucket, Key=key)["Body"].read())
    bench.s3.put_object(Bucket=bench.bucket, Key=key, Body=json.dumps({**manifest, "schema": 2}).encode())
    target = mongod()
    refused = bench.restore(target, "latest", status=3)
    assert key in refused.err
    assert "schema" in refused.err
    assert is_untouched(target)


def test_a_wrong_password_and_an_unreachable_target(
    bench: Bench, mongod: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = mongod()
    wrong = bench.restore(target, "latest", password="wrong", status=1)
    assert "refused the login" in wrong.err
    assert "wrong" not in wrong.err.replace("STEWARD_TARGET_PASSWORD", "")
    target.stop()
    monkeypatch.setattr(mongo, "CONNECT_TIMEOUT_S", 0.5)
    gone = bench.restore(target, "latest", status=1)
    assert "cannot be reached" in gone.err


def test_credentials_in_the_target_uri_are_refused(bench: Bench) -> None:
    refused = bench.steward(
        "restore", "run", "--at", "latest", "--target", "mongodb://me:hush@127.0.0.1:1/", status=2
    )
    assert "hush" not in refused.err


def test_a_dry_run_checks_and_writes_nothing(bench: Bench, mongod: Make) -> None:
    target = mongod()
    told = bench.steward("restore", "plan", "--at", text(bench.second)).out
    assert f"Restore to {text(bench.second)}" in told
    assert all(key.split("/")[1] in told for key in bench.data_keys())
    assert "Recoverable: " in told
    report = bench.restore(target, "latest", "--dry-run").json
    assert report["result"] == "checked"
    assert report["verified"]["objects"] == 4
    assert is_untouched(target)


@pytest.mark.parametrize("state", ["in progress", "dump loaded"])
def test_a_killed_restore_is_recognised(bench: Bench, mongod: Make, state: str) -> None:
    target = mongod()
    assert any(kill_in_state(bench, target, state) for _ in range(5)), f"never seen in the state {state!r}"
    refused = bench.restore(target, "latest", status=1)
    assert "was not finished" in refused.err
    bench.restore(target, "latest", "--drop-existing", "--yes")
    assert contents(target) == contents(bench.live)
    with target.client() as client:
        assert "steward_restore" not in client.list_database_names()


def test_documents_that_fail_behind_status_0_fail_the_restore(
    bench: Bench, mongod: Make, tmp_path: Path
) -> None:
    genuine = settings.current().tools / "mongorestore"
    archive, status = tmp_path / "archive", tmp_path / "status"
    tool = tmp_path / "mongorestore"
    # It loads the archive twice: the second time every document is there already.
    tool.write_text(
        f"""#!/bin/sh
[ "$1" = --version ] && exec "{genuine}" --version
cat > "{archive}"
"{genuine}" "$@" < "{archive}" 2> /dev/null || exit 9
"{genuine}" "$@" < "{archive}"
echo $? > "{status}"
"""
    )
    tool.chmod(0o755)
    bench.config.write_text(bench.config.read_text().replace(str(genuine), str(tool)))
    target = mongod()
    message = bench.restore(target, "latest", status=1).err
    assert status.read_text() == "0\n"
    assert "mongorestore: 350 document(s) failed to restore (" in message
    assert f"300 of {DATABASE}.orders" in message
    assert "was not finished" in bench.restore(target, "latest", status=1).err


def test_with_stock_tools_alone(bench: Bench, mongod: Make) -> None:
    """What docs/runbooks/restore.md says for a night without steward."""
    target = mongod()
    body = bench.s3.get_object(Bucket=bench.bucket, Key=bench.data_keys()[0])["Body"].read()
    archive = zstandard.ZstdDecompressor().decompressobj().decompress(body)
    subprocess.run(
        [
            str(settings.current().tools / "mongorestore"),
            "--archive",
            "--noIndexRestore",
            f"--uri=mongodb://{target.username}:{target.password}@127.0.0.1:{target.port}/?directConnection=true",
        ],
        input=archive,
        check=True,
        capture_output=True,
        timeout=60,
    )
    assert {name: len(found) for name, found in contents(target).items()} == {"orders": 300, "users": 50}


def test_a_damaged_manifest_hides_no_point_that_does_without_it(bench: Bench, mongod: Make) -> None:
    at = text(bench.second)
    key = "daily/20261122T000000Z-abcdef/manifest.json"
    bench.s3.put_object(Bucket=bench.bucket, Key=key, Body=b'{"schema": 1}')
    target = mongod()
    assert f"{key}: damaged manifest" in bench.restore(target, "latest", status=3).err
    assert is_untouched(target)
    assert f"{key}: damaged manifest" in bench.restore(target, at).err
    assert not is_untouched(target)
