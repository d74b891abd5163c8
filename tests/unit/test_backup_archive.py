"""steward.backup.archive: mongodump's stream is checked while it passes."""

from __future__ import annotations

import json
import struct
from typing import Any

import bson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from steward.backup.archive import MAGIC, ArchiveChecker, ArchiveNamespace
from steward.errors import FaultError

END = b"\xff\xff\xff\xff"


def prelude(*names: str, kind: str = "") -> bytes:
    """Magic number, header and the metadata of collections ``db.collection``."""
    parts = [struct.pack("<I", MAGIC), bson.encode({"version": "0.1", "server_version": "7.0.42"})]
    for name in names:
        db, collection = name.split(".", 1)
        metadata = {"options": {"capped": False}, "indexes": [{"v": {"$numberInt": "2"}, "name": "_id_"}]}
        parts.append(
            bson.encode({"db": db, "collection": collection, "metadata": json.dumps(metadata), "type": kind})
        )
    return b"".join([*parts, END])


def header(name: str, ended: bool = False) -> bytes:
    db, collection = name.split(".", 1)
    return bson.encode(
        {"db": db, "collection": collection, "EOF": ended, "CRC": bson.Int64(7 if ended else 0)}
    )


def block(name: str, *documents: dict[str, Any]) -> bytes:
    return header(name) + b"".join(bson.encode(d) for d in documents) + END


def ending(name: str) -> bytes:
    return header(name, ended=True) + END


def check(data: bytes, size: int = 1 << 20) -> list[ArchiveNamespace]:
    checker = ArchiveChecker()
    for position in range(0, len(data), size):
        checker.feed(data[position : position + size])
    return checker.finish()


ARCHIVE = (
    prelude("shop.orders", "shop.users")
    + block("shop.orders", {"a": 1}, {"a": "x" * 300})
    + block("shop.users", {"u": 1})
    + block("shop.orders", {"a": 3})
    + ending("shop.users")
    + ending("shop.orders")
)


def test_counts_options_and_indexes_come_from_the_archive_itself() -> None:
    found = {n.name: n for n in check(ARCHIVE)}
    assert {name: n.documents for name, n in found.items()} == {"shop.orders": 3, "shop.users": 1}
    assert found["shop.users"].indexes == [{"v": {"$numberInt": "2"}, "name": "_id_"}]
    assert found["shop.users"].options == {"capped": False}


@given(st.integers(1, 400))
def test_the_stream_may_be_cut_anywhere(size: int) -> None:
    assert [n.documents for n in check(ARCHIVE, size)] == [3, 1]


@given(st.integers(0, len(ARCHIVE) - 1), st.integers(1, 64))
def test_a_stream_that_ends_early_anywhere_is_a_fault(length: int, size: int) -> None:
    with pytest.raises(FaultError):
        check(ARCHIVE[:length], size)


def test_an_empty_database_is_a_complete_archive() -> None:
    assert check(prelude("shop.empty") + ending("shop.empty"))[0].documents == 0


def test_the_documents_of_a_time_series_are_those_of_its_buckets() -> None:
    data = prelude("shop.load", kind="timeseries")
    data += block("shop.system.buckets.load", {"b": 1}) + ending("shop.system.buckets.load")
    assert [(n.name, n.documents) for n in check(data)] == [("shop.load", 1)]


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "wrote no archive"),
        (b"BSON" + ARCHIVE[4:], "does not begin as an archive"),
        (ARCHIVE + END, "header of -1 bytes"),
        (prelude("a.b") + header("a.b") + struct.pack("<i", 3), "document of 3 bytes"),
        (prelude("a.b") + ending("a.b") + block("a.b", {"x": 1}), "goes on with a.b after its end"),
        (prelude("a.b", "a.c") + ending("a.b"), "before a.c is complete"),
    ],
)
def test_damage_is_named(data: bytes, words: str) -> None:
    with pytest.raises(FaultError, match=words):
        check(data)


def check_values(data: bytes, size: int) -> list[ArchiveNamespace]:
    checker = ArchiveChecker(every_value=True)
    for position in range(0, len(data), size):
        checker.feed(data[position : position + size])
    return checker.finish()


@given(st.integers(1, len(ARCHIVE)))
def test_every_value_is_looked_at_however_the_stream_is_cut(size: int) -> None:
    counts = {n.name: n.documents for n in check_values(ARCHIVE, size)}
    assert counts == {"shop.orders": 3, "shop.users": 1}


@pytest.mark.parametrize("size", [7, 1 << 20])
def test_a_document_that_is_no_bson_inside_is_found_only_by_looking_at_values(size: int) -> None:
    good = bson.encode({"a": "text", "b": {"c": 1}})
    bad = good.replace(b"\x03b\0", b"\x55b\0")  # a type that does not exist
    assert len(bad) == len(good)
    data = prelude("shop.orders") + header("shop.orders") + good + bad + END + ending("shop.orders")
    assert check(data, size)[0].documents == 2
    offset = data.index(bad)
    with pytest.raises(FaultError, match=rf"the document at byte {offset} of the archive is not BSON"):
        check_values(data, size)
