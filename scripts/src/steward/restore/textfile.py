"""The metrics of a restore that was compared and found good."""

from __future__ import annotations

import time

from steward.config import Config
from steward.metrics import Metric, update
from steward.output import note

#: Name of the file, without its ending.
FILE = "steward_restore"
VERIFIED = Metric(
    "steward_restore_last_verified_timestamp_seconds",
    "When a restore was last compared with its backup and found equal (Unix time).",
)
DURATION = Metric("steward_restore_duration_seconds", "How long that restore took.")


def write(config: Config, seconds: float) -> None:
    """Note a restore that was found good now; a folder that cannot be written is told, the restore stands.

    Args:
        seconds: how long it took.
    """
    folder = config.metrics.textfile_dir
    if folder is None:
        return
    labels: tuple[str, ...] = (config.app,)
    values: dict[tuple[Metric, tuple[str, ...]], float] = {
        (VERIFIED, labels): time.time(),
        (DURATION, labels): seconds,
    }
    try:
        update(folder, FILE, (VERIFIED, DURATION), values)
    except OSError as error:
        note(f"{folder}: metrics not written: {error.strerror}")
