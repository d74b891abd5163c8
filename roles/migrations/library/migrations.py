#!/usr/bin/python
"""Ansible module: the database migrations of one release."""

from __future__ import annotations

import json
import pathlib
import pwd
import subprocess
from contextlib import suppress
from typing import Any

from ansible.module_utils.basic import AnsibleModule

DOCUMENTATION = r"""
module: migrations
short_description: Run the database migrations of one release, each once
description:
  - Runs C(migrations.mjs) as the application's user, with the release's own driver and the application's
    environment file. What was done is recorded in the database, in the collection C(steward_migrations).
  - In check mode it asks the database and changes nothing.
options:
  verb: {type: str, required: true, choices: [status, up, down], description: Tell, apply or take back.}
  phase:
    type: str
    default: before
    choices: [before, after]
    description: Apply those that come before the release, or after all hosts run it (C(.after.js)).
  to: {type: str, default: "", description: 'C(down): the last migration that stays; C(0) for none.'}
  runner: {type: path, required: true, description: The installed C(migrations.mjs).}
  root: {type: path, required: true, description: Folder that holds C(releases).}
  release: {type: str, default: "", description: Whose migrations; default - the linked release.}
  user: {type: str, required: true, description: The application's user.}
  node: {type: path, required: true, description: The interpreter.}
  environment: {type: dict, default: {}, description: Environment of the interpreter; no secrets.}
  environment_file: {type: path, required: true, description: The application's environment file.}
  uri_variable: {type: str, default: MONGODB_URI, description: Its variable with the database's address.}
  timeout_minutes: {type: int, default: 25, description: A run is ended after these.}
  who: {type: str, default: "", description: 'Who does it, for the record.'}
  why: {type: str, default: "", description: 'Why, for the record.'}
  host: {type: str, default: "", description: 'The name of this host, for the record.'}
"""

#: Seconds after which the database's lock is free when the run that has it is dead.
LEASE_S = 120


class MigrationError(Exception):
    """The run failed; the message is one line for the user."""


def last_answer(output: str) -> dict[str, Any] | None:
    """The JSON object in the last line of the runner's output, None when there is none."""
    lines = output.strip().splitlines()
    with suppress(ValueError):
        found = json.loads(lines[-1] if lines else "")
        return found if isinstance(found, dict) else None
    return None


def run(p: dict[str, Any], verb: str) -> dict[str, Any]:
    """The runner's answer.

    Raises:
        MigrationError: it failed, took too long or gave no answer.
    """
    if verb == "down" and not p["to"]:
        raise MigrationError("say which migration is the last that stays (0: none)")
    root = pathlib.Path(p["root"])
    try:
        release = p["release"] or (root / "current").readlink().name
    except OSError as error:
        raise MigrationError("no release runs here yet") from error
    folder = root / "releases" / release
    request = {
        **{key: p[key] for key in ("phase", "to", "why", "host", "environment_file", "uri_variable")},
        "verb": verb,
        "release": release,
        "folder": str(folder),
        "by": p["who"],
        "lease_s": LEASE_S,
    }
    user = pwd.getpwnam(p["user"])
    environment = {"PATH": "/usr/local/bin:/usr/bin:/bin", "HOME": user.pw_dir, "NODE_ENV": "production"}
    environment |= {key: str(value) for key, value in p["environment"].items()}
    try:
        process = subprocess.Popen(
            [p["node"], p["runner"]],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            cwd=folder, env=environment, user=user.pw_uid, group=user.pw_gid, extra_groups=[], umask=0o077,
        )  # fmt: skip
    except OSError as error:
        raise MigrationError(f"{error.filename}: {error.strerror}") from error
    try:
        stdout, stderr = process.communicate(json.dumps(request), timeout=p["timeout_minutes"] * 60)
    except subprocess.TimeoutExpired as error:
        end(process)
        raise MigrationError(
            f"it was ended after {p['timeout_minutes']} minutes; repeat it {LEASE_S} seconds from now"
        ) from error
    said = last_answer(stdout)
    if said is None:
        last = (stderr.strip().splitlines() or ["it said nothing"])[-1][:500]
        raise MigrationError(f"it ended with status {process.returncode} and no answer: {last}")
    if "reason" in said:
        raise MigrationError(said["reason"])
    return said


def end(process: subprocess.Popen[str]) -> None:
    """End the runner: it may say why in its log."""
    process.terminate()
    try:
        process.communicate(timeout=10)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()


def options() -> dict[str, Any]:
    """The argument spec; what each option means stands in DOCUMENTATION."""
    text, path = {"type": "str", "default": ""}, {"type": "path", "required": True}
    return {
        "verb": {"type": "str", "required": True, "choices": ["status", "up", "down"]},
        "phase": {"type": "str", "default": "before", "choices": ["before", "after"]},
        **dict.fromkeys(("release", "to", "who", "why", "host"), text),
        **dict.fromkeys(("runner", "root", "node", "environment_file"), path),
        "user": {"type": "str", "required": True},
        "environment": {"type": "dict", "default": {}},
        "uri_variable": {"type": "str", "default": "MONGODB_URI"},
        "timeout_minutes": {"type": "int", "default": 25},
    }


def main() -> None:
    """Entry point for Ansible."""
    module = AnsibleModule(argument_spec=options(), supports_check_mode=True)
    p = module.params
    try:
        said = run(p, "status" if module.check_mode else p["verb"])
    except MigrationError as error:
        log = "; see migrations.log beside the application's logs" if p["verb"] != "status" else ""
        module.fail_json(msg=f"migrations: {error}{log}")
    for name in said["altered"]:
        module.warn(
            f"migration {name} is not what was applied: it was changed after it ran, and does not run again"
        )
    if module.check_mode and p["verb"] == "up":
        changed = any(one["phase"] == p["phase"] for one in said["pending"])
    else:
        changed = bool(said["done"]) or (module.check_mode and p["verb"] == "down")
    module.exit_json(changed=changed, **said)


if __name__ == "__main__":
    main()
