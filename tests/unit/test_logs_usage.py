"""``steward logs usage``: growth, when a disk will be full, and what is told of it."""

from __future__ import annotations

import json
import os
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from steward import cli
from steward.logs.files import day_of, find
from steward.logs.settings import LogsConfig, Source, UsageSettings, load
from steward.logs.usage import DAY_S, HISTORY_S, Disk, Note, growth_per_day, measure
from steward.metrics import read

NOW = 1_800_000_000.0
LIMITS = UsageSettings()


@pytest.fixture
def config(tmp_path: Path) -> LogsConfig:
    """Two programs on one disk."""
    for name in ("api", "nginx"):
        (tmp_path / name).mkdir()
    path = tmp_path / "logs.toml"
    path.write_text(
        f"""
app = "bitesbay"
environment = "local"
host = "app1"
state_dir = "{tmp_path}/state"
[[source]]
name = "api"
paths = ["{tmp_path}/api/*", "{tmp_path}/api/*.log"]
[[source]]
name = "nginx"
paths = ["{tmp_path}/nginx/*", "{tmp_path}/none/*"]
[archive]
older_than_days = 30
[archive.storage]
bucket = "logs-bucket"
region = "us-east-1"
[metrics]
textfile_dir = "{tmp_path}"
"""
    )
    return load(path, None)


@given(
    st.lists(st.integers(0, 13 * 86_400), min_size=2, max_size=400, unique=True),
    st.integers(-(10**9), 10**9),
)
def test_an_even_growth_is_found_whenever_it_was_looked_at(seconds: list[int], per_day: int) -> None:
    found = growth_per_day(Note(NOW + s, 10**13 + round(per_day * s / DAY_S)) for s in seconds)
    if max(seconds) - min(seconds) < DAY_S:
        assert found is None
    else:
        assert found == pytest.approx(per_day, abs=max(4.0, DAY_S / 8), rel=1e-6)


def test_a_daily_clean_up_and_one_large_file_do_not_hide_the_growth() -> None:
    notes = []
    for hour in range(14 * 24):
        used = (
            10**10 + hour * 10**8 // 24 + (hour % 24) * 5 * 10**7
        )  # grows by 100 MB a day, breathes by 1.2 GB
        if 200 <= hour < 206:
            used += 5 * 10**9
        notes.append(Note(NOW + hour * 3600, used))
    assert growth_per_day(notes) == pytest.approx(10**8, rel=0.5)


@pytest.mark.parametrize(
    ("used", "growth", "inodes", "state", "reason"),
    [
        (79, None, 0.0, "ok", None),
        (80, None, 0.0, "warning", "/x: 80 % used"),
        (90, None, 0.0, "critical", "/x: 90 % used"),
        (10, None, 95.0, "critical", "/x: 95 % of the inodes used"),
        (50, 10.0, 0.0, "warning", "/x: full in 5.0 days"),
        (50, 60.0, 0.0, "critical", "/x: full in 0.8 days"),
        (50, 7.0, 0.0, "ok", None),
        (50, -60.0, 0.0, "ok", None),
    ],
)
def test_what_a_disk_is_worth(
    used: int, growth: float | None, inodes: float, state: str, reason: str | None
) -> None:
    # 20 of 120 are kept for root: what users can have is 100.
    disk = Disk("/x", 120, used, 100 - used, inodes, growth)
    found, reasons = disk.problems(LIMITS)
    assert found == state
    assert [f"/x: {r}" for r in reasons] == ([reason] if reason else [])


def test_sources_and_disks_are_counted_once(config: LogsConfig, tmp_path: Path) -> None:
    old = f"{datetime.now(UTC).date() - timedelta(days=40):%Y%m%d}"
    (tmp_path / "api" / "api.log").write_bytes(bytes(100))
    (tmp_path / "api" / f"api.log-{old}").write_bytes(bytes(50))
    (tmp_path / "nginx" / "access.log").write_bytes(bytes(7))
    (tmp_path / "nginx" / "link").symlink_to(tmp_path / "api" / "api.log")
    found = measure(config, {"api": 1}).to_json()
    assert found["sources"] == [
        {"name": "api", "files": 2, "bytes": 150, "overdue": 1},
        {"name": "nginx", "files": 1, "bytes": 7, "overdue": 0},
    ]
    [disk] = found["disks"]
    facts = os.statvfs(tmp_path)
    assert disk["total_bytes"] == facts.f_blocks * facts.f_frsize
    assert disk["growth_bytes_per_day"] is None


