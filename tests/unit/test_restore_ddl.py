"""Replaying commands, the index catalogue, and what is expected at the end."""

from __future__ import annotations

import bson
import pytest
from bson import Int64

from steward.manifest import Namespace
from steward.restore.catalogue import IndexCatalogue, buildable, same_index
from steward.restore.entries import EntryError
from steward.restore.expectation import Expectation
from tests.unit.restore_memory import Doc, MemorySink, command, delete, insert, replay, update

ORDERS = "shop.orders"
UUID_FIELD = bson.Binary(b"0" * 16, 4)
BY_STATE = {"v": 2, "key": {"state": 1}, "name": "state_1"}


def expectation(*namespaces: str, indexes: list[Doc] | None = None) -> Expectation:
    return Expectation.of(
        Namespace(
            db=ns.partition(".")[0],
            collection=ns.partition(".")[2],
            type="collection",
            count=0,
            options={},
            indexes=[
                {"v": {"$numberInt": "2"}, "key": {"_id": {"$numberInt": "1"}}, "name": "_id_"},
                *(indexes or []),
            ],
        )
        for ns in namespaces
    )


def test_create_drops_what_is_internal() -> None:
    sink = MemorySink()
    entry = {
        "create": "log",
        "capped": True,
        "size": 4096,
        "temp": True,
        "recordIdsReplicated": True,
        "idIndex": {"v": 2, "key": {"_id": 1}, "name": "_id_"},
    }
    replay(sink, [command(entry, 1), command(entry, 2)])
    assert sink.options == {"shop.log": {"capped": True, "size": 4096}}


def test_drop_and_drop_database() -> None:
    sink = MemorySink({ORDERS: [{"_id": 1}], "shop.users": [{"_id": 1}]})
    expected = expectation(ORDERS, "shop.users", indexes=[BY_STATE])
    replay(
        sink,
        [command({"drop": "orders"}, 1, o2={"numRecords": 1}), command({"drop": "none"}, 2)],
        expected=expected,
    )
    assert list(sink.data) == ["shop.users"]
    assert list(expected.collections) == expected.indexes.namespaces() == ["shop.users"]
    replay(sink, [command({"dropDatabase": 1}, 3)], expected=expected)
    assert sink.data == expected.collections == {}


def test_a_drop_in_between_ends_the_window() -> None:
    sink = MemorySink()
    entries = [insert({"_id": 1}, 1), command({"drop": "orders"}, 2), insert({"_id": 2}, 3)]
    expected = Expectation()
    replay(sink, entries, expected=expected)
    assert sink.documents(ORDERS) == [{"_id": 2}]
    assert expected.collections[ORDERS].count == 1


@pytest.mark.parametrize("drop_target", [UUID_FIELD, True])
def test_rename_over_an_existing_collection(drop_target: object) -> None:
    sink = MemorySink({"shop.tmp": [{"_id": "new"}], ORDERS: [{"_id": "old"}]})
    expected = expectation("shop.tmp", ORDERS, indexes=[BY_STATE])
    rename = {"renameCollection": "shop.tmp", "to": ORDERS, "stayTemp": False, "dropTarget": drop_target}
    replay(sink, [command(rename, 1)], expected=expected)
    assert sink.documents(ORDERS) == [{"_id": "new"}]
    assert list(expected.collections) == expected.indexes.namespaces() == [ORDERS]


def test_rename_out_of_what_is_restored_drops() -> None:
    sink = MemorySink({ORDERS: [{"_id": 1}]})
    replay(sink, [command({"renameCollection": ORDERS, "to": "other.x"}, 1)])
    assert sink.data == {}


@pytest.mark.parametrize(
    ("rename", "text"),
    [
        ({"renameCollection": "other.x", "to": ORDERS}, "not part of the backup"),
        ({"renameCollection": "shop.none", "to": ORDERS}, "has no shop.none"),
    ],
)
def test_renames_that_cannot_be_replayed(rename: Doc, text: str) -> None:
    with pytest.raises(EntryError, match=text):
        replay(MemorySink(), [command(rename, 1)])


