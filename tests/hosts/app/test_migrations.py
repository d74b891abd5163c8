"""Migrations that a deployment brings along: run once, told, refused to be forgotten, taken back."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from sandbox.releases import variant
from tests.hosts.app.client import AppHost
from tests.hosts.app.test_releases import deploy, linked, words

#: What the sample backend brings itself.
OWN = "0001-menu-available"
EXPAND = """export default async ({ db, log }) => {
  await db.collection('shelves').updateOne({ _id: 'a' }, { $inc: { filled: 1 } }, { upsert: true });
  log('a shelf is filled');
};
"""
NOTHING = "export default async () => {};\n"
GOOD = {
    "0002-shelves.js": EXPAND,
    "0002-shelves.down.js": "export default async ({ db }) => { await db.collection('shelves').drop(); };\n",
    "0003-no-tables.after.js": NOTHING,
    "0003-no-tables.down.js": NOTHING,
}


def applied(host: AppHost, folder: Path) -> list[str]:
    """What the database has, as the facts for the checklist tell it."""
    argv = ("ansible-playbook", "playbooks/facts.yml", "--limit", host.name, "-e", f"facts_dir={folder}")
    done = host.staging.run(*argv)
    assert done.returncode == 0, done.stdout
    document: dict[str, Any] = json.loads(
        (folder / f"local/migrations/{host.app.name}.json").read_text("utf-8")
    )
    found: list[str] = document["migrations"]
    return found


def play(host: AppHost, name: str, **extra: object) -> str:
    """The output of a playbook that has to do its work."""
    argv = ("ansible-playbook", f"playbooks/{name}.yml", "--limit", host.name, "-e", json.dumps(extra))
    done = host.staging.run(*argv)
    assert done.returncode == 0, done.stdout
    return done.stdout


def backups(host: AppHost) -> int:
    """Slices and fulls that the database's host has stored."""
    command = "runuser -u steward -- steward --config /etc/steward/steward.toml backup list --json"
    done = host.staging.ssh(f"{host.app.name}-db1", command)
    assert done.returncode == 0, done.stderr
    return done.stdout.count('"id"')


@pytest.mark.timeout(1500)
def test_migrations_of_a_release(single: AppHost, tmp_path: Path) -> None:
    """One release brings a new form, takes the old one away at its end, and is taken back in order."""
    good = linked(single)
    build = single.staging.sandbox.state / "build"
    bad = {"0002-shelves.js": "export default () => { throw new Error('no shelf fits'); };"}
    broken = variant(build, good, "test-unfit", tmp_path, migrations=bad)
    fine = variant(build, good, "test-shelves", tmp_path, migrations=GOOD)
    stored = backups(single)
    try:
        assert applied(single, tmp_path) == [OWN]
        before = {w["pid"] for w in single.workers()}
        run = deploy(single, "test-unfit", broken)
        assert run.returncode != 0
        assert "migrations: 0002-shelves: no shelf fits" in words(run)
        assert (linked(single), {w["pid"] for w in single.workers()}) == (good, before)

        run = deploy(single, "test-shelves", fine)
        assert run.returncode == 0, run.stdout
        assert linked(single) == "test-shelves"
        assert backups(single) > stored, "what the failed one had written was not stored before this one"
        assert applied(single, tmp_path) == [OWN, "0002-shelves", "0003-no-tables"]
        log = single.shell.file(f"/var/log/{single.app.name}/migrations.log")
        assert log.content_string.count("a shelf is filled") == 1
        assert log.user == single.app.name
        assert "changed=0" in play(single, "deploy", app_release_id="test-shelves")

        back = single.staging.run("ansible-playbook", "playbooks/rollback.yml", "--limit", single.name)
        assert back.returncode != 0
        assert f"release {good} does not know 0003-no-tables" in words(back)
        assert linked(single) == "test-shelves"

        said = play(single, "migrations", migrations_back_to=OWN)
        assert "0003-no-tables" in said
        assert applied(single, tmp_path) == [OWN]
        play(single, "rollback")
        assert linked(single) == good
        assert not single.shell.file(f"/srv/{single.app.name}/deploy.lock").exists
    finally:
        if linked(single) != good:
            deploy(single, good, app_allow_bad=True, app_allow_contracted=True)
        single.shell.run("rm -rf /srv/%s/releases/test-{unfit,shelves}", single.app.name)
