"""What of an application runs under PM2, what should run, and what follows from the difference.

Pure functions of the modules ``app_release`` and ``host_sizing``: nothing here asks the host.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any


class ReleaseError(Exception):
    """Activation cannot go on; the message is one line for the user."""


@dataclass(frozen=True)
class Worker:
    """One worker as PM2 and the kernel see it."""

    pm_id: str
    status: str
    mode: str
    started: float  # seconds since the epoch
    script: str
    config: str  # STEWARD_CONFIG of the ecosystem file it was started from
    pm2_version: str
    directory: str  # its real working directory; "" when it is gone


@dataclass(frozen=True)
class Wanted:
    """What has to run. Times are seconds since the epoch."""

    directory: str
    script: str
    instances: int
    config: str
    pm2_version: str
    not_before: float  # workers that are older have an older environment file, or are to be replaced
    unit_written: float
    environment_pending: bool = False
    """Whether a canary has yet to run with another environment file, which then replaces the present one."""


def decide(active_since: float | None, workers: list[Worker], wanted: Wanted) -> tuple[str, list[str]]:
    """What has to be done, ``none``, ``reload``, ``restart`` or ``start``, and why.

    ``active_since`` is when the unit was started in whole seconds, None when it is not running.
    """
    if active_since is None:
        return "start", ["the unit is not running"]
    restart, reload = [], []
    # systemd tells whole seconds: a file written within the second of the start counts as older.
    if wanted.unit_written >= active_since + 1:
        restart.append("the unit's file is newer than the daemon")
    for w in workers:
        if w.pm2_version != wanted.pm2_version:
            restart.append(f"worker {w.pm_id} is run by PM2 {w.pm2_version}")
        if w.mode != "cluster_mode":
            restart.append(f"worker {w.pm_id} runs in {w.mode}")
        if w.script != wanted.script:
            restart.append(f"worker {w.pm_id} runs {w.script}")
        if w.status != "online":
            reload.append(f"worker {w.pm_id} is {w.status}")
        elif w.directory != wanted.directory:
            reload.append(f"worker {w.pm_id} runs in {w.directory or 'a folder that is gone'}")
        if w.started < wanted.not_before:
            reload.append(
                f"worker {w.pm_id} was started before its environment file was written, or this run"
            )
        if w.config != wanted.config:
            reload.append(f"worker {w.pm_id} has an older ecosystem file")
    if wanted.environment_pending:
        reload.append("another environment file waits")
    if not workers:
        restart.append("PM2 runs no worker")
    elif len(workers) != wanted.instances:
        reload.append(f"{len(workers)} workers instead of {wanted.instances}")
    if restart:
        return "restart", restart + reload
    return ("reload", reload) if reload else ("none", [])


def parse_jlist(text: str) -> list[dict[str, Any]]:
    """The processes in the output of ``pm2 jlist``, where notices may come first."""
    for line in reversed(text.splitlines()):
        if line.startswith("["):
            try:
                processes = json.loads(line)
            except ValueError:
                continue
            if isinstance(processes, list):
                return processes
    raise ReleaseError(f"pm2 jlist gave no list of processes: {text.strip()[:200]!r}")


def to_prune(releases: dict[str, float], protected: set[str], keep: int) -> list[str]:
    """Names to remove of ``releases`` (name -> time of its last activation).

    The newest ``keep`` and the protected ones stay.
    """
    newest = sorted(releases, key=lambda name: (releases[name], name), reverse=True)
    return sorted(set(newest[keep:]) - protected)
