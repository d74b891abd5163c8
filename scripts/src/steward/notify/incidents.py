"""One message an incident: a job that fails every hour for the same reason says so once.

What was told, by whom, and since when stands in ``<state_dir>/incident-<job>.json``. A channel counts as
told only once it took the message, so a mail server that is down too is tried again at the next run. A
state that cannot be read is none: rather a second message than silence.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from steward.manifest import rfc3339
from steward.notify import Message
from steward.notify.channels import Channel, DeliveryError
from steward.output import note

#: Reasons remembered for one incident; after as many different ones nothing new is told.
MAX_REASONS = 20
MakeMessage = Callable[[Literal["failed", "recovered"], str], Message]


class Incident(BaseModel):
    """What is known of a job that fails."""

    model_config = ConfigDict(extra="forbid")

    since: str
    #: Channel -> reasons that it was told.
    told: dict[str, list[str]] = {}


def kind_of(reason: str) -> str:
    """A reason without what differs from run to run: ids, times, sizes, ports."""
    return re.sub(r"\b[0-9a-f]*\d[0-9a-f]*\b|\d+", "#", reason, flags=re.IGNORECASE)


def failed(path: Path, ways: Sequence[Channel], make: MakeMessage, reason: str) -> None:
    """A run failed: tell it where it was not told yet.

    Args:
        path: the job's state.
    """
    if not ways:
        return
    incident = _read(path) or Incident(since=rfc3339(datetime.now(UTC)))
    kind = kind_of(reason)
    for way in ways:
        told = incident.told.setdefault(way.name, [])
        if kind not in told and len(told) < MAX_REASONS and _send(way, make("failed", reason)):
            told.append(kind)
    _write(path, incident)


def recovered(path: Path, ways: Sequence[Channel], make: MakeMessage) -> None:
    """A run ended well: tell those who know of an incident that it is over."""
    incident = _read(path)
    if incident is None:
        return
    for way in ways:
        if incident.told.get(way.name) and _send(
            way, make("recovered", f"it works again; it had failed since {incident.since}")
        ):
            del incident.told[way.name]
    names = {way.name for way in ways}
    if any(reasons for name, reasons in incident.told.items() if name in names):
        _write(path, incident)
    else:
        path.unlink(missing_ok=True)


def _send(way: Channel, message: Message) -> bool:
    try:
        way.send(message)
    except DeliveryError as error:
        note(f"the message by {way.name} did not arrive: {error}")
        return False
    return True


def _read(path: Path) -> Incident | None:
    try:
        return Incident.model_validate(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, ValidationError):
        return None


def _write(path: Path, incident: Incident) -> None:
    temporary = path.with_suffix(f".{os.getpid()}.tmp")
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        temporary.write_text(incident.model_dump_json(), encoding="utf-8")
        temporary.replace(path)
    except OSError as error:
        with contextlib.suppress(OSError):
            temporary.unlink()
        note(f"{path}: cannot be written, so the same message may come again: {error.strerror}")
