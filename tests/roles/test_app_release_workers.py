"""The module ``app_release`` finds and ends the workers that PM2 has forgotten, and no other process."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.roles.app_modules import load_release

#: Starts one child a line of its input, in a folder, and tells its id; a child may ignore SIGINT.
DAEMON = """
import signal, subprocess, sys
signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # as in PM2, no child stays a zombie
for line in sys.stdin:
    folder, stubborn = line.split()
    ignore = "import signal; signal.signal(signal.SIGINT, signal.SIG_IGN); " if stubborn == "yes" else ""
    program = ignore + "print('up', flush=True); import time; time.sleep(60)"
    child = subprocess.Popen([sys.executable, "-c", program], cwd=folder, stdout=subprocess.PIPE)
    child.stdout.readline()
    print(child.pid, flush=True)
"""


class Daemon:
    """A parent of workers, as PM2 is, with the list that it would print."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.listed: list[dict[str, Any]] = []
        self.process = subprocess.Popen(
            [sys.executable, "-c", DAEMON], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self.pids: list[int] = []

    def start(self, folder: str, *, name: str = "", stubborn: bool = False) -> int:
        """Start a child in a folder of the application; PM2 lists it under ``name`` when there is one."""
        path = self.root / folder
        path.mkdir(parents=True, exist_ok=True)
        assert self.process.stdin
        assert self.process.stdout
        self.process.stdin.write(f"{path} {'yes' if stubborn else 'no'}\n")
        self.process.stdin.flush()
        pid = int(self.process.stdout.readline())
        self.pids.append(pid)
        if name:
            self.listed.append({"name": name, "pid": pid})
        return pid

    def answer(self, *argv: str, timeout: float = 60) -> str:
        """What the commands say that the module asks."""
        if argv[0] == "systemctl":
            return f"{self.process.pid}\n"
        assert argv[1] == "jlist"
        return json.dumps(self.listed)


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[Daemon]:
    daemon = Daemon(tmp_path)
    yield daemon
    for pid in daemon.pids:
        if Path(f"/proc/{pid}/cwd").exists():
            os.kill(pid, signal.SIGKILL)
    daemon.process.kill()
    daemon.process.communicate(timeout=20)


@pytest.fixture
def activation(daemon: Daemon, monkeypatch: pytest.MonkeyPatch) -> Any:
    parameters = {
        "name": "a", "root": str(daemon.root), "unit": "pm2-a.service", "pm2": "pm2",
        "instances": 2, "listen_timeout_ms": 1000, "kill_timeout_ms": 1000,
        "environment_file": str(daemon.root / "env"),
    }  # fmt: skip
    activation = load_release().Activation(parameters)
    monkeypatch.setattr(activation, "run", daemon.answer)
    return activation


def gone(pid: int) -> Callable[[], bool]:
    return lambda: not Path(f"/proc/{pid}/cwd").exists()


def await_(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_only_a_worker_that_pm2_does_not_list_is_ended(activation: Any, daemon: Daemon) -> None:
    worker = daemon.start("releases/r1/src", name="a")
    other = daemon.start("releases/r1", name="a-queue")  # a second application under the same PM2
    helper = daemon.start("shared")  # works in no release
    forgotten = daemon.start("releases/r0")
    with subprocess.Popen(["sleep", "60"], cwd=daemon.root / "releases/r0") as shell:  # an engineer's
        assert activation.strays() == [forgotten]
        assert activation.end_strays() == 1
        assert shell.poll() is None
        shell.kill()
    assert [gone(pid)() for pid in (worker, other, helper, forgotten)] == [False, False, False, True]
    assert activation.end_strays() == 0


def test_one_that_ignores_the_signal_is_killed(activation: Any, daemon: Daemon) -> None:
    pid = daemon.start("releases/r0", stubborn=True)
    assert activation.end_strays() == 1
    await_(gone(pid))


def test_one_of_a_removed_release_is_found(activation: Any, daemon: Daemon) -> None:
    pid = daemon.start("releases/r0")
    (daemon.root / "releases/r0").rmdir()
    assert activation.strays() == [pid]


def test_what_runs_and_is_listed_is_in_use(activation: Any, daemon: Daemon) -> None:
    """A release is not removed while a process works in it, forgotten or not."""
    known = daemon.start("releases/r1", name="a")
    forgotten = daemon.start("releases/r0")
    found = activation.processes()
    assert (found[known], found[forgotten]) == ("r1", "r0")


def test_without_a_daemon_nothing_is_forgotten(activation: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(activation, "run", lambda *_argv, **_more: "0\n")
    assert activation.strays() == []


def test_workers_that_wait_are_stopped_twice_before_a_reload(
    activation: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A worker that waits or starts has a timer in PM2, which only the second stop surely clears."""
    commands: list[tuple[str, ...]] = []
    listed = [
        {"name": "a", "pm_id": n, "pid": 0, "pm2_env": {"status": status}}
        for n, status in enumerate(("online", "waiting restart", "launching"))
    ]

    def run(*argv: str, **_more: object) -> str:
        if argv[0] == "pm2" and argv[1] != "jlist":
            commands.append(argv[1:])
        return json.dumps(listed) if argv[:2] == ("pm2", "jlist") else "0\n"

    monkeypatch.setattr(activation, "run", run)
    monkeypatch.setattr(activation, "needed", lambda _release: ("reload", ["worker 1 is waiting restart"]))
    for name in ("link", "prove", "gate"):
        monkeypatch.setattr(activation, name, lambda *_: None)
    activation.p |= {"ecosystem": "e.js", "health_url": "", "health_count": 1, "health_timeout_s": 1}
    activation.p["instances"] = 3
    assert activation.switch("r1") == "reload"
    assert commands == [("stop", "1", "2"), ("stop", "1", "2"), ("reload", "e.js", "--force")]


def test_a_reload_ends_when_the_new_workers_die(
    activation: Any, daemon: Daemon, monkeypatch: pytest.MonkeyPatch
) -> None:
    """PM2 would go on and replace the good one, too. The one that it was replacing ends in PM2's own time."""
    good = daemon.start("releases/r1", name="a")
    parked = daemon.start("releases/r1")
    begun, listed, pm2 = daemon.root / "begun", daemon.root / "listed", daemon.root / "pm2"
    listed.write_text(json.dumps(daemon.listed))
    pm2.write_text(
        f"#!/bin/sh\ncase $1 in jlist) cat {listed};; (*) echo $$ >{begun}; sleep 60; exit 1;; esac\n"
    )
    pm2.chmod(0o755)
    monkeypatch.undo()
    monkeypatch.setattr(activation, "daemon", lambda: daemon.process.pid)
    activation.p |= {"pm2": str(pm2), "ecosystem": "e.js", "kill_timeout_ms": 60_000}
    failed: list[str] = []

    def reload() -> None:
        try:
            activation.reload("r2")
        except load_release().ReleaseError as error:
            failed.append(str(error))

    thread = threading.Thread(target=reload)
    thread.start()
    try:
        await_(begun.exists)
        for _ in range(3):
            assert thread.is_alive()
            pid = daemon.start("releases/r2")
            time.sleep(0.3)  # three looks of the module
            os.kill(pid, signal.SIGKILL)
            await_(gone(pid))
        await_(lambda: not Path(f"/proc/{begun.read_text().strip()}").exists())
        assert thread.is_alive(), "the worker that PM2 had parked was not waited for"
        os.kill(parked, signal.SIGKILL)
    finally:
        thread.join(timeout=30)
    assert len(failed) == 1
    assert failed[0].startswith("3 workers have ended")
    assert not gone(good)()


def test_workers_that_end_in_order_do_not_stop_a_reload(
    activation: Any, daemon: Daemon, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of the same release, replaced since its environment has changed."""
    olds = [daemon.start("releases/r1", name="a") for _ in range(4)]
    watched: list[str] = []

    def run(*argv: str, watch: Callable[[], str] | None = None, **_more: object) -> str:
        if watch is None:
            return daemon.answer(*argv)
        for pid in olds:
            daemon.start("releases/r1", name="a")
            watched.append(watch())
            os.kill(pid, signal.SIGKILL)
            await_(gone(pid))
            watched.append(watch())
        return ""

    monkeypatch.setattr(activation, "run", run)
    activation.p |= {"ecosystem": "e.js"}
    activation.reload("r1")
    assert watched == [""] * 8


@pytest.mark.parametrize("broken", [1, 2])
def test_going_back_starts_pm2_anew_when_a_reload_does_not_help(
    activation: Any, monkeypatch: pytest.MonkeyPatch, broken: int
) -> None:
    tried: list[str] = []

    def switch(release: str, at_least: str = "none") -> str:
        tried.append(at_least)
        if len(tried) <= broken:
            raise load_release().ReleaseError(f"no {at_least}")
        return at_least

    monkeypatch.setattr(activation, "switch", switch)
    said = activation.go_back("r1")
    assert tried == ["none", "restart"]
    if broken == 1:
        assert said == "went back to r1, which is healthy"
    else:
        assert said == "going back to r1 FAILED too: no none; after a restart of PM2: no restart"
