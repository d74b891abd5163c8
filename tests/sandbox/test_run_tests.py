"""The runner behind ``make test``: jobs at once, output in order, no failure hidden, nothing left running."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from sandbox import run_tests
from sandbox.settings import REPOSITORY


def python(code: str) -> tuple[str, ...]:
    return (sys.executable, "-c", code)


def test_output_comes_in_order_and_every_failure_is_told(
    tmp_path: Path, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    # The first ends only after the second has: so they run at once.
    done = tmp_path / "done"
    jobs = {
        "slow": python(
            f"import pathlib, sys, time\nprint('slow begins', flush=True)\n"
            f"while not pathlib.Path({str(done)!r}).exists(): time.sleep(0.01)\n"
            f"sys.exit('slow fails')"
        ),
        "fast": python(
            f"import pathlib\nprint('fast')\npathlib.Path({str(done)!r}).touch()\nraise SystemExit(3)"
        ),
        "good": python("print('good')"),
    }
    assert run_tests.run(jobs, tmp_path / "log") == ["slow", "fast"]
    assert capfdbinary.readouterr().out == b"slow begins\nslow fails\nfast\ngood\n"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_stopped_run_lets_its_jobs_clean_up(tmp_path: Path, number: signal.Signals) -> None:
    """Also one that was started in the background, where interrupts are ignored."""
    cleaned, ready = tmp_path / "cleaned", tmp_path / "ready"
    job = (
        f"import pathlib, time\npathlib.Path({str(ready)!r}).touch()\n"
        f"try: time.sleep(60)\nfinally: pathlib.Path({str(cleaned)!r}).touch()\n"
    )
    program = (
        "import pathlib, signal, sys\nfrom sandbox import run_tests\n"
        "signal.signal(signal.SIGINT, signal.SIG_IGN)\n"
        f"run_tests.ASIDE = {{'job': (sys.executable, '-c', {job!r})}}\n"
        "run_tests.HOSTS = {}\n"
        f"run_tests.REPOSITORY = pathlib.Path({str(tmp_path)!r})\n"
        "sys.exit(run_tests.main())\n"
    )
    runner = subprocess.Popen(
        [sys.executable, "-c", program],
        cwd=REPOSITORY,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env={"PYTHONPATH": str(REPOSITORY)},
    )
    deadline = time.monotonic() + 60
    while not ready.exists():
        assert time.monotonic() < deadline, "the job did not start"
        time.sleep(0.05)
    runner.send_signal(number)
    assert runner.wait(60) == 128 + number
    assert cleaned.exists()


def test_every_test_folder_is_run() -> None:
    named = {*run_tests.WITH_HOSTS, *run_tests.WITHOUT_HOSTS}
    folders = {str(p.parent.relative_to(REPOSITORY)) for p in (REPOSITORY / "tests").rglob("test_*.py")}
    for folder in folders:
        assert any(folder == name or folder.startswith(f"{name}/") for name in named), folder
