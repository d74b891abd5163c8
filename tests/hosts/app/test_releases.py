"""Releases: what runs is what is linked, a reload costs no request, and a bad release costs nothing."""

from __future__ import annotations

import http.server
import json
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from sandbox.releases import FAILS_AT_ONCE, FAILS_UNDER_PM2, fails_on, variant
from tests.hosts.app.client import AppHost, asked


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
    with asked(first, first, first, path=first.app.health.path) as seen:
        reload = first.shell.run("systemctl reload pm2-%s", first.app.name)
    assert reload.rc == 0, reload.stderr
    assert not before & {w["pid"] for w in first.workers()}, "the reload replaced no worker"
    assert set(seen) == {"200"}, dict(seen)
    assert seen["200"] > 10


def deploy(
    host: AppHost, release: str, archive: Path | None = None, **more: object
) -> subprocess.CompletedProcess[str]:
    """Run the playbook that an engineer runs, for one host or an application's."""
    extra: dict[str, object] = {"app_release_id": release, **more}
    if archive:
        extra["app_release_archive"] = str(archive)
    argv = ("ansible-playbook", "playbooks/deploy.yml", "--limit", host.name, "-e", json.dumps(extra))
    return host.staging.run(*argv)


def history(host: AppHost) -> dict[str, str]:
    """The last entry of the host's history of releases."""
    lines = host.shell.file(f"/srv/{host.app.name}/releases.jsonl").content_string.splitlines()
    last: dict[str, str] = json.loads(lines[-1])
    return last


def make_release(host: AppHost, folder: Path, release: str, start: str = "") -> Path:
    """An archive of the running release under another id, with ``start`` put before its program."""
    return variant(host.staging.sandbox.state / "build", linked(host), release, folder, start)


def words(done: subprocess.CompletedProcess[str]) -> str:
    """What a playbook printed, without its line breaks."""
    return " ".join((done.stdout + done.stderr).split())


@pytest.mark.timeout(900)
def test_release_that_does_not_start_touches_no_worker(single: AppHost, tmp_path: Path) -> None:
    """PM2 alone would replace every worker by one that dies, and report success."""
    good, before = linked(single), {w["pid"] for w in single.workers()}
    archive = make_release(single, tmp_path, "test-broken", FAILS_AT_ONCE)
    try:
        done = deploy(single, "test-broken", archive, app_health_timeout_s=5)
        assert done.returncode != 0
        assert "canary: it ended at once" in done.stdout + done.stderr
        assert linked(single) == good
        assert {w["pid"] for w in single.workers()} == before
        again = deploy(single, "test-broken")
        assert again.returncode != 0
        assert "it was marked bad: canary: it ended at once" in words(again)
        assert not single.shell.file(f"/srv/{single.app.name}/deploy.lock").exists
    finally:
        single.shell.run("rm -rf /srv/%s/releases/test-broken", single.app.name)


@pytest.mark.timeout(900)
def test_bad_environment_reaches_no_worker(single: AppHost) -> None:
    """PM2 may start a worker at any moment, and each reads the file then."""
    good, before = linked(single), {w["pid"] for w in single.workers()}
    path = f"/srv/{single.app.name}/shared/env"
    text = single.shell.file(path).content_string
    done = deploy(single, good, app_environment_extra={"SMTP_PORT": "none"}, app_health_timeout_s=5)
    assert done.returncode != 0
    assert "canary: it ended at once" in words(done)
    assert single.shell.file(path).content_string == text
    assert {w["pid"] for w in single.workers()} == before
    assert not single.shell.file(f"/srv/{single.app.name}/releases/{good}/BAD_RELEASE").exists
    again = deploy(single, good)
    assert again.returncode == 0, again.stdout
    assert not single.shell.file(f"{path}.before").exists


@pytest.mark.timeout(900)
def test_release_that_fails_under_pm2_is_taken_back(single: AppHost, tmp_path: Path) -> None:
    """It passes as a canary and dies as a worker: on the one host there is, nobody notices."""
    good = linked(single)
    archive = make_release(single, tmp_path, "test-turncoat", FAILS_UNDER_PM2)
    try:
        with asked(single, path=single.app.health.path) as seen:
            done = deploy(single, "test-turncoat", archive, app_health_timeout_s=5)
        assert done.returncode != 0
        assert "workers have ended" in words(done)
        assert f"went back to {good}, which is healthy" in words(done)
        assert linked(single) == good
        assert single.https(single.app.health.path).json()["release"] == good
        assert single.serving() == {w["pid"] for w in single.workers()}, "PM2 has forgotten a worker"
        history = single.shell.file(f"/srv/{single.app.name}/releases.jsonl").content_string.splitlines()
        assert json.loads(history[-1])["result"] == "failed"
        assert set(seen) == {"200"}, dict(seen)
    finally:
        single.shell.run("rm -rf /srv/%s/releases/test-turncoat", single.app.name)


