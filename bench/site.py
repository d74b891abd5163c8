"""How long ``site.yml`` takes on hosts that are as they should be, with settings here and Ansible's own."""

from __future__ import annotations

import re
import subprocess
import time
from pathlib import Path

from bench.measure import BenchError
from bench.section import Say, Section
from bench.staging import staging
from bench.stats import Spread, table
from sandbox.env import environment
from sandbox.settings import HOSTS, REPOSITORY

TITLE = "Configuring hosts that are as they should be"
WANTED_S = 60
_LIMIT_S = 1200.0
#: What ``ansible.cfg`` changes, as Ansible has it (ansible-core 2.19, ``ansible-config list``).
DEFAULTS = {
    "ANSIBLE_STRATEGY": "linear",
    "ANSIBLE_PIPELINING": "False",
    "ANSIBLE_FORKS": "5",
    "ANSIBLE_GATHERING": "implicit",
    "ANSIBLE_SSH_ARGS": "-C -o ControlMaster=auto -o ControlPersist=60s",
}
SETTINGS = {"as here": {}, "without Mitogen": {"ANSIBLE_STRATEGY": "linear"}, "Ansible's defaults": DEFAULTS}


def site(_folder: Path, _size: int, runs: int, say: Say) -> Section:
    """All settings in turn, round by round, after one run that does not count.

    Raises:
        BenchError: no sandbox is up, or a run failed or changed something.
    """
    base = dict(environment(staging("site")))
    _run(base, changes=True)
    found: dict[str, list[float]] = {name: [] for name in SETTINGS}
    for number in range(runs):
        for name, settings in SETTINGS.items():
            found[name].append(_run(base | settings))
            say(f"site, round {number + 1} of {runs}: {name}: {found[name][-1]:.0f} s")
    own = Spread.of(found["as here"]).median
    rows = []
    for name, seconds in found.items():
        spread = Spread.of(seconds)
        wanted = str(WANTED_S) if name == "as here" else ""
        rows.append([name, spread.text(0), f"{spread.median / own:.2f}", wanted])
    text = (
        f"A run of `playbooks/site.yml` that changes nothing, on {len(HOSTS)} staging hosts that share the"
        f" machine's cores with the controller; each setting {runs} times, in turn.\n\n"
    )
    header = ["settings", "wall, s", "times those here", "wanted, s"]
    return Section(TITLE, text + table(header, rows), found)


def _run(variables: dict[str, str], *, changes: bool = False) -> float:
    """Seconds of one run.

    Raises:
        BenchError: it failed, or changed something though nothing was to be done.
    """
    before = time.monotonic()
    done = subprocess.run(
        ["ansible-playbook", "playbooks/site.yml"],
        cwd=REPOSITORY, env=variables, capture_output=True, text=True, timeout=_LIMIT_S, check=False,
    )  # fmt: skip
    seconds = time.monotonic() - before
    changed = sum(map(int, re.findall(r"changed=(\d+)", done.stdout)))
    if done.returncode or (changed and not changes):
        raise BenchError(f"site.yml: exit {done.returncode}, {changed} changes\n{done.stdout[-2000:]}")
    return seconds
