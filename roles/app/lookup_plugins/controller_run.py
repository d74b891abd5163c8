"""Ansible lookup: which run of Ansible this is, and whether another one on this controller still lives."""

from __future__ import annotations

import getpass
import os
import socket
from pathlib import Path
from typing import Any

from ansible.plugins.lookup import LookupBase

DOCUMENTATION = r"""
name: controller_run
short_description: Which run of Ansible this is
description:
  - Without a term, C(host), C(user), C(pid) and C(started) of the run that asks.
  - With such a dictionary as term, whether that run is known to be over; one of another controller never is.
options:
  _terms: {description: Nothing, or what this lookup has returned for another run.}
"""


def _process(pid: int) -> tuple[str, int, str]:
    """Program, parent and start time (clock ticks since boot) of a process; ("", 0, "") when it is gone."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text("utf-8", "replace").rpartition(")")[2].split()
        # An interpreter's script is its second word. A shell that runs Ansible is no part of the run.
        words = Path(f"/proc/{pid}/cmdline").read_bytes().decode("utf-8", "replace").split("\0")[:2]
    except OSError:
        return "", 0, ""
    names = [Path(word).name for word in words]
    return next((name for name in names if name.startswith("ansible")), ""), int(fields[1]), fields[19]


def this_run() -> dict[str, Any]:
    """The run that this process, perhaps a worker of it, belongs to."""
    pid = os.getpid()
    while (parent := _process(pid)[1]) > 1 and _process(parent)[0]:
        pid = parent
    return {"host": socket.gethostname(), "user": getpass.getuser(), "pid": pid, "started": _process(pid)[2]}


def is_over(run: dict[str, Any]) -> bool:
    """Whether a run of this controller has ended."""
    if run.get("host") != socket.gethostname():
        return False
    return _process(int(run.get("pid") or 0))[2] != run.get("started")


class LookupModule(LookupBase):
    """Entry point for Ansible."""

    # The arguments are those of the base class.
    def run(self, terms: list[Any], variables: Any = None, **kwargs: Any) -> list[Any]:  # noqa: ARG002
        """Return the run, or whether each given one is over."""
        return [is_over(dict(term)) for term in terms] if terms else [this_run()]
