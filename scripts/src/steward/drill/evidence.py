"""The evidence of drills in the store: ``evidence/<drill id>/report.html``, then ``evidence.json``.

As with backups the JSON comes last: without it there was no drill. It lies outside of the backup
classes, so nothing that looks for backups sees it.
"""

from __future__ import annotations

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, ValidationError

from steward.appfile import EVIDENCE_PREFIX
from steward.config import BackupClass, Config
from steward.drill.page import page
from steward.errors import FaultError
from steward.manifest import BackupId
from steward.storage import ObjectInfo, Store

NAME = "evidence.json"
PAGE = "report.html"
SCHEMA = 1

Result = Literal["proven", "failed"]


class Evidence(BaseModel):
    """What readers need of ``evidence.json``; the rest is for people and auditors."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    id: BackupId
    app: str
    environment: str
    result: Result
    started_at: AwareDatetime
    finished_at: AwareDatetime
    base_id: str
    base_class: BackupClass


@dataclass(frozen=True)
class Stored:
    """Evidence, and when it was finished: by its host or by the store, whichever is earlier."""

    evidence: Evidence
    at: datetime


def store_evidence(config: Config, store: Store, document: dict[str, Any], started_at: datetime) -> str:
    """Store both files, kept and locked as long as a monthly backup; the key of the JSON.

    Raises:
        StewardError: the store refused, or cannot be reached.
    """
    Evidence.model_validate(document)
    until = started_at + timedelta(days=config.backup.retention_days.monthly)
    folder = f"{EVIDENCE_PREFIX}{document['id']}"
    store.put_stream(f"{folder}/{PAGE}", [page(document).encode()], until)
    store.put_json(f"{folder}/{NAME}", document, until)
    return f"{folder}/{NAME}"


def read_all(config: Config, store: Store) -> list[Stored]:
    """The evidence of every drill, newest first."""
    listed = _listed(store)
    with ThreadPoolExecutor(max_workers=8) as pool:
        return _known(pool.map(lambda info: _read(config, store, info), listed))


def newest_proven(config: Config, store: Store) -> datetime | None:
    """When a drill of any host was last proven; None if there is none."""
    for info in _listed(store):
        found = _read(config, store, info)
        if found is not None and found.evidence.result == "proven":
            return found.at
    return None


def _listed(store: Store) -> list[ObjectInfo]:
    """By the store's clock, newest first."""
    found = [info for info in store.list_prefix(EVIDENCE_PREFIX) if info.key.endswith(f"/{NAME}")]
    return sorted(found, key=lambda info: (info.modified, info.key), reverse=True)


def _read(config: Config, store: Store, info: ObjectInfo) -> Stored | None:
    """One piece; None when it is damaged or another application's: it proves nothing here."""
    try:
        found = Evidence.model_validate(store.get_json(info.key))
    except (FaultError, ValidationError):
        return None
    if (found.app, found.environment) != (config.app, config.environment):
        return None
    if info.key != f"{EVIDENCE_PREFIX}{found.id}/{NAME}":
        return None
    return Stored(found, min(found.finished_at, info.modified))


def _known(found: Iterable[Stored | None]) -> list[Stored]:
    return [stored for stored in found if stored is not None]
