"""What one stack is about: which backend, which environment, which settings.

A stack is called ``<app>-<environment>``; the rest follows from the app file and
from the few settings of ``stacks/Pulumi.<stack>.yaml``.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from steward.appfile import ENVIRONMENTS, AppFile, Environment, load

ObjectLockMode = Literal["GOVERNANCE", "COMPLIANCE"]

REPOSITORY = Path(__file__).resolve().parent.parent


class StackError(ValueError):
    """A stack cannot be used; the message is one line for the user."""


@dataclass(frozen=True)
class StackConfig:
    """Everything the program needs to know before it registers a resource."""

    app: AppFile
    environment: Environment
    region: str
    object_lock_mode: ObjectLockMode

    @property
    def disposable(self) -> bool:
        """Whether ``pulumi destroy`` may take the backups with it."""
        return self.environment == "local"

    @property
    def protected(self) -> bool:
        """Whether Pulumi must refuse to delete the bucket and its key."""
        return self.environment == "production"

    @property
    def tags(self) -> dict[str, str]:
        """Tags of every resource that can carry some."""
        return {"App": self.app.name, "Environment": self.environment, "ManagedBy": "pulumi"}


def apps_directory() -> Path:
    """Folder of the app files: ``STEWARD_APPS_DIR``, else ``apps/`` of this repository."""
    return Path(os.environ.get("STEWARD_APPS_DIR") or REPOSITORY / "apps")


def parse_stack_name(stack: str, apps: Path) -> tuple[str, Environment]:
    """Split a stack's name into backend and environment.

    Raises:
        StackError: when the environment is unknown or the backend has no file in ``apps``.
    """
    name, _, last = stack.rpartition("-")
    environment = next((e for e in ENVIRONMENTS if e == last), None)
    if not name or environment is None:
        raise StackError(
            f"stack {stack!r}: must be called <app>-<environment>,"
            f" environment one of {', '.join(ENVIRONMENTS)}"
        )
    known = sorted(path.stem for path in apps.glob("*.yml"))
    if name not in known:
        raise StackError(
            f"stack {stack!r}: {apps} has no {name}.yml; write it or use one of {', '.join(known) or 'none'}"
        )
    return name, environment


def load_stack_config(stack: str, region: str | None, object_lock_mode: str | None) -> StackConfig:
    """Read and check all that decides what the stack holds.

    Args:
        stack: the stack's name.
        region: ``aws:region`` of the stack file.
        object_lock_mode: ``steward:objectLockMode``; GOVERNANCE when absent.

    Raises:
        StackError: for a wrong name or setting.
        steward.appfile.AppFileError: for a wrong app file.
    """
    apps = apps_directory()
    name, environment = parse_stack_name(stack, apps)
    if not region:
        raise StackError(f"stack {stack!r}: aws:region is missing in infra/stacks/Pulumi.{stack}.yaml")
    mode = next((m for m in get_args(ObjectLockMode) if m == (object_lock_mode or "GOVERNANCE")), None)
    if mode is None:
        raise StackError(
            f"stack {stack!r}: steward:objectLockMode must be GOVERNANCE or COMPLIANCE"
            f" (got {object_lock_mode!r})"
        )
    return StackConfig(load(apps / f"{name}.yml"), environment, region, mode)
