#!/usr/bin/python
"""Ansible module: what a host has, what was used of it, and what follows for its size."""

from __future__ import annotations

import os
import re
import subprocess
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ansible.module_utils.app_release_state import ReleaseError, parse_jlist
from ansible.module_utils.basic import AnsibleModule

DOCUMENTATION = r"""
module: host_sizing
short_description: Advice on the size of a host, from what was used since its boot
description:
  - Reads how long programs waited for processor and memory (C(/proc/pressure)), what the workers of PM2
    hold, and the most that Redis held. Changes nothing.
options:
  pm2: {type: path, default: "", description: The command PM2; "" where there are no workers.}
  name: {type: str, default: "", description: Name of the application in PM2.}
  instances: {type: int, default: 0, description: Workers that the application file asks for.}
  memory_limit_mb: {type: int, default: 0, description: Limit of a worker.}
  redis_cli: {type: path, default: "", description: The command redis-cli; "" where there is no Redis.}
  redis_port: {type: int, default: 6379, description: Its port.}
  redis_password: {type: str, default: "", description: Its password.}
"""

MIB = 1024 * 1024
#: Percent of the time that some program waited; above it the host is too small for what it does.
CPU_WAIT, MEMORY_WAIT = 20.0, 1.0
#: Of a limit: above it there is no room for a busy day, below it the limit says nothing.
TIGHT, LOOSE = 0.85, 0.3
#: Hours since the boot below which figures say little about a week.
YOUNG_H = 24.0


@dataclass
class Use:
    """What a host has and what was used of it; sizes in bytes, times in seconds, waits in percent."""

    cores: int
    memory: int
    available: int
    uptime: float
    cpu_wait: float | None = None
    memory_wait: float | None = None
    workers: list[int] = field(default_factory=list)
    redis_peak: int = 0
    redis_limit: int = 0
    redis_evicted: int = 0


def advise(use: Use, instances: int, limit_mb: int) -> list[str]:
    """Lines for people; the last one says how much the figures are worth when they are young."""
    lines = []
    if use.cpu_wait is not None and use.cpu_wait > CPU_WAIT:
        lines.append(f"processor: programs waited {use.cpu_wait:.0f} % of the time: add cores or a host")
    if use.memory_wait is not None and use.memory_wait > MEMORY_WAIT:
        lines.append(f"memory: programs waited {use.memory_wait:.1f} % of the time for it: add memory")
    elif use.available < use.memory * 0.1:
        lines.append(
            f"memory: {use.available // MIB} of {use.memory // MIB} MB are available: add memory,"
            " or run fewer workers"
        )
    lines += _workers(use, instances, limit_mb)
    if use.redis_limit:
        share = use.redis_peak / use.redis_limit
        if use.redis_evicted:
            lines.append(
                f"Redis: it had to drop {use.redis_evicted} keys: raise redis.maxmemory_mb"
                f" (now {use.redis_limit // MIB})"
            )
        elif share > TIGHT:
            lines.append(
                f"Redis: it held {share:.0%} of redis.maxmemory_mb ({use.redis_limit // MIB}): raise it"
            )
    if not lines:
        lines.append("the size fits what was used")
    if use.uptime < YOUNG_H * 3600:
        lines.append(f"since the boot {use.uptime / 3600:.1f} hours ago only: ask again after a busy week")
    return lines


