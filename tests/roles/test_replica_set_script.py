"""The script that mongosh runs on the first member of a replica set.

No mongod runs here. Node.js runs the script against a small model of the
server's rules that matter to it: the localhost exception, logins, the wait for
an election.
"""

from __future__ import annotations

from typing import Any

import pytest

from tests.roles import mongosh
from tests.roles.rendering import ROLES

SCRIPT = ROLES / "mongodb" / "files" / "replica-set.js"


#: The servers of one set.
MODEL = r"""
class Database {
  constructor(uri) { this.loopback = uri.includes('127.0.0.1'); this.user = null; }
  // The exception: loopback, and no user yet.
  exempt() { return this.loopback && Object.keys(state.users).length === 0; }
  runCommand(command) {
    if (command.hello && !this.loopback && !this.user) return { setName: state.others };
    if (command.hello) {
      if (state.set && state.polls-- <= 0 && state.elects) state.primary = true;
      return { setName: state.set || undefined, isWritablePrimary: state.primary && !state.elsewhere,
        primary: state.primary ? (state.primaryHost ?? 'm1') : undefined };
    }
    if (command.replSetGetConfig) {
      return { ok: 1, config: structuredClone({ version: state.version ?? 1, members: state.members }) };
    }
    if (command.replSetGetStatus) {
      const synced = ({ host }) => (state.synced ?? []).includes(host) || state.founders.includes(host);
      const stateStr = (member) => (synced(member) ? 'SECONDARY' : 'STARTUP2');
      return { members: state.members.map((m) => ({ name: m.host, stateStr: stateStr(m) })) };
    }
    if (command.replSetReconfig) {
      if (!this.user) return { ok: 0, errmsg: 'requires authentication' };
      const { version, members } = command.replSetReconfig;
      const voters = (list) => list.filter((m) => (m.votes ?? 1) > 0).map((m) => m.host);
      const [a, b] = [voters(state.members), voters(members)];
      const differ = a.filter((h) => !b.includes(h)).length + b.filter((h) => !a.includes(h)).length;
      if (version !== (state.version ?? 1) + 1) return { ok: 0, errmsg: 'version' };
      if (differ > 1) return { ok: 0, errmsg: 'more than one voting member' };
      if (new Set(members.map((m) => m._id)).size < members.length) return { ok: 0, errmsg: '_id' };
      Object.assign(state, { version, members });
      state.history.push(voters(members).length);
      return { ok: 1 };
    }
    if (command.replSetInitiate) {
      if (!this.exempt()) return { ok: 0, errmsg: 'requires authentication' };
      state.set = command.replSetInitiate._id;
      state.members = command.replSetInitiate.members;
      state.founders = state.members.map((m) => m.host);
      // A server that was started as a config server takes no other set, and the other way round.
      const said = command.replSetInitiate.configsvr ? 'configsvr' : '';
      const role = state.role === 'shardsvr' ? '' : state.role ?? '';
      if (said !== role) return { ok: 0, errmsg: 'configsvr: the flag and the config differ' };
      return { ok: 1 };
    }
    return fail(59, 'no such command');
  }
  auth(name, password) {
    if (state.users[name]?.password !== password) fail(18, 'Authentication failed.');
    this.user = name;
  }
  writable() {
    if (this.loopback && (!state.primary || state.elsewhere)) fail(10107, 'not primary');
  }
  createUser({ user, pwd, roles }) {
    this.writable();
    if (!this.user && !this.exempt()) fail(13, 'requires authentication');
    if (state.users[user]) fail(51003, 'exists');
    state.users[user] = { password: pwd, roles };
  }
  getUser(name) {
    if (!this.user) fail(13, 'requires authentication');
    return state.users[name] ? { user: name, roles: state.users[name].roles } : null;
  }
  updateUser(name, { pwd, roles }) {
    if (!this.user) fail(13, 'requires authentication');
    this.writable();
    if (pwd) state.users[name].password = pwd;
    if (roles) state.users[name].roles = roles;
  }
}
globalThis.Mongo = class { constructor(uri) { this.uri = uri; } getDB() { return new Database(this.uri); } };
"""

