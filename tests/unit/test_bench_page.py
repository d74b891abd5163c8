"""The page of the bench: a part that is measured alone takes the place of what it measured before."""

from __future__ import annotations

from bench.__main__ import sections, updated
from bench.section import Section

PAGE = "# Benchmarks\n\nhead\n\n## One\n\n| a |\n\n## Two\n\n| b |\n"


def test_measured_section_takes_its_place_and_the_others_stay() -> None:
    text = updated(PAGE, [Section("One", "| new |\n")])
    assert text == PAGE.replace("| a |", "| new |")
    assert updated(text, []) == text


def test_new_section_comes_last() -> None:
    text = updated(PAGE, [Section("Three", "| c |\n")])
    assert [one.title for one in sections(text)] == ["One", "Two", "Three"]
    assert text.startswith("# Benchmarks\n\nhead\n\n## One\n")
