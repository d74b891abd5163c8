"""An environment file that waits, replaces the present one, and is taken back."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import pytest

from tests.roles.app_modules import load_release


@pytest.fixture
def files(tmp_path: Path) -> Any:
    """The files of an application that has none yet."""
    load_release()
    from ansible.module_utils.app_environment_file import EnvironmentFile

    return EnvironmentFile(str(tmp_path / "env"))


def write(path: Path, text: str, mode: int = 0o600) -> None:
    path.write_text(text)
    path.chmod(mode)


def test_nothing_waits_where_nothing_was_written(files: Any) -> None:
    assert not files.pending()
    files.apply()
    assert not files.path.exists()


def test_the_first_one(files: Any) -> None:
    write(files.next, "A='1'", 0o640)
    assert files.pending()
    files.apply()
    assert (files.path.read_text(), files.path.stat().st_mode & 0o777) == ("A='1'", 0o640)
    assert not files.pending()
    assert not files.take_back(), "there was none before"
    assert files.path.exists()


def test_another_one_and_back(files: Any) -> None:
    write(files.path, "A='1'")
    write(files.next, "A='2'")
    os.utime(files.path, (1, 1))
    files.apply()
    assert files.path.read_text() == "A='2'"
    assert files.take_back()
    assert files.path.read_text() == "A='1'"
    assert time.time() - files.path.stat().st_mtime < 60, "workers that have read the other one look younger"
    assert not files.pending(), "workers would be replaced for it again"
    assert list(files.path.parent.glob(".*")) == []


def test_the_same_one_is_not_touched(files: Any) -> None:
    """A newer time would replace every worker."""
    write(files.path, "A='1'")
    write(files.next, "A='1'")
    os.utime(files.path, (1, 1))
    files.apply()
    assert files.path.stat().st_mtime == 1
    assert not files.before.exists()


def test_no_way_back_once_it_is_forgotten(files: Any) -> None:
    write(files.path, "A='1'")
    write(files.next, "A='2'")
    files.apply()
    files.forget()
    assert not files.take_back()
    assert files.path.read_text() == "A='2'"


def test_a_full_disk_leaves_the_present_one(files: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    write(files.path, "A='1'")
    write(files.next, "A='2'")
    monkeypatch.setattr("shutil.copyfile", full)
    with pytest.raises(OSError, match="No space"):
        files.apply()
    assert files.path.read_text() == "A='1'"
    assert {p.name for p in files.path.parent.iterdir()} == {"env", "env.next"}
