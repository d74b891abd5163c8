"""``/etc/steward/logs.toml``: the logs of one host.

A file of its own, because hosts that keep no database have logs too. Credentials stand in the secrets
file, as for backups.
"""

from __future__ import annotations

import re
from pathlib import Path, PurePosixPath
from typing import Annotated, Self

from pydantic import Field, field_validator, model_validator

from steward.config import (
    AppName,
    Days,
    FilePath,
    MetricsSettings,
    Secrets,
    StorageFile,
    StorageSettings,
    read_toml,
    secrets_of,
)
from steward.operations.settings import HookSettings, NotifySecrets, NotifySettings, PingSecrets
from steward.strict import Strict

DEFAULT_CONFIG = Path("/etc/steward/logs.toml")

Name = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]{0,62}$")]
Percent = Annotated[int, Field(ge=1, le=100)]


class Source(Strict):
    """``[[source]]``: the logs of one program."""

    name: Name
    #: Absolute, with ``*`` in the last part alone: ``/var/log/bitesbay/*``.
    paths: Annotated[list[str], Field(min_length=1)]

    @field_validator("paths")
    @classmethod
    def _in_a_folder_that_is_named(cls, paths: list[str]) -> list[str]:
        for path in paths:
            parent = str(PurePosixPath(path).parent)
            if not path.startswith("/") or re.search(r"[*?\[]|(^|/)\.\.(/|$)", parent) or path.endswith("/"):
                raise ValueError(f"{path!r} is no absolute path with '*' in its last part alone")
        return paths


class ArchiveSettings(Strict):
    """``[archive]``: where old logs go."""

    #: Days after its last one that a file stays on the host.
    older_than_days: Days
    storage: StorageFile


class UsageSettings(Strict):
    """``[usage]``: from where on the room on a disk is a problem."""

    warn_percent: Percent = 80
    critical_percent: Percent = 90
    #: A disk that will be full within so many days, if it goes on as it did, is one as well.
    full_within_days: Days = 7

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.warn_percent >= self.critical_percent:
            raise ValueError(
                f"warn_percent ({self.warn_percent}) must be below critical_percent ({self.critical_percent})"
            )
        return self


class _LogsFile(Strict):
    """``logs.toml`` as it stands."""

    app: AppName
    environment: Annotated[str, Field(min_length=1)]
    #: In the keys of the archive; two hosts must not share one.
    host: Name
    state_dir: FilePath
    source: Annotated[list[Source], Field(min_length=1)]
    #: Absent: nothing of this host is archived.
    archive: ArchiveSettings | None = None
    usage: UsageSettings = UsageSettings()
    metrics: MetricsSettings = MetricsSettings()
    nice: Annotated[int, Field(ge=0, le=19)] = 10
    hooks: HookSettings = HookSettings()
    notify: NotifySettings = NotifySettings()

    @model_validator(mode="after")
    def _names_differ(self) -> Self:
        names = [source.name for source in self.source]
        if twice := {name for name in names if names.count(name) > 1}:
            raise ValueError(f"two sources are called {min(twice)}")
        return self


class LogsConfig(_LogsFile):
    """The configuration with its credentials."""

    secrets: Secrets = Secrets()

    @property
    def pings(self) -> PingSecrets:
        """``[pings]`` of the secrets file."""
        return self.secrets.pings

    @property
    def notify_secrets(self) -> NotifySecrets:
        """``[notify]`` of the secrets file."""
        return self.secrets.notify

    @property
    def storage(self) -> StorageSettings | None:
        """The archive's bucket with its key; None without an archive."""
        if self.archive is None:
            return None
        return StorageSettings(**self.archive.storage.model_dump(), login=self.secrets.storage)


def load(path: Path, secrets: Path | None) -> LogsConfig:
    """Read the configuration, and its secrets from ``secrets`` or ``secrets.toml`` beside it.

    Raises:
        ConfigError: one line that names file, key and value.
    """
    file = read_toml(path, _LogsFile)
    logins = secrets_of(path, secrets)
    sections = {name: getattr(file, name) for name in type(file).model_fields}
    return LogsConfig.model_validate({**sections, "secrets": logins})
