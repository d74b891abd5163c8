"""Two hosts of one application: one works at a time, a dead one needs no human, a stalled one fails."""

from __future__ import annotations

import json
import signal
import threading
from pathlib import Path
from typing import Any

import pytest

from steward import bucketlock
from steward import config as steward_config
from steward.bucketlock import BucketLock, bucket_lock
from steward.errors import EXIT_LOCKED, LockHeldError, StewardError
from steward.storage import Store, Versioned, open_store
from tests.faults.backup_site import FaultProxy, Site, Step, poll


@pytest.fixture
def other(site: Site, tmp_path: Path) -> Site:
    """A second host for the same application: same bucket and database, reached past the proxy."""
    return Site(
        tmp_path / "other", site.aws, site.server, site.bucket, site.aws.http_url, database=site.database
    )


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """In this process every lock is stale at once."""
    monkeypatch.setattr(bucketlock, "STALE_S", -1.0)


def store_of(site: Site) -> Store:
    return open_store(steward_config.load(site.config).storage)


def content(site: Site, job: str = "full") -> dict[str, Any]:
    answer = site.s3().get_object(Bucket=site.bucket, Key=f"lock/{job}.json")
    document: dict[str, Any] = json.loads(answer["Body"].read())
    return document


@pytest.mark.parametrize("verb", ["full", "oplog"])
def test_while_one_host_works_the_other_is_refused(
    site: Site, other: Site, proxy: FaultProxy, verb: str
) -> None:
    site.run("full")
    site.insert(5)
    backups = len(site.json("list")["backups"])
    proxy.rule = lambda step: "stall" if step.name == "part" else "pass"
    with site.started(verb) as process:
        assert proxy.stalled.wait(60)
        message = other.fails(verb, status=EXIT_LOCKED)
        assert f"(pid {process.pid}, since 20" in message
        assert f"holds the lock lock/{verb}.json in the bucket" in message
        other.run("oplog" if verb == "full" else "full")  # the other job is not concerned
        assert len(other.json("list")["backups"]) == backups + 1
        proxy.rule = lambda _: "pass"
        process.send_signal(signal.SIGTERM)
        proxy.release.set()
        process.wait(60)
    assert content(site, verb)["state"] == "released"
    other.run(verb)


