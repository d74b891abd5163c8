"""``/etc/steward/steward.toml`` and its secrets file.

The configuration holds no secret; credentials stand in a second file of mode
0600, or are absent, and then AWS credentials come from the environment of the
host (instance profile, Roles Anywhere). Every problem is one line that names
the file, the key and the value.
"""

from __future__ import annotations

import os
import re
import stat
import tomllib
from pathlib import Path
from typing import Annotated, Literal, Self, TypeVar
from urllib.parse import urlsplit

from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    Field,
    SecretStr,
    ValidationError,
    field_validator,
    model_validator,
)

from steward.appchecks import Check
from steward.atlas.settings import AtlasLogin, AtlasSettings
from steward.choice import Choice, check_pattern
from steward.errors import ConfigError
from steward.operations.settings import HookSettings, NotifySecrets, NotifySettings, PingSecrets
from steward.strict import Strict

DEFAULT_CONFIG = Path("/etc/steward/steward.toml")

BackupClass = Literal["daily", "weekly", "monthly", "oplog"]

#: A path written as a string; strict models refuse the conversion otherwise.
FilePath = Annotated[Path, Field(strict=False)]
Days = Annotated[int, Field(ge=1, le=3650)]
AppName = Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]{1,30}$")]
EndpointUrl = Annotated[str, Field(pattern=r"^https?://[^/?#@]+/?$")]
Seconds = Annotated[int, Field(ge=1)]
#: Also the limit that keeps a database name out of mongodump's options.
DatabaseName = Annotated[str, Field(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_-]{0,62}$")]
NamespacePattern = Annotated[str, AfterValidator(check_pattern)]


class MongoLogin(Strict):
    """``[mongodb]`` of the secrets file."""

    username: Annotated[str, Field(min_length=1)]
    password: SecretStr


class StorageLogin(Strict):
    """``[storage]`` of the secrets file: an AWS access key, or temporary credentials of a role."""

    access_key_id: Annotated[str, Field(min_length=1)]
    secret_access_key: SecretStr
    #: Of temporary credentials alone, which the service refuses without it.
    session_token: SecretStr | None = None

    @model_validator(mode="after")
    def _of_one_kind(self) -> Self:
        # AWS gives temporary keys names of their own; without their token the service only says
        # that it does not know them.
        if self.session_token is None and self.access_key_id.startswith("ASIA"):
            raise ValueError(
                "session_token is missing; a key that begins with ASIA is temporary and needs it"
            )
        return self


class Secrets(Strict):
    """The whole secrets file; each section may be absent."""

    mongodb: MongoLogin | None = None
    storage: StorageLogin | None = None
    pings: PingSecrets = PingSecrets()
    notify: NotifySecrets = NotifySecrets()
    atlas: AtlasLogin | None = None


class _MongoFile(Strict):
    """``[mongodb]`` as it stands in the file."""

    uri: str
    auth_source: Annotated[str, Field(min_length=1)] = "admin"
    #: Where a replica set has a secondary that is up to date, it is dumped instead of the primary.
    read_from: Literal["secondary", "primary"] = "secondary"
    #: What is backed up; none: every database. Of several the whole server is read, because mongodump
    #: takes one database or all of them, and what is not wanted is not stored.
    databases: list[DatabaseName] = Field(default_factory=list)
    #: Patterns (:mod:`steward.choice`) of what of these is backed up (none: everything), and what is not.
    include: list[NamespacePattern] = Field(default_factory=list)
    exclude: list[NamespacePattern] = Field(default_factory=list)

    @field_validator("uri")
    @classmethod
    def _without_credentials(cls, uri: str) -> str:
        parts = urlsplit(uri)
        if "@" in parts.netloc:
            # The value is not repeated: it holds a password.
            raise ValueError("must not hold credentials; they belong into the secrets file")
        if parts.scheme not in ("mongodb", "mongodb+srv") or not parts.netloc:
            raise ValueError("must look like mongodb://host:port/?options")
        return uri

    @model_validator(mode="after")
    def _patterns_of_these_databases(self) -> Self:
        if (pattern := self.choice.foreign()) is not None:
            raise ValueError(f"{pattern}: its database is not among databases ({', '.join(self.databases)})")
        return self

    @property
    def choice(self) -> Choice:
        """What of the server is backed up."""
        return Choice(tuple(self.databases), tuple(self.include), tuple(self.exclude))


class MongoSettings(_MongoFile):
    """``[mongodb]`` with the login of the secrets file; None means no login."""

    login: MongoLogin | None = None


class StorageFile(Strict):
    """``[storage]`` as it stands in the file."""

    #: Amazon S3 and what speaks its protocol, or Google Cloud Storage.
    kind: Literal["s3", "gcs"] = "s3"
    bucket: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$")]
    #: Of S3 alone, which cannot be asked without it.
    region: str = ""
    #: Of Google Cloud Storage alone; absent: the credentials of the host's environment.
    credentials_file: FilePath | None = None
    #: Absent at the vendor itself.
    endpoint_url: EndpointUrl | None = None
    ca_file: FilePath | None = None
    kms_key_arn: str | None = None
    object_lock_mode: Literal["GOVERNANCE", "COMPLIANCE", ""] = ""
    #: Uploads take no more of the network than this; absent: all there is.
    upload_mib_per_second: Annotated[float, Field(gt=0, strict=False)] | None = None
    #: Read the bucket as it was at the end of this second, and write nothing: after somebody deleted
    #: or wrote over backups. Of S3 alone.
    as_of: AwareDatetime | None = None

    @model_validator(mode="after")
    def _of_one_kind(self) -> Self:
        foreign = ("region", "kms_key_arn", "as_of") if self.kind == "gcs" else ("credentials_file",)
        if given := [name for name in foreign if getattr(self, name)]:
            raise ValueError(f'{given[0]} has no meaning with kind = "{self.kind}"')
        if self.kind == "s3" and not self.region:
            raise ValueError('region is missing; kind = "s3" needs it')
        return self


class StorageSettings(StorageFile):
    """``[storage]`` with the key of the secrets file; None means ambient AWS credentials."""

    login: StorageLogin | None = None


class CloudWatchSettings(Strict):
    """``[cloudwatch]``: where metrics for AWS alarms are put, with the credentials of ``[storage]``."""

    region: Annotated[str, Field(min_length=1)]
    #: Absent on AWS itself.
    endpoint_url: EndpointUrl | None = None
    ca_file: FilePath | None = None


class RetentionDays(Strict):
    """Days an object of each class is kept and locked."""

    daily: Days
    weekly: Days
    monthly: Days
    oplog: Days

    def of(self, backup_class: BackupClass) -> int:
        """Days of one class."""
        days: int = getattr(self, backup_class)
        return days


class PromisedPoints(Strict):
    """Restore points of each class that must exist: days, ISO weeks and months."""

    daily: Annotated[int, Field(ge=1)]
    weekly: Annotated[int, Field(ge=1)]
    monthly: Annotated[int, Field(ge=1)]


class Compression(Strict):
    """``[backup.compression]``: how much of the processor zstd may take."""

    #: zstd's own default: on BSON it is faster than any disk or link of a small host, and levels
    #: above it gain little.
    level: Annotated[int, Field(ge=1, le=19)] = 3
    #: Not more than the host has are used.
    threads: Annotated[int, Field(ge=1, le=64)] = 4


class BackupSettings(Strict):
    """``[backup]``."""

    retention_days: RetentionDays
    #: Absent: nothing is promised that ``steward backup compliance`` could judge.
    points: PromisedPoints | None = None
    #: Seconds that an oplog entry may need to appear on a server that has no
    #: majority point; such a server is read only up to now minus these.
    oplog_settle_seconds: Annotated[int, Field(ge=1, le=300)] = 3
    #: Niceness of the run, mongodump included.
    nice: Annotated[int, Field(ge=0, le=19)] = 0
    compression: Compression = Compression()


class EncryptionSettings(Strict):
    """``[encryption]``: for whom backups are encrypted (age), and what opens them where they are restored."""

    #: Public keys (``age1...``, ``ssh-ed25519 ...``), each of which opens every backup; none: not encrypted.
    recipients: list[str] = Field(default_factory=list)
    #: Private keys of this host; absent on hosts that only take backups.
    identity_file: FilePath | None = None

    @field_validator("recipients")
    @classmethod
    def _public_keys(cls, recipients: list[str]) -> list[str]:
        from steward.encryption import recipient

        return [recipient(text) for text in recipients]


class DrillSettings(Strict):
    """``[drill]``."""

    #: Starts an empty server in the foreground, on the loopback address alone, that lets in nobody without
    #: a login. ``{port}``, ``{dir}`` (its data) and ``{users}`` (a file with the login, for a server
    #: that reads one) are filled in; without ``{users}`` the first user is made by ``createUser``.
    server: Annotated[list[Annotated[str, Field(min_length=1)]], Field(min_length=1)]
    #: MB that must stay free beside the restored data.
    min_free_mb: Annotated[int, Field(ge=0)] = 1024
    checks: list[Check] = Field(default_factory=list)

    @field_validator("server")
    @classmethod
    def _is_a_template(cls, server: list[str]) -> list[str]:
        # With a port or a folder of its own it could be the live server.
        for name in ("{port}", "{dir}"):
            if not any(name in argument for argument in server[1:]):
                raise ValueError(f"must have {name} among its arguments")
        return server


class AgeLimits(Strict):
    """Seconds that the newest full serving as each class may be old."""

    daily: Seconds
    weekly: Seconds
    monthly: Seconds


class LimitSettings(Strict):
    """``[limits]``: from where on the alarms say that the promise of the app file is broken."""

    backup_age_seconds: AgeLimits
    recoverable_lag_seconds: Seconds
    drill_age_seconds: Seconds
    verify_age_seconds: Seconds


class Tools(Strict):
    """``[tools]``: names on PATH, or paths."""

    mongodump: Annotated[str, Field(min_length=1)] = "mongodump"
    mongorestore: Annotated[str, Field(min_length=1)] = "mongorestore"


class MetricsSettings(Strict):
    """``[metrics]``: the folder that the Prometheus node exporter reads."""

    textfile_dir: FilePath | None = None


class _ConfigFile(Strict):
    """``steward.toml`` as it stands."""

    app: AppName
    environment: Annotated[str, Field(min_length=1)]
    state_dir: FilePath
    mongodb: _MongoFile
    storage: StorageFile
    backup: BackupSettings
    encryption: EncryptionSettings = EncryptionSettings()
    tools: Tools = Tools()
    metrics: MetricsSettings = MetricsSettings()
    #: Absent: this host publishes no metrics to CloudWatch.
    cloudwatch: CloudWatchSettings | None = None
    #: Absent: the stack that this host belongs to tells no limits.
    limits: LimitSettings | None = None
    #: Absent: no drill runs on this host.
    drill: DrillSettings | None = None
    hooks: HookSettings = HookSettings()
    notify: NotifySettings = NotifySettings()
    #: Absent: the database is no cluster of Atlas, or its snapshots are left to Atlas' own schedule.
    atlas: AtlasSettings | None = None


class Config(_ConfigFile):
    """Everything a command needs: the configuration with its credentials."""

    mongodb: MongoSettings
    storage: StorageSettings
    pings: PingSecrets = PingSecrets()
    notify_secrets: NotifySecrets = NotifySecrets()
    atlas_login: AtlasLogin | None = None

    @property
    def nice(self) -> int:
        """Niceness of every job."""
        return self.backup.nice


Model = TypeVar("Model", bound=BaseModel)


def load(path: Path = DEFAULT_CONFIG, secrets: Path | None = None) -> Config:
    """Read the configuration and its secrets.

    Args:
        secrets: the secrets file; without it ``secrets.toml`` beside ``path``
            is read if there is one.

    Raises:
        ConfigError: one line that names file, key and value.
    """
    file = read_toml(path, _ConfigFile)
    logins = secrets_of(path, secrets)
    mongodb = MongoSettings(**file.mongodb.model_dump(), login=logins.mongodb)
    storage = StorageSettings(**file.storage.model_dump(), login=logins.storage)
    sections = {name: getattr(file, name) for name in type(file).model_fields}
    return Config.model_validate(
        {
            **sections,
            "mongodb": mongodb,
            "storage": storage,
            "pings": logins.pings,
            "notify_secrets": logins.notify,
            "atlas_login": logins.atlas,
        }
    )


def secrets_of(path: Path, secrets: Path | None) -> Secrets:
    """The secrets of the configuration ``path``: of the file that is given, or ``secrets.toml`` beside it.

    Raises:
        ConfigError: the file cannot be used.
    """
    if secrets is None:
        beside = path.with_name("secrets.toml")
        secrets = beside if beside.exists() else None
    return load_secrets(secrets) if secrets is not None else Secrets()


def load_secrets(path: Path) -> Secrets:
    """Read a secrets file, which must be closed to everybody else.

    Raises:
        ConfigError: when others could read it or replace it, or it is wrong.
    """
    check_private(path)
    return read_toml(path, Secrets)


def check_private(path: Path) -> None:
    """Refuse a secrets file that its group or others can open.

    Raises:
        ConfigError: wrong mode, wrong owner, or no such file.
    """
    try:
        found = path.stat()
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from error
    if not stat.S_ISREG(found.st_mode):
        raise ConfigError(f"{path}: is not a file")
    mode = stat.S_IMODE(found.st_mode)
    if mode & 0o077:
        raise ConfigError(f"{path}: mode is {mode:04o}, others can open it; run: chmod 0600 {path}")
    if found.st_uid not in (0, os.geteuid()):
        raise ConfigError(f"{path}: belongs to user id {found.st_uid}; run: chown root {path}")


def read_toml(path: Path, model: type[Model]) -> Model:
    """One TOML file as a checked model."""
    try:
        data = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: is not UTF-8 text") from error
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{path}: is not TOML: {error}") from error
    try:
        return model.model_validate(data)
    except ValidationError as error:
        raise ConfigError(_one_line(path, error)) from error


def _one_line(path: Path, error: ValidationError) -> str:
    """The first problem as ``file: key: what is wrong (got value)``."""
    problems = error.errors(include_url=False)
    # A misspelt key is also missing under its right name; tell the cause.
    first = next((p for p in problems if p["type"] == "extra_forbidden"), problems[0])
    key = ".".join(str(part) for part in first["loc"]) or "(file)"
    words = ("password", "secret", "token", "private", "uri", "pings", "webhook")
    secret = first["type"] == "value_error" or any(word in key for word in words)
    if first["type"] == "missing":
        text = "is required"
    elif first["type"] == "extra_forbidden":
        text = "is not a known key"
    else:
        message = re.sub(r"^Value error, ", "", first["msg"])
        text = message if secret else f"{message} (got {first['input']!r})"
    more = error.error_count() - 1
    return f"{path}: {key}: {text}" + (f" (and {more} more)" if more else "")
