"""The archive of steward: its name changes with its content, and a failure is one line."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.roles.rendering import REPOSITORY, ROLES

BUILD = ROLES / "steward" / "files" / "build.py"


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A copy of what goes into the archive."""
    copy = tmp_path / "repository"
    for name in (
        "scripts/pyproject.toml",
        "scripts/src/steward",
        "requirements/steward.lock",
        "requirements/steward-gcs.lock",
    ):
        source, target = REPOSITORY / name, copy / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copyfile(source, target)
    return copy


def build(
    repository: Path, out: Path, python: str = "3.11", **environment: str
) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, BUILD, f"--repository={repository}", f"--out={out}"]
    return subprocess.run(
        [*command, f"--python={python}", "--machine=x86_64"],
        env=dict(os.environ) | environment,
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )


def name(repository: Path, out: Path, python: str = "3.11", store: str = "s3") -> str:
    """The id, without a build: an archive of every possible name is there already."""
    code = (
        "import sys; sys.path.insert(0, sys.argv[1]); import build, pathlib; "
        "repository = pathlib.Path(sys.argv[2]); locked = build.lock(repository, sys.argv[4]); "
        "print(build.identity(repository, sys.argv[3], 'x86_64', locked))"
    )
    return subprocess.check_output(
        [sys.executable, "-c", code, str(BUILD.parent), str(repository), python, store], text=True, timeout=60
    ).strip()


def test_name_changes_with_code_lock_and_python(repository: Path, tmp_path: Path) -> None:
    first = name(repository, tmp_path)
    assert name(repository, tmp_path) == first
    assert name(repository, tmp_path, store="gcs") != first
    seen = {first, name(repository, tmp_path, python="3.12")}
    for file in ("scripts/src/steward/cli.py", "scripts/pyproject.toml", "requirements/steward.lock"):
        with (repository / file).open("a") as out:
            out.write("# changed\n")
        seen.add(name(repository, tmp_path))
    assert len(seen) == 5


def test_an_archive_that_exists_is_not_built_again(repository: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    archive = out / f"steward-{name(repository, tmp_path)}.tar"
    archive.touch()
    done = build(repository, out, PIP_INDEX_URL="http://127.0.0.1:9", PIP_NO_INDEX="1")
    assert json.loads(done.stdout) == {"id": archive.stem[8:], "archive": str(archive), "built": False}


def test_an_unreachable_index_is_one_line_and_leaves_nothing(repository: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    done = build(repository, out, PIP_NO_INDEX="1", PIP_FIND_LINKS="", PIP_NO_CACHE_DIR="1")
    assert done.returncode == 1
    assert done.stdout == ""
    assert len(done.stderr.splitlines()) == 1
    assert done.stderr.startswith("steward: wheels for Python 3.11 on x86_64: ")
    assert [path.name for path in out.iterdir()] == [".lock"]
