"""The metrics of ``backup verify --deep``.

The last success stays as it was when something is wrong or not known, so an alert on its age also fires
when runs fail or do not happen at all. The number of damaged objects stays as it was when nothing was found
but not everything was answered for: a store that is out of reach mends nothing.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from steward.metrics import Metric, update
from steward.output import note

if TYPE_CHECKING:
    from steward.backup.verification import Verification
    from steward.config import Config

LAST_SUCCESS = Metric(
    "steward_verify_last_success_timestamp_seconds",
    "Unix time at which stored backups were last verified, and nothing was wrong or not known.",
)
DAMAGED = Metric(
    "steward_verify_damaged_objects", "Objects that the last verification found missing, damaged or unlocked."
)
BYTES = Metric("steward_verify_bytes", "Stored bytes that the last verification read.")


def file_name(app: str) -> str:
    """Name of the textfile, without its ending."""
    return f"steward_verify_{app}"


def write(config: Config, found: Verification) -> None:
    """Note a run; a folder that cannot be written is told, what was found stands."""
    folder = config.metrics.textfile_dir
    if folder is None:
        return
    labels: tuple[str, ...] = (config.app,)
    values: dict[tuple[Metric, tuple[str, ...]], float] = {(BYTES, labels): found.bytes_read}
    if found.findings or not found.unknown:
        values[DAMAGED, labels] = len({finding.key for finding in found.findings})
    if not found.findings and not found.unknown:
        values[LAST_SUCCESS, labels] = time.time()
    try:
        update(folder, file_name(config.app), (LAST_SUCCESS, DAMAGED, BYTES), values)
    except OSError as error:
        note(f"{folder}: metrics cannot be written, check metrics.textfile_dir: {error.strerror}")
