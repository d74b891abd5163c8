"""The replay on a real server does what it does in memory, where every rule is tested."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import bson
import pytest
from bson import Int64, ObjectId, Timestamp
from bson.raw_bson import RawBSONDocument
from pymongo.errors import OperationFailure

from steward.restore.applier import Applier, Replay
from steward.restore.compare import build_indexes, compare
from steward.restore.expectation import Expectation
from steward.restore.selection import Selection
from steward.restore.sink import MongoSink
from tests.support.mongod import MongoServer
from tests.unit.restore_memory import (
    LIMIT,
    MemorySink,
    command,
    delete,
    delta,
    insert,
    replay,
    update,
)

pytestmark = pytest.mark.timeout(120)

Make = Callable[..., MongoServer]
LSID = {"id": bson.Binary(b"1" * 16, 4)}

DUMP: list[dict[str, Any]] = [{"_id": n, "a": n, "tags": [1, 2, 3]} for n in range(5)]
ENTRIES = [
    insert({"_id": 1, "rewritten": True}, 1),
    insert({"_id": "new", "when": Timestamp(0, 0), "n": Int64(1), "x": 1.0}, 2),
    insert({"_id": {"b": 1, "a": 2}, "z": None}, 3),
    delta(2, {"d": {"a": False}, "u": {"b": "x"}, "stags": {"a": True, "l": 2, "u0": "first"}}, 4),
    delta({"b": 1, "a": 2}, {"i": {"z": 5, "y": {"k": [1]}}}, 5),
    delta(77, {"u": {"never": 1}}, 6),
    update(3, {"_id": 3, "replaced": ObjectId(b"x" * 12)}, 7),
    update(4, {"$v": 1, "$set": {"_id": 4, "whole": True}}, 8),
    delete(0, 9),
    delete("never", 10),
    command({"create": "log", "idIndex": {}}, 11),
    insert({"_id": 1}, 12, ns="shop.log"),
    command({"create": "old"}, 13),
    insert({"_id": "lost"}, 14, ns="shop.old"),
    command({"renameCollection": "shop.log", "to": "shop.old", "dropTarget": True}, 15),
    command({"drop": "never"}, 16),
    command(
        {"applyOps": [{"op": "i", "ns": "shop.orders", "o": {"_id": "t1"}}], "partialTxn": True},
        17, ns="admin.$cmd", lsid=LSID, txnNumber=Int64(1),
    ),
    command(
        {"applyOps": [{"op": "d", "ns": "shop.orders", "o": {"_id": 1}}]},
        18, ns="admin.$cmd", lsid=LSID, txnNumber=Int64(1),
        prevOpTime={"ts": Timestamp(17, 1), "t": Int64(1)},
    ),
    command({"createIndexes": "orders", "v": 2, "key": {"a": 1}, "name": "a_1"}, 19),
    command({"createIndexes": "orders", "v": 2, "key": {"b": 1}, "name": "b_1"}, 20),
    command({"dropIndexes": "orders", "index": "b_1"}, 21),
]  # fmt: skip


def everything(server: MongoServer) -> dict[str, list[bytes]]:
    with server.client(document_class=RawBSONDocument) as client:
        names = client.shop.list_collection_names()
        return {f"shop.{name}": sorted(d.raw for d in client.shop[name].find()) for name in names}


def expected_for(documents: int) -> Expectation:
    expected = Expectation()
    expected.added("shop.orders", documents)
    return expected


@pytest.mark.parametrize("window", [1, 3, 1000])
def test_a_server_and_memory_agree(mongod: Make, monkeypatch: pytest.MonkeyPatch, window: int) -> None:
    monkeypatch.setattr("steward.restore.applier.WINDOW_OPERATIONS", window)
    server = mongod()
    memory = MemorySink({"shop.orders": DUMP})
    replay(memory, ENTRIES)
    expected = expected_for(len(DUMP))
    with server.client() as client:
        client.shop.orders.insert_many(DUMP)
        for _ in range(2):  # the second time over its own result
            bounds = Replay((0, 0), (0, 0), LIMIT, Selection(["shop"]))
            Applier(MongoSink(client), expected, bounds).run(ENTRIES)
            found = everything(server)
            assert found == {ns: sorted(d.values()) for ns, d in memory.data.items()}
            # The drop and the rename of a repeated replay start from nothing.
            expected.indexes.remove("shop.orders", "b_1")
        assert build_indexes(client, expected) == (1, [])
        assert compare(client, expected, ["shop"]) == []


def test_differences_are_found(mongod: Make) -> None:
    server = mongod()
    expected = expected_for(2)
    expected.create("shop.users", {})
    expected.indexes.add("shop.orders", {"v": 2, "key": {"a": 1}, "name": "a_1", "unique": True})
    with server.client() as client:
        client.shop.orders.insert_many([{"_id": 1, "a": 1}, {"_id": 2, "a": 1}, {"_id": 3}])
        client.shop.orders.create_index("c")
        client.shop.extra.insert_one({"_id": 1})
        built, failed = build_indexes(client, expected)
        found = compare(client, expected, ["shop"])
    assert (built, [d.what for d in failed]) == (0, ["index a_1"])
    assert "\n" not in str(failed[0])
    assert {(d.namespace, d.what) for d in found} == {
        ("shop.extra", "collection"),
        ("shop.users", "collection"),
        ("shop.orders", "documents"),
        ("shop.orders", "index a_1"),
        ("shop.orders", "index c_1"),
    }


def test_an_error_of_a_write_does_not_repeat_the_document(mongod: Make) -> None:
    server = mongod()
    with server.client() as client:
        client.shop.orders.create_index("card", unique=True)
        bounds = Replay((0, 0), (0, 0), LIMIT, Selection(["shop"]))
        entries = [insert({"_id": n, "card": "4111-secret"}, n) for n in (1, 2)]
        with pytest.raises(OperationFailure, match=r"shop\.orders") as raised:
            Applier(MongoSink(client), Expectation(), bounds).run(entries)
    assert "full error" not in str(raised.value)
