"""Ansible action: packages that have to be there, asking dpkg before apt.

``ansible.builtin.apt`` reads the lists of all packages, which takes a host a second of its processor, also
when nothing is to be done; and a run has half a dozen of these tasks.
"""

from __future__ import annotations

import shlex
from typing import Any

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase

DOCUMENTATION = r"""
name: packages
short_description: Packages that have to be installed
description:
  - Changes nothing when dpkg says that each is installed; else C(ansible.builtin.apt) installs them, without
    recommended ones and with lists that are at most an hour old.
options:
  name: {type: list, elements: str, required: true, description: Names of Debian packages.}
author: steward
"""

#: Seconds for another program that installs something, and the age of the package lists.
LOCK_TIMEOUT_S = 300
LISTS_AGE_S = 3600


def missing(names: list[str], listed: str) -> list[str]:
    """Those of ``names`` that ``dpkg-query`` does not list as installed (lines of a status and a name)."""
    installed = {line.split()[-1] for line in listed.splitlines() if line[1:2] == "i"}
    return [name for name in names if name not in installed]


class ActionModule(ActionBase):  # type: ignore[misc]  # ansible has no types
    """Entry point for Ansible."""

    _supports_check_mode = True

    def run(self, tmp: Any = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Ask dpkg, and apt when it has to do something."""
        result: dict[str, Any] = super().run(tmp, task_vars)
        names = self._task.args.get("name")
        if isinstance(names, str):
            names = [names]
        if not names or self._task.args.keys() != {"name"}:
            raise AnsibleActionFail("give name, one package or a list of them, and nothing else")
        query = ["dpkg-query", "--show", "--showformat", "${db:Status-Abbrev}\t${Package}\n", *names]
        # Its status is 1 when it does not know one of them.
        asked = self._low_level_execute_command(shlex.join(query))
        if not missing(names, asked["stdout"]):
            return {**result, "changed": False}
        arguments = {
            "name": names,
            "install_recommends": False,
            "update_cache": True,
            "cache_valid_time": LISTS_AGE_S,
            "lock_timeout": LOCK_TIMEOUT_S,
        }
        said: dict[str, Any] = self._execute_module("ansible.builtin.apt", arguments, task_vars=task_vars)
        return {**result, **said}
