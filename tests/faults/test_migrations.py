"""Migrations of a database: each once, one run at a time, and nothing that failed counts as done."""

from __future__ import annotations

import datetime
import os
import pwd
import secrets
import signal
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from sandbox.settings import REPOSITORY
from tests.roles.app_modules import load_migrations
from tests.sandbox.services import wait_for
from tests.support.backend import BUILD_SECONDS, unpack
from tests.support.mongod import MongoServer

pytestmark = pytest.mark.timeout(BUILD_SECONDS + 120)

module = load_migrations()
RUNNER = REPOSITORY / "roles/migrations/files/migrations.mjs"


def writes(who: object, collection: str = "orders", milliseconds: int = 0) -> str:
    """A migration that writes a document, and then works for so long; ``who`` is an expression."""
    return (
        "export default async ({ db }) => {"
        f" await db.collection('{collection}').insertOne({{ by: `${{{who}}}`, at: new Date() }});"
        f" await new Promise((resolve) => setTimeout(resolve, {milliseconds})); }};"
    )


class Release:
    """A release with migrations, and a database for it."""

    def __init__(self, root: Path, tree: Path, server: MongoServer) -> None:
        self.root = root
        self.folder = root / "releases/one"
        self.folder.mkdir(parents=True)
        for name in ("node_modules", "package.json"):
            (self.folder / name).symlink_to(tree / name)
        self.database = f"shop{secrets.token_hex(4)}"
        self.client = server.client()
        self.db = self.client[self.database]
        self.logs = root / "log"
        self.logs.mkdir()
        login = f"{quote(server.username)}:{quote(server.password)}"
        options = "directConnection=true&authSource=admin&authMechanism=SCRAM-SHA-256"
        self.environment = root / "env"
        self.environment.write_text(
            f"# not read\nMONGODB_URI='mongodb://{login}@{server.host}:{server.port}/{self.database}?{options}'\n"
            f"LOG_DIR='{self.logs}'\n"
        )

    def write(self, name: str, text: str) -> None:
        """A file of the folder ``migrations``."""
        (self.folder / "migrations").mkdir(exist_ok=True)
        (self.folder / "migrations" / name).write_text(text)

    def run(self, verb: str, **more: Any) -> dict[str, Any]:
        """What the Ansible module does on a host."""
        settings = {
            "phase": "before", "to": "", "runner": str(RUNNER), "root": str(self.root), "release": "one",
            "user": pwd.getpwuid(os.geteuid()).pw_name, "node": "node", "environment": {},
            "environment_file": str(self.environment), "uri_variable": "MONGODB_URI", "timeout_minutes": 1,
            "who": "asha", "why": "names", "host": "app1",
        }  # fmt: skip
        said: dict[str, Any] = module.run(settings | more, verb)
        return said

    def failure(self, verb: str = "up", **more: Any) -> str:
        """The message of a run that has to fail."""
        with pytest.raises(module.MigrationError) as caught:
            self.run(verb, **more)
        return str(caught.value)

    def states(self) -> dict[str, str]:
        """Migration -> state in the database."""
        return {one["_id"]: one["state"] for one in self.db.steward_migrations.find()}

    def orders(self) -> list[str]:
        """Who has written orders."""
        return [one["by"] for one in self.db.orders.find().sort("at")]


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The sample backend, for its driver."""
    return unpack(tmp_path_factory.mktemp("backend"))[1]


@pytest.fixture
def release(tmp_path: Path, tree: Path, server: MongoServer) -> Iterator[Release]:
    """A release without migrations, and its empty database."""
    found = Release(tmp_path / "srv", tree, server)
    yield found
    found.client.drop_database(found.database)
    found.client.close()


def names(rows: list[dict[str, Any]]) -> list[str]:
    """The names of migrations in an answer."""
    return [row["name"] for row in rows]


def test_each_runs_once_in_the_order_of_its_number(release: Release) -> None:
    release.write("9-first.js", writes("'nine'"))
    release.write("10-second.cjs", writes("'ten'").replace("export default", "module.exports ="))
    release.write("helpers.js", "throw new Error('no migration')")
    before = release.run("status")
    assert (names(before["pending"]), before["empty"]) == (["9-first", "10-second"], True)
    assert release.states() == {}, "to ask changes nothing"
    assert names(release.run("up")["done"]) == ["9-first", "10-second"]
    again = release.run("up")
    assert (again["done"], again["pending"], again["empty"]) == ([], [], False)
    assert release.orders() == ["nine", "ten"]
    record = release.db.steward_migrations.find_one({"_id": "9-first"})
    assert record
    assert (record["by"], record["why"], record["host"], record["release"]) == (
        "asha",
        "names",
        "app1",
        "one",
    )
    assert (record["state"], record["attempts"]) == ("applied", 1)
    assert record["ended_at"] >= record["started_at"]
    assert "applied" in (release.logs / "migrations.log").read_text()


def test_what_comes_after_the_release_waits_for_it(release: Release) -> None:
    release.write("0001-expand.js", writes("'expand'"))
    release.write("0002-contract.after.js", writes("'contract'"))
    said = release.run("up")
    assert release.orders() == ["expand"]
    assert [(one["name"], one["phase"]) for one in said["pending"]] == [("0002-contract", "after")]
    release.run("up", phase="after")
    assert release.orders() == ["expand", "contract"]


def test_one_that_fails_stops_the_rest_and_runs_again(release: Release) -> None:
    release.write("0001-good.js", writes("'good'"))
    release.write("0002-bad.js", "export default async () => { throw new Error('no such index'); };")
    release.write("0003-later.js", writes("'later'"))
    assert release.failure() == "0002-bad: no such index"
    assert release.states() == {"0001-good": "applied", "0002-bad": "failed"}
    assert release.orders() == ["good"]
    release.write("0002-bad.js", writes("'mended'"))
    assert names(release.run("up")["done"]) == ["0002-bad", "0003-later"]
    record = release.db.steward_migrations.find_one({"_id": "0002-bad"})
    assert record
    assert (record["attempts"], record["reason"]) == (2, None)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("syntax error", "0001-x: "),
        ("export const up = 1;", "0001-x: its default export is no function"),
        ("export default () => { Promise.reject(new Error('lost')); return new Promise(() => 0); };",
         "a promise nobody waited for failed: lost"),
        ("export default () => process.exit(0);", "it ended with status 0 and no answer"),
    ],
)  # fmt: skip
def test_no_kind_of_failure_counts_as_done(release: Release, text: str, message: str) -> None:
    release.write("0001-x.js", text)
    assert message in release.failure()
    assert release.states()["0001-x"] != "applied"


def test_two_runs_at_once(release: Release) -> None:
    """The second is told who runs, and nothing runs twice."""
    release.write("0001-slow.js", writes("'slow'", milliseconds=4000))
    done: list[dict[str, Any]] = []
    thread = threading.Thread(target=lambda: done.append(release.run("up")))
    thread.start()
    wait_for("its first write", lambda: release.orders() == ["slow"])
    message = release.failure()
    assert "another run migrates this database: asha on app1 with release one" in message
    thread.join(timeout=60)
    assert names(done[0]["done"]) == ["0001-slow"]
    assert release.orders() == ["slow"]


def test_a_killed_run_is_repeated_when_its_lock_has_ended(release: Release) -> None:
    release.write("0001-hangs.js", writes("process.pid", milliseconds=60000))
    failures: list[str] = []
    thread = threading.Thread(target=lambda: failures.append(release.failure()))
    thread.start()
    wait_for("its first write", release.orders)
    os.kill(int(release.orders()[0]), signal.SIGKILL)
    thread.join(timeout=60)
    assert "no answer" in failures[0]
    said = release.run("status")
    assert (said["interrupted"], names(said["pending"]), said["applied"]) == (
        ["0001-hangs"],
        ["0001-hangs"],
        [],
    )
    release.write("0001-hangs.js", writes("'again'"))
    assert "another run migrates" in release.failure(), "its last write may still be on its way"
    past = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)
    release.db.steward_migrations_lock.update_one({"_id": "lock"}, {"$set": {"until": past}})
    assert names(release.run("up")["done"]) == ["0001-hangs"]
    assert release.orders()[1:] == ["again"]


def test_one_that_takes_too_long_is_ended(release: Release) -> None:
    release.write("0001-hangs.js", "export default () => new Promise((r) => setTimeout(r, 60000));")
    assert "it was ended after 0.05 minutes" in release.failure(timeout_minutes=0.05)
    assert release.states() == {"0001-hangs": "running"}


def test_way_back(release: Release) -> None:
    """The latest first, only with a way back for each, and what was taken back is pending again."""
    for number in (1, 2, 3):
        release.write(f"000{number}-x.js", writes(number))
        release.write(f"000{number}-x.down.js", writes(number, "undone"))
    release.run("up")
    assert names(release.run("down", to="0001-x")["done"]) == ["0003-x", "0002-x"]
    assert [one["by"] for one in release.db.undone.find().sort("at")] == ["3", "2"]
    assert release.states() == {"0001-x": "applied", "0002-x": "reverted", "0003-x": "reverted"}
    assert names(release.run("status")["pending"]) == ["0002-x", "0003-x"]
    assert "0009-x is not applied; applied are: 0001-x" in release.failure("down", to="0009-x")
    (release.folder / "migrations/0001-x.down.js").unlink()
    assert "there is no way back" in release.failure("down", to="0")
    assert "say which migration" in release.failure("down")
    assert release.states()["0001-x"] == "applied"


def test_a_way_back_that_fails_leaves_it_applied(release: Release) -> None:
    release.write("0001-x.js", writes("'x'"))
    release.write("0001-x.down.js", "export default () => { throw new Error('no'); };")
    release.run("up")
    assert release.failure("down", to="0") == "0001-x: no"
    assert release.states() == {"0001-x": "applied"}


def test_another_release_is_compared_by_name_and_content(release: Release) -> None:
    release.write("0001-old.js", writes("'old'"))
    release.write("0002-contract.after.js", writes("'contract'"))
    release.run("up")
    release.run("up", phase="after")
    (release.folder / "migrations/0002-contract.after.js").unlink()
    release.write("0001-old.js", writes("'changed'"))
    said = release.run("up")
    assert said["unknown"] == [{"name": "0002-contract", "phase": "after"}]
    assert said["altered"] == ["0001-old"]
    assert release.orders() == ["old", "contract"], "a changed file does not run again"


def test_names_that_cannot_be_told_apart_are_refused(release: Release) -> None:
    release.write("0001-x.js", writes("'x'"))
    release.write("0001-x.after.js", writes("'x'"))
    assert "there is another file of 0001-x" in release.failure()
    (release.folder / "migrations/0001-x.after.js").unlink()
    release.write("0002-y.down.js", writes("'y'"))
    assert "a way back of 0002-y, but not 0002-y itself" in release.failure()
    assert release.states() == {}


def test_a_database_that_cannot_be_reached_or_refuses(release: Release, server: MongoServer) -> None:
    release.write("0001-x.js", writes("'x'"))
    good = release.environment.read_text()
    release.environment.write_text(good.replace(server.password, "wrong"))
    message = release.failure()
    assert "uthentication" in message
    assert "wrong" not in message
    release.environment.write_text(good.replace("MONGODB_URI", "OTHER"))
    assert "has no MONGODB_URI" in release.failure()
    assert release.states() == {}


def test_secrets_are_in_no_argument(release: Release, server: MongoServer) -> None:
    """What ``ps`` shows while it runs."""
    look = "writeFileSync('seen', readFileSync('/proc/self/cmdline'))"
    imports = "import { writeFileSync, readFileSync } from 'node:fs';"
    release.write("0001-look.js", f"{imports} export default () => {look};")
    release.run("up")
    seen = (release.folder / "seen").read_bytes()
    assert b"migrations.mjs" in seen
    assert server.password.encode() not in seen


def test_a_release_without_a_driver(release: Release) -> None:
    release.write("0001-x.js", writes("'x'"))
    (release.folder / "node_modules").unlink()
    assert "has neither the package mongodb nor mongoose" in release.failure()


def test_the_module_is_an_ansible_module(release: Release) -> None:
    """Its options and its documentation say the same."""
    import yaml

    documented = yaml.safe_load(module.DOCUMENTATION)["options"]
    assert documented.keys() == module.options().keys()
    assert subprocess.run(["node", "--check", str(RUNNER)], check=False, timeout=60).returncode == 0
