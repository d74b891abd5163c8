"""Slices: gaps, idle servers, concurrent writers, and every entry exactly once."""

from __future__ import annotations

import threading
from typing import Any

import bson
import zstandard

from steward.bsonio import iter_raw_bson
from steward.errors import EXIT_FAULT
from tests.faults.backup_site import Site


def entries(site: Site, slice_: dict[str, Any]) -> list[dict[str, Any]]:
    """The decoded entries of a stored slice."""
    stored = site.s3().get_object(Bucket=site.bucket, Key=slice_["object"]["key"])["Body"].read()
    raw = zstandard.ZstdDecompressor().decompressobj().decompress(stored)
    assert len(raw) == slice_["object"]["raw_size"]
    return [bson.decode(document) for document in iter_raw_bson([raw])]


def forget(site: Site, before: dict[str, int], *, inclusive: bool = True) -> None:
    """Let the server's oplog lose its oldest entries, as a small one would."""
    from bson.timestamp import Timestamp

    limit = {"$lte" if inclusive else "$lt": Timestamp(before["t"], before["i"])}
    with site.server.client() as client:
        assert client.local["oplog.rs"].delete_many({"ts": limit}).deleted_count > 0


def test_without_any_full_a_slice_run_takes_one(site: Site) -> None:
    refused = site.run("oplog", "--no-auto-full", status=1)
    assert "run `steward backup full`" in refused.stderr
    assert site.keys() == []
    done = site.json("oplog")
    assert done["slice"] is None
    assert done["full"]["class"] == "monthly"
    assert done["full"].get("new_chain", False) is False
    site.insert(5)
    assert site.json("oplog")["slice"]["oplog"]["count"] == 6


def test_nothing_new_stores_nothing_but_moves_what_is_proven(site: Site) -> None:
    site.run("full")
    site.insert(5)
    site.run("oplog")
    before, keys = site.metric("steward_recoverable_to_timestamp_seconds"), site.keys()
    site.settled()
    assert "nothing new in the oplog" in site.run("oplog").stdout
    after = site.metric("steward_recoverable_to_timestamp_seconds")
    assert site.keys() == keys
    assert before is not None
    assert after is not None
    assert after > before
    assert site.metric("steward_oplog_gap") == 0


def test_a_gap_is_told_and_closed_with_a_new_full(site: Site) -> None:
    site.run("full")
    site.insert(5)
    first = site.json("oplog")["slice"]
    site.insert(5)
    forget(site, first["oplog"]["end"])
    success = site.metric("steward_backup_last_success_timestamp_seconds", kind="oplog")

    refused = site.run("oplog", "--no-auto-full", status=EXIT_FAULT)
    assert "gap in the oplog" in refused.stderr
    assert "run `steward backup full`" in refused.stderr
    assert len(site.json("list")["backups"]) == 2
    assert site.metric("steward_oplog_gap") == 1
    assert site.metric("steward_backup_last_success_timestamp_seconds", kind="oplog") == success

    done = site.run("oplog", status=EXIT_FAULT)
    assert "a new full backup was taken" in done.stderr
    assert site.metric("steward_oplog_gap") == 1
    newest = site.json("show", "latest")
    assert (newest["kind"], newest["new_chain"]) == ("full", True)

    site.insert(5)
    after = site.json("oplog")["slice"]
    assert after["previous"] == newest["id"]
    assert after["oplog"]["start"] == newest["oplog"]["start"]
    assert site.metric("steward_oplog_gap") == 0
    found = site.json("list")
    assert len(found["timelines"]) == 2
    assert len(found["holes"]) == 1


def test_a_gap_with_a_later_full_goes_on_from_that_full(site: Site) -> None:
    site.run("full")
    site.insert(5)
    first = site.json("oplog")["slice"]
    site.insert(5)
    base = site.json("full")
    forget(site, first["oplog"]["end"])
    site.insert(5)
    done = site.run("oplog", "--json", status=EXIT_FAULT)
    assert "slices continue from the newest full backup" in done.stderr
    newest = site.json("show", "latest")
    assert (newest["kind"], newest["previous"]) == ("oplog", base["id"])
    site.insert(5)
    assert site.json("oplog")["slice"]["previous"] == newest["id"]
    assert site.metric("steward_oplog_gap") == 0


def test_a_lost_newest_slice_is_stored_again(site: Site) -> None:
    site.run("full")
    site.insert(5)
    first = site.json("oplog")["slice"]
    site.insert(5)
    second = site.json("oplog")["slice"]
    s3 = site.s3()
    for version in s3.list_object_versions(Bucket=site.bucket, Prefix=second["object"]["key"])["Versions"]:
        s3.delete_object(
            Bucket=site.bucket,
            Key=version["Key"],
            VersionId=version["VersionId"],
            BypassGovernanceRetention=True,
        )
    again = site.json("oplog")["slice"]
    assert again["previous"] == first["id"]
    assert entries(site, again)[0]["ts"] == entries(site, first)[-1]["ts"]
    assert again["oplog"]["count"] == 6
    assert site.json("list")["holes"] == []


def test_a_dry_run_says_whether_the_chain_continues_and_writes_nothing(site: Site) -> None:
    site.run("full")
    site.insert(5)
    keys = site.keys()
    assert "continues the last stored entry" in site.run("oplog", "--dry-run").stdout
    assert site.keys() == keys


def test_slices_taken_while_others_write_hold_each_entry_exactly_once(site: Site) -> None:
    """Four connections write while slices are stored; the slices equal the server's oplog."""
    base = site.json("full")
    stop = threading.Event()

    def write(number: int) -> None:
        with site.server.client() as client:
            orders = client[site.database]["orders"]
            counter = 0
            while not stop.is_set():
                orders.insert_one({"writer": number, "counter": counter})
                orders.update_one({"writer": number, "counter": counter}, {"$set": {"seen": True}})
                counter += 1
                stop.wait(0.01)

    threads = [threading.Thread(target=write, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    slices: list[dict[str, Any]] = []
    try:
        while len(slices) < 3:
            if slice_ := site.json("oplog")["slice"]:
                slices.append(slice_)
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    site.settled()
    slices.append(site.json("oplog")["slice"])

    stored: list[dict[str, Any]] = []
    for slice_ in slices:
        found = entries(site, slice_)
        assert len(found) == slice_["oplog"]["count"]
        if stored:
            assert found[0] == stored[-1]
            found = found[1:]
        stored += found
    assert slices[0]["oplog"]["start"] == base["oplog"]["start"]
    times = [e["ts"] for e in stored]
    assert times == sorted(set(times))
    with site.server.client() as client:
        expected = {e["ts"]: e for e in client.local["oplog.rs"].find({"ts": {"$gte": times[0]}})}
    assert {e["ts"]: e["o"] for e in stored} == {ts: e["o"] for ts, e in expected.items()}
    assert len(site.json("list")["timelines"]) == 1
