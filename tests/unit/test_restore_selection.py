"""Parts of a backup: which namespaces, under which names, and what cannot be had alone."""

from __future__ import annotations

from collections.abc import Iterator

import bson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from steward.errors import ConfigError
from steward.restore.ddl import BorderError
from steward.restore.expectation import Expectation
from steward.restore.load import namespace_options
from steward.restore.rawbson import Value
from steward.restore.selection import Selection
from tests.unit.restore_memory import Doc, MemorySink, command, delete, entry, insert, replay, update
from tests.unit.test_restore_ddl import expectation

ORDERS = "shop.orders"


@pytest.mark.parametrize(
    ("only", "exclude", "wanted"),
    [
        ((), (), ["shop.a", "shop.a.b", "shop.system.buckets.a", "old.a"]),
        (("shop.a",), (), ["shop.a", "shop.system.buckets.a"]),
        (("shop.*",), ("shop.a.*",), ["shop.a", "shop.system.buckets.a"]),
        (("shop.a*",), (), ["shop.a", "shop.a.b", "shop.system.buckets.a"]),
        (("shop.a*b",), (), ["shop.a.b"]),
        ((), ("shop.*",), ["old.a"]),
        (("shop.a", "old.*"), ("old.a",), ["shop.a", "shop.system.buckets.a"]),
    ],
)
def test_what_is_selected(only: tuple[str, ...], exclude: tuple[str, ...], wanted: list[str]) -> None:
    selection = Selection(["shop", "old"], only=only, exclude=exclude)
    names = ["shop.a", "shop.a.b", "shop.system.buckets.a", "old.a", "admin.a", "other.a"]
    assert [ns for ns in names if selection.wants(ns)] == wanted


def test_special_characters_of_a_pattern_are_ordinary() -> None:
    assert not Selection(only=["shop.a.b"]).wants("shop.axb")
    assert Selection(only=["shop.[a]*"]).wants("shop.[a]\n")


@pytest.mark.parametrize(
    ("rename", "new"),
    [
        (["shop.orders=shop.orders_restored"], "shop.orders_restored"),
        (["shop.*=old.*"], "old.orders"),
        (["shop.*=shop.*_restored"], "shop.orders_restored"),
        (["shop.o*s=shop.x*y"], "shop.xrdery"),
        (["shop.orders=shop.first", "shop.*=old.*"], "shop.first"),
        (["shop.other=shop.x"], "shop.orders"),
    ],
)
def test_new_names(rename: list[str], new: str) -> None:
    selection = Selection(["shop"], rename=rename)
    assert selection.target(ORDERS) == new
    database, _, collection = new.partition(".")
    assert selection.target("shop.system.buckets.orders") == f"{database}.system.buckets.{collection}"


def test_a_star_needs_room_for_both_ends() -> None:
    assert Selection(rename=["shop.aa*aa=shop.x*"]).target("shop.aaa") == "shop.aaa"


@pytest.mark.parametrize(
    "options",
    [
        {"only": ["shop"]},
        {"only": ["shop."]},
        {"only": [".orders"]},
        {"only": ["*.orders"]},
        {"only": ["admin.*"]},
        {"only": ["other.x"]},
        {"exclude": ["orders"]},
        {"rename": ["shop.orders"]},
        {"rename": ["shop.orders=orders"]},
        {"rename": ["shop.a=shop.b=shop.c"]},
        {"rename": ["shop.*=old.x"]},
        {"rename": ["shop.**=old.**"]},
        {"rename": ["shop.a=admin.a"]},
        {"rename": ["shop.a=steward_restore.a"]},
        {"rename": ["shop.a=shop.system.views"]},
        {"rename": ["shop.$a=shop.b"]},
    ],
    ids=str,
)
def test_what_cannot_be_understood_is_refused(options: dict[str, list[str]]) -> None:
    with pytest.raises(ConfigError):
        Selection(["shop"], **options)