def test_a_killed_run_is_taken_over_at_once_by_its_own_host_and_later_by_others(
    site: Site, other: Site, proxy: FaultProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    proxy.rule = lambda step: "stall" if step.name == "part" else "pass"
    with site.started("full") as process:
        assert proxy.stalled.wait(60)
        process.kill()
        process.wait()
    proxy.rule = lambda _: "pass"
    assert content(site)["state"] == "held"
    other.fails("full", status=EXIT_LOCKED)
    assert f"(pid {process.pid}," in site.run("full").stderr
    site.s3().put_object(
        Bucket=site.bucket, Key="lock/full.json", Body=json.dumps(content(site) | {"state": "held"})
    )
    other.fails("full", status=EXIT_LOCKED)
    monkeypatch.setattr(bucketlock, "STALE_S", -1.0)
    assert "left the lock lock/full.json behind" in other.run("full").stderr


def test_a_run_that_was_stalled_for_too_long_writes_no_manifest(
    site: Site, other: Site, proxy: FaultProxy, impatient: None
) -> None:
    proxy.rule = lambda step: "stall" if step.name == "complete" else "pass"
    with site.started("full") as process:
        assert proxy.stalled.wait(60)
        taken = other.json("full")
        proxy.rule = lambda _: "pass"
        proxy.release.set()  # the held request fails and is repeated
        _, message = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "was stalled and lost the lock lock/full.json" in message
    assert "nothing of it counts as a backup" in message
    assert [b["id"] for b in other.json("list")["backups"]] == [taken["id"]]


def test_two_hosts_that_both_store_slices_lose_nothing(
    site: Site, other: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the lock is not needed for: overlapping slices are one chain."""
    monkeypatch.setattr(BucketLock, "acquire", lambda _: None)
    monkeypatch.setattr(BucketLock, "confirm", lambda _: None)
    monkeypatch.setattr(BucketLock, "release", lambda _: None)
    site.run("full")
    site.insert(5)
    first = site.json("oplog")["slice"]
    site.insert(5)
    second = site.json("oplog")["slice"]
    # The other host read the catalogue before the second slice was there.
    s3 = site.s3()
    key = f"oplog/{second['id']}/manifest.json"
    held = s3.get_object(Bucket=site.bucket, Key=key)["Body"].read()
    s3.delete_object(Bucket=site.bucket, Key=key)
    site.insert(5)
    third = other.json("oplog")["slice"]
    s3.put_object(Bucket=site.bucket, Key=key, Body=held)
    assert third["oplog"]["start"] == second["oplog"]["start"] == first["oplog"]["end"]
    found = other.json("list")
    assert len(found["timelines"]) == 1
    assert found["holes"] == []
    site.insert(5)
    assert site.json("oplog")["slice"]["previous"] == third["id"]


def test_no_answer_to_a_renewal_is_no_loss(site: Site, proxy: FaultProxy, tmp_path: Path) -> None:
    store = store_of(site)
    with bucket_lock(store, tmp_path, "full") as held:
        proxy.rule = lambda step: "lose" if step.method == "PUT" else "pass"
        with pytest.raises(StewardError, match=r"cannot be reached|connection"):
            held.renew()  # was stored all the same
        lost: list[Step] = []

        def once(step: Step) -> str:
            if step.method == "PUT" and not lost:
                lost.append(step)
                return "lose"
            return "pass"

        proxy.rule = once
        held.confirm()
        proxy.rule = lambda _: "pass"
        held.confirm()
    assert content(site)["state"] == "released"


def test_of_two_that_take_a_free_lock_one_gets_it(site: Site, tmp_path: Path) -> None:
    store = store_of(site)
    with bucket_lock(store, tmp_path / "a", "full"):
        pass
    met = store.get_versioned("lock/full.json")
    assert met is not None
    assert 0 <= met.age.total_seconds() < 600
    with bucket_lock(store, tmp_path / "b", "full"):
        assert store.put_versioned("lock/full.json", {}, met.etag) is None
        assert store.put_versioned("lock/full.json", {}, None) is None
        with pytest.raises(LockHeldError), bucket_lock(store, tmp_path / "a", "full"):
            pass


def test_the_lock_is_renewed_while_the_run_lasts(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bucketlock, "RENEW_S", 0.01)
    with bucket_lock(store_of(site), tmp_path, "full"):
        poll(lambda: content(site)["number"] > 3, "the lock is renewed")
    assert content(site)["state"] == "released"


def test_no_renewal_comes_after_the_release(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, released = threading.Event(), threading.Event()
    renew, release = BucketLock.renew, BucketLock.release

    def late(lock: BucketLock) -> Versioned | None:
        begun.set()
        released.wait(1)
        return renew(lock)

    def released_first(lock: BucketLock) -> None:
        release(lock)
        released.set()

    monkeypatch.setattr(bucketlock, "RENEW_S", 0.01)
    monkeypatch.setattr(BucketLock, "renew", late)
    monkeypatch.setattr(BucketLock, "release", released_first)
    with bucket_lock(store_of(site), tmp_path, "full"):
        assert begun.wait(30)
    assert content(site)["state"] == "released"


def test_a_dry_run_takes_no_lock(site: Site) -> None:
    site.run("full", "--dry-run")
    site.run("oplog", "--dry-run")
    assert site.s3().list_objects_v2(Bucket=site.bucket)["KeyCount"] == 0


def test_what_stands_there_and_is_no_lock_is_replaced(site: Site) -> None:
    site.s3().put_object(Bucket=site.bucket, Key="lock/full.json", Body=b"\xff{")
    site.run("full")
    assert content(site)["state"] == "released"
