"""Work beside that takes what others leave."""

from __future__ import annotations

import signal
import subprocess
import sys
import uuid
from pathlib import Path

import pytest

from sandbox import leftovers
from sandbox.staging import cgroups

#: Works for as long as its input is open, on the processor that both share; prints its processor time.
WORK = """
import os, select, sys, time
os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
print("begins", flush=True)
sys.stdin.readline()
while not select.select([sys.stdin], [], [], 0)[0]:
    sum(range(100_000))
print(time.process_time())
"""


def work(prefix: list[str]) -> subprocess.Popen[str]:
    """The worker, ready and waiting, in a session of its own as every service has it."""
    command = [*prefix, sys.executable, "-c", WORK]
    worker = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, start_new_session=True
    )
    assert worker.stdout
    assert worker.stdout.readline() == "begins\n"
    return worker


def tell(worker: subprocess.Popen[str], word: str) -> None:
    assert worker.stdin
    worker.stdin.write(word + "\n")
    worker.stdin.flush()


@pytest.mark.parametrize("shares", [0, 128])
def test_it_gets_what_is_left(shares: int) -> None:
    """Two that would work without an end, on one processor: nearly all of it goes to the other one."""
    name = f"steward-{uuid.uuid4().hex[:8]}"
    stale = None
    if root := cgroups.processors():
        stale = root / f"{name}.0"  # of a run that was killed
        stale.mkdir()
    # In a group of its own as well: the tests themselves may run in one that gets leftovers.
    with (
        leftovers.leftovers(name, shares) as prefix,
        leftovers.leftovers(f"{name}-other", 1024) as ordinary,
    ):
        if prefix[0] == "nice":
            pytest.skip("this machine has no control groups for processors")
        assert not (stale and stale.exists())
        beside, other = work(prefix), work(ordinary)
        try:
            for worker in (beside, other):
                tell(worker, "go")
            with pytest.raises(subprocess.TimeoutExpired):
                other.wait(1.5)
        finally:
            for worker in (other, beside):
                tell(worker, "end")
        spent = [float(worker.communicate(timeout=60)[0]) for worker in (beside, other)]
    assert spent[0] < spent[1] / 2, spent
    assert not list(Path("/sys/fs/cgroup").glob(f"*/{name}*"))


def test_what_still_runs_is_ended() -> None:
    """The servers of a test that was killed would use memory and ports until the machine ends."""
    with leftovers.leftovers(f"steward-{uuid.uuid4().hex[:8]}") as prefix:
        if prefix[0] != "/bin/sh":
            # 2026-11-28: systemd ends a scope when its last process has ended, and no sooner.
            pytest.skip("the group is systemd's or there is none")
        left = work(prefix)
    assert left.wait(10) == -signal.SIGKILL
    left.communicate(timeout=10)


def test_systemd_is_asked_where_it_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cgroups, "systemd_runs", lambda: True)
    with leftovers.leftovers("x") as prefix:
        assert prefix[0] == "systemd-run"
        assert "--property=CPUWeight=idle" in prefix
    with leftovers.leftovers("x", 256) as prefix:
        assert "--property=CPUWeight=25" in prefix


def test_without_groups_it_is_nice(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cgroups, "systemd_runs", lambda: False)
    monkeypatch.setattr(cgroups, "processors", lambda: None)
    with leftovers.leftovers("x") as prefix:
        assert prefix == ["nice", "-n", "19"]