def test_two_collections_of_one_name_are_refused() -> None:
    selection = Selection(["shop"], rename=["shop.a=shop.b"])
    assert selection.targets(["shop.a", "shop.c", "other.b"]) == {"shop.a": "shop.b", "shop.c": "shop.c"}
    with pytest.raises(ConfigError, match=r"shop\.a and shop\.b would both be restored as shop\.b"):
        selection.targets(["shop.a", "shop.b"])


def test_options_about_nothing_are_found() -> None:
    selection = Selection(["shop"], only=["shop.orders", "shop.oders"], rename=["shop.users=shop.x"])
    assert selection.unused([ORDERS, "shop.users"]) == ["--only shop.oders", "--rename shop.users=shop.x"]


def test_the_options_of_mongorestore_name_each_collection() -> None:
    held = ["shop.a", "shop.b*", "shop.c", "admin.system.users"]
    selection = Selection(["shop"], exclude=["shop.c"], rename=["shop.a=old.a"])
    assert namespace_options(selection, held) == [
        "--nsInclude=shop.a",
        "--nsFrom=shop.a",
        "--nsTo=old.a",
        "--nsFrom=shop.system.buckets.a",
        "--nsTo=old.system.buckets.a",
        r"--nsInclude=shop.b\*",
    ]
    assert namespace_options(Selection(["shop"]), held)[0] == "--nsInclude=shop.*"


# --- the border of the selection ---

PART = Selection(["shop"], only=["shop.orders", "shop.kept"])
RENAME = {"renameCollection": "shop.users", "to": ORDERS, "dropTarget": True}


def test_a_rename_into_the_selection_is_refused_and_says_what_to_select() -> None:
    sink = MemorySink({ORDERS: [{"_id": 1}]})
    with pytest.raises(BorderError, match=r"select shop\.users as well"):
        replay(sink, [insert({"_id": 2}, 1), command(RENAME, 2)], selection=PART)
    whole = MemorySink({ORDERS: [{"_id": 1}], "shop.users": [{"_id": 2}]})
    replay(whole, [command(RENAME, 2)], selection=Selection(["shop"], only=["shop.orders", "shop.users"]))
    assert whole.data == {ORDERS: whole.data[ORDERS]}
    assert whole.documents(ORDERS) == [{"_id": 2}]


def test_a_rename_that_the_dump_has_already_is_no_border() -> None:
    sink = MemorySink({ORDERS: [{"_id": 1}]})
    replay(sink, [command(RENAME, 5)], base=(5, 1), dump_end=(9, 1), selection=PART)
    assert sink.documents(ORDERS) == [{"_id": 1}]


def test_a_rename_out_of_the_selection_drops() -> None:
    sink = MemorySink({ORDERS: [{"_id": 1}], "shop.kept": [{"_id": 2}]})
    replay(sink, [command({"renameCollection": ORDERS, "to": "shop.gone"}, 1)], selection=PART)
    assert list(sink.data) == ["shop.kept"]


def test_a_drop_of_the_database_drops_nothing_else_of_the_target() -> None:
    selection = Selection(["shop"], only=["shop.orders"], rename=["shop.orders=shop.copy"])
    sink = MemorySink({"shop.copy": [{"_id": 1}], ORDERS: [{"_id": "live"}], "shop.live": [{"_id": "live"}]})
    expected = expectation(ORDERS)
    replay(sink, [command({"dropDatabase": 1}, 1)], selection=selection, expected=expected)
    assert sorted(sink.data) == ["shop.live", ORDERS]
    assert expected.collections == {}


def test_commands_on_other_collections_do_nothing() -> None:
    sink = MemorySink({ORDERS: [{"_id": 1}], "shop.users": [{"_id": 1}]})
    others = [
        {"drop": "users"},
        {"create": "x"},
        {"collMod": "users", "validator": {}},
        {"emptycapped": "users"},
    ]
    counts = replay(sink, [command(o, n) for n, o in enumerate(others, 1)], selection=PART)
    assert (sink.calls, counts.not_selected) == ([], 4)


