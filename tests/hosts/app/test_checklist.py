"""The deployment checklist on real hosts: facts that it can read, and a deployment that it stops."""

from __future__ import annotations

import json
from pathlib import Path

from steward.deploy import evidence
from tests.hosts.app.client import AppHost


def test_facts_of_the_hosts(first: AppHost, second: AppHost, tmp_path: Path) -> None:
    """What runs, and no secret."""
    extra = json.dumps({"facts_dir": str(tmp_path)})
    command = ("ansible-playbook", "playbooks/facts.yml", "--limit", first.app.name, "-e", extra)
    done = first.staging.run(*command)
    assert done.returncode == 0, done.stdout
    found = {one.host: one for one in evidence.facts(tmp_path, first.app.name, "local")}
    assert set(found) == {first.name, second.name}
    one = found[first.name]
    assert one.release == Path(first.shell.check_output("readlink /srv/%s/current", first.app.name)).name
    assert one.releases[one.release]
    assert one.node == first.shell.check_output("node --version")
    assert one.config == found[second.name].config
    assert one.packages["nginx"]
    text = first.shell.file(f"/srv/{first.app.name}/shared/env").content_string
    values = dict(
        line.split("=", 1) for line in text.splitlines() if "=" in line and not line.startswith("#")
    )
    assert set(one.environment_keys) == set(values)
    written = "".join(path.read_text() for path in tmp_path.rglob("*.json"))
    for name in ("JWT_SECRET", "MONGODB_URI", "REDIS_URL", "RAZORPAY_KEY_SECRET"):
        assert values[name].strip("'") not in written, name


def test_checklist_that_fails_touches_no_host(single: AppHost) -> None:
    """Nobody has run a test of this commit."""
    before = {w["pid"] for w in single.workers()}
    extra = json.dumps({"checklist_required": True, "checklist_commit": "c0ffee"})
    done = single.staging.run("ansible-playbook", "playbooks/deploy.yml", "--limit", single.name, "-e", extra)
    assert done.returncode != 0
    said = " ".join(done.stdout.split())
    assert "not ready for local: tests, parity, migrations, rollback" in said
    assert "[ ] All tests pass (unit, integration, E2E)" in said
    assert "Lock | Take it" not in said
    assert {w["pid"] for w in single.workers()} == before
