"""steward.backup.due: everything is read once a month, about the same amount each day."""

from __future__ import annotations

import itertools
from collections import Counter
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from steward.backup.due import ReadLog, is_due, turn

START = date(2026, 11, 22)
IDS = st.from_regex(r"\A2026112[0-9]T[0-9]{6}Z-[0-9a-f]{6}\Z")
EVERY = st.integers(1, 92)


def reads(backup_id: str, every_days: int, days: list[date]) -> list[date]:
    """The days on which a backup is read that is there from the first of ``days`` on; one run a day."""
    found: list[date] = []
    for today in days:
        if is_due(backup_id, found[-1] if found else None, today, every_days):
            found.append(today)
    return found


def run_days(count: int) -> list[date]:
    return [START + timedelta(days=n) for n in range(count)]


@given(IDS, EVERY, st.integers(0, 200))
def test_every_window_has_a_read(backup_id: str, every_days: int, offset: int) -> None:
    """Over any N consecutive days each backup that exists throughout is read at least once."""
    found = reads(backup_id, every_days, run_days(offset + every_days))
    assert any(day >= START + timedelta(days=offset) for day in found)


@given(IDS, EVERY)
def test_a_new_backup_is_read_by_the_next_run_and_then_once_a_round(backup_id: str, every_days: int) -> None:
    found = reads(backup_id, every_days, run_days(4 * every_days))
    assert found[0] == START
    gaps = [(b - a).days for a, b in itertools.pairwise(found[1:])]
    assert set(gaps) <= {every_days}
    assert len(found) <= 5


@given(IDS, EVERY, st.sets(st.integers(0, 300), min_size=2))
def test_a_missed_day_is_caught_up_by_the_next_run(backup_id: str, every_days: int, ran: set[int]) -> None:
    """Whatever days were missed: after a run, no turn that has passed is unread."""
    days = [START + timedelta(days=n) for n in sorted(ran)]
    found = reads(backup_id, every_days, days)
    for today in days:
        last = max(day for day in found if day <= today)
        turns = [last + timedelta(days=n) for n in range(1, (today - last).days + 1)]
        assert not any(day.toordinal() % every_days == turn(backup_id, every_days) for day in turns)


def test_the_load_of_a_day_is_about_even() -> None:
    """A month of hourly slices and daily fulls: no day reads twice as much as the average."""
    first = datetime(2026, 11, 1, tzinfo=UTC)
    ids = [f"{first + timedelta(minutes=30 * n):%Y%m%dT%H%M%SZ}-{n:06x}" for n in range(31 * 48)]
    load = Counter(turn(i, 31) for i in ids)
    assert set(load) == set(range(31))
    assert max(load.values()) < 2 * len(ids) / 31


def test_what_was_read_is_remembered_and_what_is_gone_forgotten(tmp_path: Path) -> None:
    path = tmp_path / "verify.json"
    log = ReadLog(path)
    assert log.due(["a", "b"], START, 31) == ["a", "b"]
    log.good("a", START)
    again = ReadLog(path)
    assert again.due(["a", "b"], START, 31) == ["b"]
    assert again.due(["b"], START, 31) == ["b"]
    again.good("b", START)
    assert '"a"' not in path.read_text()
    assert list(tmp_path.iterdir()) == [path], "nothing temporary stays"


@pytest.mark.parametrize(
    "content", ["", "{", "[]", '{"read": []}', '{"read": {"a": "today"}}', '{"read": {"a": 1}}', "\0"]
)
def test_a_damaged_file_only_causes_more_reading(
    tmp_path: Path, content: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "verify.json"
    path.write_text(content)
    assert ReadLog(path).due(["a"], START, 31) == ["a"]
    assert "every backup is read again" in capsys.readouterr().err


def test_a_read_of_the_future_does_not_count() -> None:
    assert is_due("a", START + timedelta(days=42), START, 31)


def test_a_file_that_cannot_be_written_is_told_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    log = ReadLog(tmp_path / "none" / "verify.json")
    log.good("a", START)
    log.good("b", START)
    assert capsys.readouterr().err.count("cannot be written, so all is read again") == 1
