"""What every store has to do, asked of both against real servers: S3's protocol and Cloud Storage's."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from steward import gcsstore, multipart
from steward.bucketlock import bucket_lock
from steward.config import StorageLogin, StorageSettings
from steward.errors import LockHeldError, StewardError
from steward.storage import Store, open_store
from tests.support.aws import AwsEndpoint
from tests.support.gcs import GcsServer

CHUNK = 5 * 1024 * 1024  # the least S3 allows, and 20 of Cloud Storage's least


@pytest.fixture(params=["s3", "gcs"])
def settings(request: pytest.FixtureRequest) -> StorageSettings:
    """A new bucket that keeps versions."""
    if request.param == "gcs":
        server: GcsServer = request.getfixturevalue("gcs_server")
        return server.storage(server.new_bucket())
    endpoint: AwsEndpoint = request.getfixturevalue("aws_endpoint")
    login = StorageLogin(
        access_key_id=endpoint.admin_access_key_id,
        secret_access_key=SecretStr(endpoint.admin_secret_access_key),
    )
    return StorageSettings(
        bucket=endpoint.new_bucket("contract", ObjectLockEnabledForBucket=True),
        region="us-east-1",
        endpoint_url=endpoint.https_url,
        ca_file=endpoint.ca_file,
        login=login,
    )


@pytest.fixture
def store(settings: StorageSettings, monkeypatch: pytest.MonkeyPatch) -> Store:
    monkeypatch.setattr(multipart, "PART_BYTES", CHUNK)
    monkeypatch.setattr(gcsstore, "CHUNK_BYTES", CHUNK)
    return open_store(settings)


@pytest.fixture
def delete(request: pytest.FixtureRequest, settings: StorageSettings) -> Callable[[str], Any]:
    """Deletes an object past the store, as an attacker would."""
    if settings.kind == "gcs":
        server: GcsServer = request.getfixturevalue("gcs_server")
        return lambda key: server.request("DELETE", f"b/{settings.bucket}/o/{key.replace('/', '%2F')}")
    s3 = request.getfixturevalue("aws_endpoint").client("s3")
    return lambda key: s3.delete_object(Bucket=settings.bucket, Key=key)


@pytest.mark.parametrize("size", [1, CHUNK - 1, CHUNK, CHUNK + 1, 3 * CHUNK + 12345])
def test_a_stream_reads_back_as_it_was_sent(store: Store, size: int) -> None:
    data = os.urandom(size)
    seen: list[int] = []
    pieces = (data[n : n + 700_001] for n in range(0, len(data), 700_001))
    stored = store.put_stream("daily/a/dump", pieces, None, seen.append)
    assert (stored.key, stored.size) == ("daily/a/dump", size)
    assert stored.sha256 == hashlib.sha256(data).hexdigest()
    assert stored.parts == -(-size // CHUNK)
    assert seen[-1] == size
    chunks = list(store.open_read("daily/a/dump"))
    assert b"".join(chunks) == data
    assert max(map(len, chunks)) <= 1024 * 1024
    found = store.head("daily/a/dump")
    assert found
    assert (found.size, found.locked_until) == (size, None)
    assert abs(found.modified - datetime.now(UTC)) < timedelta(minutes=5)


def test_a_stream_that_breaks_leaves_no_object(store: Store) -> None:
    def breaking() -> Iterator[bytes]:
        yield os.urandom(2 * CHUNK)
        raise StewardError("mongodump failed")

    with pytest.raises(StewardError, match="mongodump failed"):
        store.put_stream("daily/a/dump", breaking(), None)
    with pytest.raises(StewardError, match="is empty"):
        store.put_stream("daily/a/dump", iter([]), None)
    assert store.head("daily/a/dump") is None
    assert not list(store.list_prefix("daily/"))


def test_a_document_is_written_once(store: Store) -> None:
    store.put_json("daily/a/manifest.json", {"name": "ä"}, None)
    store.put_json("daily/a/manifest.json", {"name": "ä"}, None)  # a retry of the same
    with pytest.raises(StewardError, match="exists already with another content"):
        store.put_json("daily/a/manifest.json", {"name": "b"}, None)
    assert store.get_json("daily/a/manifest.json") == {"name": "ä"}


def test_a_version_is_written_over_only_by_who_read_it(store: Store) -> None:
    assert store.get_versioned("lock/full.json") is None
    first = store.put_versioned("lock/full.json", {"n": 1}, None)
    assert first
    assert store.put_versioned("lock/full.json", {"n": 2}, None) is None
    second = store.put_versioned("lock/full.json", {"n": 2}, first)
    assert second
    assert second != first
    assert store.put_versioned("lock/full.json", {"n": 3}, first) is None
    found = store.get_versioned("lock/full.json")
    assert found
    assert (found.document, found.etag) == ({"n": 2}, second)
    assert timedelta(seconds=-2) <= found.age < timedelta(minutes=5)


def test_one_host_works_at_a_time(store: Store, tmp_path: Path) -> None:
    with (
        bucket_lock(store, tmp_path / "one", "full") as held,
        pytest.raises(LockHeldError, match="holds the lock"),
        bucket_lock(store, tmp_path / "two", "full"),
    ):
        pytest.fail("two hold it")
    with bucket_lock(store, tmp_path / "two", "full") as again:
        again.confirm()
        with pytest.raises(StewardError, match="lost the lock"):
            held.confirm()


def test_listing_is_complete_and_tells_sizes(store: Store) -> None:
    for number in range(3):
        store.put_json(f"daily/{number}/manifest.json", {"n": number}, None)
    store.put_json("weekly/0/manifest.json", {}, None)
    found = list(store.list_prefix("daily/"))
    assert [i.key for i in found] == [f"daily/{n}/manifest.json" for n in range(3)]
    for item in found:
        head = store.head(item.key)
        assert head
        assert (head.size, head.etag) == (item.size, item.etag)


def test_what_was_deleted_is_found_and_read(store: Store, delete: Callable[[str], Any]) -> None:
    """A host may not delete; who can hides the objects only, and their versions are still there."""
    for key in ("daily/a/manifest.json", "daily/b/manifest.json", "daily/c/manifest.json"):
        store.put_json(key, {"of": key}, None)
    etag = store.put_versioned("daily/d/manifest.json", {"n": 1}, None)
    assert store.put_versioned("daily/d/manifest.json", {"n": 2}, etag)
    for key in ("daily/b/manifest.json", "daily/d/manifest.json"):
        delete(key)
    hidden = dict(store.list_hidden("daily/"))
    assert list(hidden) == ["daily/b/manifest.json", "daily/d/manifest.json"]
    with pytest.raises(StewardError, match="no such object"):
        list(store.open_read("daily/b/manifest.json"))
    assert store.get_json("daily/b/manifest.json", hidden["daily/b/manifest.json"]) == {
        "of": "daily/b/manifest.json"
    }
    assert store.get_json("daily/d/manifest.json", hidden["daily/d/manifest.json"]) == {"n": 2}


def test_the_service_tells_its_time(store: Store) -> None:
    assert abs(store.server_time() - datetime.now(UTC)) < timedelta(minutes=5)


def test_errors_are_one_line_with_what_to_do(settings: StorageSettings) -> None:
    store = open_store(settings)
    assert store.head("daily/none") is None
    with pytest.raises(StewardError, match=r"daily/none.*no such object"):
        list(store.open_read("daily/none"))
    nowhere = settings.model_copy(update={"bucket": "no-such-bucket-anywhere"})
    for ask in (lambda s: list(s.list_prefix("daily/")), lambda s: s.server_time()):
        with pytest.raises(StewardError, match=r"check storage\.bucket") as caught:
            ask(open_store(nowhere))
        assert "\n" not in str(caught.value)
    unreachable = settings.model_copy(update={"endpoint_url": "http://127.0.0.1:9"})
    with pytest.raises(StewardError, match=r"127\.0\.0\.1:9") as caught:
        open_store(unreachable).server_time()
    assert "\n" not in str(caught.value)


def test_cloud_storage_is_asked_to_retain_as_s3_is(gcs_server: GcsServer) -> None:
    """fake-gcs-server keeps no retention, so this looks at what is sent."""
    until = datetime(2030, 1, 2, 3, 4, 5, tzinfo=UTC)
    for mode, sent in (("GOVERNANCE", "Unlocked"), ("COMPLIANCE", "Locked")):
        store = gcsstore.GcsStore(gcs_server.storage("some-bucket", object_lock_mode=mode))
        blob = store._new("daily/a/dump", until)
        asked = blob._get_writable_metadata()["retention"]
        assert (asked["mode"], asked["retainUntilTime"]) == (sent, "2030-01-02T03:04:05.000000Z")
        assert "retention" not in store._new("lock/full.json", None)._get_writable_metadata()
