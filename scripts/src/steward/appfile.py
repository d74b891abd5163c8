"""The model of ``apps/<name>.yml``: a backend's maintenance manual as data.

Every number of a manual stands in its app file and nowhere else. The
infrastructure program and the inventory plugin import this module and nothing
else of steward, so it and what it imports depend on pydantic and PyYAML alone.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Literal

import yaml
from pydantic import Field, ValidationError, model_validator

from steward.appbackup import (
    BACKUP_CLASSES,
    ENVIRONMENTS,
    EVIDENCE_PREFIX,
    Backup,
    BackupClass,
    Days,
    Environment,
    Retention,
)
from steward.appchecks import first_unseen
from steward.appmongodb import Megabytes, MongoDB, Port
from steward.choice import Choice
from steward.strict import Strict

__all__ = [
    "BACKUP_CLASSES",
    "ENVIRONMENTS",
    "EVIDENCE_PREFIX",
    "AppFile",
    "AppFileError",
    "Backup",
    "BackupClass",
    "Environment",
    "Retention",
    "load",
    "load_all",
    "one_line",
]

HostIdentity = Literal["access_key", "instance_profile", "roles_anywhere"]
Offsite = Literal["none", "s3", "gcs"]
Uptime = Literal["none", "route53", "uptimerobot"]
ArchiveClass = Literal["GLACIER_IR", "GLACIER", "DEEP_ARCHIVE"]


Name = Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]{1,30}$")]


class AppFileError(ValueError):
    """An app file cannot be used; the message is one line for the user."""


class Node(Strict):
    """How the Node.js processes of the backend run under PM2."""

    port: Port
    instances: Annotated[int, Field(ge=1, le=64)]
    memory_limit_mb: Megabytes
    listen_timeout_ms: Annotated[int, Field(ge=1000, le=300_000)]
    kill_timeout_ms: Annotated[int, Field(ge=1000, le=300_000)]


class Health(Strict):
    """The health endpoint and how often it is asked."""

    path: Annotated[str, Field(pattern=r"^/[A-Za-z0-9/_-]*$")]
    interval_minutes: Annotated[int, Field(ge=1, le=60)]
    healthy_text: Annotated[str, Field(max_length=255, pattern=r"^\S(.*\S)?$")]
    """A text that stands in a healthy answer and in no other, within its first 5 KiB; case counts."""


class Redis(Strict):
    """The application's Redis server."""

    port: Port
    maxmemory_mb: Megabytes


class LogArchive(Strict):
    """Cold storage of logs that the hosts no longer keep."""

    keep_days: Days
    """Days from the archiving of a log file until its removal."""
    storage_class: ArchiveClass


class Logs(Strict):
    """The manual's section on log rotation."""

    rotate: Literal["daily"]
    keep_days: Days
    archive: LogArchive


class Secrets(Strict):
    """How old a secret may become."""

    rotate_days: Days


class Cloud(Strict):
    """What the cloud side of each environment consists of."""

    host_identity: dict[Environment, HostIdentity]
    """How hosts reach AWS."""
    offsite: dict[Environment, Offsite]
    """Where a second copy of the backups lies."""
    uptime: dict[Environment, Uptime]
    """Who asks for the health endpoint from outside."""
    monthly_budget_usd: Annotated[int, Field(ge=1, le=1_000_000)]


class Contacts(Strict):
    """Who is told, by severity."""

    critical: Annotated[list[str], Field(min_length=1)]
    warning: Annotated[list[str], Field(min_length=1)]
    info: Annotated[list[str], Field(min_length=1)]


