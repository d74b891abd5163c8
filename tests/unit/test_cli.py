"""steward.cli: help, usage errors and exit statuses, without a server or a bucket."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from steward import __version__
from steward.cli import main
from steward.errors import EXIT_USAGE


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"steward {__version__}\n"


@pytest.mark.parametrize(
    ("section", "verb"),
    [
        *(("backup", verb) for verb in ("full", "oplog", "list", "show", "status", "verify")),
        ("metrics", "publish"),
    ],
)
def test_every_verb_has_help_with_an_example_and_json(
    section: str, verb: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([section, verb, "--help"]) == 0
    out = capsys.readouterr().out
    assert f"Example: steward {section} {verb}" in out
    assert "--json" in out


@pytest.mark.parametrize(
    "arguments",
    [["nonsense"], ["backup", "nonsense"], ["backup", "full", "--foo"], ["backup", "show"]],
)
def test_wrong_usage_is_one_line_and_status_2(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == EXIT_USAGE
    captured = capsys.readouterr()
    assert captured.out == ""
    assert len(captured.err.splitlines()) == 1


def test_a_missing_configuration_is_one_line_and_status_2(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--config", str(tmp_path / "none.toml"), "backup", "list"]) == EXIT_USAGE
    assert (
        capsys.readouterr().err
        == f"steward: {tmp_path}/none.toml: cannot be read: No such file or directory\n"
    )


def test_debug_shows_the_traceback_and_keeps_the_status(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--debug", "--config", str(tmp_path / "none.toml"), "backup", "list"]) == EXIT_USAGE
    assert "Traceback" in capsys.readouterr().err


def test_help_does_not_load_what_is_slow() -> None:
    code = (
        "import sys; from steward.cli import main; main(['--help']);"
        "slow = ('boto3', 'botocore', 'pymongo', 'bson', 'pydantic', 'pyrage', 'zstandard');"
        "print([name for name in slow if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout.splitlines()[-1] == "[]"
