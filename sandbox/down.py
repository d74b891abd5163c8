"""``make down``: end and remove all that ``make up`` made, but the cache of built tools."""

from __future__ import annotations

import shutil
import subprocess
import sys

from sandbox import processes
from sandbox.env import environment
from sandbox.settings import REPOSITORY, Sandbox, current


def tear_down(sandbox: Sandbox) -> None:
    """Stop services, then hosts and network, then remove the state folder.

    Raises:
        RuntimeError: when the hosts cannot be removed; the state then stays, so
            that the next run can finish.
    """
    for name in processes.names(sandbox.state):
        processes.stop(sandbox.state, name)
    done = subprocess.run(
        [str(REPOSITORY / "sandbox/hosts"), "down"],
        env=environment(sandbox),
        timeout=300,
        check=False,
    )
    if done.returncode != 0:
        raise RuntimeError(f"sandbox/hosts down ended with {done.returncode}; run make down again")
    if sandbox.state.exists():
        shutil.rmtree(sandbox.state)


def main() -> int:
    """Command line of ``python -m sandbox.down``."""
    try:
        tear_down(current())
    except (RuntimeError, subprocess.TimeoutExpired) as error:
        sys.stderr.write(f"make down: {error}\n")
        return 1
    sys.stdout.write("make down: all is removed; built tools and images stay in the cache\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
