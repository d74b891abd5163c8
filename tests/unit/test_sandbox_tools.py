"""The sandbox's own machinery: steps, background processes and the comparison of the proof."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyrage import x25519

from sandbox import backup_keys, processes, proof
from sandbox.files import write_private
from sandbox.fingerprints import differences
from sandbox.settings import Sandbox
from sandbox.steps import StepError, Steps
from tests.support.mongod import free_port

SERVER = "import socket,time; s=socket.create_server(('127.0.0.1', {port})); time.sleep(600)"


def _service(port: int) -> processes.Service:
    command = [sys.executable, "-c", SERVER.format(port=port)]
    return processes.Service("server", command, ("127.0.0.1", port))


def test_a_service_is_started_once_found_again_and_ended(tmp_path: Path) -> None:
    service = _service(free_port())
    assert processes.ensure(tmp_path, service, os.environ)
    pid = processes.running_pid(tmp_path, "server")
    assert not processes.ensure(tmp_path, service, os.environ)
    assert processes.running_pid(tmp_path, "server") == pid
    processes.stop(tmp_path, "server")
    assert processes.running_pid(tmp_path, "server") is None
    assert processes.names(tmp_path) == []


def test_another_process_with_a_recorded_id_is_never_ended(tmp_path: Path) -> None:
    """The system gives ids out again: only id and start time together name a process."""
    other = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    try:
        record = {"pid": other.pid, "started": "1"}
        write_private(tmp_path / "run/services/server.json", json.dumps(record))
        processes.stop(tmp_path, "server")
        assert other.poll() is None
    finally:
        other.kill()
        other.wait()


def test_a_service_that_ends_at_once_names_its_log(tmp_path: Path) -> None:
    service = processes.Service(
        "server", [sys.executable, "-c", "raise SystemExit(7)"], ("127.0.0.1", free_port())
    )
    with pytest.raises(processes.ServiceError, match=r"ended with status 7; see .*server\.log"):
        processes.ensure(tmp_path, service, os.environ)


def test_a_service_that_never_answers_is_ended(tmp_path: Path) -> None:
    service = processes.Service(
        "server", [sys.executable, "-c", "import time; time.sleep(600)"], ("127.0.0.1", free_port())
    )
    with pytest.raises(processes.ServiceError, match="does not answer"):
        processes.ensure(tmp_path, service, os.environ, seconds=0.5)
    assert processes.names(tmp_path) == []


def _steps(folder: Path) -> Steps:
    return Steps(folder / "log", os.environ, folder)


def test_a_failing_step_names_its_log_and_shows_the_end_of_it(tmp_path: Path) -> None:
    with pytest.raises(StepError) as failed:
        _steps(tmp_path).run(
            "a step", [sys.executable, "-c", "print('why'); raise SystemExit(3)"], seconds=30
        )
    assert "a step: failed with status 3" in str(failed.value)
    assert str(tmp_path / "log/a-step.log") in str(failed.value)
    assert "why" in str(failed.value)


def test_a_step_that_hangs_or_cannot_be_run(tmp_path: Path) -> None:
    steps = _steps(tmp_path)
    with pytest.raises(StepError, match="not done after"):
        steps.run("slow", [sys.executable, "-c", "import time; time.sleep(60)"], seconds=0.5)
    with pytest.raises(StepError, match="cannot be run"):
        steps.run("absent", [str(tmp_path / "none")], seconds=5)


def test_steps_that_run_together_all_end_before_one_fails(tmp_path: Path) -> None:
    steps, ended = _steps(tmp_path), []

    def fail() -> None:
        raise StepError("first")

    def work() -> None:
        time.sleep(0.2)
        ended.append(True)

    with pytest.raises(StepError, match="first"):
        steps.together([fail, work])
    assert ended == [True]


Documents = st.dictionaries(st.binary(max_size=2), st.binary(max_size=2), max_size=5)
Data = st.dictionaries(st.sampled_from(["a.b", "a.c", "d.e"]), Documents, max_size=3)


@given(expected=Data, got=Data)
def test_differences_are_empty_exactly_when_the_documents_are_equal(
    expected: dict[str, dict[bytes, bytes]], got: dict[str, dict[bytes, bytes]]
) -> None:
    def filled(data: dict[str, dict[bytes, bytes]]) -> dict[str, dict[bytes, bytes]]:
        return {name: documents for name, documents in data.items() if documents}

    assert (differences(expected, got) == []) == (filled(expected) == filled(got))


def test_differences_say_what_is_lost_extra_and_changed() -> None:
    lines = differences({"a.b": {b"1": b"x", b"2": b"y"}}, {"a.b": {b"2": b"z", b"3": b"x", b"4": b"x"}})
    assert lines == ["a.b: 1 lost, 2 too many, 1 changed"]


def test_private_files_are_never_readable_by_others(tmp_path: Path) -> None:
    path = tmp_path / "folder" / "key"
    write_private(path, "secret")
    assert path.read_text() == "secret"
    assert path.stat().st_mode & 0o777 == 0o600


TELLS = """#!/bin/sh
printf '%s\\n' "$STEWARD_TARGET_PASSWORD" "$*"
[ $# -lt 4 ] || { stat -c %a "$4"; cat "$4"; }
exit 3
"""


def test_the_proof_hands_both_secrets_to_steward_by_standard_input(tmp_path: Path) -> None:
    command = tmp_path / "steward"
    command.write_text(TELLS)
    command.chmod(0o755)

    def run(secrets: str) -> list[str]:
        done = subprocess.run(
            ["sh", "-c", proof._SCRIPT, "sh", "restore", "--json"],
            input=secrets,
            capture_output=True,
            text=True,
            env={**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"},
            check=False,
        )
        assert done.returncode == 3, "the status of steward itself"
        return done.stdout.splitlines()

    assert run("password\n\n") == ["password", "restore --json"]
    password, arguments, mode, identity = run("password\nAGE-SECRET-KEY-1\n")
    assert (password, mode, identity) == ("password", "600", "AGE-SECRET-KEY-1")
    assert arguments.startswith("restore --json --identity /dev/shm/")
    assert not Path(arguments.split()[-1]).exists()


def test_the_backup_key_is_made_once_and_a_lost_half_is_mended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Sandbox, "state", tmp_path)
    sandbox = Sandbox("test", 1)
    backup_keys.ensure(sandbox)
    private = backup_keys.identity_file(sandbox, backup_keys.ENCRYPTED)
    public, content = private.with_suffix(".pub"), private.read_text()
    assert private.stat().st_mode & 0o777 == 0o600
    assert str(x25519.Identity.from_str(content.strip()).to_public()) == public.read_text().strip()
    public.unlink()
    backup_keys.ensure(sandbox)
    assert private.read_text() == content
    assert public.exists()