READ_WRITE = [{"db": "bitesbay", "role": "readWrite"}]
BACKUP = [{"db": "admin", "role": "backup"}, {"db": "admin", "role": "clusterMonitor"}]
SETTINGS: dict[str, Any] = {
    "port": 27017,
    "replica_set": "bitesbay",
    "members": ["192.0.2.13:27017", "192.0.2.14:27017", "192.0.2.15:27017"],
    "timeout_seconds": 0.2,
    "admin_user": {"name": "admin", "password": "admin-password"},
    "users": [
        {"name": "app", "password": "app-password", "roles": READ_WRITE},
        {"name": "backup", "password": "backup-password", "roles": BACKUP},
    ],
}
FOUNDERS: list[str] = SETTINGS["members"]
FRESH: dict[str, Any] = {
    "set": "", "users": {}, "polls": 3, "elects": True, "primary": False, "history": [], "founders": FOUNDERS,
    "members": [{"_id": number, "host": host} for number, host in enumerate(FOUNDERS)],
}  # fmt: skip
#: Two more, so that the number stays odd.
NEW = ["192.0.2.16:27017", "192.0.2.17:27017"]


def start(
    state: dict[str, Any], settings: dict[str, Any]
) -> tuple[dict[str, Any] | None, dict[str, Any], str]:
    """The answer (None after a failure), the state afterwards, and standard error."""
    return mongosh.outcome(MODEL, SCRIPT, SETTINGS | settings, state)


def run(state: dict[str, Any], **settings: Any) -> tuple[list[str] | None, dict[str, Any], str]:
    """Changes (None after a failure), the state afterwards, and standard error."""
    answer, after, errors = start(state, settings)
    return answer and answer["changes"], after, errors


def told(state: dict[str, Any], **settings: Any) -> dict[str, Any]:
    """The whole answer of a run that succeeds, and the state after it in ``state``."""
    return mongosh.told(start(state, settings), state)


def test_fresh_server_becomes_a_set_with_three_users() -> None:
    changes, after, errors = run(FRESH)
    assert changes == ["initiated bitesbay", "created admin", "created app", "created backup"], errors
    assert [m["host"] for m in after["members"]] == SETTINGS["members"]
    assert after["users"]["app"] == {"password": "app-password", "roles": READ_WRITE}
    assert after["users"]["backup"]["roles"] == BACKUP


@pytest.mark.parametrize("role", ["configsvr", "shardsvr"])
def test_servers_of_a_sharded_cluster_become_sets(role: str) -> None:
    changes, after, errors = run(FRESH | {"role": role}, cluster_role=role)
    assert changes is not None, errors
    assert after["set"] == "bitesbay"


def test_a_set_that_becomes_a_shard_keeps_the_application_until_it_uses_a_router() -> None:
    """Its workers are replaced later in the same run; the runbook drops the user then."""
    _, state, _ = run(FRESH)
    assert told(state, cluster_role="shardsvr", users=SETTINGS["users"][1:])["changes"] == []
    assert "app" in state["users"]


def test_second_run_changes_nothing() -> None:
    _, after, _ = run(FRESH)
    assert run(after)[:2] == ([], after | {"polls": after["polls"] - 2})


def test_a_rotated_password_and_a_changed_role_are_put_right() -> None:
    _, after, _ = run(FRESH)
    after["users"]["app"]["password"] = "old"
    after["users"]["backup"]["roles"] = BACKUP[:1]
    changes, mended, errors = run(after)
    assert changes == ["password of app", "roles of backup"], errors
    assert mended["users"]["app"]["password"] == "app-password"
    assert mended["users"]["backup"]["roles"] == BACKUP


def test_killed_after_the_start_it_goes_on() -> None:
    changes, _, errors = run(FRESH | {"set": "bitesbay", "polls": 0})
    assert changes == ["created admin", "created app", "created backup"], errors


