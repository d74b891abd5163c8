"""Running the machine's tools, and telling the user what goes on."""

from __future__ import annotations

import contextlib
import fcntl
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from sandbox.heartbeat import heartbeat
from sandbox.staging.errors import StagingError

#: Seconds a short administrative command (ip, nft, mount) may take.
SHORT = 30


def run(command: Sequence[str], *, stdin: str | None = None, timeout: float = SHORT) -> str:
    """Run one tool and return its standard output.

    Raises:
        StagingError: when the tool is missing, fails or takes longer than ``timeout`` seconds.
    """
    try:
        done = subprocess.run(
            list(command), input=stdin, capture_output=True, text=True, timeout=timeout, check=False
        )
    except FileNotFoundError:
        raise StagingError(f"{command[0]}: not installed; run 'make up', which installs it", 2) from None
    except subprocess.TimeoutExpired:
        raise StagingError(f"'{' '.join(command)}' did not end within {timeout:.0f} s") from None
    if done.returncode:
        lines = (done.stderr or done.stdout).strip().splitlines() or [f"exit status {done.returncode}"]
        raise StagingError(f"'{' '.join(command)}' failed: {lines[-1]}")
    return done.stdout


def say(line: str) -> None:
    """One line of progress; standard output is kept for results."""
    print(line, file=sys.stderr, flush=True)


@contextlib.contextmanager
def step(what: str) -> Iterator[None]:
    """Tell how long a long step has run, again and again, and how long it took."""
    with heartbeat(lambda seconds: say(f"  {what} ... {seconds:.0f} s")) as elapsed:
        yield
    say(f"  {what}: done in {elapsed():.1f} s")


@contextlib.contextmanager
def locked(path: Path, purpose: str, timeout: float = 1800.0) -> Iterator[None]:
    """Hold an exclusive lock; the kernel gives it back when the process dies, however it dies.

    Raises:
        StagingError: (4) when another process keeps it longer than ``timeout`` seconds.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        deadline = time.monotonic() + timeout
        told = False
        while True:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if not told:
                    holder = os.pread(handle, 32, 0).decode(errors="replace").strip() or "unknown"
                    say(f"  waiting for another {purpose} (process {holder})")
                    told = True
                if time.monotonic() > deadline:
                    raise StagingError(
                        f"{path}: another {purpose} still runs after {timeout:.0f} s; try again later", 4
                    ) from None
                time.sleep(0.2)
        os.ftruncate(handle, 0)
        os.pwrite(handle, f"{os.getpid()}\n".encode(), 0)
        yield
    finally:
        os.close(handle)


def write_whole(path: Path, data: str | bytes, mode: int = 0o644) -> None:
    """Write a file so that a reader, or a killed writer, never leaves half of it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.{threading.get_ident()}")
    raw = data.encode() if isinstance(data, str) else data
    handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode)
    with os.fdopen(handle, "wb") as stream:
        os.fchmod(stream.fileno(), mode)
        stream.write(raw)
    temporary.replace(path)


def remove_tree(path: Path) -> None:
    """Remove a folder with everything in it, never crossing into another file system.

    ``rm`` does it because :func:`shutil.rmtree` would follow into whatever is mounted below.
    """
    if path.exists() or path.is_symlink():
        run(["rm", "-rf", "--one-file-system", "--", str(path)], timeout=300)
