"""The model of ``apps/<name>.yml``: a backend's maintenance manual as data.

Every number of a manual stands in its app file and nowhere else. The
infrastructure program and the inventory plugin import this module and nothing
else of steward, so it depends on pydantic and PyYAML alone (as :mod:`steward.appchecks` does).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from steward.appchecks import Check

BackupClass = Literal["daily", "weekly", "monthly", "oplog"]
Environment = Literal["local", "staging", "production"]
HostIdentity = Literal["access_key", "instance_profile", "roles_anywhere"]
Offsite = Literal["none", "s3", "gcs"]
Uptime = Literal["none", "route53", "uptimerobot"]
ArchiveClass = Literal["GLACIER_IR", "GLACIER", "DEEP_ARCHIVE"]

BACKUP_CLASSES: tuple[BackupClass, ...] = ("daily", "weekly", "monthly", "oplog")
#: Where the evidence of drills lies in the store, beside the classes; kept as long as monthly backups.
EVIDENCE_PREFIX = "evidence/"
ENVIRONMENTS: tuple[Environment, ...] = ("local", "staging", "production")

MINUTES_A_DAY = 24 * 60

#: Days that a full is kept beyond its number, so that a day without a full, or with a late one,
#: leaves the promised points: while today's full is missing, the oldest of the N others is the Nth.
#: Proven in tests/infra/test_retention_simulation.py.
ALLOWANCE_DAYS = 1
#: Days that a daily full is kept beyond the slices: those of the next morning still need it, and those of
#: a whole day more where its successor failed.
BASE_DAYS = 1 + ALLOWANCE_DAYS

Name = Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]{1,30}$")]
Port = Annotated[int, Field(ge=1024, le=65535)]
#: The public key of an age or an ssh key pair; steward checks all of it when its configuration is written.
Recipient = Annotated[str, Field(pattern=r"^(age1[02-9ac-hj-np-z]{58}|ssh-ed25519 [A-Za-z0-9+/]{68})$")]
Days = Annotated[int, Field(ge=1, le=3650)]
Megabytes = Annotated[int, Field(ge=16, le=1_048_576)]


class AppFileError(ValueError):
    """An app file cannot be used; the message is one line for the user."""


class _Strict(BaseModel):
    """Base of every section: unknown keys and loose types are errors."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class Node(_Strict):
    """How the Node.js processes of the backend run under PM2."""

    port: Port
    instances: Annotated[int, Field(ge=1, le=64)]
    memory_limit_mb: Megabytes
    listen_timeout_ms: Annotated[int, Field(ge=1000, le=300_000)]
    kill_timeout_ms: Annotated[int, Field(ge=1000, le=300_000)]


class Health(_Strict):
    """The health endpoint and how often it is asked."""

    path: Annotated[str, Field(pattern=r"^/[A-Za-z0-9/_-]*$")]
    interval_minutes: Annotated[int, Field(ge=1, le=60)]
    healthy_text: Annotated[str, Field(max_length=255, pattern=r"^\S(.*\S)?$")]
    """A text that stands in a healthy answer and in no other, within its first 5 KiB; case counts."""


class Atlas(_Strict):
    """MongoDB Atlas' own backups, beside steward's; only where the database is an Atlas cluster."""

    restore_window_days: Annotated[int, Field(ge=1, le=35)]
    """Days back to any point in time; hourly snapshots are kept as long."""
    compliance_policy: bool
    """Whether Atlas itself refuses to shorten the schedule; only Atlas' support can undo it."""


class MongoDB(_Strict):
    """The application's database and the size of the server's oplog."""

    port: Port
    database: Annotated[str, Field(pattern=r"^[A-Za-z][A-Za-z0-9_-]{0,62}$")]
    oplog_size_mb: Megabytes
    atlas: Atlas | None = None


class Redis(_Strict):
    """The application's Redis server."""

    port: Port
    maxmemory_mb: Megabytes


class FullBackup(_Strict):
    """When the daily full backup starts (host time, UTC on every host)."""

    hour: Annotated[int, Field(ge=0, le=23)]
    minute: Annotated[int, Field(ge=0, le=59)]
    timeout_minutes: Annotated[int, Field(ge=1, le=1440)]

    @model_validator(mode="after")
    def _ends_on_its_day(self) -> FullBackup:
        """A full is of the day it ends on, and all its objects expire at the same midnight."""
        if self.hour * 60 + self.minute + self.timeout_minutes > MINUTES_A_DAY:
            raise ValueError(
                f"a full that starts at {self.hour:02}:{self.minute:02} and may take"
                f" {self.timeout_minutes} minutes does not end before midnight UTC; start it earlier"
            )
        return self


class OplogBackup(_Strict):
    """How often the oplog is stored as a slice."""

    every_minutes: Annotated[int, Field(ge=5, le=60)]
    timeout_minutes: Annotated[int, Field(ge=1, le=60)]

    @model_validator(mode="after")
    def _divides_an_hour(self) -> OplogBackup:
        if 60 % self.every_minutes:
            raise ValueError("every_minutes must divide 60, or cron would leave an uneven gap")
        return self


