"""One run at a time: a lock that the kernel releases, however the run ends."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from steward.errors import LockHeldError, StewardError


@contextmanager
def lock(state_dir: Path, name: str) -> Iterator[None]:
    """Hold the lock ``<state_dir>/<name>.lock`` for the length of the block.

    The file stays; what counts is the kernel's lock on it, which ends with the
    process. A killed run leaves nothing that a person must remove.

    Raises:
        LockHeldError: naming the holder's process id and since when.
        StewardError: the folder cannot be written.
    """
    path = state_dir / f"{name}.lock"
    try:
        state_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise StewardError(
            f"{path}: cannot be written, check state_dir and run as root: {error.strerror}"
        ) from error
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise LockHeldError(f"another run holds the lock {name}: {_holder(path)}; wait for it") from error
        content = {"pid": os.getpid(), "since": datetime.now(UTC).isoformat(timespec="seconds")}
        # Only for messages: a full disk must not keep a run from what may free it.
        with contextlib.suppress(OSError):
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, json.dumps(content).encode(), 0)
        yield
    finally:
        os.close(descriptor)


def _holder(path: Path) -> str:
    """Who holds the lock, for the message."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        return f"pid {content['pid']}, since {content['since']}"
    except (OSError, ValueError, KeyError, TypeError):
        return "it started this moment"
