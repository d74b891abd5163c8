"""The parts of the bench that decide what its page says. Time itself is not tested."""

from __future__ import annotations

import hashlib
import itertools
import os
import statistics
import sys
from pathlib import Path

import bson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench import __main__ as command
from bench import archive, contestants, measure, parts, tools
from bench.section import Section
from bench.stats import Spread, table

SIZE = 9 * archive.MIB  # two blocks


@given(st.lists(st.floats(0, 1e6), min_size=1))
def test_a_spread_is_median_least_and_most(values: list[float]) -> None:
    found = Spread.of(values)
    assert (found.median, found.least, found.most) == (statistics.median(values), min(values), max(values))
    assert found.least <= found.median <= found.most


def test_no_run_has_no_spread() -> None:
    with pytest.raises(ValueError, match="no run"):
        Spread.of([])


def test_a_table_refuses_a_row_that_does_not_fit() -> None:
    assert table(["a", "b"], [["1|2", "3"]]) == "| a | b |\n| --- | --- |\n| 1\\|2 | 3 |\n"
    with pytest.raises(ValueError, match="row"):
        table(["a", "b"], [["1"]])


def test_the_archive_is_whole_documents_and_the_same_every_time(tmp_path: Path) -> None:
    size = archive.write(tmp_path / "a", SIZE)
    content = (tmp_path / "a").read_bytes()
    assert SIZE <= size == len(content)
    again = hashlib.sha256(b"".join(archive.blocks(SIZE)))
    assert contestants.archive_digest(tmp_path / "a") == again.hexdigest()
    assert len(bson.decode_all(content)) > 1000


def test_no_two_blocks_share_a_run_that_a_deduplicating_tool_would_store_once() -> None:
    first, second = itertools.islice(archive.blocks(SIZE), 2)
    assert len(first) == len(second)
    same = 0
    longest = 0
    for one, other in zip(first[: archive.MIB], second[: archive.MIB], strict=True):
        same = same + 1 if one == other else 0
        longest = max(longest, same)
    assert longest < 4096  # restic's least piece is 512 KiB


def _python(code: str) -> list[str]:
    return [sys.executable, "-c", code]


def test_a_pipeline_is_measured_with_all_its_processes(tmp_path: Path) -> None:
    source, log = tmp_path / "source", tmp_path / "log"
    source.write_bytes(b"x" * 1000)
    copy = "import sys; sys.stdout.write(sys.stdin.read())"
    found = measure.run([_python(copy), _python(copy)], source, os.environ, log, repeat=3)
    assert log.read_bytes() == b"x" * 3000
    assert found.seconds > 0
    assert found.cpu_seconds > 0


def test_memory_counts_the_whole_tree() -> None:
    alone = measure.resident_bytes([os.getpid()])
    assert alone > 10 * archive.MIB
    assert measure.resident_bytes([os.getppid()]) > alone


@pytest.mark.parametrize("failing", [0, 1])
def test_a_program_that_fails_does_not_count_wherever_it_stands(tmp_path: Path, failing: int) -> None:
    source = tmp_path / "source"
    source.write_bytes(b"")
    commands = [_python("import sys; sys.stdin.read()") for _ in range(2)]
    commands[failing] = _python("raise SystemExit(7)")
    with pytest.raises(measure.BenchError, match="status 7"):
        measure.run(commands, source, os.environ, tmp_path / "log")


def test_the_page_has_every_section_and_no_name_of_the_machine() -> None:
    text = command.page([Section("One", "| a |\n"), Section("Two", "| b |\n")], 5)
    assert text.index("## One\n\n| a |") < text.index("## Two\n\n| b |")
    assert os.uname().nodename not in text
    assert "of 5 rounds" in text


def test_the_start_of_the_command_is_measured_as_often_as_asked(tmp_path: Path) -> None:
    section = parts.start(tmp_path, 0, 2, lambda _: None)
    assert len(section.figures["milliseconds"]) == 2


def test_a_dry_run_does_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["bench", "--dry-run", "--folder", str(tmp_path)])
    monkeypatch.setattr(tools, "folder", lambda: tmp_path / "tools")
    assert command.main() == 0
    assert "would build first" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []
