"""The processor time that others leave, for work that must not slow down what is measured beside it.

``nice`` is not enough: the kernel shares processors among control groups and sessions first, and among
the processes of each by their niceness only then (sched(7), "The autogroup feature"). Every service of a
staging host is a session of its own.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from sandbox.staging import cgroups

#: The least that a control group may have, beside 1024 of every other (cgroup v1, ``cpu.shares``).
LEAST_SHARES = 2


def _old_hierarchy(mountinfo: str) -> Path | None:
    """Where processors are shared on machines with the old layout of control groups."""
    for line in mountinfo.splitlines():
        before, _, after = line.partition(" - ")
        kind, _, rest = after.partition(" ")
        if kind == "cgroup" and "cpu" in rest.split()[-1].split(","):
            return Path(before.split()[4])
    return None


@contextmanager
def leftovers(name: str, shares: int = LEAST_SHARES) -> Iterator[list[str]]:
    """What to put before a command, so that it and all it starts get what others leave.

    ``name`` is what the control group's begins with. It is removed at the end, and what a killed run of that
    name left at the beginning. Where this machine lets nobody make one, the answer is ``nice``.
    """
    if cgroups.systemd_runs():
        yield [
            *("systemd-run", "--scope", "--quiet", "--collect"),
            f"--property=CPUWeight={max(1, shares * 100 // 1024)}",
            "--",
        ]
        return
    root = _old_hierarchy(Path("/proc/self/mountinfo").read_text())
    if root is None or not os.access(root, os.W_OK):
        yield ["nice", "-n", "19"]
        return
    for old in root.glob(f"{name}.*"):
        with suppress(OSError):  # another run's: the kernel refuses
            old.rmdir()
    group = root / f"{name}.{os.getpid()}"
    group.mkdir(exist_ok=True)
    (group / "cpu.shares").write_text(str(shares))
    try:
        yield ["/bin/sh", "-c", f'echo $$ >{group}/cgroup.procs && exec "$@"', "sh"]
    finally:
        cgroups.remove([group])
