"""Inventory plugin: an app file and its stack's outputs become the variable ``app``."""

from __future__ import annotations

import json
import re
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from ansible.errors import AnsibleParserError
from ansible.inventory.data import InventoryData
from ansible.parsing.dataloader import DataLoader
from ansible.plugins.inventory import BaseInventoryPlugin
from ansible.utils.display import Display

DOCUMENTATION = r"""
name: steward
short_description: App files and Pulumi stack outputs as the variable C(app)
description:
  - Sets the variable C(app) on each group that is named after an app file (C(apps/<name>.yml)) and has hosts.
    C(app) is the app file, checked by its model, and
    C(environment), C(domain) (of this environment), C(retention_days) (days by backup class) and
    C(outputs) (what C(pulumi stack output --json --stack <name>-<environment>) prints).
  - Nothing else comes from here. Hosts and groups stand in C(hosts.yml) beside this file, read before it.
  - Secret outputs stay masked, as Pulumi prints them.
options:
  plugin:
    description: Says that the file is meant for this plugin.
    required: true
    choices: [steward]
  environment:
    description: The environment of all hosts of this inventory; the second half of the stack names.
    required: true
    type: str
    choices: [local, staging, production]
  apps_dir:
    description: Folder of the app files, relative to the inventory file.
    type: str
    default: ../../apps
  project_dir:
    description: Folder of C(Pulumi.yaml), relative to the inventory file.
    type: str
    default: ../..
  pulumi:
    description: The command; a name on PATH, or a path.
    type: str
    default: pulumi
    env:
      - name: STEWARD_PULUMI
  timeout:
    description: Seconds that reading one stack may take.
    type: int
    default: 60
"""

EXAMPLES = r"""
plugin: steward
environment: production
"""

#: Exit status of Ansible for input that cannot be parsed.
PARSER_ERROR = 4


class InventoryModule(BaseInventoryPlugin):  # type: ignore[misc]  # ansible has no types
    """Reads ``steward.yml`` of an inventory folder."""

    NAME = "steward"

    def verify_file(self, path: str) -> bool:
        """Whether the file is ours: by its name alone, so that no other file is opened."""
        return bool(super().verify_file(path)) and Path(path).name in {"steward.yml", "steward.yaml"}

    def parse(self, inventory: InventoryData, loader: DataLoader, path: str, cache: bool = True) -> None:
        """Set ``app`` on the groups of the apps, or end the program with one line.

        Ansible would offer the file to the next plugin instead, and bury the line
        that helps under complaints about a YAML file that is none of its kind.
        """
        super().parse(inventory, loader, path, cache)
        self._read_config_data(path)
        try:
            self._set_app(inventory, path)
        except AnsibleParserError as error:
            Display().error(str(error.message), wrap_text=False)
            raise SystemExit(PARSER_ERROR) from None

    def _set_app(self, inventory: InventoryData, path: str) -> None:
        here = Path(path).resolve().parent
        environment: str = self.get_option("environment")
        apps = _app_files(here / self.get_option("apps_dir"))
        used = [name for name in apps if name in inventory.groups and inventory.groups[name].get_hosts()]
        if not used:
            raise AnsibleParserError(
                f"{path}: no group with hosts is named after an app file ({', '.join(apps)});"
                " add one to hosts.yml"
            )
        project = (here / self.get_option("project_dir")).resolve()

        def outputs(name: str) -> dict[str, Any]:
            return stack_outputs(
                self.get_option("pulumi"), project, f"{name}-{environment}", self.get_option("timeout")
            )

        with ThreadPoolExecutor(max_workers=4) as pool:
            found = dict(zip(used, pool.map(outputs, used), strict=True))
        for name in used:
            inventory.set_variable(name, "app", app_variable(apps[name], environment, found[name]))


def _app_files(directory: Path) -> dict[str, Any]:
    """The app files by name."""
    try:
        # Here, so that a missing package is a message and not a traceback.
        from steward import appfile
    except ImportError as error:
        raise AnsibleParserError(
            f"the Python package steward is not installed for Ansible ({error}); run: make bootstrap"
        ) from None
    try:
        return dict(appfile.load_all(directory.resolve()))
    except appfile.AppFileError as error:
        raise AnsibleParserError(str(error)) from None


def app_variable(app: Any, environment: str, outputs: dict[str, Any]) -> dict[str, Any]:
    """The variable ``app`` of one application in one environment.

    Args:
        app: the ``steward.appfile.AppFile``.
    """
    return {
        **app.model_dump(),
        "environment": environment,
        "domain": app.domains[environment],
        "retention_days": app.backup.retention.all_keep_days(),
        "outputs": outputs,
    }


def stack_outputs(pulumi: str, project: Path, stack: str, timeout: float) -> dict[str, Any]:
    """The outputs of a stack, secrets masked.

    Args:
        timeout: seconds.

    Raises:
        AnsibleParserError: one line; it names the stack and the command that mends it.
    """
    command = [
        pulumi,
        "stack",
        "output",
        "--json",
        "--non-interactive",
        "--cwd",
        str(project),
        "--stack",
        stack,
    ]
    try:
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=timeout, check=False
        )
    except FileNotFoundError:
        raise AnsibleParserError(
            f"stack {stack}: {pulumi}: command not found; install Pulumi or set PATH"
        ) from None
    except OSError as error:
        raise AnsibleParserError(f"stack {stack}: {pulumi}: cannot be run: {error.strerror}") from None
    except subprocess.TimeoutExpired:
        raise AnsibleParserError(
            f"stack {stack}: {pulumi} gave no outputs within {timeout:g} s;"
            f" try: {pulumi} stack output --stack {stack}"
        ) from None
    if done.returncode:
        raise AnsibleParserError(f"stack {stack}: {_reason(done.stderr)}; try: {pulumi} up --stack {stack}")
    try:
        outputs = json.loads(done.stdout)
    except ValueError:
        raise AnsibleParserError(
            f"stack {stack}: {pulumi} printed no JSON; is it the Pulumi command?"
        ) from None
    if not isinstance(outputs, dict) or not outputs:
        raise AnsibleParserError(f"stack {stack}: has no outputs yet; run: {pulumi} up --stack {stack}")
    return outputs


def _reason(stderr: str) -> str:
    """The line of Pulumi's error output that says what is wrong."""
    lines = [line.strip() for line in stderr.splitlines() if line.strip()]
    errors = [line for line in lines if line.startswith("error:")] or lines
    return re.sub(r"^error:\s*", "", errors[0]) if errors else "pulumi failed without a message"
