"""Which point a drill restores. Pure."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from datetime import UTC, date, datetime, time

from steward.errors import StewardError
from steward.manifest import Manifest
from steward.restore.chain import Range, points


def random_second(manifests: Iterable[Manifest], day: date, app: str) -> int:
    """A second (Unix time) that can be restored, the same one for a whole day.

    First a full, then a second for which it is the base: so the few weekly and monthly points are
    drilled as often as the many daily ones. What was stored on the day itself is left out
    while there is anything older, or each new slice would change the choice.

    Args:
        app: two applications do not choose alike.

    Raises:
        StewardError: nothing can be restored.
    """
    everything = points(manifests)
    midnight = int(datetime.combine(day, time(), UTC).timestamp())
    before = [Range(r.base, r.first, min(r.last, midnight - 1)) for r in everything if r.first < midnight]
    choices = before or everything
    if not choices:
        raise StewardError("nothing can be restored yet: run `steward backup full` first")
    # By the highest number of each, so that a full that expires changes nothing for the others.
    chosen = max(choices, key=lambda r: _number(day, app, r.base.id))
    return chosen.first + _number(day, app, "second") % (chosen.last - chosen.first + 1)


def _number(day: date, app: str, what: str) -> int:
    return int.from_bytes(hashlib.sha256(f"{day.isoformat()} {app} {what}".encode()).digest())
