#!/usr/bin/python
"""Ansible module: what an application host runs, for the deployment checklist."""

from __future__ import annotations

import datetime
import json
import re
import subprocess
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule

DOCUMENTATION = r"""
module: host_facts
short_description: What an application host runs
description: Versions, names of environment variables and releases; no value of any variable.
options:
  root: {type: path, required: true, description: Folder with C(releases) and C(current).}
  environment_file: {type: path, required: true, description: File that the application reads.}
  ecosystem: {type: path, required: true, description: PM2's ecosystem file.}
  pm2_package: {type: path, required: true, description: The installed package.json of PM2.}
  node: {type: path, required: true, description: The interpreter.}
"""


def text(path: Path) -> str:
    """A file, "" when there is none."""
    try:
        return path.read_text("utf-8")
    except FileNotFoundError:
        return ""


def output(*argv: str) -> str:
    """What a command prints.

    Raises:
        OSError: it cannot be run or fails.
    """
    done = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False)
    if done.returncode:
        raise OSError(done.returncode, (done.stderr.strip() or "it failed").splitlines()[-1], argv[0])
    return done.stdout


def gather(p: dict[str, str]) -> dict[str, Any]:
    """The facts; keys as in ``steward.deploy.evidence.HostFacts``."""
    root = Path(p["root"])
    try:
        release = (root / "current").readlink().name
    except OSError:
        release = ""
    config = re.search(r'"STEWARD_CONFIG": "(\w+)"', text(Path(p["ecosystem"])))
    listed = output("dpkg-query", "--show", "--showformat", "${db:Status-Abbrev}\t${Package}\t${Version}\n")
    rows = [line.split("\t") for line in listed.splitlines()]
    names = re.findall(r"^([A-Za-z_][A-Za-z0-9_]*)=", text(Path(p["environment_file"])), re.MULTILINE)
    return {
        "taken_at": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "node": output(p["node"], "--version").strip(),
        "pm2": json.loads(text(Path(p["pm2_package"])) or "{}").get("version", ""),
        "packages": {name: version for status, name, version in rows if status.startswith("ii")},
        "environment_keys": sorted(names),
        "config": config.group(1) if config else "",
        "release": release,
        "releases": {
            folder.name: not (folder / "BAD_RELEASE").exists()
            for folder in sorted((root / "releases").glob("[!.]*"))
        },
    }


def main() -> None:
    """Entry point for Ansible."""
    names = ("root", "environment_file", "ecosystem", "pm2_package", "node")
    module = AnsibleModule(
        argument_spec={name: {"type": "path", "required": True} for name in names}, supports_check_mode=True
    )
    try:
        module.exit_json(changed=False, facts=gather(module.params))
    except (OSError, subprocess.TimeoutExpired, ValueError) as error:
        module.fail_json(msg=f"{error}")


if __name__ == "__main__":
    main()