def _workers(use: Use, instances: int, limit_mb: int) -> list[str]:
    """What follows from the workers of PM2."""
    if not use.workers or not limit_mb:
        return []
    lines = []
    most = max(use.workers) / MIB
    if most > limit_mb * TIGHT:
        lines.append(
            f"workers: one holds {most:.0f} of {limit_mb} MB, at which PM2 replaces it: look for a leak,"
            " or raise node.memory_limit_mb"
        )
    elif most < limit_mb * LOOSE:
        lines.append(
            f"workers: none holds more than {most:.0f} of {limit_mb} MB: a lower node.memory_limit_mb"
            " finds leaks earlier"
        )
    # One more is in memory while they are replaced; a quarter is for the system and its cache.
    fit = int(use.memory * 0.75 / MIB // limit_mb) - 1
    if instances > fit:
        lines.append(
            f"workers: {instances} of up to {limit_mb} MB do not fit into the memory; {max(fit, 0)} do"
        )
    elif instances < min(use.cores, fit) and (use.cpu_wait or 0) <= CPU_WAIT:
        lines.append(
            f"workers: {instances} on {use.cores} cores: up to {min(use.cores, fit)} could work at once"
            " (playbooks/scale.yml)"
        )
    elif instances > use.cores:
        lines.append(f"workers: {instances} on {use.cores} cores take turns: {use.cores} do the same work")
    return lines


def waited(path: Path, uptime: float) -> float | None:
    """Percent of the time since the boot that some program waited; None where the kernel does not tell."""
    try:
        found = re.search(r"^some .*total=(\d+)", path.read_text("ascii"), re.MULTILINE)
    except OSError:
        return None
    return int(found.group(1)) / 1e6 / uptime * 100 if found and uptime else None


def output(argv: list[str], **environment: str) -> str:
    """What a command prints.

    Raises:
        OSError: it cannot be run or fails.
    """
    done = subprocess.run(
        argv, capture_output=True, text=True, timeout=60, check=False, env={**os.environ, **environment}
    )
    if done.returncode:
        raise OSError(done.returncode, (done.stderr.strip() or "it failed").splitlines()[-1], argv[0])
    return done.stdout


def measure(p: dict[str, Any]) -> Use:
    """The present host."""
    meminfo = dict(re.findall(r"^(\w+):\s+(\d+) kB", Path("/proc/meminfo").read_text("ascii"), re.MULTILINE))
    uptime = float(Path("/proc/uptime").read_text("ascii").split()[0])
    use = Use(
        cores=len(os.sched_getaffinity(0)),
        memory=int(meminfo["MemTotal"]) * 1024,
        available=int(meminfo["MemAvailable"]) * 1024,
        uptime=uptime,
        cpu_wait=waited(Path("/proc/pressure/cpu"), uptime),
        memory_wait=waited(Path("/proc/pressure/memory"), uptime),
    )
    if p["pm2"]:
        listed = parse_jlist(output([p["pm2"], "jlist"]))
        use.workers = [one["monit"]["memory"] for one in listed if one["name"] == p["name"]]
    if p["redis_cli"]:
        said = output([p["redis_cli"], "-p", str(p["redis_port"]), "INFO"], REDISCLI_AUTH=p["redis_password"])
        figures = dict(line.split(":", 1) for line in said.splitlines() if ":" in line)
        use.redis_peak = int(figures["used_memory_peak"])
        use.redis_limit = int(figures["maxmemory"])
        use.redis_evicted = int(figures["evicted_keys"])
    return use


def main() -> None:
    """Entry point for Ansible."""
    module = AnsibleModule(
        argument_spec={
            "pm2": {"type": "path", "default": ""},
            "name": {"type": "str", "default": ""},
            "instances": {"type": "int", "default": 0},
            "memory_limit_mb": {"type": "int", "default": 0},
            "redis_cli": {"type": "path", "default": ""},
            "redis_port": {"type": "int", "default": 6379},
            "redis_password": {"type": "str", "default": "", "no_log": True},
        },
        supports_check_mode=True,
    )
    p = module.params
    try:
        use = measure(p)
    except (OSError, subprocess.TimeoutExpired, ValueError, KeyError, ReleaseError) as error:
        module.fail_json(msg=f"cannot be measured: {error}")
    module.exit_json(changed=False, use=vars(use), advice=advise(use, p["instances"], p["memory_limit_mb"]))


if __name__ == "__main__":
    main()