def test_the_growth_comes_from_earlier_runs_whatever_else_the_file_holds(
    config: LogsConfig, tmp_path: Path
) -> None:
    measure(config, {}, NOW - 2 * DAY_S)
    path = next((tmp_path / "state").iterdir())
    folder = str(tmp_path / "api")
    used = json.loads(path.read_text())["used"][folder]
    lines = [
        {"at": NOW - HISTORY_S - 1, "used": {folder: 0}},  # too long ago
        {"at": NOW - 2 * DAY_S, "used": {folder: used - 2 * 10**9}},
        {"at": NOW - DAY_S, "used": {folder: used - 10**9}},
        {"at": NOW + 99, "used": {folder: 0}},  # the clock was ahead
        {"at": "x"},
    ]
    path.write_text('{"at": 1\n[]\n' + "".join(json.dumps(line) + "\n" for line in lines))
    [disk] = measure(config, {}, NOW).disks
    assert disk.growth_per_day == pytest.approx(10**9, rel=0.2)
    assert disk.full_in_days == pytest.approx(disk.free / 10**9, rel=0.3)
    assert len(path.read_text().splitlines()) == 3


def test_the_command_tells_and_ends_with_3(
    config: LogsConfig, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "logs.toml"
    arguments = ["logs", "usage", "--logs-config", str(file)]
    text = file.read_text()
    file.write_text(
        text.replace("[metrics]", "[usage]\nwarn_percent = 99\ncritical_percent = 100\n[metrics]")
    )
    assert cli.main(arguments) == 0
    shown = capsys.readouterr().out
    assert "not known yet" in shown
    assert "nginx" in shown
    file.write_text(text.replace("[metrics]", "[usage]\nwarn_percent = 1\n[metrics]"))
    old = f"{datetime.now(UTC).date() - timedelta(days=33):%Y%m%d}"
    (tmp_path / "api" / f"api.log-{old}").touch()
    assert cli.main([*arguments, "--json"]) == 3
    out, err = capsys.readouterr()
    assert json.loads(out)["state"] in ("warning", "critical")
    assert err.startswith("steward: ")
    assert " % used" in err
    samples = {
        (n, tuple(labels.values())): v for n, labels, v in read(tmp_path / "steward_logs_bitesbay.prom")
    }
    assert samples["steward_logs_overdue_files", ("bitesbay", "api")] == 1
    assert samples["steward_logs_disk_full_in_seconds", ("bitesbay", str(tmp_path / "api"))] == float("inf")


def test_a_state_folder_that_cannot_be_written_hides_nothing(
    config: LogsConfig, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "state").write_text("no folder")
    assert measure(config, {}, time.time()).disks
    assert "the growth cannot be noted" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("name", "day"),
    [
        ("api.log-20261027", "2026-10-27"),
        ("api.log-20261027.gz", "2026-10-27"),
        ("access-2026-10-27.log", "2026-10-27"),
        ("api.log-20261027-1793059200.gz", "2026-10-27"),
        ("v20250101-api.log-20261027", "2026-10-27"),
        ("api.log", None),
        ("api.log.3.gz", None),
        ("api.log-20261340", None),
        ("api.log-120261027", None),
    ],
)
def test_the_day_of_a_rotated_file_is_in_its_name(name: str, day: str | None) -> None:
    assert str(day_of(name)) == str(day)


def test_a_folder_that_cannot_be_read_is_told_and_one_that_is_not_there_is_not(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert list(find([Source(name="x", paths=[f"{tmp_path}/none/*"])])) == []
    with pytest.raises(Exception, match="file: cannot be read: Not a directory"):
        list(find([Source(name="x", paths=[f"{tmp_path}/file/*"])]))
