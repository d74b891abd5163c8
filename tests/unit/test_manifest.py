"""steward.manifest: what is stored reads back the same, and damage is named."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from steward.errors import EXIT_FAULT, FaultError
from steward.manifest import MAX_ORDINAL, Manifest, OplogTime, new_id, parse, scan
from steward.storage import ObjectInfo
from tests.unit.manifest_samples import at, full, piece

U32 = st.integers(0, MAX_ORDINAL)


class MemoryStore:
    """The part of a Store that a scan uses."""

    def __init__(self, documents: dict[str, Any], sizes: dict[str, int]) -> None:
        self.documents = documents
        self.sizes = {key: len(json.dumps(d)) for key, d in documents.items()} | sizes

    def list_prefix(self, prefix: str) -> list[ObjectInfo]:
        now = datetime.now(UTC)
        return [ObjectInfo(k, s, now, "e") for k, s in self.sizes.items() if k.startswith(prefix)]

    def get_json(self, key: str) -> Any:
        return self.documents[key]


def test_a_manifest_reads_back_the_same() -> None:
    for sample in (
        full(at(1), at(5)),
        full(at(1), at(5), closing=True),
        full(None),
        piece(at(1), at(9), at(12)),
    ):
        document = json.loads(json.dumps(sample.to_json()))
        assert document["schema"] == 1
        assert document["class"] == sample.class_
        assert document["started_at"].endswith("Z")
        assert parse(sample.manifest_key, document) == sample


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"schema": 2}, "schema"),
        ({"extra": 1}, "extra"),
        ({"class": "oplog"}, "cannot have class"),
        ({"namespaces": None}, "needs namespaces"),
        ({"id": "20261122T000000Z"}, "id"),
        ({"started_at": "2026-11-22T00:00:00"}, "started_at"),
        ({"oplog": {"start": {"t": 5, "i": 1}, "end": {"t": 4, "i": 1}}}, "before its start"),
        ({"object": {"key": "daily/x/dump"}}, "object"),
        ({"oplog": None, "closing": full(at(1), at(5), closing=True).to_json()["closing"]}, "closing slice"),
        ({"closing": full(at(1), at(5), closing=True).to_json()["closing"]}, "not inside"),
    ],
)
def test_a_damaged_manifest_is_named(change: dict[str, Any], words: str) -> None:
    sample = full(at(1))
    with pytest.raises(FaultError, match=words) as caught:
        parse(sample.manifest_key, sample.to_json() | change)
    assert sample.manifest_key in str(caught.value)
    assert caught.value.exit_code == EXIT_FAULT


def test_a_manifest_in_another_backups_place_is_damaged() -> None:
    one, other = full(at(1)), full(at(2))
    with pytest.raises(FaultError, match=other.manifest_key):
        parse(other.manifest_key, one.to_json())


def test_data_that_point_outside_their_folder_are_refused() -> None:
    sample = full(at(1)).to_json()
    sample["object"]["key"] = "monthly/other/dump.archive.zst"
    with pytest.raises(FaultError, match="not inside"):
        parse(f"daily/{sample['id']}/manifest.json", sample)


def test_a_scan_counts_only_what_has_a_manifest() -> None:
    whole, short, lost = full(at(1)), full(at(2)), piece(at(2), at(3))
    backups = [short, lost, whole]
    store = MemoryStore(
        {m.manifest_key: m.to_json() for m in backups},
        {
            whole.object.key: whole.object.size,
            short.object.key: short.object.size - 1,
            "daily/20261122T000000Z-aaaaaa/dump.archive.zst": 7,
        },
    )
    found = scan(store)  # type: ignore[arg-type]
    assert [m.id for m in found.manifests] == [whole.id, short.id, lost.id]
    assert [found.intact(m) for m in found.manifests] == [True, False, False]
    assert found.unfinished == ["daily/20261122T000000Z-aaaaaa"]


def test_a_full_without_its_closing_slice_is_damaged() -> None:
    sample = full(at(1), at(5), closing=True)
    store = MemoryStore({sample.manifest_key: sample.to_json()}, {sample.object.key: sample.object.size})
    found = scan(store)  # type: ignore[arg-type]
    assert not found.intact(sample)
    assert [data.key for data in sample.objects if not found.holds(data)] == [sample.objects[1].key]


@given(st.tuples(U32, U32), st.tuples(U32, U32))
def test_oplog_times_are_ordered_by_second_then_ordinal(one: tuple[int, int], two: tuple[int, int]) -> None:
    first, second = OplogTime(t=one[0], i=one[1]), OplogTime(t=two[0], i=two[1])
    assert (first < second) == (one < two)
    assert (first <= second) == (one <= two)
    assert OplogTime.of(first.bson()) == first


def test_a_second_is_whole_only_with_its_last_ordinal() -> None:
    assert OplogTime(t=100, i=7).whole_second() == 99
    assert OplogTime(t=100, i=MAX_ORDINAL).whole_second() == 100


def test_ids_begin_with_the_utc_start_and_differ() -> None:
    start = datetime(2026, 11, 22, 2, 10, 5, tzinfo=UTC)
    one, two = new_id(start), new_id(start)
    assert one.startswith("20261122T021005Z-")
    assert one != two


def test_unknown_kinds_are_refused() -> None:
    with pytest.raises(ValueError, match="kind"):
        Manifest.model_validate(full(at(1)).to_json() | {"kind": "snapshot"})
