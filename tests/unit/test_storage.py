"""steward.storage against a real S3 endpoint."""

from __future__ import annotations

import hashlib
import os
import secrets
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from pydantic import SecretStr

from steward import multipart, storage
from steward.config import StorageLogin, StorageSettings
from steward.errors import FaultError, StewardError
from steward.multipart import MAX_PARTS, PART_BYTES, part_bytes
from steward.storage import Store, open_store
from tests.support.aws import AwsEndpoint

SMALL_PART = 5 * 1024 * 1024  # the least S3 allows


def store_on(endpoint: AwsEndpoint, bucket: str, **changes: Any) -> Store:
    login = StorageLogin(
        access_key_id=endpoint.admin_access_key_id,
        secret_access_key=SecretStr(endpoint.admin_secret_access_key),
    )
    values = {
        "bucket": bucket,
        "region": "us-east-1",
        "endpoint_url": endpoint.https_url,
        "ca_file": endpoint.ca_file,
        "login": login,
    }
    return open_store(StorageSettings(**(values | changes)))  # type: ignore[arg-type]


@pytest.fixture
def bucket(aws_endpoint: AwsEndpoint) -> str:
    return aws_endpoint.new_bucket("storage", ObjectLockEnabledForBucket=True)


@pytest.fixture
def store(aws_endpoint: AwsEndpoint, bucket: str) -> Store:
    return store_on(aws_endpoint, bucket)


@pytest.fixture
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(multipart, "PART_BYTES", SMALL_PART)


def uploads(endpoint: AwsEndpoint, bucket: str) -> list[Any]:
    found: list[Any] = endpoint.client("s3").list_multipart_uploads(Bucket=bucket).get("Uploads", [])
    return found


@pytest.mark.usefixtures("small_parts")
def test_a_stream_is_stored_in_parts_and_reads_back(aws_endpoint: AwsEndpoint, bucket: str) -> None:
    until = datetime.now(UTC).replace(microsecond=0) + timedelta(days=1)
    store = store_on(aws_endpoint, bucket, object_lock_mode="GOVERNANCE")
    data = os.urandom(2 * SMALL_PART + 12345)
    seen: list[int] = []
    pieces = (data[n : n + 700_001] for n in range(0, len(data), 700_001))
    stored = store.put_stream("daily/a/dump", pieces, until, seen.append)
    assert (stored.size, stored.parts) == (len(data), 3)
    assert stored.sha256 == hashlib.sha256(data).hexdigest()
    assert seen[-1] == len(data)
    assert b"".join(store.open_read("daily/a/dump")) == data
    found = store.head("daily/a/dump")
    assert found is not None
    assert found.size == len(data)
    assert found.checksum is not None
    lock = aws_endpoint.client("s3").get_object_retention(Bucket=bucket, Key="daily/a/dump")["Retention"]
    assert lock == {"Mode": "GOVERNANCE", "RetainUntilDate": until}


@pytest.mark.usefixtures("small_parts")
def test_a_stream_that_breaks_leaves_no_object_and_no_upload(
    aws_endpoint: AwsEndpoint, bucket: str, store: Store
) -> None:
    def breaking() -> Iterator[bytes]:
        yield os.urandom(2 * SMALL_PART)
        raise StewardError("mongodump failed")

    with pytest.raises(StewardError, match="mongodump failed"):
        store.put_stream("daily/a/dump", breaking(), None)
    assert store.head("daily/a/dump") is None
    assert uploads(aws_endpoint, bucket) == []


def test_an_empty_stream_is_refused(aws_endpoint: AwsEndpoint, bucket: str, store: Store) -> None:
    with pytest.raises(StewardError, match="is empty"):
        store.put_stream("daily/a/dump", iter([]), None)
    assert uploads(aws_endpoint, bucket) == []


