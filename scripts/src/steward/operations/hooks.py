"""Programs of the team's own before and after a job."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import threading
import time
from collections import deque
from collections.abc import Mapping, Sequence
from typing import IO

from steward.errors import StewardError
from steward.output import note
from steward.process import GRACE_SECONDS, ends_with_this_process

#: What a hook gets of this process's environment: a secret may stand in the rest.
_PASSED = ("HOME", "LANG", "PATH", "TZ")
_LINE_LENGTH = 500
_MAX_LINES = 200


def run_hook(command: Sequence[str], variables: Mapping[str, str], timeout: float) -> None:
    """Run one hook to its end; what it says goes to this command's stderr, line by line.

    It runs in a process group of its own, which has ended when this returns: with the hook,
    at the timeout, or because this run was interrupted.

    Raises:
        StewardError: it cannot be started, takes too long, or ends with another status than 0.
    """
    name = command[0]
    environment = {key: os.environ[key] for key in _PASSED if key in os.environ} | dict(variables)
    try:
        process = subprocess.Popen(
            [*ends_with_this_process(), *command],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=environment,
            start_new_session=True,
        )
    except OSError as error:
        raise StewardError(f"hook {name}: cannot be started: {error.strerror}") from error
    last: deque[str] = deque(maxlen=1)
    reader = threading.Thread(target=_tell, args=(name, process.stdout, last), daemon=True)
    reader.start()
    try:
        status = process.wait(timeout)
    except subprocess.TimeoutExpired as error:
        raise StewardError(f"hook {name}: not done within {timeout:g} s; it was ended") from error
    finally:
        _end_group(process)
        reader.join(GRACE_SECONDS)
    if status != 0:
        reason = last[0] if last else "it said nothing"
        raise StewardError(f"hook {name}: ended with status {status}: {reason}")


def _tell(name: str, stream: IO[bytes] | None, last: deque[str]) -> None:
    """Note each line; a hook that talks without end is cut short, and still read."""
    if stream is None:
        return
    count = 0
    while raw := stream.readline(64 * 1024):
        line = raw.decode("utf-8", "replace").rstrip()[:_LINE_LENGTH]
        if not line:
            continue
        last.append(line)
        count += 1
        if count <= _MAX_LINES:
            note(f"{name}: {line}")
        elif count == _MAX_LINES + 1:
            note(f"{name}: says more than {_MAX_LINES} lines; the rest is left out")
    stream.close()


def _end_group(process: subprocess.Popen[bytes]) -> None:
    """End what is left of the hook and of what it started."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGTERM)
            deadline = time.monotonic() + GRACE_SECONDS
            while process.poll() is None and time.monotonic() < deadline:
                time.sleep(0.05)
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
