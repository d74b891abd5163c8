"""The script that mongosh runs at one router of a sharded cluster.

No mongos runs here. Node.js runs the script against a small model of the rules that matter to it: logins,
shards that are added once and empty, shard keys that stay, and shards that are emptied before they go.
"""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.roles import mongosh
from tests.roles.rendering import ROLES

SCRIPT = ROLES / "mongos" / "files" / "sharded-cluster.js"


#: The servers; ``dies_before`` ends the program before one command.
MODEL = r"""
class Database {
  constructor(name, session) { this.name = name; this.session = session; }
  getSiblingDB(name) { return new Database(name, this.session); }
  auth(name, password) {
    if (state.users[name] !== password) fail(18, 'Authentication failed.');
    this.session.user = name;
  }
  runCommand(command) {
    const [[name, about]] = Object.entries(command);
    if (!this.session.user) fail(13, `Command ${name} requires authentication`);
    if (name !== 'find' && this.name !== 'admin') fail(13, `${name} belongs to the admin database.`);
    if (state.dies_before === `${name} ${about}`) process.exit(9);
    if (!this[name]) fail(59, `no such command: '${name}'`);
    return { ok: 1, ...this[name](about, command) };
  }
  listShards() { return { shards: structuredClone(state.shards) }; }
  addShard(seeds, { name }) {
    const [set, hosts] = seeds.split('/');
    if (state.unreachable.includes(set)) {
      fail(133, `Could not find host matching read preference { mode: "primary" } for set ${set}`);
    }
    if (state.shards.some(({ _id }) => _id === name)) fail(20, `a shard named ${name} exists already`);
    // Only the first may bring data: two shards with one database would be two truths.
    if (state.shards.length > 0 && state.filled.includes(set)) {
      fail(96, `can't add shard '${seeds}' because a local database 'bitesbay' exists in another shard`);
    }
    state.shards.push({ _id: name, host: seeds, state: 1 });
    return { shardAdded: name };
  }
  find(collection, { filter }) {
    if (this.name !== 'config' || collection !== 'collections') fail(13, 'not authorized');
    const found = state.collections[filter._id];
    return { cursor: { firstBatch: found ? [{ _id: filter._id, ...found }] : [] } };
  }
  shardCollection(namespace, { key, unique }) {
    const found = state.collections[namespace];
    if (found && !found.unsplittable) fail(20, `sharding already enabled for collection ${namespace}`);
    const leads = (index) => Object.keys(key).every((field, n) => Object.keys(index)[n] === field);
    if (namespace in state.indexes && !state.indexes[namespace].some(leads)) {
      fail(72, 'Please create an index that starts with the proposed shard key');
    }
    state.collections[namespace] = { key, unique };
    return { collectionsharded: namespace };
  }
  removeShard(name) {
    const shard = state.shards.find(({ _id }) => _id === name) ?? fail(70, `Shard ${name} does not exist`);
    if (state.shards.every(({ _id, draining }) => _id === name || draining)) {
      fail(20, "Operation not allowed because it would remove the last shard");
    }
    const left = state.left[name] ?? { chunks: 0, dbs: [] };
    const about = { dbsToMove: left.dbs, note: 'you need to drop or movePrimary these databases' };
    if (!shard.draining) {
      shard.draining = true;
      return { state: 'started', shard: name, ...about };
    }
    if (left.chunks + left.dbs.length > 0) {
      return { state: 'ongoing', remaining: { chunks: left.chunks, dbs: left.dbs.length }, ...about };
    }
    state.shards = state.shards.filter(({ _id }) => _id !== name);
    return { state: 'completed', shard: name };
  }
}
globalThis.Mongo = class {
  constructor(uri) { if (!uri.startsWith('mongodb://127.0.0.1:27017/')) fail(6, `cannot reach ${uri}`); }
  getDB(name) { return new Database(name, {}); }
};
"""

FIRST = "bitesbay/192.0.2.13:27017,192.0.2.14:27017,192.0.2.15:27017"
SECOND = "bitesbay-2/192.0.2.23:27017,192.0.2.24:27017,192.0.2.25:27017"
ORDERS = {"name": "orders", "key": {"user": 1, "_id": 1}, "unique": False}
USERS = {"name": "users", "key": {"_id": "hashed"}}
SETTINGS: dict[str, Any] = {
    "port": 27017,
    "first_shard": "bitesbay",
    "shards": [SECOND, FIRST],
    "spread": True,
    "remove_shards": False,
    "database": "bitesbay",
    "collections": [ORDERS, USERS],
    "admin_user": {"name": "admin", "password": "admin-password"},
}
#: A cluster of nothing, before which the first shard was a database of its own.
FRESH: dict[str, Any] = {
    "users": {"admin": "admin-password"}, "shards": [], "collections": {}, "left": {},
    "filled": ["bitesbay"], "unreachable": [],
    "indexes": {"bitesbay.orders": [{"_id": 1}, {"user": 1, "_id": 1, "createdAt": -1}]},
}  # fmt: skip
ALL = ["added shard bitesbay", "added shard bitesbay-2", "spread bitesbay.orders", "spread bitesbay.users"]


