"""steward.paststore: a bucket as it was, whatever was done to it since."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from steward import config
from steward.bucketlock import bucket_lock
from steward.drill.run import drill_settings
from steward.errors import ConfigError, StewardError
from steward.paststore import Entry, PastS3Store, as_of
from steward.storage import ObjectInfo, Store, open_store
from tests.support.aws import AwsEndpoint
from tests.unit.test_config import GOOD
from tests.unit.test_storage import store_on

START = datetime(2026, 11, 22, 14, 0, tzinfo=UTC)


def entry(key: str, number: int, milliseconds: int, *, marker: bool) -> Entry:
    modified = START + timedelta(milliseconds=milliseconds)
    info = None if marker else ObjectInfo(key, number, modified, f"e{number}")
    return Entry(key, f"v{number}", modified, info)


#: What happened to a bucket, in its order: key, seconds since the last thing, deleted or written.
HISTORY = st.lists(st.tuples(st.sampled_from("abc"), st.integers(1, 3), st.booleans()), max_size=20)


@given(HISTORY, st.integers(-1, 65))
def test_each_key_is_what_was_last_done_to_it_by_then(
    history: list[tuple[str, int, bool]], second: int
) -> None:
    entries, state, clock = [], {}, 0
    for number, (key, passed, marker) in enumerate(history):
        clock += passed
        made = entry(key, number, clock * 1000 + 999, marker=marker)
        entries.append(made)
        if clock <= second:
            state[key] = made
    found = as_of(reversed(entries), START + timedelta(seconds=second))
    assert {key: past.shown for key, past in found.items()} == state
    assert list(found) == sorted(found)
    for past in found.values():
        assert past.version is None or past.version.info is not None
        assert past.shown.info is None or past.version == past.shown


@given(st.permutations([entry("a", 1, 500, marker=False), entry("a", 2, 900, marker=True)]))
def test_of_a_version_and_a_marker_of_one_second_the_version_counts(entries: list[Entry]) -> None:
    assert as_of(entries, START)["a"].shown.version_id == "v1"


def test_of_two_versions_of_one_second_the_one_listed_first_counts() -> None:
    newer, older = entry("a", 2, 900, marker=False), entry("a", 1, 100, marker=False)
    assert as_of([newer, older], START)["a"].shown is newer


def spoiled(store: Store, s3: Any, bucket: str) -> datetime:
    """Two objects, of which one is then written over and one deleted, and a third one; the second before."""
    store.put_stream("daily/a/dump", [b"good"], None)
    store.put_json("daily/b/manifest.json", {"good": True}, None)
    before = store.server_time()
    while store.server_time() <= before:
        time.sleep(0.05)
    s3.put_object(Bucket=bucket, Key="daily/a/dump", Body=b"give us money")
    s3.delete_object(Bucket=bucket, Key="daily/b/manifest.json")
    s3.put_object(Bucket=bucket, Key="daily/c/readme", Body=b"pay here")
    return before


def test_a_bucket_is_read_as_it_was_before_it_was_spoiled(aws_endpoint: AwsEndpoint) -> None:
    bucket = aws_endpoint.new_bucket("past", ObjectLockEnabledForBucket=True)
    s3 = aws_endpoint.client("s3")
    now = store_on(aws_endpoint, bucket)
    before = spoiled(now, s3, bucket)

    past = open_store(now.settings.model_copy(update={"as_of": before}))
    assert isinstance(past, PastS3Store)
    assert [(i.key, i.size) for i in past.list_prefix("daily/")] == [
        ("daily/a/dump", 4),
        ("daily/b/manifest.json", 19),
    ]
    for reader in (past, open_store(past.settings)):  # after the list, and without it
        assert b"".join(reader.open_read("daily/a/dump")) == b"good"
        assert reader.get_json("daily/b/manifest.json") == {"good": True}
        info = reader.head("daily/a/dump")
        assert info is not None
        assert (info.size, info.checksum is not None) == (4, True)
        assert reader.head("daily/c/readme") is None
        with pytest.raises(StewardError, match="daily/c/readme: no such object at 20"):
            list(reader.open_read("daily/c/readme"))
    assert list(past.list_hidden("daily/")) == []
    # As of after the attack it shows what the bucket shows.
    after = open_store(now.settings.model_copy(update={"as_of": now.server_time() + timedelta(seconds=1)}))
    assert list(after.list_prefix("")) == list(now.list_prefix(""))
    assert list(after.list_hidden("")) == list(now.list_hidden("")) != []


def test_every_page_of_a_listing_counts(aws_endpoint: AwsEndpoint, monkeypatch: pytest.MonkeyPatch) -> None:
    bucket = aws_endpoint.new_bucket("past", ObjectLockEnabledForBucket=True)
    store = store_on(aws_endpoint, bucket)
    for n in range(5):
        store.put_json(f"daily/{n}/manifest.json", {}, None)
    past = open_store(store.settings.model_copy(update={"as_of": store.server_time() + timedelta(seconds=1)}))
    assert isinstance(past, PastS3Store)
    pages = past._s3.get_paginator("list_object_versions")
    monkeypatch.setattr(past._s3, "get_paginator", lambda _: Paged(pages))
    assert len(list(past.list_prefix("daily/"))) == 5


class Paged:
    """Pages of two."""

    def __init__(self, pages: Any) -> None:
        self._pages = pages

    def paginate(self, **arguments: Any) -> Any:
        return self._pages.paginate(**arguments, PaginationConfig={"PageSize": 2})


def test_nothing_is_written_to_the_past(aws_endpoint: AwsEndpoint, tmp_path: Path) -> None:
    bucket = aws_endpoint.new_bucket("past", ObjectLockEnabledForBucket=True)
    now = store_on(aws_endpoint, bucket)
    past = open_store(now.settings.model_copy(update={"as_of": now.server_time()}))
    for write in (
        lambda: past.put_stream("daily/a/dump", [b"x"], None),
        lambda: past.put_json("daily/a/manifest.json", {}, None),
        lambda: past.put_versioned("lock/full.json", {}, None),
        lambda: bucket_lock(past, tmp_path, "full").__enter__(),
    ):
        with pytest.raises(ConfigError, match=r"not written: storage\.as_of"):
            write()
    assert list(now.list_prefix("")) == []


def test_only_s3_has_a_past() -> None:
    with pytest.raises(ValueError, match='as_of has no meaning with kind = "gcs"'):
        config.StorageSettings(kind="gcs", bucket="backups", as_of=START)


def test_a_drill_does_not_begin_whose_evidence_could_not_be_stored(tmp_path: Path) -> None:
    path = tmp_path / "steward.toml"
    drill = '[drill]\nserver = ["mongod", "--port={port}", "--dbpath={dir}"]\n'
    path.write_text(GOOD + drill)
    assert drill_settings(config.load(path)).min_free_mb > 0
    path.write_text(GOOD.replace("[storage]", "[storage]\nas_of = 2026-11-22T14:03:06Z") + drill)
    with pytest.raises(ConfigError, match=r"storage\.as_of: a drill stores evidence"):
        drill_settings(config.load(path))
