"""``steward backup snapshot``: an on-demand snapshot at Atlas, and the wait for it.

Atlas takes one at a time. One that is under way is waited for: if a run of ours that was killed began it,
it is the snapshot that is wanted, else another follows it.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from steward.atlas.api import Atlas, Snapshot
from steward.atlas.settings import AtlasLogin, AtlasSettings
from steward.config import Config
from steward.errors import ConfigError, StewardError
from steward.manifest import rfc3339

#: Between two questions how far it is.
POLL_SECONDS = 10.0


@dataclass(frozen=True)
class Taken:
    """A snapshot that is complete."""

    snapshot: Snapshot
    #: An earlier run of ours had begun it.
    adopted: bool

    def to_json(self) -> dict[str, Any]:
        """For ``--json``."""
        found = self.snapshot
        return {
            "id": found.id,
            "status": found.status,
            "description": found.description,
            "created_at": rfc3339(found.created_at) if found.created_at else None,
            "expires_at": rfc3339(found.expires_at) if found.expires_at else None,
            "size": found.size,
            "mongod": found.version,
            "adopted": self.adopted,
        }


def atlas_of(config: Config) -> tuple[AtlasSettings, AtlasLogin]:
    """Cluster and login of the configuration.

    Raises:
        ConfigError: one of them is missing.
    """
    if config.atlas is None:
        raise ConfigError("atlas: is required in the configuration, with project_id and cluster")
    if config.atlas_login is None:
        raise ConfigError("atlas: is required in the secrets file; a service account or an API key")
    return config.atlas, config.atlas_login


def label(config: Config) -> str:
    """How the description of our snapshots begins."""
    return f"steward: {config.app} ({config.environment})"


def take_snapshot(
    config: Config,
    atlas: Atlas,
    progress: Callable[[str], None],
    *,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> Taken:
    """Take a snapshot and wait until Atlas has it.

    Args:
        progress: told of what is waited for.

    Raises:
        StewardError: Atlas refuses or cannot be reached, the snapshot failed, or is not complete in time:
            then Atlas may still finish it, and the next run goes on waiting for it.
    """
    settings, _ = atlas_of(config)
    deadline = clock() + settings.timeout_minutes * 60

    def wait(snapshot: Snapshot) -> Snapshot:
        while snapshot.unfinished:
            progress(f"snapshot {snapshot.id}: {snapshot.status}")
            if clock() > deadline:
                raise StewardError(
                    f"snapshot {snapshot.id} is not complete after {settings.timeout_minutes} minutes"
                    f" ({snapshot.status}); Atlas may still finish it, the next run waits for it"
                )
            sleep(POLL_SECONDS)
            snapshot = atlas.snapshot(snapshot.id)
        return snapshot

    for found in atlas.snapshots():
        if found.unfinished and found.kind == "onDemand":
            done = wait(found)
            if found.description.startswith(label(config)) and done.status == "completed":
                return Taken(done, adopted=True)
    description = f"{label(config)}, {datetime.now(UTC):%Y-%m-%d %H:%M:%S} UTC"
    done = wait(atlas.take(description, config.backup.retention_days.daily))
    if done.status != "completed":
        raise StewardError(
            f"snapshot {done.id}: Atlas says that it {done.status}; see the cluster's activity feed"
        )
    return Taken(done, adopted=False)
