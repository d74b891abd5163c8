"""The body of a stack's dashboard: what can be restored, what lies in the store, what is alarming.

Grammar: CloudWatch API reference, "Dashboard body structure and syntax". The grid has 24
columns; a metric is a list of namespace, name, dimension names and values, then its settings.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from infra.config import StackConfig
from infra.watch import DAY, HOUR, MINUTE, Alarm, Metric, Watched
from infra.watch.alarms import STORAGE_TYPE, store_alarms
from infra.watch.recoverability import FULL_CLASSES, age_alarms, recoverability, verification

#: Columns of the grid, and what one row of widgets is made of here.
COLUMNS = 24
WIDTH, HEIGHT, ALARMS_HEIGHT = 8, 6, 4

Widget = dict[str, Any]


def body(stack: StackConfig, watched: Watched, alarm_arns: Sequence[str]) -> dict[str, Any]:
    """The dashboard of a stack.

    Args:
        stack: what the stack is about.
        watched: what its alarms look at.
        alarm_arns: every alarm of the stack.
    """
    alarms: Widget = {
        "type": "alarm",
        "x": 0,
        "y": 0,
        "width": COLUMNS,
        "height": ALARMS_HEIGHT,
        "properties": {"title": f"Alarms of {stack.name}", "alarms": list(alarm_arns)},
    }
    graphs = [*_recoverability(stack), *_store(stack, watched)]
    per_row = COLUMNS // WIDTH
    for index, widget in enumerate(graphs):
        widget |= {
            "x": index % per_row * WIDTH,
            "y": ALARMS_HEIGHT + index // per_row * HEIGHT,
            "width": WIDTH,
            "height": HEIGHT,
        }
    return {"start": "-P7D", "widgets": [alarms, *graphs]}


def _recoverability(stack: StackConfig) -> list[Widget]:
    ages = age_alarms(stack)
    parts, _ = recoverability(stack, ages["daily"])
    titles = {
        "recoverable-lag": "Lag of the newest restorable moment (s)",
        "oplog-gaps": "Gaps since the newest full",
        "drill-age": "Age of the last proven restore (s)",
        "verify-age": "Age of the last good verification (s)",
        "stored-damage": "Missing, damaged or unlocked objects",
    }
    return [
        *(_limited(stack, f"Age of the {c} full (s)", ages[c]) for c in FULL_CLASSES),
        *(_limited(stack, titles[alarm.name], alarm) for alarm in (*parts, *verification(stack))),
    ]


def _store(stack: StackConfig, watched: Watched) -> list[Widget]:
    def storage(name: str, storage_type: str) -> Metric:
        dimensions = {"BucketName": watched.bucket, "StorageType": storage_type}
        return Metric("AWS/S3", name, dimensions, "Average", DAY)

    widgets = [
        _graph(stack.region, "Bytes in the store", [storage("BucketSizeBytes", STORAGE_TYPE)]),
        _graph(stack.region, "Objects in the store", [storage("NumberOfObjects", "AllStorageTypes")]),
    ]
    late = next((a for a in store_alarms(stack, watched) if a.name == "replication-late"), None)
    if late:
        widgets.append(_limited(stack, "Second copy: behind by (s)", late))
    return widgets


def _limited(stack: StackConfig, title: str, alarm: Alarm) -> Widget:
    """A graph of an alarm's metric with the line that it must not cross."""
    widget = _graph(alarm.region or stack.region, title, list(alarm.metrics.values()))
    label = f"limit {_readable(alarm.threshold)}"
    widget["properties"]["annotations"] = {"horizontal": [{"value": alarm.threshold, "label": label}]}
    return widget


def _graph(region: str, title: str, metrics: Sequence[Metric]) -> Widget:
    return {
        "type": "metric",
        "properties": {
            "title": title,
            "region": region,
            "view": "timeSeries",
            "yAxis": {"left": {"min": 0}},
            "metrics": [
                [
                    m.namespace,
                    m.name,
                    *(part for pair in sorted(m.dimensions.items()) for part in pair),
                    {"stat": m.statistic, "period": m.period},
                ]
                for m in metrics
            ],
        },
    }


def _readable(seconds: float) -> str:
    """A limit in the largest unit that keeps it short; counts stay as they are."""
    for unit, name in ((DAY, "d"), (HOUR, "h"), (MINUTE, "min")):
        if seconds >= unit:
            return f"{seconds / unit:.3g} {name}"
    return f"{seconds:g}"
