"""Releases: what runs is what is linked, a reload costs no request, and a bad release costs nothing."""

from __future__ import annotations

import json
import shutil
import subprocess
import threading
from collections import Counter
from pathlib import Path

import pytest

from tests.hosts.app.client import AppHost


def linked(host: AppHost) -> str:
    """The release that ``current`` points to."""
    return Path(host.shell.check_output("readlink /srv/%s/current", host.app.name)).name


def test_what_is_linked_is_what_answers(app_host: AppHost) -> None:
    """The link is relative, so that it also holds in a copy of the folder."""
    target = app_host.shell.check_output("readlink /srv/%s/current", app_host.app.name)
    assert target == f"releases/{linked(app_host)}"
    marker = app_host.shell.file(f"/srv/{app_host.app.name}/current/RELEASE").content_string.strip()
    assert app_host.local_health()["release"] == marker == linked(app_host)


def test_hosts_of_one_application_run_one_release(first: AppHost, second: AppHost) -> None:
    """A split fleet answers the same request in two ways."""
    assert linked(first) == linked(second)


def test_reload_drops_no_request(first: AppHost) -> None:
    """Requests that are on their way while PM2 replaces the workers are all answered."""
    before = {w["pid"] for w in first.workers()}
    done = threading.Event()
    seen: Counter[str] = Counter()

    def ask() -> None:
        while not done.is_set():
            try:
                answer = first.https(first.app.health.path)
                seen[str(answer.status)] += 1
            except OSError as error:
                seen[repr(error)] += 1

    askers = [threading.Thread(target=ask) for _ in range(3)]
    for asker in askers:
        asker.start()
    try:
        reload = first.shell.run("systemctl reload pm2-%s", first.app.name)
    finally:
        done.set()
        for asker in askers:
            asker.join(timeout=60)
    assert reload.rc == 0, reload.stderr
    assert not before & {w["pid"] for w in first.workers()}, "the reload replaced no worker"
    assert set(seen) == {"200"}, dict(seen)
    assert seen["200"] > 10


def deploy(
    host: AppHost, release: str, archive: Path | None = None, **more: int
) -> subprocess.CompletedProcess[str]:
    """Run the playbook that an engineer runs, for one host."""
    extra: dict[str, object] = {"app_release_id": release, **more}
    if archive:
        extra["app_release_archive"] = str(archive)
    argv = ("ansible-playbook", "playbooks/deploy.yml", "--limit", host.name, "-e", json.dumps(extra))
    return host.staging.run(*argv)


def make_release(host: AppHost, folder: Path, release: str, start: str) -> Path:
    """An archive of the running release under another id, with ``start`` put before its program."""
    build = host.staging.sandbox.state / "build"
    tree = folder / release
    tree.mkdir()
    subprocess.run(
        ["tar", "-xzf", str(build / f"backend-{linked(host)}.tar.gz"), "-C", str(tree)],
        check=True,
        timeout=60,
    )
    (tree / "RELEASE").write_text(release + "\n")
    server = tree / "src/server.js"
    server.write_text(start + "\n" + server.read_text())
    archive = folder / f"backend-{release}.tar.gz"
    subprocess.run(["tar", "-czf", str(archive), "-C", str(tree), "."], check=True, timeout=60)
    shutil.rmtree(tree)
    return archive


@pytest.mark.timeout(900)
def test_release_that_does_not_start_touches_no_worker(single: AppHost, tmp_path: Path) -> None:
    """PM2 alone would replace every worker by one that dies, and report success."""
    good, before = linked(single), {w["pid"] for w in single.workers()}
    archive = make_release(single, tmp_path, "test-broken", "process.exit(1);")
    try:
        done = deploy(single, "test-broken", archive, app_health_timeout_s=5)
        assert done.returncode != 0
        assert "canary: it ended at once" in done.stdout + done.stderr
        assert linked(single) == good
        assert {w["pid"] for w in single.workers()} == before
    finally:
        single.shell.run("rm -rf /srv/%s/releases/test-broken", single.app.name)


@pytest.mark.timeout(900)
def test_release_that_fails_under_pm2_is_taken_back(single: AppHost, tmp_path: Path) -> None:
    """It passes as a canary and dies as a worker: the last good release must serve again."""
    good = linked(single)
    archive = make_release(single, tmp_path, "test-turncoat", "if (!process.env.CANARY) process.exit(1);")
    try:
        done = deploy(single, "test-turncoat", archive, app_health_timeout_s=5)
        assert done.returncode != 0
        assert f"went back to {good}, which is healthy" in " ".join((done.stdout + done.stderr).split())
        assert linked(single) == good
        assert single.https(single.app.health.path).json()["release"] == good
        assert single.serving() == {w["pid"] for w in single.workers()}, "PM2 has forgotten a worker"
        history = single.shell.file(f"/srv/{single.app.name}/releases.jsonl").content_string.splitlines()
        assert json.loads(history[-1])["result"] == "failed"
    finally:
        single.shell.run("rm -rf /srv/%s/releases/test-turncoat", single.app.name)


@pytest.mark.timeout(1200)
def test_release_and_way_back_by_id(single: AppHost, tmp_path: Path) -> None:
    """Forth with an archive, back with the id alone; a third time nothing is left to do."""
    good = linked(single)
    archive = make_release(single, tmp_path, "test-next", "")
    try:
        forth = deploy(single, "test-next", archive)
        assert forth.returncode == 0, forth.stdout
        assert single.https(single.app.health.path).json()["release"] == "test-next"
    finally:
        back = deploy(single, good)
        again = deploy(single, good)
        single.shell.run("rm -rf /srv/%s/releases/test-next", single.app.name)
    assert back.returncode == 0, back.stdout
    assert single.https(single.app.health.path).json()["release"] == good
    assert "changed=0" in again.stdout
