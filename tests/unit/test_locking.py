"""steward.locking: one at a time, and a killed holder leaves nothing."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from steward.errors import EXIT_LOCKED, LockHeldError, StewardError
from steward.locking import lock

HOLDER = """
import sys, time
from pathlib import Path
from steward.locking import lock
with lock(Path(sys.argv[1]), "full"):
    print("held", flush=True)
    time.sleep(600)
"""


def test_a_held_lock_names_its_holder_and_a_killed_one_frees_it(tmp_path: Path) -> None:
    command = [sys.executable, "-c", HOLDER, str(tmp_path / "state")]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        try:
            assert holder.stdout.readline() == b"held\n"
            with pytest.raises(LockHeldError) as caught, lock(tmp_path / "state", "full"):
                pass
            assert caught.value.exit_code == EXIT_LOCKED
            assert re.search(rf"pid {holder.pid}, since 20\d\d-\d\d-\d\dT", str(caught.value))
            with lock(tmp_path / "state", "oplog"):
                pass  # another lock is not concerned
        finally:
            os.kill(holder.pid, signal.SIGKILL)
        holder.wait()
        with lock(tmp_path / "state", "full"):
            pass


def test_a_lock_is_free_again_after_an_error(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), lock(tmp_path, "full"):
        raise ZeroDivisionError
    with lock(tmp_path, "full"):
        pass


def test_the_folder_is_made_and_closed_to_others(tmp_path: Path) -> None:
    with lock(tmp_path / "a" / "b", "full"):
        assert (tmp_path / "a" / "b").stat().st_mode & 0o777 == 0o700


def test_a_folder_that_cannot_be_made_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StewardError, match="check state_dir"), lock(tmp_path / "file", "full"):
        pass
