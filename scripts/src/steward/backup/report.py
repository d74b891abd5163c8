"""The metrics of backups.

They are set on success; on failure the last success stays as it was, and only
the outcome of the last run changes. An alert on the age of the last success
therefore also fires when runs fail, or do not happen at all.
"""

from __future__ import annotations

import time

from steward.backup.timeline import Coverage
from steward.config import Config
from steward.manifest import Manifest, OplogTime
from steward.metrics import Metric, update
from steward.output import note

LAST_SUCCESS = Metric(
    "steward_backup_last_success_timestamp_seconds",
    "Unix time at which the last good backup of this kind was finished.",
    ("app", "kind"),
)
LAST_RUN = Metric(
    "steward_backup_last_run_timestamp_seconds",
    "Unix time at which the last run of this kind ended, well or not.",
    ("app", "kind"),
)
LAST_RUN_OK = Metric(
    "steward_backup_last_run_success", "1 if the last run of this kind ended well, else 0.", ("app", "kind")
)
SIZE = Metric(
    "steward_backup_size_bytes", "Stored size of the last good backup of this kind.", ("app", "kind")
)
DURATION = Metric(
    "steward_backup_duration_seconds", "Duration of the last good backup of this kind.", ("app", "kind")
)
GAP = Metric(
    "steward_oplog_gap", "1 if the last run found the oplog no longer continuing the stored slices, else 0."
)
RECOVERABLE_FROM = Metric(
    "steward_recoverable_from_timestamp_seconds",
    "First second (Unix time) of the newest timeline that can be restored.",
)
RECOVERABLE_TO = Metric(
    "steward_recoverable_to_timestamp_seconds",
    "Last second (Unix time) of the newest timeline that can be restored.",
)
ALL = (LAST_SUCCESS, LAST_RUN, LAST_RUN_OK, SIZE, DURATION, GAP, RECOVERABLE_FROM, RECOVERABLE_TO)


def file_name(app: str) -> str:
    """Name of the textfile, without its ending."""
    return f"steward_backup_{app}"


class Report:
    """Collects values during a run; :meth:`write` puts them into the textfile."""

    def __init__(self, config: Config) -> None:
        self._config = config
        self._values: dict[tuple[Metric, tuple[str, ...]], float] = {}

    def success(self, kind: str, manifest: Manifest | None) -> None:
        """A run ended well; without a manifest there was nothing new to store."""
        labels = (self._config.app, kind)
        self._values[LAST_SUCCESS, labels] = time.time()
        self._outcome(kind, good=True)
        if manifest is not None:
            self._values[SIZE, labels] = manifest.object.size
            elapsed = manifest.finished_at - manifest.started_at
            self._values[DURATION, labels] = elapsed.total_seconds()

    def failure(self, kind: str) -> None:
        """A run failed."""
        self._outcome(kind, good=False)

    def gap(self, found: bool) -> None:
        """The chain of slices is broken, or proven to be whole."""
        self._values[GAP, (self._config.app,)] = float(found)

    def coverage(self, coverage: Coverage, proven_to: OplogTime | None = None) -> None:
        """What can be restored now.

        Args:
            proven_to: the oplog was read up to here and held nothing that is not stored.
        """
        if not coverage.timelines:
            return
        newest = coverage.timelines[-1]
        labels = (self._config.app,)
        self._values[RECOVERABLE_FROM, labels] = newest.first
        last = max(newest.last, proven_to.whole_second()) if proven_to else newest.last
        self._values[RECOVERABLE_TO, labels] = last

    def _outcome(self, kind: str, *, good: bool) -> None:
        labels = (self._config.app, kind)
        self._values[LAST_RUN, labels] = time.time()
        self._values[LAST_RUN_OK, labels] = float(good)

    def write(self) -> None:
        """Write the textfile; a folder that cannot be written is noted, the backup stands."""
        folder = self._config.metrics.textfile_dir
        if folder is None:
            return
        try:
            update(folder, file_name(self._config.app), ALL, self._values)
        except OSError as error:
            note(f"{folder}: metrics cannot be written, check metrics.textfile_dir: {error.strerror}")
