"""What a long restore says of itself, and what the next estimate learns from it."""

from __future__ import annotations

from pathlib import Path

import pytest

from steward.config import Config, load
from steward.restore import rates, textfile
from steward.restore.progress import LINE_EVERY_S, Pace, progress


def _config(folder: Path) -> Config:
    path = folder / "steward.toml"
    path.write_text(
        f"""\
app = "bitesbay"
environment = "local"
state_dir = "{folder}"
[mongodb]
uri = "mongodb://localhost/"
[storage]
bucket = "backups"
region = "us-east-1"
[backup]
retention_days = {{ daily = 7, weekly = 28, monthly = 186, oplog = 8 }}
[metrics]
textfile_dir = "{folder}"
"""
    )
    return load(path)


@pytest.mark.parametrize(
    ("total", "unit", "done", "now", "line"),
    [
        (3 << 30, "bytes", 1 << 30, 50.0, "loading: 1.0 GiB of 3.0 GiB (33 %), 20.5 MiB/s, 1:40 left"),
        (900, "entries", 300, 10.0, "loading: 300 entries of 900 entries (33 %), 30 entries/s, 0:20 left"),
        (
            900,
            "entries",
            1000,
            10.0,
            "loading: 1000 entries of 900 entries (100 %), 100 entries/s, 0:00 left",
        ),
        (900, "entries", 0, 10.0, "loading: 0 entries of 900 entries (0 %)"),
        (0, "entries", 5, 10.0, "loading: 5 entries, 0.5 entries/s"),
        (900, "entries", 5, 0.0, "loading: 5 entries of 900 entries (0 %)"),
    ],
)
def test_the_line(total: int, unit: str, done: int, now: float, line: str) -> None:
    assert Pace("loading", total, unit, 0.0).line(done, now) == line


def test_without_a_terminal_a_line_comes_now_and_then(capsys: pytest.CaptureFixture[str]) -> None:
    now = 0.0
    with progress("loading", 1000, "entries", clock=lambda: now) as show:
        for second in range(100):
            now = float(second)
            show(second)
    said = capsys.readouterr()
    assert said.out == ""
    assert [line.split(" of ")[0] for line in said.err.splitlines()] == [
        f"steward: loading: {int(n * LINE_EVERY_S)} entries" for n in (1, 2, 3)
    ]


def test_with_json_nothing_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    now = 0.0
    with progress("loading", 1000, "entries", enabled=False, clock=lambda: now) as show:
        now = 1000.0
        show(5)
    assert capsys.readouterr().err == ""


def test_measured_rates_make_the_next_estimate(tmp_path: Path) -> None:
    config = _config(tmp_path)
    assert rates.measured(config, textfile.FILE) == rates.DEFAULT
    seconds = {"verify": 20.0, "load": 100.0, "replay": 9.9}
    found = rates.of_phases(
        seconds, raw_bytes=10**9, archive_bytes=8 * 10**8, documents=400_000, entries=10**6
    )
    assert found == {"check_mb_per_s": 50.0, "load_mb_per_s": 8.0, "load_documents_per_s": 4000.0}
    textfile.write(config, 130.0, found)
    textfile.write(config, 5.0)  # a short one says nothing about rates, and forgets none
    now = rates.measured(config, textfile.FILE)
    assert (now.check_mb_per_s, now.load_mb_per_s, now.load_documents_per_s) == (50.0, 8.0, 4000.0)
    assert now.replay_entries_per_s == rates.DEFAULT.replay_entries_per_s
    assert "loading 8 MB/s (measured)" in now.text
    assert "replaying 2000 entries/s," in now.text


@pytest.mark.parametrize("content", ["", "no metrics {", "steward_restore_check_megabytes_per_second 0\n"])
def test_a_file_that_says_nothing_leaves_the_cautious_rates(tmp_path: Path, content: str) -> None:
    (tmp_path / f"{textfile.FILE}.prom").write_text(content)
    assert rates.measured(_config(tmp_path), textfile.FILE) == rates.DEFAULT
