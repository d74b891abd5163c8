"""The metrics of a restore that was compared and found good."""

from __future__ import annotations

import time
from collections.abc import Mapping

from steward.config import Config
from steward.metrics import Metric, update
from steward.output import note
from steward.restore.rates import METRICS

#: Name of the file, without its ending.
FILE = "steward_restore"
VERIFIED = Metric(
    "steward_restore_last_verified_timestamp_seconds",
    "When a restore was last compared with its backup and found equal (Unix time).",
)
DURATION = Metric("steward_restore_duration_seconds", "How long that restore took.")


def write(config: Config, seconds: float, rates: Mapping[str, float] | None = None) -> None:
    """Note a restore that was found good now; a folder that cannot be written is told, the restore stands.

    Args:
        seconds: how long it took.
        rates: what :func:`steward.restore.rates.of_phases` has measured, for the next estimate.
    """
    folder = config.metrics.textfile_dir
    if folder is None:
        return
    labels: tuple[str, ...] = (config.app,)
    values: dict[tuple[Metric, tuple[str, ...]], float] = {
        (VERIFIED, labels): time.time(),
        (DURATION, labels): seconds,
    }
    values |= {(METRICS[name], labels): value for name, value in (rates or {}).items()}
    try:
        update(folder, FILE, (VERIFIED, DURATION, *METRICS.values()), values)
    except OSError as error:
        note(f"{folder}: metrics not written: {error.strerror}")
