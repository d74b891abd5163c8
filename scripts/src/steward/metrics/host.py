"""What this host's own runs found, from the textfiles they wrote."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from steward.backup import report, verify_metrics
from steward.metrics import Metric, read
from steward.restore import textfile


@dataclass(frozen=True)
class HostFacts:
    """Moments are Unix times; None: not known."""

    #: The newest timeline as ``backup oplog`` last saw it: its first second, and the last of which is
    #: proven that the oplog held nothing before it that is not stored.
    proven_from: float | None = None
    proven_to: float | None = None
    #: When the last ``backup oplog`` ended, if it found a gap.
    gap_found_at: float | None = None
    #: When a restore was last compared and found equal; in the figures, also by a drill of another host.
    restored_at: float | None = None
    #: Why other hosts' drills are not known.
    drills_unknown: str = ""
    #: When stored backups were last verified and found good, and how many objects the last verification
    #: found missing, damaged or unlocked.
    verified_at: float | None = None
    damaged: float | None = None


def read_facts(folder: Path | None, app: str) -> HostFacts:
    """Read the textfiles; what is missing or damaged is not known.

    Args:
        folder: ``metrics.textfile_dir``.
        app: name of the application.
    """
    if folder is None:
        return HostFacts()
    samples = {
        (name, *sorted(labels.items())): value
        for file in (report.file_name(app), textfile.FILE, verify_metrics.file_name(app))
        for name, labels, value in read(folder / f"{file}.prom")
    }

    def value(metric: Metric, **labels: str) -> float | None:
        return samples.get((metric.name, *sorted({"app": app, **labels}.items())))

    return HostFacts(
        proven_from=value(report.RECOVERABLE_FROM),
        proven_to=value(report.RECOVERABLE_TO),
        gap_found_at=value(report.LAST_RUN, kind="oplog") if value(report.GAP) == 1 else None,
        restored_at=value(textfile.VERIFIED),
        verified_at=value(verify_metrics.LAST_SUCCESS),
        damaged=value(verify_metrics.DAMAGED),
    )