def test_users_are_changed_where_the_primary_is() -> None:
    _, after, _ = run(FRESH)
    del after["users"]["backup"]
    changes, _, errors = run(after | {"elsewhere": True})
    assert changes == ["created backup"], errors


def test_new_members_vote_when_they_have_the_data() -> None:
    """One vote at a time, and none before: a majority of five that two cannot help to reach would be none."""
    _, state, _ = run(FRESH)
    more = {"members": [*FOUNDERS, *NEW]}
    first = told(state, **more)
    assert first["changes"] == [f"added {host}, which votes when it has the data" for host in NEW]
    assert first["waiting"] == NEW
    assert told(state, **more) == {"changes": [], "waiting": NEW, "extra": []}
    state["synced"] = NEW[:1]
    assert told(state, **more) == {"changes": [f"{NEW[0]} votes"], "waiting": NEW[1:], "extra": []}
    state["synced"] = NEW
    assert told(state, **more)["changes"] == [f"{NEW[1]} votes"]
    assert told(state, **more) == {"changes": [], "waiting": [], "extra": []}
    assert state["history"] == [3, 3, 4, 5]
    assert [m["_id"] for m in state["members"]] == [0, 1, 2, 3, 4]


def test_members_leave_only_when_it_is_said() -> None:
    """A host that somebody has commented out of the inventory must not cost the set a copy."""
    _, state, _ = run(FRESH)
    fewer = {"members": FOUNDERS[:1]}
    assert told(state, **fewer) == {"changes": [], "waiting": [], "extra": FOUNDERS[1:]}
    left = told(state, **fewer, remove_members=True)
    assert left == {"changes": [f"removed {host}" for host in FOUNDERS[1:]], "waiting": [], "extra": []}
    assert state["history"] == [2, 1]


def test_a_primary_is_not_removed() -> None:
    _, state, _ = run(FRESH)
    changes, after, errors = run(
        state | {"primaryHost": FOUNDERS[1]}, members=FOUNDERS[:1], remove_members=True
    )
    assert changes is None
    assert f"{FOUNDERS[1]} is the primary: step it down first" in errors
    assert len(after["members"]) == len(FOUNDERS)


def test_nobody_leaves_before_the_new_ones_have_the_data() -> None:
    _, state, _ = run(FRESH)
    members = [*FOUNDERS[:1], *NEW]
    changes, after, errors = run(state, members=members, remove_members=True)
    assert changes is None
    assert "has no vote yet: remove" in errors
    assert {m["host"] for m in after["members"]} == {*FOUNDERS, *NEW}


def test_hidden_and_delayed_members_keep_their_part() -> None:
    _, state, _ = run(FRESH)
    for member, change in zip(
        state["members"][1:], ({"hidden": True}, {"secondaryDelaySecs": 3600}), strict=True
    ):
        member |= {"votes": 0, "priority": 0} | change
    assert told(state) == {"changes": [], "waiting": [], "extra": []}


def test_a_new_host_named_first_founds_no_second_set() -> None:
    """It has no set of its own, and the others do."""
    changes, after, errors = run(FRESH | {"others": "bitesbay"})
    assert changes is None
    assert "runs on 192.0.2.13:27017 already: name new members after it" in errors
    assert after["users"] == {}


def test_no_election_is_an_error_with_a_hint() -> None:
    changes, _, errors = run(FRESH | {"elects": False})
    assert changes is None
    assert "no primary after 0.2 s; do the members reach each other" in errors


def test_a_server_of_another_set_is_left_alone() -> None:
    before = FRESH | {"set": "kampyn"}
    changes, after, errors = run(before)
    assert changes is None
    assert "belongs to the replica set kampyn, not to bitesbay" in errors
    assert after["users"] == {}


def test_wrong_admin_password_is_an_error() -> None:
    _, after, _ = run(FRESH)
    after["users"]["admin"]["password"] = "another"
    changes, same, errors = run(after)
    assert changes is None
    assert "requires authentication" in errors
    assert same["users"] == after["users"]