def test_a_rename_while_the_dump_was_made_is_refused() -> None:
    sink = MemorySink({ORDERS: [{"_id": 1}]})
    rename = command({"renameCollection": ORDERS, "to": "shop.b"}, 5)
    with pytest.raises(EntryError, match="while the dump was made"):
        replay(sink, [rename], base=(4, 1), dump_end=(5, 1))
    assert not sink.calls
    replay(sink, [rename], base=(3, 1), dump_end=(4, 1))
    assert list(sink.data) == ["shop.b"]


def test_a_drop_as_the_very_first_entry_is_in_the_dump() -> None:
    sink = MemorySink({ORDERS: [{"_id": 1}]})
    replay(sink, [command({"drop": "orders"}, 5)], base=(5, 1), dump_end=(9, 1))
    assert sink.documents(ORDERS) == [{"_id": 1}]


def test_indexes_go_to_the_catalogue_only() -> None:
    sink, expected = MemorySink({ORDERS: []}), expectation(ORDERS)
    entries = [
        command({"createIndexes": "orders", **BY_STATE}, 1),
        command({"startIndexBuild": "orders", "indexes": []}, 2),
        command(
            {
                "commitIndexBuild": "orders",
                "indexes": [
                    {"v": 2, "key": {"a": 1}, "name": "a_1", "unique": True},
                    {"v": 2, "key": {"b": 1}, "name": "b_1"},
                    {"v": 2, "key": {"c": 1}, "name": "c_1"},
                ],
            },
            3,
        ),
        command({"abortIndexBuild": "orders", "indexes": []}, 4),
        command({"dropIndexes": "orders", "index": "b_1"}, 5, o2={"key": {"b": 1}}),
        command({"deleteIndexes": "orders", "index": "never"}, 6),
        command({"collMod": "orders", "index": {"name": "state_1", "expireAfterSeconds": Int64(60)}}, 7),
        command({"collMod": "orders", "index": {"keyPattern": {"c": 1}, "hidden": True}}, 8),
        command({"collMod": "orders", "noPadding": True, "validator": {"a": {"$exists": True}}}, 9),
    ]
    replay(sink, entries, expected=expected)
    found = {spec["name"]: spec for spec in expected.indexes.of_namespace(ORDERS)}
    assert sorted(found) == ["a_1", "c_1", "state_1"]
    assert (found["a_1"]["unique"], found["state_1"]["expireAfterSeconds"], found["c_1"]["hidden"]) == (
        True,
        60,
        True,
    )
    assert sink.calls == [("modify", ORDERS, {"validator": {"a": {"$exists": True}}})]
    assert expected.collections[ORDERS].options == {"validator": {"a": {"$exists": True}}}


def test_unique_by_collmod() -> None:
    catalogue = IndexCatalogue()
    catalogue.add(ORDERS, {"v": 2, "key": {"a": 1}, "name": "a_1"})
    catalogue.modify(ORDERS, {"name": "a_1", "prepareUnique": True})
    catalogue.modify(ORDERS, {"name": "a_1", "unique": True})
    assert catalogue.of_namespace(ORDERS) == [{"v": 2, "key": {"a": 1}, "name": "a_1", "unique": True}]
    catalogue.modify(ORDERS, {"name": "a_1", "forceNonUnique": True})
    assert "unique" not in catalogue.of_namespace(ORDERS)[0]


@pytest.mark.parametrize("which", ["*", ["a_1"], {"a": 1}])
def test_dropping_indexes_in_other_words(which: object) -> None:
    catalogue = IndexCatalogue()
    catalogue.add(ORDERS, {"v": 2, "key": {"a": 1}, "name": "a_1"})
    catalogue.add(ORDERS, {"v": 2, "key": {"_id": 1}, "name": "_id_"})
    catalogue.remove(ORDERS, which)
    assert catalogue.namespaces() == []


