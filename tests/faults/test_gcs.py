"""Backups at Google Cloud Storage: taken, listed, verified, restored; and told when they are damaged."""

from __future__ import annotations

import re
import time
from pathlib import Path

import pytest
from google.cloud.storage import Blob

from steward.config import StorageSettings
from steward.errors import FaultError
from steward.storage import open_store
from tests.faults.restore_bench import DATABASE, Bench, Make, contents, is_untouched, text
from tests.support.aws import AwsEndpoint
from tests.support.gcs import GcsServer

pytestmark = pytest.mark.timeout(240)


def moved(bench: Bench, server: GcsServer) -> StorageSettings:
    """Let the configuration name a bucket at Cloud Storage instead."""
    bucket = server.new_bucket()
    section = (
        f'[storage]\nkind = "gcs"\nbucket = "{bucket}"\nendpoint_url = "{server.url}"\n'
        f'credentials_file = "{server.credentials_file}"\n'
    )
    written, found = re.subn(
        r"\[storage\]\n.*?(?=\[backup\])", section, bench.config.read_text(), flags=re.DOTALL
    )
    assert found == 1
    bench.config.write_text(written)
    return server.storage(bucket)


def test_a_backend_is_restored_from_cloud_storage(
    tmp_path: Path, aws_endpoint: AwsEndpoint, gcs_server: GcsServer, mongod: Make
) -> None:
    live, target = mongod(), mongod()
    bench = Bench(tmp_path / "bench", aws_endpoint, live)
    settings = moved(bench, gcs_server)
    with live.client() as client:
        orders = client[DATABASE].orders
        orders.insert_many([{"_id": n, "state": "new", "note": "x" * 200} for n in range(500)])
        bench.steward("backup", "full", "--json")
        orders.update_many({"_id": {"$lt": 100}}, {"$set": {"state": "paid"}})
        second = int(time.time())
        before = contents(live)
        bench.slice_after(second)
        orders.drop()
    assert bench.keys("") == [], "S3 was not asked"
    listed = bench.steward("backup", "list", "--json").json
    assert {item["kind"] for item in listed["backups"]} == {"full", "oplog"}
    assert bench.steward("backup", "verify", "--deep", "--json").json["good"]
    bench.restore(target, text(second))
    assert contents(target) == before

    # One byte of the dump is another: nothing is restored from it, and verification says which object.
    store = open_store(settings)
    dump = max(store.list_prefix(""), key=lambda item: item.size).key
    data = bytearray(b"".join(store.open_read(dump)))
    data[len(data) // 2] ^= 1
    gcs_server.upload(settings.bucket, dump, bytes(data))
    found = bench.steward("backup", "verify", "--deep", status=3)
    assert dump in found.out + found.err
    fresh = mongod()
    bench.restore(fresh, text(second), status=3)
    assert is_untouched(fresh)


def test_what_changes_on_its_way_back_is_noticed(
    gcs_server: GcsServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = open_store(gcs_server.storage(gcs_server.new_bucket()))
    store.put_stream("daily/a/dump", [b"some data"], None)
    monkeypatch.setattr(Blob, "download_as_bytes", lambda *_args, **_more: b"somE data")
    with pytest.raises(FaultError, match="its checksum is not the one"):
        list(store.open_read("daily/a/dump"))
    monkeypatch.setattr(Blob, "download_as_bytes", lambda *_args, **_more: b"")
    with pytest.raises(FaultError, match="0 bytes came, 9 were announced"):
        list(store.open_read("daily/a/dump"))