class Retention(_Strict):
    """How long the backups of each class are kept."""

    daily_days: Days
    weekly_weeks: Annotated[int, Field(ge=1, le=520)]
    monthly_months: Annotated[int, Field(ge=1, le=120)]
    oplog_days: Days

    @model_validator(mode="after")
    def _every_point_has_its_slices(self) -> Retention:
        if self.oplog_days < self.daily_days:
            raise ValueError(
                f"oplog_days ({self.oplog_days}) must not be shorter than daily_days"
                f" ({self.daily_days}): a full backup without its slices has no point in time"
            )
        return self

    def keep_days(self, backup_class: BackupClass) -> int:
        """Days an object of this class is kept.

        A month counts as 31 days, so that N monthly points exist whatever the lengths of the
        months between them. Fulls stay :data:`ALLOWANCE_DAYS` longer. A weekly full also is the
        point of its day, and a monthly one of its week: neither goes before the lesser class.
        Slices have no points to count, but reach from each of the daily points to the present; a daily
        full stays :data:`BASE_DAYS` longer than they, so that none is left without the full it needs.
        """
        oplog = max(self.oplog_days, self.daily_days + ALLOWANCE_DAYS)
        daily = oplog + BASE_DAYS
        weekly = max(self.weekly_weeks * 7 + ALLOWANCE_DAYS, daily)
        monthly = max(self.monthly_months * 31 + ALLOWANCE_DAYS, weekly)
        return {"daily": daily, "weekly": weekly, "monthly": monthly, "oplog": oplog}[backup_class]

    def all_keep_days(self) -> dict[BackupClass, int]:
        """:meth:`keep_days` of every class."""
        return {c: self.keep_days(c) for c in BACKUP_CLASSES}


class Verify(_Strict):
    """How often every stored byte is read again; each day reads its share."""

    whole_every_days: Annotated[int, Field(ge=1, le=92)]


class Drill(_Strict):
    """How often a restore is tried, and what must be true of the restored data.

    A drill runs every day at this time (UTC): of the latest point on the first of a month, of a random
    one on every other day.
    """

    every_days: Annotated[int, Field(ge=1, le=92)]
    """No more days than these may pass without a good one."""
    hour: Annotated[int, Field(ge=0, le=23)]
    minute: Annotated[int, Field(ge=0, le=59)]
    timeout_minutes: Annotated[int, Field(ge=1, le=1440)]
    checks: list[Check] = Field(default_factory=list)


class Encryption(_Strict):
    """For whom backups are encrypted before they leave the host (age)."""

    recipients: dict[Environment, list[Recipient]]
    """Public keys, each of which opens every backup; none: only the bucket encrypts."""

    @model_validator(mode="after")
    def _one_key_may_be_lost(self) -> Encryption:
        for environment, keys in self.recipients.items():
            if keys and len(set(keys)) < 2:
                raise ValueError(
                    f"recipients.{environment} must be empty or name two different keys: who loses the only"
                    " private key has lost every backup"
                )
        return self


class Backup(_Strict):
    """The manual's section on database backups."""

    full: FullBackup
    oplog: OplogBackup
    retention: Retention
    verify: Verify
    drill: Drill
    encryption: Encryption
    size_jump_percent: Annotated[int, Field(ge=5, le=1000)]
    """An alarm when the bucket grows or shrinks by more than this within a day."""

    @model_validator(mode="after")
    def _drill_and_full_are_apart(self) -> Backup:
        """Both read and write at full speed, on one host."""
        full = self.full.hour * 60 + self.full.minute
        drill = self.drill.hour * 60 + self.drill.minute
        after_full, after_drill = (drill - full) % MINUTES_A_DAY, (full - drill) % MINUTES_A_DAY
        if after_full < self.full.timeout_minutes or after_drill < self.drill.timeout_minutes:
            raise ValueError(
                f"a drill at {self.drill.hour:02}:{self.drill.minute:02} may run at the same time as the full"
                f" at {self.full.hour:02}:{self.full.minute:02}; choose another time or shorter timeouts"
            )
        return self


class LogArchive(_Strict):
    """Cold storage of logs that the hosts no longer keep."""

    keep_days: Days
    """Days from the archiving of a log file until its removal."""
    storage_class: ArchiveClass


class Logs(_Strict):
    """The manual's section on log rotation."""

    rotate: Literal["daily"]
    keep_days: Days
    archive: LogArchive


class Secrets(_Strict):
    """How old a secret may become."""

    rotate_days: Days


class Cloud(_Strict):
    """What the cloud side of each environment consists of."""

    host_identity: dict[Environment, HostIdentity]
    """How hosts reach AWS."""
    offsite: dict[Environment, Offsite]
    """Where a second copy of the backups lies."""
    uptime: dict[Environment, Uptime]
    """Who asks for the health endpoint from outside."""
    monthly_budget_usd: Annotated[int, Field(ge=1, le=1_000_000)]


class Contacts(_Strict):
    """Who is told, by severity."""

    critical: Annotated[list[str], Field(min_length=1)]
    warning: Annotated[list[str], Field(min_length=1)]
    info: Annotated[list[str], Field(min_length=1)]


class AppFile(_Strict):
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
