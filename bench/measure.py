"""Running a pipeline of programs: its wall time, and the most memory that all of it held at once."""

from __future__ import annotations

import contextlib
import os
import resource
import subprocess
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

_SAMPLE_S = 0.02
_LIMIT_S = 1800.0
_PAGE = os.sysconf("SC_PAGE_SIZE")


class BenchError(Exception):
    """A run that does not count; the message is one line for the user."""


@dataclass(frozen=True)
class Run:
    """One measured run."""

    seconds: float
    #: Of all processes together, the server's not counted.
    cpu_seconds: float
    peak_bytes: int


def _cpu_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _children() -> dict[int, list[int]]:
    found: dict[int, list[int]] = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError, ValueError, IndexError):
            parent = int(path.read_text(errors="replace").rpartition(")")[2].split()[1])
            found.setdefault(parent, []).append(int(path.parent.name))
    return found


def resident_bytes(roots: Sequence[int]) -> int:
    """Resident memory of these processes and all below them, pages that they share counted each time."""
    children = _children()
    todo, total = list(roots), 0
    while todo:
        pid = todo.pop()
        todo += children.get(pid, [])
        with contextlib.suppress(OSError, ValueError, IndexError):
            total += int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * _PAGE
    return total


def run(
    commands: Sequence[Sequence[str]],
    source: Path,
    environment: Mapping[str, str],
    log: Path,
    repeat: int = 1,
) -> Run:
    """Run programs joined by pipes; the first reads ``source``, ``repeat`` times over.

    Memory is sampled every 20 ms over the whole tree of processes.

    Raises:
        BenchError: one of them failed or took too long; the message names the log.
    """
    processes: list[subprocess.Popen[bytes]] = []
    peak = 0
    ended = threading.Event()

    def sample() -> None:
        nonlocal peak
        while not ended.wait(_SAMPLE_S):
            peak = max(peak, resident_bytes([process.pid for process in processes]))

    watcher = threading.Thread(target=sample, daemon=True)
    started, cpu = time.monotonic(), _cpu_seconds()
    with log.open("ab") as out, contextlib.ExitStack() as files:
        first: IO[bytes] | int = files.enter_context(source.open("rb")) if repeat == 1 else subprocess.PIPE
        try:
            before: IO[bytes] | int | None = first
            for command in commands:
                last = len(processes) == len(commands) - 1
                process = subprocess.Popen(
                    list(command),
                    stdin=before,
                    stdout=out if last else subprocess.PIPE,
                    stderr=out,
                    env=dict(environment),
                )
                if processes and processes[-1].stdout is not None:
                    processes[-1].stdout.close()  # or its reader's end would go unnoticed
                processes.append(process)
                before = process.stdout
            watcher.start()
            if repeat > 1:
                _feed(processes[0], source, repeat)
            for command, process in zip(commands, processes, strict=True):
                if status := process.wait(max(1.0, _LIMIT_S - (time.monotonic() - started))):
                    raise BenchError(f"{command[0]} ended with status {status}; see {log}")
        except subprocess.TimeoutExpired as error:
            raise BenchError(f"{error.cmd[0]} did not end within {_LIMIT_S:.0f} s") from error
        finally:
            seconds = time.monotonic() - started
            ended.set()
            for process in processes:
                if process.poll() is None:
                    process.kill()
                    process.wait()
            if watcher.ident is not None:
                watcher.join()
    return Run(seconds, _cpu_seconds() - cpu, peak)


def _feed(process: subprocess.Popen[bytes], source: Path, repeat: int) -> None:
    stdin = process.stdin
    if stdin is None:
        raise ValueError("stdin is not a pipe")
    try:
        for _ in range(repeat):
            with source.open("rb") as file:
                while chunk := file.read(1024 * 1024):
                    stdin.write(chunk)
        stdin.close()
    except BrokenPipeError as error:
        raise BenchError(f"process {process.pid} ended before it had read everything") from error