def test_a_transaction_over_the_border_is_taken_in_part() -> None:
    operations = [
        {"op": "i", "ns": ORDERS, "o": {"_id": 1}},
        {"op": "i", "ns": "shop.users", "o": {"_id": 1}},
        {"op": "u", "ns": ORDERS, "o": {"_id": 1, "paid": True}, "o2": {"_id": 1}},
    ]
    sink = MemorySink()
    selection = Selection(["shop"], only=[ORDERS], rename=[f"{ORDERS}=old.o"])
    counts = replay(sink, [command({"applyOps": operations}, 1, ns="admin.$cmd")], selection=selection)
    assert {ns: sink.documents(ns) for ns in sink.data} == {"old.o": [{"_id": 1, "paid": True}]}
    assert counts.not_selected == 1


def test_views_are_selected_by_their_own_name() -> None:
    def view(name: str, second: int) -> bytes:
        return insert({"_id": name, "viewOn": "orders", "pipeline": []}, second, ns="shop.system.views")

    sink, expected = MemorySink(), Expectation()
    selection = Selection(["shop"], only=["shop.paid"], rename=["shop.paid=shop.paid2"])
    entries = [view("shop.paid", 1), view("shop.late", 2)]
    replay(sink, entries, selection=selection, expected=expected)
    assert list(sink.data) == ["shop.paid2"]
    assert list(expected.renamed(selection.target).collections) == ["shop.paid2"]
    gone = entry("d", {"_id": "shop.paid"}, 3, ns="shop.system.views")
    replay(sink, [gone], selection=selection, expected=expected)
    assert sink.data == {}


# --- a part is the whole, cut and renamed ---

NAMES = ["a", "b", "c"]
NAME = st.sampled_from(NAMES)
STEP = st.one_of(
    st.tuples(st.sampled_from("iud"), NAME, st.integers(0, 3)),
    st.tuples(st.sampled_from(["t", "rename", "replace"]), NAME, NAME),
    st.tuples(st.sampled_from(["drop", "create", "index", "dropDatabase"]), NAME, st.just(0)),
)
World = dict[str, dict[int, Doc]]
Step = tuple[str, str, int | str]


def logged(steps: list[Step], world: World) -> Iterator[Step]:
    """The steps, each after the ``create`` that a server logs when a write makes a collection."""
    for kind, name, argument in steps:
        for needed in {"i": [name], "t": [name, str(argument)]}.get(kind, []):
            if needed not in world:
                yield "create", needed, 0
        yield kind, name, argument


def history(steps: list[Step]) -> tuple[list[bytes], list[World]]:
    """What a server would log, and the database after each entry (index 0: before the first)."""
    world: World = {}
    entries: list[bytes] = []
    worlds: list[World] = [{}]
    for kind, name, argument in logged(steps, world):
        second, ns = len(entries) + 1, f"shop.{name}"
        documents = world.get(name, {})
        if kind == "i" and argument not in documents:
            world.setdefault(name, {})[int(argument)] = document = {"_id": argument, "at": second}
            entries.append(insert(document, second, ns=ns))
        elif kind == "u" and argument in documents:
            documents[int(argument)] = document = {"_id": argument, "at": second, "u": True}
            entries.append(update(argument, document, second, ns=ns))
        elif kind == "d" and argument in documents:
            del documents[int(argument)]
            entries.append(delete(argument, second, ns=ns))
        elif kind == "t":  # a transaction that touches two collections
            operations = []
            for at, where in enumerate([name, str(argument)]):
                document = {"_id": 100 * second + at}
                world.setdefault(where, {})[100 * second + at] = document
                operations.append({"op": "i", "ns": f"shop.{where}", "o": document})
            entries.append(command({"applyOps": operations}, second, ns="admin.$cmd"))
        elif kind in ("rename", "replace") and name in world and argument != name:
            if (argument in world) != (kind == "replace"):
                continue
            world[str(argument)] = world.pop(name)
            more = {"dropTarget": True} if kind == "replace" else {}
            entries.append(command({"renameCollection": ns, "to": f"shop.{argument}", **more}, second))
        elif kind == "drop" and world.pop(name, None) is not None:
            entries.append(command({"drop": name}, second))
        elif kind == "create" and name not in world:
            world[name] = {}
            entries.append(command({"create": name}, second))
        elif kind == "index" and name in world:
            key = {"v": 2, "key": {"at": 1}, "name": f"at_{second}"}
            entries.append(command({"createIndexes": name, **key}, second))
        elif kind == "dropDatabase" and world:
            world.clear()
            entries.append(command({"dropDatabase": 1}, second))
        else:
            continue
        worlds.append({n: dict(d) for n, d in world.items()})
    return entries, worlds


