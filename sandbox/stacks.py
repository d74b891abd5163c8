"""Run the Pulumi stacks of a sandbox without touching a tracked file.

The passphrase provider writes a stack's ``encryptionsalt`` into its stack file, and a
salt fits one passphrase only. A sandbox has a random passphrase, so the tracked files
in ``infra/stacks/`` cannot hold its salt. Hence a sandbox works from a project folder of
its own, ``<state>/pulumi-project``: ``Pulumi.yaml`` with the program's absolute path, and
copies of the stack files. The copies may be lost: the salt is in the state as well, and
``PULUMI_FALLBACK_TO_STATE_SECRETS_MANAGER`` takes it from there.

By hand, in the sandbox's environment: ``pulumi -C .sandbox/up/pulumi-project up -s bitesbay-local``.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from sandbox import stack_repair
from sandbox.settings import REPOSITORY, Sandbox

#: Longest time of one Pulumi command, in seconds; AWS calls inside have shorter ones.
COMMAND_TIMEOUT_S = 600


class StackCommandError(RuntimeError):
    """A Pulumi command failed; ``output`` is all that it printed, ``errors`` the lines that say why."""

    def __init__(self, command: Sequence[str], status: int, output: str) -> None:
        #: The program's error comes first, then those of the engine, which repeat it at times.
        self.errors = list(dict.fromkeys(re.findall(r"^\s*error: (.*\S)", output, flags=re.MULTILINE)))
        reason = f": {'; '.join(self.errors)}" if self.errors else ""
        super().__init__(f"{' '.join(command)} ended with status {status}{reason}")
        self.status = status
        self.output = output


@dataclass(frozen=True)
class Stacks:
    """The Pulumi project of one sandbox."""

    sandbox: Sandbox
    environment: Mapping[str, str]
    """A whole environment, as :func:`sandbox.env.environment` makes it."""
    log: Path | None = field(default=None)
    """File that every command's output is added to."""

    @property
    def project(self) -> Path:
        """Folder to give to ``pulumi -C``."""
        return self.sandbox.state / "pulumi-project"

    def prepare(self) -> None:
        """Write the project folder and make the state's folder; safe to repeat."""
        settings = yaml.safe_load((REPOSITORY / "Pulumi.yaml").read_text(encoding="utf-8"))
        settings["main"] = str(REPOSITORY / "infra")
        settings["stackConfigDir"] = "."
        # The same plugin as on PATH, but without Pulumi's warning that it comes from there.
        settings["plugins"] = {"providers": [{"name": "aws", "path": str(REPOSITORY / "sandbox/bin")}]}
        self.project.mkdir(parents=True, exist_ok=True)
        (self.project / "Pulumi.yaml").write_text(yaml.safe_dump(settings), encoding="utf-8")
        for stack_file in sorted((REPOSITORY / "infra/stacks").glob("Pulumi.*-local.yaml")):
            shutil.copy(stack_file, self.project)
        if backend := stack_repair.backend_folder(self.environment):
            backend.mkdir(parents=True, exist_ok=True)

    def select(self, stack: str) -> None:
        """Make the stack unless it is there."""
        self.run("stack", "select", "--create", stack)

    def up(self, stack: str, *, refresh: bool = True) -> None:
        """Build the stack; with ``refresh`` what the endpoint lost or others changed is repaired."""
        self.recover(stack)
        self.run("up", "--yes", "--skip-preview", *(["--refresh"] if refresh else []), "--stack", stack)

    def destroy(self, stack: str) -> None:
        """Remove everything the stack holds, backups included."""
        self.recover(stack)
        self.run("destroy", "--yes", "--skip-preview", "--stack", stack)

    def recover(self, stack: str) -> None:
        """Put right what a killed command left behind; nothing when there was none."""
        backend = stack_repair.backend_folder(self.environment)
        if backend is None:
            return
        stack_repair.release_dead_locks(backend, stack)
        if pending := stack_repair.pending_creates(backend, stack):
            stack_repair.undo_creates(pending, self.environment)
            self.run("refresh", "--yes", "--skip-preview", "--clear-pending-creates", "--stack", stack)

    def outputs(self, stack: str) -> dict[str, Any]:
        """The stack's outputs."""
        outputs: dict[str, Any] = json.loads(self.run("stack", "output", "--json", "--stack", stack))
        return outputs

    def run(self, *arguments: str) -> str:
        """One Pulumi command without a terminal; returns its standard output.

        Raises:
            StackCommandError: when it fails.
            subprocess.TimeoutExpired: when it takes longer than :data:`COMMAND_TIMEOUT_S`.
        """
        command = ["pulumi", "-C", str(self.project), "--non-interactive", "--color", "never", *arguments]
        done = subprocess.run(
            command,
            env={**self.environment, "PULUMI_FALLBACK_TO_STATE_SECRETS_MANAGER": "true"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=COMMAND_TIMEOUT_S,
            check=False,
        )
        if self.log:
            self.log.parent.mkdir(parents=True, exist_ok=True)
            with self.log.open("a", encoding="utf-8") as out:
                out.write(f"$ pulumi {' '.join(arguments)}\n{done.stdout}{done.stderr}")
        if done.returncode:
            raise StackCommandError(["pulumi", *arguments], done.returncode, done.stdout + done.stderr)
        return done.stdout
