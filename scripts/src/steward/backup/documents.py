"""What commands answer with ``--json``; ``docs/schemas/`` is made of these models.

``python -m steward.backup.documents FOLDER`` writes the schemas.
"""

from __future__ import annotations

import json
import sys
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, PlainSerializer

from steward.config import BackupClass
from steward.manifest import BackupId, Manifest, Moment, OplogRange, rfc3339


def _second(moment: datetime) -> str:
    return rfc3339(moment).replace(".000Z", "Z")


#: A whole second.
Second = Annotated[AwareDatetime, PlainSerializer(_second, return_type=str, when_used="json")]
Bytes = Annotated[int, Field(ge=0)]
State = Literal["ok", "damaged"]


class _Document(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)

    def to_json(self) -> dict[str, Any]:
        """The document as it is printed."""
        return self.model_dump(mode="json", by_alias=True)


class Seconds(_Document):
    """Whole seconds, both included."""

    from_: Annotated[Second, Field(alias="from")]
    to: Second


class Timeline(Seconds):
    """Every second of it can be restored."""

    fulls: list[BackupId]
    slices: int


class Point(_Document):
    """A full that no slice continues; only one that is consistent is of one moment."""

    id: BackupId
    at: Moment
    consistent: bool


class ListedBackup(_Document):
    """One backup of ``backup list``."""

    id: BackupId
    kind: Literal["full", "oplog"]
    class_: Annotated[BackupClass, Field(alias="class")]
    started_at: Moment
    finished_at: Moment
    age_seconds: Annotated[int, Field(ge=0)]
    #: Why it is kept, in words, and until when.
    reason: str
    retain_until: Moment
    size: Bytes
    raw_size: Bytes
    #: Public keys of age, each of which opens it; none when it is not encrypted.
    recipients: list[str]
    #: Collections that it leaves out on purpose.
    left_out: Annotated[int, Field(ge=0)]
    oplog: OplogRange | None
    consistent_alone: bool
    previous: str | None
    state: State


class ListDocument(_Document):
    """``steward backup list --json``."""

    app: str
    environment: str
    bucket: str
    backups: list[ListedBackup]
    timelines: list[Timeline]
    points: list[Point]
    holes: list[Seconds]
    #: Folders without a manifest; they count for nothing.
    unfinished: list[str]


class ShowDocument(Manifest):
    """``steward backup show --json``: the manifest, and what follows from the rest of the store."""

    state: State
    age_seconds: Annotated[int, Field(ge=0)]
    reason: str


class StatusFigure(_Document):
    """A figure beside its limit; ``reason`` instead of ``value`` where it cannot be told."""

    name: str
    unit: Literal["Seconds", "Count"]
    class_: Annotated[BackupClass | None, Field(alias="class")] = None
    value: float | None = None
    reason: str | None = None
    limit: float
    met: bool


class StatusDocument(_Document):
    """``steward backup status --json``."""

    app: str
    environment: str
    at: Moment
    met: bool
    figures: list[StatusFigure]


class VerifyFinding(_Document):
    """Something that is not as it must be.

    ``lost`` and ``lost_points`` are what this alone makes impossible to restore; null where that cannot
    be told.
    """

    kind: Literal["missing", "damaged", "unlocked", "manifest", "vanished", "unconnected"]
    backup: str
    key: str
    problem: str
    lost: list[Seconds] | None
    lost_points: list[BackupId] | None


class VerifyUnknown(_Document):
    """What the store did not tell."""

    backup: str
    key: str
    reason: str


class VerifyDocument(_Document):
    """``steward backup verify --json``."""

    app: str
    environment: str
    bucket: str
    #: The store's time.
    at: Moment
    good: bool
    backups: int
    objects: int
    #: Backups that were read as a whole, every byte and document.
    read: list[BackupId]
    #: Those of them that no key of this host opens: every byte, no document.
    sealed: list[BackupId]
    bytes_read: Bytes
    findings: list[VerifyFinding]
    unknown: list[VerifyUnknown]
    #: What all findings together make impossible to restore.
    lost: list[Seconds]
    lost_points: list[BackupId]
    #: Seconds between two timelines, also those of gaps that were met when slices were taken.
    holes: list[Seconds]
    unfinished: list[str]


SCHEMAS: dict[str, type[BaseModel]] = {
    "backup-list": ListDocument,
    "backup-show": ShowDocument,
    "backup-status": StatusDocument,
    "backup-verify": VerifyDocument,
}


def schema_text(name: str) -> str:
    """The file ``docs/schemas/<name>.json``."""
    found = SCHEMAS[name].model_json_schema(by_alias=True)
    schema = {"$schema": "https://json-schema.org/draft/2020-12/schema", **found}
    return json.dumps(schema, indent=2, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    for schema_name in SCHEMAS:
        (Path(sys.argv[1]) / f"{schema_name}.json").write_text(schema_text(schema_name), encoding="utf-8")
