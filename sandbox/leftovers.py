"""The processor time that others leave, for work that must not slow down what is measured beside it.

``nice`` is not enough: the kernel shares processors among control groups and sessions first, and among
the processes of each by their niceness only then (sched(7), "The autogroup feature"). Every service of a
staging host is a session of its own.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sandbox.staging import cgroups


@contextmanager
def leftovers(name: str, shares: int = 0) -> Iterator[list[str]]:
    """What to put before a command, so that it and all it starts get what others leave.

    With ``shares`` it gets so much beside 1024 of every other group, with 0 only what nobody wants: then a
    processor that works for it alone counts as free, which it does not with a share, however small.
    ``name`` is what the control group's begins with. At the end it is removed, and what still runs in it is
    ended: servers of tests that were killed. At the beginning that is done to what a killed run left.
    Where this machine lets nobody make one, the answer is ``nice``.

    Raises:
        StagingError: what runs in it does not end.
    """
    if cgroups.systemd_runs():
        yield [
            *("systemd-run", "--scope", "--quiet", "--collect"),
            # idle: systemd 252 (systemd.resource-control(5)), which Debian 12 has.
            f"--property=CPUWeight={max(1, shares * 100 // 1024) if shares else 'idle'}",
            "--",
        ]
        return
    root = cgroups.processors()
    if root is None or not os.access(root, os.W_OK):
        yield ["nice", "-n", "19"]
        return
    for old in root.glob(f"{name}.*"):
        if not Path("/proc", old.name.rpartition(".")[2]).exists():
            cgroups.end([old], old.name)
    group = root / f"{name}.{os.getpid()}"
    group.mkdir(exist_ok=True)
    idle = group / "cpu.idle"  # Linux 5.15
    if not shares and idle.exists():
        idle.write_text("1")
    else:
        (group / "cpu.shares").write_text(str(shares or 2))
    try:
        yield ["/bin/sh", "-c", f'echo $$ >{group}/cgroup.procs && exec "$@"', "sh"]
    finally:
        cgroups.end([group], group.name)
