"""The script that mongosh runs on the first member of a replica set.

No mongod runs here. Node.js runs the script against a small model of the
server's rules that matter to it: the localhost exception, logins, the wait for
an election.
"""

from __future__ import annotations

import json
import shutil
import subprocess
from typing import Any

import pytest

from tests.roles.rendering import ROLES

SCRIPT = ROLES / "mongodb" / "files" / "replica-set.js"

pytestmark = pytest.mark.skipif(shutil.which("node") is None, reason="Node.js is not installed")

#: The globals of mongosh that the script uses, over a state that is printed at the end.
MODEL = r"""
const fs = require('fs');
const state = JSON.parse(process.env.MODEL);
const fail = (code, text) => { throw Object.assign(new Error(text), { code }); };
class Database {
  constructor(uri) { this.loopback = uri.includes('127.0.0.1'); this.user = null; }
  // The exception: loopback, and no user yet.
  exempt() { return this.loopback && Object.keys(state.users).length === 0; }
  runCommand(command) {
    if (command.hello) {
      if (state.set && state.polls-- <= 0 && state.elects) state.primary = true;
      return { setName: state.set || undefined, isWritablePrimary: state.primary && !state.elsewhere,
        primary: state.primary ? 'm1' : undefined };
    }
    if (command.replSetInitiate) {
      if (!this.exempt()) return { ok: 0, errmsg: 'requires authentication' };
      state.set = command.replSetInitiate._id;
      state.members = command.replSetInitiate.members;
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
globalThis.print = (text) => console.log(text);
globalThis.sleep = () => {};
process.on('exit', () => fs.writeSync(2, `\n${JSON.stringify(state)}\n`));
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
FRESH: dict[str, Any] = {"set": "", "users": {}, "polls": 3, "elects": True, "primary": False}


def run(state: dict[str, Any]) -> tuple[list[str] | None, dict[str, Any], str]:
    """Changes (None after a failure), the state afterwards, and standard error."""
    code = MODEL + f"require({json.dumps(str(SCRIPT))});"
    done = subprocess.run(
        ["node", "-e", code],
        input=json.dumps(SETTINGS),
        env={"MODEL": json.dumps(state), "PATH": "/usr/bin:/bin:/usr/local/bin"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    [line] = [line for line in done.stderr.splitlines() if line.startswith('{"set"')]
    after: dict[str, Any] = json.loads(line)
    changes = json.loads(done.stdout.splitlines()[-1])["changes"] if done.returncode == 0 else None
    return changes, after, done.stderr


def test_fresh_server_becomes_a_set_with_three_users() -> None:
    changes, after, errors = run(FRESH)
    assert changes == ["initiated bitesbay", "created admin", "created app", "created backup"], errors
    assert [m["host"] for m in after["members"]] == SETTINGS["members"]
    assert after["users"]["app"] == {"password": "app-password", "roles": READ_WRITE}
    assert after["users"]["backup"]["roles"] == BACKUP


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
