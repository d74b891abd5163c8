"""Prometheus metrics for the node exporter's textfile collector.

A file is replaced by rename, so that a scrape never sees half of it, and what
is not set again keeps its value: the last success survives a failed run.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Metric:
    """One gauge. The name carries its unit, as Prometheus asks for."""

    name: str
    help: str
    labels: tuple[str, ...] = ("app",)


#: Metric and the values of its labels -> value.
Values = Mapping[tuple[Metric, tuple[str, ...]], float]


def update(folder: Path, name: str, metrics: tuple[Metric, ...], values: Values) -> None:
    """Set values in ``<folder>/<name>.prom`` and keep the others.

    Args:
        name: the file's name without its ending.
        metrics: every metric the file may hold; an unknown one is dropped.
        values: what to set.

    Raises:
        OSError: the folder is missing or cannot be written.
    """
    from prometheus_client import CollectorRegistry, Gauge, generate_latest

    path = folder / f"{name}.prom"
    handle = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    try:
        # A full and a slice may end at the same moment.
        fcntl.flock(handle, fcntl.LOCK_EX)
        registry = CollectorRegistry()
        gauges = {m.name: Gauge(m.name, m.help, m.labels, registry=registry) for m in metrics}
        labels_of = {m.name: m.labels for m in metrics}
        for sample_name, labels, value in read(path):
            if set(labels) == set(labels_of.get(sample_name, ())):
                gauges[sample_name].labels(**labels).set(value)
        for (metric, label_values), value in values.items():
            gauges[metric.name].labels(*label_values).set(value)
        temporary = path.with_suffix(f".{os.getpid()}.tmp")
        try:
            temporary.unlink(missing_ok=True)
            # The folder may belong to another user than the one who writes: no link of theirs is followed.
            with temporary.open("xb") as file:
                os.fchmod(file.fileno(), 0o644)
                file.write(generate_latest(registry))
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)  # where the disk is full
    finally:
        os.close(handle)


def read(path: Path) -> list[tuple[str, dict[str, str], float]]:
    """Name, labels and value of each sample in a file; none if it is missing or damaged."""
    from prometheus_client.parser import text_string_to_metric_families

    try:
        families = list(text_string_to_metric_families(path.read_text(encoding="utf-8")))
    except (OSError, ValueError):
        return []
    return [(s.name, s.labels, s.value) for family in families for s in family.samples]
