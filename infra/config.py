"""What one stack is about: which backend, which environment, which settings.

A stack is called ``<app>-<environment>``; the rest follows from the app file and
from the few settings of ``stacks/Pulumi.<stack>.yaml``.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from infra.settings import StackError, StackSettings, parse, stack_file
from steward.appfile import ENVIRONMENTS, AppFile, Environment, HostIdentity, Offsite, Uptime, load

REPOSITORY = Path(__file__).resolve().parent.parent


@dataclass(frozen=True)
class StackConfig:
    """Everything the program needs to know before it registers a resource."""

    app: AppFile
    environment: Environment
    region: str
    settings: StackSettings

    @property
    def name(self) -> str:
        """``<app>-<environment>``, the beginning of every name in the cloud."""
        return f"{self.app.name}-{self.environment}"

    @property
    def host_identity(self) -> HostIdentity:
        """How the hosts of this environment reach AWS."""
        return self.app.cloud.host_identity[self.environment]

    @property
    def offsite(self) -> Offsite:
        """Where the second copy of the backups lies."""
        return self.app.cloud.offsite[self.environment]

    @property
    def uptime(self) -> Uptime:
        """Who asks for the health endpoint from outside."""
        return self.app.cloud.uptime[self.environment]

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


def load_stack_config(stack: str, region: str | None, given: Mapping[str, str]) -> StackConfig:
    """Read and check all that decides what the stack holds.

    Args:
        stack: the stack's name.
        region: ``aws:region`` of the stack file.
        given: the ``steward:`` keys of the stack file, without that prefix.

    Raises:
        StackError: for a wrong name or setting.
        steward.appfile.AppFileError: for a wrong app file.
    """
    apps = apps_directory()
    name, environment = parse_stack_name(stack, apps)
    if not region:
        raise StackError(f"{stack_file(stack)}: aws:region is missing")
    config = StackConfig(load(apps / f"{name}.yml"), environment, region, parse(stack, given))
    _check_needs(stack, config)
    return config


def _check_needs(stack: str, config: StackConfig) -> None:
    """Refuse a stack whose app file asks for what its settings do not say."""
    settings = config.settings
    needs: list[tuple[str, str, object]] = []
    if config.offsite == "s3":
        needs.append(("cloud.offsite is s3", "replicaRegion", settings.replica_region))
    if config.offsite == "gcs":
        needs.append(("cloud.offsite is gcs", "gcsProject", settings.gcs_project))
        needs.append(("cloud.offsite is gcs", "gcsLocation", settings.gcs_location))
    if config.host_identity == "roles_anywhere":
        needs.append(("cloud.host_identity is roles_anywhere", "rolesAnywhereCa", settings.roles_anywhere_ca))
    if config.app.mongodb.atlas and not config.disposable:
        needs.append(("mongodb.atlas is there", "atlasProjectId", settings.atlas_project_id))
        needs.append(("mongodb.atlas is there", "atlasCluster", settings.atlas_cluster))
        if config.app.mongodb.atlas.compliance_policy:
            contact = settings.atlas_compliance_contact
            needs.append(("compliance_policy is true", "atlasComplianceContact", contact))
    for reason, key, value in needs:
        if value is None:
            raise StackError(
                f"{stack_file(stack)}: steward:{key} is missing; apps/{config.app.name}.yml says {reason}"
            )
    if config.offsite == "s3" and settings.replica_region == config.region:
        raise StackError(
            f"{stack_file(stack)}: steward:replicaRegion: must differ from aws:region"
            f" (got {config.region!r} for both)"
        )
