"""The metrics of ``steward logs``."""

from __future__ import annotations

import time

from steward.logs.archive import ArchiveReport
from steward.logs.settings import LogsConfig
from steward.logs.usage import Usage
from steward.metrics import Metric, Values, update
from steward.output import note

ARCHIVE_SUCCESS = Metric(
    "steward_logs_archive_last_success_timestamp_seconds",
    "Unix time of the last run of logs archive that came to its end without an error.",
)
ARCHIVED = Metric("steward_logs_archived_bytes", "Bytes that the last logs archive took from the disk.")
OVERDUE = Metric(
    "steward_logs_overdue_files", "Rotated logs that should have been archived by now.", ("app", "source")
)
BYTES = Metric("steward_logs_bytes", "Bytes of logs.", ("app", "source"))
USED = Metric("steward_logs_disk_used_ratio", "Part of a disk that is used, 0 to 1.", ("app", "path"))
FULL_IN = Metric(
    "steward_logs_disk_full_in_seconds",
    "Seconds until a disk is full if it grows on; +Inf when it does not, or that is not known yet.",
    ("app", "path"),
)
_ALL = (ARCHIVE_SUCCESS, ARCHIVED, OVERDUE, BYTES, USED, FULL_IN)


def archived(config: LogsConfig, report: ArchiveReport) -> None:
    """Note a run of ``logs archive`` that came to its end."""
    values: dict[tuple[Metric, tuple[str, ...]], float] = {(ARCHIVED, (config.app,)): report.size}
    if not report.failed:
        values[ARCHIVE_SUCCESS, (config.app,)] = time.time()
    _write(config, values)


def measured(config: LogsConfig, found: Usage) -> None:
    """Note a run of ``logs usage``."""
    values: dict[tuple[Metric, tuple[str, ...]], float] = {}
    for source in found.sources:
        values[BYTES, (config.app, source.name)] = source.size
        values[OVERDUE, (config.app, source.name)] = source.overdue
    for disk in found.disks:
        values[USED, (config.app, disk.path)] = disk.used_percent / 100
        days = disk.full_in_days
        values[FULL_IN, (config.app, disk.path)] = float("inf") if days is None else days * 86_400
    _write(config, values)


def _write(config: LogsConfig, values: Values) -> None:
    folder = config.metrics.textfile_dir
    if folder is None:
        return
    try:
        update(folder, f"steward_logs_{config.app}", _ALL, values)
    except OSError as error:
        note(f"{folder}: metrics cannot be written, check metrics.textfile_dir: {error.strerror}")