def start(state: dict[str, Any], **settings: Any) -> tuple[dict[str, Any] | None, dict[str, Any], str]:
    """The answer (None after a failure), the state afterwards, and standard error."""
    return mongosh.outcome(MODEL, SCRIPT, SETTINGS | settings, state)


def told(state: dict[str, Any], **settings: Any) -> dict[str, Any]:
    """The answer of a run that succeeds, and the state after it in ``state``."""
    return mongosh.told(start(state, **settings), state)


def refused(state: dict[str, Any], **settings: Any) -> tuple[str, dict[str, Any]]:
    """What a run that fails says, and the state afterwards."""
    answer, after, errors = start(state, **settings)
    assert answer is None
    [line] = [line for line in errors.splitlines() if line.startswith("Error: ")]
    return line.removeprefix("Error: "), after


def made(**changes: Any) -> dict[str, Any]:
    """A cluster that is set up, with ``changes`` of the model's state."""
    state = json.loads(json.dumps(FRESH))
    told(state)
    return dict(state | changes)


def test_before_the_applications_use_routers_only_the_first_shard_is_added() -> None:
    """With a second one, those that still speak to the first directly are refused."""
    state = dict(FRESH)
    assert told(state, spread=False) == {"changes": ["added shard bitesbay"], "draining": [], "extra": []}
    assert [shard["_id"] for shard in state["shards"]] == ["bitesbay"]
    assert state["collections"] == {}
    assert told(state, spread=False)["changes"] == []
    # The rest comes afterwards, and the first one, which brings the data, is not added again.
    assert told(state)["changes"] == ALL[1:]


def test_fresh_cluster_and_second_run() -> None:
    state = dict(FRESH)
    assert told(state, shards=[FIRST, SECOND]) == {"changes": ALL, "draining": [], "extra": []}
    assert state["shards"][1] == {"_id": "bitesbay-2", "host": SECOND, "state": 1}
    assert state["collections"]["bitesbay.orders"] == {"key": ORDERS["key"], "unique": False}
    assert told(state) == {"changes": [], "draining": [], "extra": []}


def test_a_shard_that_is_new_in_the_settings_is_added() -> None:
    state = made()
    third = "bitesbay-3/192.0.2.33:27017"
    assert told(state, shards=[FIRST, SECOND, third])["changes"] == ["added shard bitesbay-3"]


def test_a_shard_that_has_gained_a_member_is_not_added_again() -> None:
    """Routers learn the members from the set itself."""
    assert told(made(), shards=[FIRST + ",192.0.2.16:27017", SECOND])["changes"] == []


@pytest.mark.parametrize(
    "dies_before",
    [f"addShard {SECOND}", "shardCollection bitesbay.orders", "shardCollection bitesbay.users"],
)
def test_killed_in_the_middle_it_goes_on(dies_before: str) -> None:
    """Each step is one command of the server, and the next run looks what is there."""
    answer, state, _ = start(FRESH | {"dies_before": dies_before}, shards=[FIRST, SECOND])
    assert answer is None
    assert len(state["shards"]) + len(state["collections"]) in {1, 2, 3}
    del state["dies_before"]
    rest = told(state)["changes"]
    assert rest == ALL[-len(rest) :]
    assert {shard["_id"] for shard in state["shards"]} == {"bitesbay", "bitesbay-2"}
    assert set(state["collections"]) == {"bitesbay.orders", "bitesbay.users"}


def test_a_shard_leaves_only_when_it_is_said() -> None:
    """A group that somebody has commented out of the inventory must not move half of the data."""
    state = made()
    assert told(state, shards=[FIRST]) == {"changes": [], "draining": [], "extra": ["bitesbay-2"]}
    assert not any(shard.get("draining") for shard in state["shards"])


