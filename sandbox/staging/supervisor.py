"""Keeps one staging host alive: mounts its root, boots it, boots it again on reboot.

Runs as a process of its own in a private mount namespace, so the overlay mount
ends with it whatever ends it. A script on the standard library alone, started
as ``python -I supervisor.py CONFIG``; CONFIG is the JSON that ``machine.py`` writes.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import FrameType
from typing import Any

#: How systemd-nspawn says that the machine asked for a reboot (systemd-nspawn(1), "Exit status").
REBOOT = 133


def process_identity(pid: int) -> tuple[str, int]:
    """State letter and start time of a process, in clock ticks since boot (proc(5), fields 3 and 22).

    Process id and start time together name one process for good.
    """
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return fields[0], int(fields[19])


def join(folders: list[str], leaf: str) -> None:
    """Move this process to the leaf of its control groups (inner groups may hold no process)."""
    for folder in folders:
        group = Path(folder) / leaf
        group.mkdir(parents=True, exist_ok=True)
        (group / "cgroup.procs").write_text(str(os.getpid()))


def record(config: dict[str, Any], nspawn: int) -> None:
    """Write who keeps the host and since when it runs, whole or not at all."""
    path = Path(config["run_file"])
    root = Path(config["root"]).stat()
    content = {
        "pid": os.getpid(),
        "start_ticks": process_identity(os.getpid())[1],
        "nspawn": nspawn,
        "booted_at": time.time(),
        # The name nspawn(1) gives its lock on this root; left behind when it is killed.
        "lock": f"/run/systemd/nspawn/locks/inode-{root.st_dev}:{root.st_ino}",
    }
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.write_text(json.dumps(content))
    temporary.replace(path)


def main(config_file: str) -> int:
    """Boot the host until it powers off; returns systemd-nspawn's exit status."""
    config: dict[str, Any] = json.loads(Path(config_file).read_text())
    join(config["cgroups"], "keeper")
    subprocess.run(config["mount"], check=True, timeout=30)
    while True:
        nspawn = subprocess.Popen(
            config["command"], stdin=subprocess.DEVNULL, preexec_fn=lambda: join(config["cgroups"], "machine")
        )

        def stop(number: int, _frame: FrameType | None, child: subprocess.Popen[bytes] = nspawn) -> None:
            child.send_signal(number)

        signal.signal(signal.SIGTERM, stop)
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        record(config, nspawn.pid)
        status = nspawn.wait()
        print(f"{time.strftime('%FT%TZ', time.gmtime())} systemd-nspawn ended with {status}", flush=True)
        if status != REBOOT:
            Path(config["run_file"]).unlink(missing_ok=True)
            return status


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
