"""The body of the dashboard follows CloudWatch's grammar and shows what it should."""

from __future__ import annotations

import itertools
import json
from typing import Any

import pytest

from infra.watch import Replica, Watched
from infra.watch import recoverability as rec
from infra.watch.dashboard import COLUMNS, body
from steward import cloudwatch_names as host
from tests.infra.conftest import stack_config

COPIED = Watched("store", "w", Replica("copy", "eu-central-1", "rule"))
WATCHED = [pytest.param(Watched("store"), id="alone"), pytest.param(COPIED, id="with a copy")]
ARNS = ["arn:aws:cloudwatch:us-east-1:123456789012:alarm:a"]


def widgets(watched: Watched) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(json.dumps(body(stack_config(), watched, ARNS)))["widgets"]
    return found


def graphs(watched: Watched) -> list[dict[str, Any]]:
    return [w["properties"] for w in widgets(watched) if w["type"] == "metric"]


def cells(widget: dict[str, Any]) -> set[tuple[int, int]]:
    columns = range(widget["x"], widget["x"] + widget["width"])
    rows = range(widget["y"], widget["y"] + widget["height"])
    return set(itertools.product(columns, rows))


@pytest.mark.parametrize("watched", WATCHED)
def test_widgets_lie_within_the_grid_and_beside_each_other(watched: Watched) -> None:
    taken: set[tuple[int, int]] = set()
    for widget in widgets(watched):
        own = cells(widget)
        assert own, widget
        assert all(0 <= x < COLUMNS and 0 <= y < 1000 for x, y in own)
        assert not own & taken, widget["properties"]["title"]
        taken |= own


@pytest.mark.parametrize("watched", WATCHED)
def test_metrics_are_written_as_cloudwatch_reads_them(watched: Watched) -> None:
    for properties in graphs(watched):
        assert properties["region"]
        assert properties["view"] in ("timeSeries", "singleValue", "gauge", "bar", "pie")
        for metric in properties["metrics"]:
            *names, settings = metric
            assert len(names) >= 2, "namespace and name come first"
            assert len(names) % 2 == 0, "dimensions are pairs"
            assert all(isinstance(part, str) and part for part in names)
            assert set(settings) <= {"stat", "period", "label", "id", "expression", "region"}
            assert settings["period"] % 60 == 0
        for line in properties.get("annotations", {}).get("horizontal", []):
            assert set(line) == {"value", "label"}


def test_every_limit_is_a_line_in_its_graph() -> None:
    backup = stack_config().app.backup
    lines = {}
    for properties in graphs(Watched("store")):
        for line in properties.get("annotations", {}).get("horizontal", []):
            lines[tuple(properties["metrics"][0][1:-1])] = line["value"]
    own = ("App", "bitesbay")
    where = ("Environment", "local")
    for full_class in rec.FULL_CLASSES:
        key = (host.BACKUP_AGE_SECONDS, *own, "Class", full_class, *where)
        assert lines[key] == rec.age_limit(backup, full_class)
    assert lines[host.RECOVERABLE_LAG_SECONDS, *own, *where] == rec.lag_limit(backup)
    assert lines[host.OPLOG_GAPS, *own, *where] == 0
    assert lines[host.DRILL_AGE_SECONDS, *own, *where] == rec.drill_age_limit(backup)
    assert lines[host.VERIFY_AGE_SECONDS, *own, *where] == rec.verify_age_limit()
    assert lines[host.DAMAGED_OBJECTS, *own, *where] == 0


def test_the_copy_is_shown_where_its_metric_is() -> None:
    late = [p for p in graphs(COPIED) if p["metrics"][0][1] == "ReplicationLatency"]
    assert [p["region"] for p in late] == ["eu-central-1"]


def test_the_store_is_shown_by_size_and_number() -> None:
    shown = [p["metrics"][0][1:-1] for p in graphs(Watched("store"))]
    assert ["BucketSizeBytes", "BucketName", "store", "StorageType", "StandardStorage"] in shown
    assert ["NumberOfObjects", "BucketName", "store", "StorageType", "AllStorageTypes"] in shown