def test_index_specs_are_compared_by_meaning() -> None:
    left = {"v": 2, "key": {"a": 1, "b": 1}, "name": "x", "ns": ORDERS, "background": True, "unique": False}
    assert same_index(left, {"key": {"a": 1, "b": 1}, "name": "x"})
    assert not same_index(left, {"key": {"b": 1, "a": 1}, "name": "x"})
    assert not same_index(left, {"key": {"a": 1, "b": 1}, "name": "x", "unique": True})
    assert buildable({"v": 1, "key": {"a": 1}, "name": "x"})["v"] == 1


def test_emptycapped() -> None:
    sink, expected = MemorySink({"shop.log": [{"_id": 1}]}), expectation("shop.log")
    expected.added("shop.log", 1)
    replay(sink, [command({"emptycapped": "log"}, 1)], expected=expected)
    assert sink.data == {"shop.log": {}}
    assert expected.collections["shop.log"].count == 0


def test_views() -> None:
    sink, expected = MemorySink(), Expectation()
    view = {"_id": "shop.paid", "viewOn": "orders", "pipeline": [{"$match": {"state": "paid"}}]}
    replay(sink, [insert(view, 1, ns="shop.system.views")], expected=expected)
    assert sink.options["shop.paid"] == {"viewOn": "orders", "pipeline": view["pipeline"]}
    assert expected.collections["shop.paid"].type == "view"
    replay(
        sink, [update("shop.paid", {**view, "pipeline": []}, 2, ns="shop.system.views")], expected=expected
    )
    assert sink.options["shop.paid"]["pipeline"] == []
    replay(sink, [delete("shop.paid", 3, ns="shop.system.views")], expected=expected)
    assert "shop.paid" not in sink.data
    assert expected.collections == {}


def test_a_time_series_is_made_by_its_buckets() -> None:
    sink, expected = MemorySink(), Expectation()
    options = {
        "timeseries": {"timeField": "t", "granularity": "seconds"},
        "validator": {},
        "clusteredIndex": True,
    }
    entries = [
        command({"create": "system.buckets.cpu", **options, "expireAfterSeconds": Int64(60)}, 1),
        insert(
            {"_id": "shop.cpu", "viewOn": "system.buckets.cpu", "pipeline": []}, 2, ns="shop.system.views"
        ),
        insert({"_id": 1, "data": {"t": {"0": 1}}}, 3, ns="shop.system.buckets.cpu"),
    ]
    replay(sink, entries, expected=expected)
    assert sink.options == {"shop.cpu": {"timeseries": options["timeseries"], "expireAfterSeconds": 60}}
    assert (expected.collections["shop.cpu"].type, expected.collections["shop.cpu"].count) == (
        "timeseries",
        1,
    )


@pytest.mark.parametrize(
    "name",
    [
        "startIndexBuild",
        "abortIndexBuild",
        "dbCheck",
        "setMultikeyMetadata",
        "dropIdent",
        "createDatabaseMetadata",
        "dropDatabaseMetadata",
        "modifyCollectionShardingIndexCatalog",
    ],
)
def test_commands_that_are_skipped(name: str) -> None:
    sink = MemorySink()
    assert replay(sink, [command({name: "orders"}, 1)]).not_selected == 1
    assert sink.calls == []


@pytest.mark.parametrize(
    "name", ["importCollection", "upgradeDowngradeViewlessTimeseries", "convertToCapped", "new"]
)
def test_commands_that_are_refused(name: str) -> None:
    with pytest.raises(EntryError, match=f"'{name}' cannot be replayed"):
        replay(MemorySink(), [command({name: "orders"}, 1)])
    assert replay(MemorySink(), [command({name: "x"}, 1, ns="other.$cmd")]).not_selected == 1
