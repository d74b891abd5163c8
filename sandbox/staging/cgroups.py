"""The control group of each host: it tells which processes are a host's.

A process id may be reused and a process may lose its parent; membership of a
control group stays. So everything a host runs is found here, and ended by id.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

from sandbox.staging.errors import StagingError


def systemd_runs(marker: Path = Path("/run/systemd/system")) -> bool:
    """Whether systemd manages this machine (the test of sd_booted(3))."""
    return marker.is_dir()


def _mounted(mountinfo: str | None) -> Iterator[tuple[str, list[str], Path]]:
    """Hierarchies of this machine, or of a text of that form: kind, options and mount point."""
    text = Path("/proc/self/mountinfo").read_text() if mountinfo is None else mountinfo
    for line in text.splitlines():
        before, _, after = line.partition(" - ")
        kind, _, rest = after.partition(" ")
        if kind in ("cgroup", "cgroup2"):
            yield kind, rest.split()[-1].split(","), Path(before.split()[4])


def hierarchies(mountinfo: str | None = None) -> list[Path]:
    """Mount points of the hierarchies in which systemd-nspawn places its payload.

    That is the unified one, and on machines with the old layout the named one of systemd.
    """
    return [
        place
        for kind, options, place in _mounted(mountinfo)
        if kind == "cgroup2" or "name=systemd" in options
    ]


def processors(mountinfo: str | None = None) -> Path | None:
    """Mount point of the hierarchy that shares processors on machines with the old layout."""
    return next(
        (place for kind, options, place in _mounted(mountinfo) if kind == "cgroup" and "cpu" in options), None
    )


def pids(folders: list[Path]) -> set[int]:
    """Every process in these control groups and below them."""
    found: set[int] = set()
    for folder in folders:
        for parent, _, files in os.walk(folder):
            if "cgroup.procs" not in files:
                continue
            try:
                words = (Path(parent) / "cgroup.procs").read_text().split()
            except OSError:
                continue  # the group went away between the listing and the reading
            found.update(int(word) for word in words)
    return found - {0}


def is_init(pid: int) -> bool:
    """Whether the process is the first one of a machine of its own (its systemd)."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return False
    for line in status.splitlines():
        if line.startswith("NSpid:"):
            numbers = line.split()[1:]
            return len(numbers) > 1 and numbers[-1] == "1"
    return False


def memory_bytes(folders: list[Path]) -> int:
    """Memory of all processes of a host; shared pages are counted once (proportional set size)."""
    total = 0
    for pid in pids(folders):
        try:
            text = Path(f"/proc/{pid}/smaps_rollup").read_text()
        except OSError:
            continue
        for line in text.splitlines():
            if line.startswith("Pss:"):
                total += int(line.split()[1]) * 1024
                break
    return total


def _send(targets: set[int], signal_number: int) -> None:
    for pid in targets:
        try:
            os.kill(pid, signal_number)
        except ProcessLookupError:
            continue


def _empty_within(folders: list[Path], seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while pids(folders):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


def end(folders: list[Path], name: str) -> None:
    """End everything in the control groups and remove them.

    The machine's own systemd goes first: the kernel then ends all below it, and
    systemd-nspawn sees it and takes its own traces (locks, veth) away.

    Raises:
        StagingError: when a process survives.
    """
    _send({pid for pid in pids(folders) if is_init(pid)}, signal.SIGKILL)
    if not _empty_within(folders, 3):
        _send(pids(folders), signal.SIGKILL)
        if not _empty_within(folders, 5):
            left = ", ".join(map(str, sorted(pids(folders))))
            raise StagingError(f"{name}: processes {left} do not end; look at them with 'ps -p {left}'")
    remove(folders)


def remove(folders: list[Path]) -> None:
    """Remove empty control groups, the innermost first."""
    for folder in folders:
        for parent, _, _ in os.walk(folder, topdown=False):
            deadline = time.monotonic() + 2
            while True:
                try:
                    Path(parent).rmdir()
                    break
                except FileNotFoundError:
                    break
                except OSError:  # the kernel needs a moment after the last process
                    if time.monotonic() > deadline:
                        break
                    time.sleep(0.02)