def test_a_shard_is_emptied_before_it_goes() -> None:
    state = made(left={"bitesbay-2": {"chunks": 7, "dbs": ["reports"]}})
    leaves: dict[str, Any] = {"shards": [FIRST], "remove_shards": True}
    begun = told(state, **leaves)
    assert begun["changes"] == ["draining shard bitesbay-2"]
    assert begun["draining"][0]["databases_to_move"] == ["reports"]
    again = told(state, **leaves)
    assert again["changes"] == []
    assert again["draining"] == [
        {"shard": "bitesbay-2", "state": "ongoing", "chunks": 7, "databases_to_move": ["reports"],
         "collections_to_move": []}
    ]  # fmt: skip
    # A run of before the applications, and one without the word, tell it and ask for nothing.
    still = [{"shard": "bitesbay-2", "state": "leaving"}]
    assert told(state, **leaves, spread=False) == {"changes": [], "draining": still, "extra": []}
    assert told(state, shards=[FIRST]) == {"changes": [], "draining": still, "extra": ["bitesbay-2"]}
    state["left"] = {}
    assert told(state, **leaves) == {"changes": ["removed shard bitesbay-2"], "draining": [], "extra": []}
    assert told(state, **leaves) == {"changes": [], "draining": [], "extra": []}


def test_a_shard_that_leaves_though_it_is_named_is_told() -> None:
    state = made()
    told(state, shards=[FIRST], remove_shards=True)
    [row] = told(state)["draining"]
    assert row == {"shard": "bitesbay-2", "state": "leaving, though the settings name it"}


def test_the_last_shard_stays() -> None:
    """Also when somebody drains by hand what the settings keep."""
    state = made()
    state["shards"][0]["draining"] = True
    said, after = refused(state, shards=[FIRST], remove_shards=True)
    assert said == "bitesbay-2 is the last shard that stays, and is not removed"
    assert len(after["shards"]) == 2
    assert "draining" not in after["shards"][1]


@pytest.mark.parametrize("shards", [[], [SECOND]])
def test_settings_without_the_first_shard_remove_nothing(shards: list[str]) -> None:
    """An inventory that was half read would empty the cluster."""
    state = made()
    said, after = refused(state, shards=shards, remove_shards=True)
    assert said == "the settings do not name the first shard, bitesbay: nothing was done"
    assert after == state


@pytest.mark.parametrize(
    ("wanted", "has"),
    [
        (ORDERS | {"key": {"_id": 1, "user": 1}}, '[["user",1],["_id",1]] and not [["_id",1],["user",1]]'),
        (ORDERS | {"key": {"user": "hashed"}}, '[["user",1],["_id",1]] and not [["user","hashed"]]'),
        (ORDERS | {"unique": True}, '[["user",1],["_id",1]] and not [["user",1],["_id",1]] (unique)'),
    ],
)
def test_another_shard_key_is_an_error_with_a_hint(wanted: dict[str, Any], has: str) -> None:
    state = made()
    said, after = refused(state, collections=[wanted])
    assert said.startswith(f"bitesbay.orders has the shard key {has}")
    assert "reshardCollection" in said
    assert after == state


def test_numbers_of_a_key_are_compared_as_numbers() -> None:
    """The server keeps 1 as whichever number it got."""
    state = made()
    state["collections"]["bitesbay.orders"]["key"] = {"user": "1", "_id": "1"}
    assert told(state)["changes"] == []


def test_a_collection_that_was_only_moved_is_not_spread_yet() -> None:
    state = made()
    state["collections"]["bitesbay.orders"] = {"key": {"_id": 1}, "unsplittable": True}
    assert told(state)["changes"] == ["spread bitesbay.orders"]


def test_a_key_without_an_index_is_told_with_its_collection() -> None:
    state = FRESH | {"indexes": {"bitesbay.orders": [{"_id": 1}]}}
    said, after = refused(state, shards=[FIRST])
    assert said.startswith("shardCollection bitesbay.orders: Please create an index")
    assert after["collections"] == {}


def test_a_refused_login_is_an_error_with_a_hint() -> None:
    said, after = refused(FRESH | {"users": {"admin": "another"}})
    assert said == "the cluster refuses the login of admin: its users are made on the config servers"
    assert after["shards"] == []


def test_an_unreachable_shard_is_named() -> None:
    said, after = refused(FRESH | {"unreachable": ["bitesbay-2"]}, shards=[FIRST, SECOND])
    assert said.startswith(f"addShard {SECOND}: Could not find host")
    assert [shard["_id"] for shard in after["shards"]] == ["bitesbay"]


def test_a_shard_that_brings_data_of_its_own_is_refused_by_the_server() -> None:
    said, _ = refused(FRESH | {"filled": ["bitesbay", "bitesbay-2"]}, shards=[FIRST, SECOND])
    assert "a local database 'bitesbay' exists in another shard" in said