@contextmanager
def webhook(address: str) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """A server that people's messages go to: its URL, and what it was told."""
    told: list[dict[str, Any]] = []

    class Listener(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            told.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with http.server.ThreadingHTTPServer((address, 0), Listener) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield f"http://{address}:{server.server_address[1]}/hook", told
        server.shutdown()
        thread.join(timeout=10)


@pytest.mark.timeout(1200)
def test_release_and_way_back(single: AppHost, tmp_path: Path) -> None:
    """Forth with an archive, back without a name; then nothing is left to do, and new workers on demand."""
    good = linked(single)
    archive = make_release(single, tmp_path, "test-next")

    def play(name: str, **extra: str) -> None:
        argv = ("ansible-playbook", f"playbooks/{name}.yml", "--limit", single.name, "-e", json.dumps(extra))
        done = single.staging.run(*argv)
        assert done.returncode == 0, done.stdout

    try:
        forth = deploy(single, "test-next", archive)
        assert forth.returncode == 0, forth.stdout
        assert single.https(single.app.health.path).json()["release"] == "test-next"
        play("rollback", app_why="checkout fails")
        assert single.https(single.app.health.path).json()["release"] == good == linked(single)
        assert (history(single)["verb"], history(single)["why"]) == ("rollback", "checkout fails")
        mark = single.shell.file(f"/srv/{single.app.name}/releases/test-next/BAD_RELEASE").content_string
        assert json.loads(mark)["reason"] == "checkout fails"
        again = deploy(single, good)
        assert "changed=0" in again.stdout
        before = {w["pid"] for w in single.workers()}
        with webhook(single.staging.sandbox.gateway) as (url, told):
            play("restart", app_notify_url=url, app_why="memory grows")
        assert not before & {w["pid"] for w in single.workers()}
        assert linked(single) == good
        [news] = told
        assert (news["job"], news["state"], news["why"]) == ("restart", "done", "memory grows")
        assert news["text"] == news["content"]
    finally:
        if linked(single) != good:
            deploy(single, good, app_allow_bad=True)
        single.shell.run("rm -rf /srv/%s/releases/test-next", single.app.name)


@pytest.mark.timeout(900)
def test_release_that_one_host_cannot_run_is_taken_back_from_all(
    first: AppHost, second: AppHost, tmp_path: Path
) -> None:
    """The first host runs it well already; nobody who orders meanwhile notices any of it."""
    good = linked(first)
    archive = make_release(first, tmp_path, "test-split", fails_on(second.name))
    argv = {"app_release_id": "test-split", "app_release_archive": str(archive), "app_why": "a split"}
    limit = f"{first.app.name}_app"
    try:
        with asked(first, second, path=first.app.health.path) as seen:
            run = first.staging.run(
                "ansible-playbook", "playbooks/deploy.yml", "--limit", limit, "-e", json.dumps(argv)
            )
        assert run.returncode != 0
        assert f"{second.name}: release test-split" in words(run)
        assert linked(first) == linked(second) == good
        for host in (first, second):
            assert host.settled()
            assert host.shell.file(f"/srv/{host.app.name}/releases/test-split/BAD_RELEASE").exists
            status = json.loads(host.shell.check_output("nginx-upstream status --json"))
            assert [row["serves"] for row in status["servers"]] == [True, True], "a drain was left"
        entry = history(first)
        assert (entry["release"], entry["previous"], entry["result"]) == (good, "test-split", "active")
        assert second.name in entry["why"]
        assert set(seen) == {"200"}, dict(seen)
    finally:
        for host in (first, second):
            host.shell.run("rm -rf /srv/%s/releases/test-split", host.app.name)


@pytest.mark.timeout(900)
def test_more_workers_and_fewer_again(first: AppHost) -> None:
    """The workers that stay or come are the release's, and more than the memory holds are refused."""
    good, count = linked(first), len(first.workers())

    def scale(instances: int) -> subprocess.CompletedProcess[str]:
        extra = json.dumps({"app_instances": instances})
        return first.staging.run(
            "ansible-playbook", "playbooks/scale.yml", "--limit", first.name, "-e", extra
        )

    try:
        assert scale(count + 1).returncode == 0
        assert len(first.workers()) == len(first.serving()) == count + 1
        assert first.https(first.app.health.path).json()["release"] == good
        refused = scale(10_000)
        assert refused.returncode != 0
        assert "10000 workers of up to" in words(refused)
        assert len(first.workers()) == count + 1
    finally:
        assert scale(count).returncode == 0
    assert len(first.workers()) == len(first.serving()) == count
    assert linked(first) == good


def test_second_run_waits_for_nobody_and_changes_nothing(single: AppHost) -> None:
    """Somebody else deploys: who, why and since when are told, and no worker is touched."""
    before = {w["pid"] for w in single.workers()}
    lock = f"/srv/{single.app.name}/deploy.lock"
    holder = {
        "token": "x",
        "who": "asha@laptop",
        "why": "checkout",
        "since": "2026-01-01T00:00:00Z",
        "host": "laptop",
    }
    single.shell.check_output("echo %s > %s", json.dumps(holder), lock)
    try:
        run = single.staging.run("ansible-playbook", "playbooks/restart.yml", "--limit", single.name)
        assert run.returncode != 0
        assert "locked since 2026-01-01T00:00:00Z by asha@laptop (checkout)" in words(run)
        assert {w["pid"] for w in single.workers()} == before
        assert single.shell.file(lock).exists, "it belongs to another run"
    finally:
        single.shell.check_output("rm -f %s", lock)
