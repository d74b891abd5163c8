"""How fast a restore is: cautious rates, and better ones from the last measured restore."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace

from steward.config import Config
from steward.metrics import Metric, read
from steward.output import rate_text

#: Index builds take about this part of the time of the load.
INDEX_SHARE = 0.3
#: A shorter phase measures its start, not its rate. Seconds.
MEASURABLE_S = 10.0


@dataclass(frozen=True)
class Rates:
    """Rates of the phases; MB are 10**6 bytes. The values are from below: a small host, gp3 disks."""

    check_mb_per_s: float = 100.0
    load_mb_per_s: float = 20.0
    load_documents_per_s: float = 5000.0
    replay_entries_per_s: float = 2000.0
    #: Names of those that were measured on this host.
    measured: frozenset[str] = frozenset()

    @property
    def text(self) -> str:
        """The basis of an estimate, in words."""

        def told(name: str, unit: str) -> str:
            mark = " (measured)" if name in self.measured else ""
            return f"{rate_text(getattr(self, name))} {unit}{mark}"

        return (
            f"checking {told('check_mb_per_s', 'MB/s')}, loading {told('load_mb_per_s', 'MB/s')} or"
            f" {told('load_documents_per_s', 'documents/s')},"
            f" replaying {told('replay_entries_per_s', 'entries/s')},"
            f" indexes {INDEX_SHARE:.0%} of the load; the report of a run holds the measured times"
        )


DEFAULT = Rates()

#: One gauge a rate, kept in the textfile of restores.
METRICS: Mapping[str, Metric] = {
    item.name: Metric(
        f"steward_restore_{item.name.replace('_mb_per_s', '_megabytes').replace('_per_s', '')}_per_second",
        "Rate of a phase of the last restore that was long enough to measure it.",
    )
    for item in fields(Rates)
    if item.name != "measured"
}


def measured(config: Config, file: str) -> Rates:
    """The rates of the last restores of this host; the cautious ones where there is none.

    Args:
        file: name of the textfile, without its ending.
    """
    folder = config.metrics.textfile_dir
    samples = read(folder / f"{file}.prom") if folder is not None else []
    found = {name: v for name, labels, v in samples if labels.get("app") == config.app and v > 0}
    known = {field: found[metric.name] for field, metric in METRICS.items() if metric.name in found}
    return replace(DEFAULT, **known, measured=frozenset(known))


def of_phases(
    seconds: Mapping[str, float], *, raw_bytes: int, archive_bytes: int, documents: int, entries: int
) -> dict[str, float]:
    """The rates of a restore of whole databases, of the phases that were long enough.

    Args:
        seconds: by phase, as in the report of a run.
        raw_bytes: all that was read, decompressed.
        archive_bytes: the dump, decompressed.
    """
    amounts = {
        "check_mb_per_s": ("verify", raw_bytes / 1e6),
        "load_mb_per_s": ("load", archive_bytes / 1e6),
        "load_documents_per_s": ("load", float(documents)),
        "replay_entries_per_s": ("replay", float(entries)),
    }
    return {
        name: amount / seconds[phase]
        for name, (phase, amount) in amounts.items()
        if seconds.get(phase, 0.0) >= MEASURABLE_S and amount > 0
    }