def test_what_the_bucket_holds_is_compared_with_what_was_sent(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    genuine = store.head

    def shorter(key: str) -> Any:
        info = genuine(key)
        assert info is not None
        return storage.ObjectInfo(info.key, info.size - 1, info.modified, info.etag, info.checksum)

    def other(key: str) -> Any:
        info = genuine(key)
        assert info is not None
        return storage.ObjectInfo(info.key, info.size, info.modified, info.etag, "b3RoZXI=-1")

    monkeypatch.setattr(store, "head", shorter)
    with pytest.raises(FaultError, match="3 bytes were sent, 2 are stored"):
        store.put_stream("daily/a/dump", [b"abc"], None)
    monkeypatch.setattr(store, "head", other)
    with pytest.raises(FaultError, match="the stored checksum is b3RoZXI=-1"):
        store.put_stream("daily/b/dump", [b"abc"], None)


def test_json_is_written_once(store: Store) -> None:
    store.put_json("daily/a/manifest.json", {"a": 1}, None)
    store.put_json("daily/a/manifest.json", {"a": 1}, None)  # a retry of the same
    with pytest.raises(StewardError, match="exists already"):
        store.put_json("daily/a/manifest.json", {"a": 2}, None)
    assert store.get_json("daily/a/manifest.json") == {"a": 1}


def test_reading_json_that_is_none_is_a_fault(store: Store) -> None:
    store.put_stream("daily/a/manifest.json", [b"{"], None)
    with pytest.raises(FaultError, match=r"daily/a/manifest\.json: damaged"):
        store.get_json("daily/a/manifest.json")


def test_listing_is_complete(store: Store) -> None:
    for number in range(3):
        store.put_json(f"daily/{number}/manifest.json", {}, None)
    store.put_json("weekly/0/manifest.json", {}, None)
    assert [i.key for i in store.list_prefix("daily/")] == [f"daily/{n}/manifest.json" for n in range(3)]


def test_errors_are_one_line_with_what_to_do(aws_endpoint: AwsEndpoint, bucket: str, store: Store) -> None:
    with pytest.raises(StewardError, match="no such object") as caught:
        list(store.open_read("daily/none"))
    assert "daily/none" in str(caught.value)
    assert store.head("daily/none") is None
    with pytest.raises(StewardError, match=r"no such bucket; check storage\.bucket"):
        list(store_on(aws_endpoint, f"none-{secrets.token_hex(4)}").list_prefix("daily/"))
    wrong = StorageLogin(access_key_id="AKIAWRONG", secret_access_key=SecretStr("wrong"))
    with pytest.raises(StewardError, match="the access key is not known"):
        list(store_on(aws_endpoint, bucket, login=wrong).list_prefix("daily/"))
    wrong = StorageLogin(access_key_id=aws_endpoint.admin_access_key_id, secret_access_key=SecretStr("wrong"))
    with pytest.raises(StewardError, match="the secret access key is wrong"):
        list(store_on(aws_endpoint, bucket, login=wrong).list_prefix("daily/"))
    with pytest.raises(StewardError, match=r"TLS failed, check storage\.ca_file"):
        list(store_on(aws_endpoint, bucket, ca_file=None).list_prefix("daily/"))


def test_the_largest_stream_fits_into_the_parts_s3_allows() -> None:
    assert part_bytes(1) == PART_BYTES == 16 * 1024 * 1024
    assert sum(part_bytes(n) for n in range(1, MAX_PARTS + 1)) > 900 * 1024**3
    assert part_bytes(MAX_PARTS) < 5 * 1024**3


def test_within_tls_a_body_is_hashed_once_and_its_digest_is_signed(
    aws_endpoint: AwsEndpoint, bucket: str
) -> None:
    sent: list[dict[str, str]] = []

    def watch(request: Any, **_: Any) -> None:
        sent.append({name: request.headers[name] for name in request.headers})

    store = store_on(aws_endpoint, bucket)
    store._s3.meta.events.register("before-send.s3.UploadPart", watch)
    store.put_stream("daily/x/data", iter([b"content"]), None)
    headers = {name.lower(): _text(value) for name, value in sent[-1].items()}
    assert headers["x-amz-content-sha256"] == "UNSIGNED-PAYLOAD"
    digest = multipart.base64_text(hashlib.sha256(b"content").digest())
    assert headers["x-amz-checksum-sha256"] == digest
    assert "x-amz-checksum-sha256" in headers["authorization"]


def test_without_tls_the_whole_request_is_signed(aws_endpoint: AwsEndpoint) -> None:
    store = store_on(aws_endpoint, "bucket", endpoint_url="http://127.0.0.1:9", ca_file=None)
    assert store._s3.meta.config.s3["payload_signing_enabled"]


def _text(value: str | bytes) -> str:
    return value.decode() if isinstance(value, bytes) else value
