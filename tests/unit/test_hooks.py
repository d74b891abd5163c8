"""steward.operations.hooks: real programs, ended whatever they do."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from steward.errors import StewardError
from steward.operations.hooks import run_hook


def script(folder: Path, text: str) -> str:
    path = folder / "hook"
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return str(path)


def gone(pid: int) -> bool:
    """The process has ended; who must collect it is another matter."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except FileNotFoundError:
        return True


def test_what_it_says_is_told_and_only_named_variables_reach_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STEWARD_TARGET_PASSWORD", "hidden-word")
    hook = script(tmp_path, 'echo "$STEWARD_OUTCOME" "$1" >&2; env')
    run_hook([hook, "a b; exit 9"], {"STEWARD_OUTCOME": "success"}, 60)
    said = capsys.readouterr().err
    assert f"steward: {hook}: success a b; exit 9\n" in said
    assert "hidden-word" not in said
    assert "PATH=" in said


def test_another_status_is_an_error_with_its_last_line(tmp_path: Path) -> None:
    hook = script(tmp_path, "echo first; echo 'the disk is not mounted'; exit 7")
    with pytest.raises(StewardError, match=r"hook .*: ended with status 7: the disk is not mounted"):
        run_hook([hook], {}, 60)
    with pytest.raises(StewardError, match="status 1: it said nothing"):
        run_hook([script(tmp_path, "exit 1")], {}, 60)


def test_one_that_cannot_be_started_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(StewardError, match=r"hook .*none"):
        run_hook([str(tmp_path / "none")], {}, 60)


def test_one_that_takes_too_long_is_ended_with_everything_it_started(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("steward.operations.hooks.GRACE_SECONDS", 0.3)
    hook = script(tmp_path, f'trap "" TERM; sleep 600 & echo $! > {tmp_path}/child; wait; sleep 600')
    with pytest.raises(StewardError, match=r"not done within 1 s; it was ended"):
        run_hook([hook], {}, 1)
    child = int((tmp_path / "child").read_text())
    deadline = time.monotonic() + 30
    while not gone(child):
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_what_it_leaves_behind_in_the_background_holds_nobody(tmp_path: Path) -> None:
    hook = script(tmp_path, f"sleep 600 & echo $! > {tmp_path}/child")
    run_hook([hook], {}, 60)
    child = int((tmp_path / "child").read_text())
    deadline = time.monotonic() + 30
    while not gone(child):
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_it_has_a_process_group_of_its_own_and_no_input(tmp_path: Path) -> None:
    hook = script(tmp_path, f"ps -o pgid= -p $$ > {tmp_path}/group; read line && exit 5; exit 0")
    run_hook([hook], {}, 60)
    assert int((tmp_path / "group").read_text()) != os.getpgrp()


def test_one_that_talks_without_end_is_read_but_not_repeated(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run_hook([script(tmp_path, "seq 1 5000; head -c 200000 /dev/zero")], {}, 60)
    said = capsys.readouterr().err
    assert "the rest is left out" in said
    assert len(said.splitlines()) < 300
