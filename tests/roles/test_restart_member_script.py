"""The script that restarts one member of a replica set, against a model of a set of three.

No mongod runs here: Node.js runs the script, and a stand-in for systemctl is on PATH.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.roles import mongosh
from tests.roles.rendering import ROLES

SCRIPT = ROLES / "mongodb" / "files" / "restart-member.js"


#: ``state.serving`` names who serves; a member that was restarted serves after ``state.returns`` questions.
MODEL = r"""
const restarted = () => fs.existsSync('restarted');
globalThis.Mongo = class {
  constructor(uri) {
    const host = uri.slice('mongodb://'.length).split('/')[0];
    this.me = host === '127.0.0.1:27017' ? state.hosts[0] : host;
  }
  getDB() { return this; }
  runCommand() {
    fs.appendFileSync('asked', `${this.me} ${restarted() ? 'after' : 'before'}\n`);
    if (!restarted() && this.me !== state.hosts[0] && state.late-- > 0) throw new Error('connection refused');
    let serves = state.serving.includes(this.me);
    if (restarted() && this.me === state.hosts[0]) {
      if (state.returns-- > 0) throw new Error('connection refused');
      serves = state.comes_back;
    }
    return { hosts: state.hosts, me: this.me, secondary: serves };
  }
};
"""
HOSTS = ["192.0.2.13:27017", "192.0.2.14:27017", "192.0.2.15:27017"]
WELL: dict[str, Any] = {"hosts": HOSTS, "serving": HOSTS, "returns": 3, "late": 0, "comes_back": True}


def run(folder: Path, state: dict[str, Any]) -> tuple[bool, list[str], str]:
    """Whether it went well, what systemctl was told, and standard error."""
    systemctl = folder / "bin" / "systemctl"
    systemctl.parent.mkdir()
    systemctl.write_text('#!/bin/sh\necho "$*" >> told\n[ "$1" != restart ] || touch restarted\n')
    systemctl.chmod(0o755)
    settings = {"port": 27017, "timeout_seconds": 0.3}
    path = f"{systemctl.parent}:/usr/bin:/bin:/usr/local/bin"
    done, _ = mongosh.run_script(MODEL, SCRIPT, settings, state, folder, path)
    told = folder / "told"
    return done.returncode == 0, told.read_text().splitlines() if told.exists() else [], done.stderr


def test_it_waits_until_the_member_serves_again(tmp_path: Path) -> None:
    well, told, errors = run(tmp_path, WELL)
    assert well, errors
    assert told == ["daemon-reload", "restart mongod"]
    assert (tmp_path / "asked").read_text().count("13:27017 after") == WELL["returns"] + 1


def test_others_that_are_still_coming_back_are_waited_for(tmp_path: Path) -> None:
    well, told, errors = run(tmp_path, WELL | {"late": 5})
    assert well, errors
    assert told[-1] == "restart mongod"


def test_the_next_member_is_left_alone_when_one_did_not_come_back(tmp_path: Path) -> None:
    """A configuration that no server starts with costs one member, and not the database."""
    well, told, errors = run(tmp_path, WELL | {"serving": HOSTS[:2]})
    assert not well
    assert told == []
    assert f"without {HOSTS[0]} the set has no majority" in errors


def test_one_that_does_not_serve_again_is_an_error(tmp_path: Path) -> None:
    well, _, errors = run(tmp_path, WELL | {"comes_back": False})
    assert not well
    assert "did not serve again; see journalctl" in errors


@pytest.mark.parametrize(
    "state",
    [
        {"hosts": HOSTS[:1], "serving": HOSTS[:1]},
        {"serving": HOSTS[1:], "comes_back": False},
        {"serving": [], "comes_back": False},
    ],
    ids=["alone", "not serving", "nobody serving"],
)
def test_where_nothing_is_lost_it_is_restarted_at_once(tmp_path: Path, state: dict[str, Any]) -> None:
    """A set of one has a pause anyway; one that does not serve, as before its first start, is not missed."""
    well, told, errors = run(tmp_path, WELL | state)
    assert well, errors
    assert told[-1] == "restart mongod"