def loaded(world: World, selection: Selection) -> tuple[MemorySink, Expectation]:
    """A target with what the dump of ``world`` holds of the selection."""
    contents = {f"shop.{n}": list(d.values()) for n, d in world.items() if selection.wants(f"shop.{n}")}
    expected = expectation(*contents)
    for ns, documents in contents.items():
        expected.added(ns, len(documents))
    return MemorySink({selection.target(ns): d for ns, d in contents.items()}), expected


@settings(max_examples=300)
@given(
    steps=st.lists(STEP, min_size=12, max_size=40),  # in short ones too little happens
    cuts=st.tuples(st.integers(0, 30), st.integers(0, 30)),
    only=st.lists(NAME, max_size=2),
    exclude=st.lists(NAME, max_size=1),
    rename=st.sampled_from([[], ["shop.a=shop.a_old"], ["shop.*=old.*"], ["shop.a=shop.b", "shop.b=shop.a"]]),
)
def test_a_part_is_the_whole_cut_and_renamed(
    steps: list[Step],
    cuts: tuple[int, int],
    only: list[str],
    exclude: list[str],
    rename: list[str],
) -> None:
    entries, worlds = history(steps)
    begin, limit = sorted(min(cut, len(entries)) for cut in cuts)
    bounds = {"base": (begin, 1), "dump_end": (begin, 1), "limit": (limit, 1)}
    everything = Selection(["shop"])
    whole, all_expected = loaded(worlds[begin], everything)
    replay(whole, entries, expected=all_expected, **bounds)
    assert {ns.removeprefix("shop."): ids(d) for ns, d in whole.data.items()} == {
        name: {bson.encode(d) for d in found.values()} for name, found in worlds[limit].items()
    }

    selection = Selection(
        ["shop"],
        only=[f"shop.{n}" for n in only],
        exclude=[f"shop.{n}" for n in exclude],
        rename=rename,
    )
    part, expected = loaded(worlds[begin], selection)
    untouched: dict[str, dict[Value, bytes]] = {"shop.live": {}}  # what the target holds besides
    part.data |= untouched
    try:
        replay(part, entries, selection=selection, expected=expected, **bounds)
    except BorderError:
        assert crosses(entries[begin:limit], selection)
        return
    wanted = {selection.target(ns): ids(d) for ns, d in whole.data.items() if selection.wants(ns)}
    assert {ns: ids(d) for ns, d in part.data.items() if ns not in untouched} == wanted
    new = expected.renamed(selection.target)
    assert {ns: e.count for ns, e in new.collections.items()} == {ns: len(d) for ns, d in wanted.items()}
    assert {ns: len(new.indexes.of_namespace(ns)) for ns in wanted} == {
        selection.target(ns): len(all_expected.indexes.of_namespace(ns))
        for ns in whole.data
        if selection.wants(ns)
    }


def ids(documents: dict[Value, bytes]) -> set[bytes]:
    return set(documents.values())


def crosses(entries: list[bytes], selection: Selection) -> bool:
    """Whether a collection was renamed from outside the selection into it."""
    commands = [bson.decode(raw)["o"] for raw in entries]
    renames = [(o["renameCollection"], o["to"]) for o in commands if "renameCollection" in o]
    return any(selection.wants(to) and not selection.wants(source) for source, to in renames)
