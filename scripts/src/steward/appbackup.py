"""The section ``backup`` of an app file: when, how often, how long, for whom, and what is proven."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, Field, model_validator

from steward.appchecks import Check
from steward.choice import check_pattern
from steward.strict import Strict

BackupClass = Literal["daily", "weekly", "monthly", "oplog"]
Environment = Literal["local", "staging", "production"]

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

#: The public key of an age or an ssh key pair; steward checks all of it when its configuration is written.
Recipient = Annotated[str, Field(pattern=r"^(age1[02-9ac-hj-np-z]{58}|ssh-ed25519 [A-Za-z0-9+/]{68})$")]
Days = Annotated[int, Field(ge=1, le=3650)]
Pattern = Annotated[str, AfterValidator(check_pattern)]


class FullBackup(Strict):
    """When the daily full backup starts (host time, UTC on every host), and what it leaves out."""

    hour: Annotated[int, Field(ge=0, le=23)]
    minute: Annotated[int, Field(ge=0, le=59)]
    timeout_minutes: Annotated[int, Field(ge=1, le=1440)]
    include: list[Pattern] = Field(default_factory=list)
    """What of the database is backed up, as ``database.collection`` with ``*``; none: everything."""
    exclude: list[Pattern] = Field(default_factory=list)
    """What is not, whatever ``include`` says. The oplog is stored as a whole."""

    @model_validator(mode="after")
    def _ends_on_its_day(self) -> FullBackup:
        """A full is of the day it ends on, and all its objects expire at the same midnight."""
        if self.hour * 60 + self.minute + self.timeout_minutes > MINUTES_A_DAY:
            raise ValueError(
                f"a full that starts at {self.hour:02}:{self.minute:02} and may take"
                f" {self.timeout_minutes} minutes does not end before midnight UTC; start it earlier"
            )
        return self


class OplogBackup(Strict):
    """How often the oplog is stored as a slice."""

    every_minutes: Annotated[int, Field(ge=5, le=60)]
    timeout_minutes: Annotated[int, Field(ge=1, le=60)]

    @model_validator(mode="after")
    def _divides_an_hour(self) -> OplogBackup:
        if 60 % self.every_minutes:
            raise ValueError("every_minutes must divide 60, or cron would leave an uneven gap")
        return self


class Retention(Strict):
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


class Verify(Strict):
    """How often every stored byte is read again; each day reads its share."""

    whole_every_days: Annotated[int, Field(ge=1, le=92)]


class Drill(Strict):
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


class Encryption(Strict):
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


class Backup(Strict):
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
