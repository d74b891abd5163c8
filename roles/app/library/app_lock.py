#!/usr/bin/python
"""Ansible module: the lock of a deployment."""

from __future__ import annotations

import pathlib

from ansible.module_utils.app_deploy_lock import DeployLock, LockError
from ansible.module_utils.basic import AnsibleModule

DOCUMENTATION = r"""
module: app_lock
short_description: Take or give back the lock of a deployment
description:
  - One run an application and host. The lock says who holds it and why.
  - It ends by itself when no step of its run has renewed it for C(minutes).
  - Never reports a change - it is gone when the run is over.
options:
  root: {type: path, required: true, description: The application's folder.}
  state: {type: str, default: present, choices: [present, absent], description: Take it or give it back.}
  token: {type: str, required: true, description: Name of the run.}
  facts: {type: dict, default: {}, description: 'C(who), C(why) and what else is to be known of the run.'}
  instead_of: {type: str, default: "", description: Name of a run that is known to be over.}
  minutes: {type: int, default: 30, description: Without a renewal for so long the lock is free.}
"""


def main() -> None:
    """Entry point for Ansible."""
    module = AnsibleModule(
        argument_spec={
            "root": {"type": "path", "required": True},
            "state": {"type": "str", "default": "present", "choices": ["present", "absent"]},
            "token": {"type": "str", "required": True, "no_log": False},
            "facts": {"type": "dict", "default": {}},
            "instead_of": {"type": "str", "default": ""},
            "minutes": {"type": "int", "default": 30},
        },
        supports_check_mode=True,
    )
    p = module.params
    lock = DeployLock(pathlib.Path(p["root"]), p["minutes"])
    if module.check_mode:
        module.exit_json(changed=False)
    if p["state"] == "absent":
        module.exit_json(changed=False, held=lock.give_back(p["token"]))
    try:
        lock.take(p["token"], p["facts"], p["instead_of"])
    except LockError as error:
        module.fail_json(msg=f"{p['root']}: {error}", holder=error.holder)
    except OSError as error:
        module.fail_json(msg=f"{p['root']}: {error}")
    module.exit_json(changed=False)


if __name__ == "__main__":
    main()