class AppFile(Strict):
    """One backend's manual as data."""

    name: Name
    title: Annotated[str, Field(min_length=1, max_length=60)]
    domains: dict[Environment, str]
    node: Node
    health: Health
    mongodb: MongoDB
    redis: Redis
    backup: Backup
    logs: Logs
    secrets: Secrets
    cloud: Cloud
    contacts: Contacts

    @model_validator(mode="after")
    def _every_environment(self) -> AppFile:
        choices: dict[str, Mapping[Environment, object]] = {
            "domains": self.domains,
            "cloud.host_identity": self.cloud.host_identity,
            "cloud.offsite": self.cloud.offsite,
            "cloud.uptime": self.cloud.uptime,
            "backup.encryption.recipients": self.backup.encryption.recipients,
        }
        for key, value in choices.items():
            missing = [e for e in ENVIRONMENTS if e not in value]
            if missing:
                raise ValueError(f"{key} lacks {', '.join(missing)}")
        return self

    @model_validator(mode="after")
    def _atlas_keeps_the_rarer_longer(self) -> AppFile:
        """Atlas refuses a schedule that keeps a rarer snapshot for less long than a more frequent one."""
        if self.mongodb.atlas is None:
            return self
        keep = self.backup.retention
        days = {
            "mongodb.atlas.restore_window_days": self.mongodb.atlas.restore_window_days,
            "backup.retention.daily_days": keep.daily_days,
            "backup.retention.weekly_weeks": keep.weekly_weeks * 7,
            "backup.retention.monthly_months": keep.monthly_months * 31,
        }
        for (shorter, a), (longer, b) in pairwise(days.items()):
            if a > b:
                raise ValueError(
                    f"{shorter} ({a} days) must not exceed {longer} ({b} days) with mongodb.atlas"
                )
        return self

    @model_validator(mode="after")
    def _checks_see_what_is_backed_up(self) -> AppFile:
        full, database = self.backup.full, self.mongodb.database
        choice = Choice((database,), tuple(full.include), tuple(full.exclude))
        if (pattern := choice.foreign()) is not None:
            raise ValueError(f"backup.full: {pattern} is not about the database {database}")
        if unseen := first_unseen(self.backup.drill.checks, lambda c: choice.wants(f"{database}.{c}")):
            check, collection = unseen
            raise ValueError(f"backup.drill.checks: {check.text}: backup.full leaves {collection} out")
        return self

    @model_validator(mode="after")
    def _ports_differ(self) -> AppFile:
        ports = [self.node.port, self.mongodb.port, self.redis.port]
        if len(set(ports)) != len(ports):
            raise ValueError(f"node, mongodb and redis ports must differ, got {ports}")
        return self


def one_line(path: Path, error: ValidationError) -> str:
    """The first problem of ``error`` as ``file: key: what is wrong (got value)``."""
    first = error.errors(include_url=False)[0]
    key = ".".join(str(part) for part in first["loc"]) or "(file)"
    kind = first["type"]
    if kind == "missing":
        text = "is required"
    elif kind == "extra_forbidden":
        text = "is not a known key"
    else:
        message = re.sub(r"^Value error, ", "", first["msg"])
        shown = repr(first["input"])
        if "SECRET" in shown:  # a private key in the place of a public one
            shown = "a private key, which is no secret any more"
        text = f"{message} (got {shown})" if first["loc"] else message
    more = error.error_count() - 1
    return f"{path}: {key}: {text}" + (f" (and {more} more)" if more else "")


class _UniqueKeyLoader(yaml.SafeLoader):
    """YAML that refuses a key written twice, of which PyYAML keeps the last."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[object, object]:
        seen: set[object] = set()
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=True)
            if key in seen:
                raise yaml.constructor.ConstructorError(
                    None, None, f"key {key!r} is written twice", key_node.start_mark
                )
            seen.add(key)
        return super().construct_mapping(node, deep=deep)


def load(path: Path) -> AppFile:
    """Read and check one app file.

    Raises:
        AppFileError: with one line that names the file, the key, what is
            wrong and the value found.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise AppFileError(f"{path}: cannot be read: {error}") from error
    try:
        data = yaml.load(text, Loader=_UniqueKeyLoader)  # noqa: S506 - a SafeLoader
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f" line {mark.line + 1}" if mark else ""
        problem = getattr(error, "problem", None) or "not YAML"
        raise AppFileError(f"{path}:{line} {problem}") from error
    if not isinstance(data, dict):
        raise AppFileError(f"{path}: must be a mapping of keys, got {type(data).__name__}")
    try:
        app = AppFile.model_validate(data)
    except ValidationError as error:
        raise AppFileError(one_line(path, error)) from error
    if app.name != path.stem:
        raise AppFileError(f"{path}: name: must equal the file's name {path.stem!r} (got {app.name!r})")
    return app


def load_all(directory: Path) -> dict[str, AppFile]:
    """Every app file of a directory, by name, in alphabetical order.

    Raises:
        AppFileError: as :func:`load`, or when the directory holds none.
    """
    paths = sorted(directory.glob("*.yml"))
    if not paths:
        raise AppFileError(f"{directory}: no app file (*.yml) found")
    return {path.stem: load(path) for path in paths}
