"""The lock of a deployment: one run at a time, and none that needs a human."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.roles.app_modules import ROLE, load

FACTS = {"who": "asha@laptop", "why": "menu with pictures", "host": "laptop", "pid": 7}


locks = load("app_deploy_lock", ROLE / "module_utils/app_deploy_lock.py")
runs = load("controller_run", ROLE / "lookup_plugins/controller_run.py")


def test_second_run_is_told_who_and_why(tmp_path: Path) -> None:
    lock = locks.DeployLock(tmp_path, 30)
    lock.take("one", FACTS)
    with pytest.raises(locks.LockError, match=r"by asha@laptop \(menu with pictures\)") as refused:
        lock.take("two", {"who": "b", "why": "c"})
    assert refused.value.holder["token"] == "one"
    assert lock.holder()["who"] == "asha@laptop"


def test_own_lock_is_taken_again_and_keeps_its_start(tmp_path: Path) -> None:
    lock = locks.DeployLock(tmp_path, 30)
    lock.take("one", FACTS)
    text = json.loads(lock.path.read_text())
    lock.path.write_text(json.dumps(text | {"since": "2026-01-01T00:00:00Z"}))
    lock.take("one", FACTS)
    assert lock.holder()["since"] == "2026-01-01T00:00:00Z"


def test_only_its_run_gives_it_back(tmp_path: Path) -> None:
    lock = locks.DeployLock(tmp_path, 30)
    lock.take("one", FACTS)
    assert not lock.give_back("two")
    assert lock.give_back("one")
    assert not lock.give_back("one")
    lock.take("two", FACTS)


@pytest.mark.parametrize("minutes", [-31, 31])
def test_lock_without_renewal_ends_also_by_a_wrong_clock(tmp_path: Path, minutes: int) -> None:
    lock = locks.DeployLock(tmp_path, 30)
    lock.take("one", FACTS)
    then = time.time() + minutes * 60
    os.utime(lock.path, (then, then))
    lock.take("two", FACTS)
    assert lock.holder()["token"] == "two"
    with pytest.raises(locks.LockError):
        lock.renew("one")


def test_renewal_lets_it_last(tmp_path: Path) -> None:
    lock = locks.DeployLock(tmp_path, 30)
    lock.take("one", FACTS)
    then = time.time() - 29 * 60
    os.utime(lock.path, (then, then))
    lock.renew("one")
    assert time.time() - lock.path.stat().st_mtime < 60


def test_run_that_is_known_to_be_over_yields(tmp_path: Path) -> None:
    lock = locks.DeployLock(tmp_path, 30)
    lock.take("one", FACTS)
    lock.take("two", FACTS, instead_of="one")
    assert lock.holder()["token"] == "two"
    with pytest.raises(locks.LockError):
        lock.take("three", FACTS, instead_of="one")


def test_half_written_lock_is_none(tmp_path: Path) -> None:
    lock = locks.DeployLock(tmp_path, 30)
    lock.path.write_text("{")
    lock.take("one", FACTS)


TAKE = """
import importlib.util, pathlib, sys
spec = importlib.util.spec_from_file_location("locks", sys.argv[1])
locks = importlib.util.module_from_spec(spec); spec.loader.exec_module(locks)
try:
    locks.DeployLock(pathlib.Path(sys.argv[2]), 30).take(sys.argv[3], {})
except locks.LockError:
    sys.exit(4)
"""


def test_one_of_many_at_once_gets_it(tmp_path: Path) -> None:
    path = str(ROLE / "module_utils/app_deploy_lock.py")
    many = [subprocess.Popen([sys.executable, "-c", TAKE, path, str(tmp_path), f"run{n}"]) for n in range(8)]
    ends = sorted(one.wait(timeout=60) for one in many)
    assert ends == [0] + [4] * 7


def test_this_run_is_not_over_and_a_dead_one_is() -> None:
    run = runs.this_run()
    assert not runs.is_over(run)
    with subprocess.Popen(["sleep", "60"]) as child:
        other = run | {"pid": child.pid, "started": runs._process(child.pid)[2]}
        assert not runs.is_over(other)
        child.kill()
        child.wait(timeout=10)
        assert runs.is_over(other)
    assert runs.is_over(run | {"started": "1"}), "a process that got the number of a dead one"
    assert not runs.is_over(run | {"host": "elsewhere", "started": "1"}), "nobody here knows"
