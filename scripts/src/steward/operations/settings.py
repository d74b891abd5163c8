"""Sections of ``steward.toml`` and of the secrets file about what goes on around a job."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal, Protocol

from pydantic import AfterValidator, Field, SecretStr, field_validator

from steward.strict import Strict


def _absolute(command: list[str]) -> list[str]:
    if not command[0].startswith("/"):
        raise ValueError("must begin with the path of a program")
    return command


def _https(url: SecretStr) -> SecretStr:
    # The value is not repeated: whoever knows it can speak for this host.
    if not url.get_secret_value().startswith(("https://", "http://127.0.0.1:")):
        raise ValueError("must be an https URL")
    return url


Command = Annotated[list[str], Field(min_length=1), AfterValidator(_absolute)]
SecretUrl = Annotated[SecretStr, AfterValidator(_https)]
Address = Annotated[str, Field(pattern=r"^[^@\s,<>]+@[^@\s,<>]+$")]


class HookSettings(Strict):
    """``[hooks]``: programs and their arguments; no shell is between."""

    before_full: Command | None = None
    before_oplog: Command | None = None
    #: After every run that began, well or not.
    after: Command | None = None
    on_failure: Command | None = None
    timeout_seconds: Annotated[int, Field(ge=1, le=3600)] = 300

    def before(self, job: str) -> list[str] | None:
        """The hook before a job."""
        return {"full": self.before_full, "oplog": self.before_oplog}.get(job)


class MailSettings(Strict):
    """``[notify.mail]``; the login stands in the secrets file."""

    host: Annotated[str, Field(min_length=1)]
    port: Annotated[int, Field(ge=1, le=65535)] = 587
    #: ``tls``: from the first byte (port 465). There is no way without TLS.
    security: Literal["starttls", "tls"] = "starttls"
    sender: Address
    recipients: Annotated[list[Address], Field(min_length=1)]
    ca_file: Annotated[Path, Field(strict=False)] | None = None


class NotifySettings(Strict):
    """``[notify]``."""

    mail: MailSettings | None = None


class PingSecrets(Strict):
    """``[pings]`` of the secrets file: the URL of each job at a dead man's switch."""

    full: SecretUrl | None = None
    oplog: SecretUrl | None = None
    verify: SecretUrl | None = None
    drill: SecretUrl | None = None
    logs: SecretUrl | None = None
    snapshot: SecretUrl | None = None

    def of(self, job: str) -> str | None:
        """The URL of a job."""
        url: SecretStr | None = getattr(self, job, None)
        return url.get_secret_value() if url else None


class NotifySecrets(Strict):
    """``[notify]`` of the secrets file."""

    smtp_username: str | None = None
    smtp_password: SecretStr | None = None
    webhook_url: SecretUrl | None = None

    @field_validator("smtp_password")
    @classmethod
    def _not_empty(cls, password: SecretStr | None) -> SecretStr | None:
        if password is not None and not password.get_secret_value():
            raise ValueError("must not be empty")
        return password


class JobConfig(Protocol):
    """What a job has to know of its configuration."""

    @property
    def app(self) -> str:
        """The application."""

    @property
    def environment(self) -> str:
        """``production``, say."""

    @property
    def state_dir(self) -> Path:
        """Where it is remembered what was told to whom."""

    @property
    def nice(self) -> int:
        """Niceness of the run."""

    @property
    def hooks(self) -> HookSettings:
        """``[hooks]``."""

    @property
    def notify(self) -> NotifySettings:
        """``[notify]``."""

    @property
    def notify_secrets(self) -> NotifySecrets:
        """``[notify]`` of the secrets file."""

    @property
    def pings(self) -> PingSecrets:
        """``[pings]`` of the secrets file."""
