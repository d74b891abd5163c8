"""The metrics of drills."""

from __future__ import annotations

import time

from steward.config import Config
from steward.metrics import Metric, update
from steward.output import note

LAST_RUN = Metric(
    "steward_drill_last_run_timestamp_seconds", "Unix time at which the last drill ended, well or not."
)
LAST_RUN_OK = Metric("steward_drill_last_run_success", "1 if the last drill proved its backup, else 0.")
DURATION = Metric(
    "steward_drill_duration_seconds", "How long the last drill took, from its choice to its end."
)
ALL = (LAST_RUN, LAST_RUN_OK, DURATION)


def file_name(app: str) -> str:
    """Name of the textfile, without its ending."""
    return f"steward_drill_{app}"


def write(config: Config, *, good: bool, seconds: float) -> None:
    """Note how a drill ended; a folder that cannot be written is told, the drill stands."""
    folder = config.metrics.textfile_dir
    if folder is None:
        return
    labels = (config.app,)
    values: dict[tuple[Metric, tuple[str, ...]], float] = {
        (LAST_RUN, labels): time.time(),
        (LAST_RUN_OK, labels): float(good),
        (DURATION, labels): seconds,
    }
    try:
        update(folder, file_name(config.app), ALL, values)
    except OSError as error:
        note(f"{folder}: metrics cannot be written, check metrics.textfile_dir: {error.strerror}")
