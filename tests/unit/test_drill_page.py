"""The page of a drill shows everything and believes nothing."""

from __future__ import annotations

from html.parser import HTMLParser
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from steward.drill.page import page

HOSTILE = '<script>alert("x")</script>&'
TAGS = {"html", "head", "meta", "title", "style", "body", "h1", "h2", "p", "strong"} | {
    "table",
    "tr",
    "th",
    "td",
}


class Reader(HTMLParser):
    """Tags and text of a page."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        assert not {name for name, _ in attrs} - {"class", "lang", "charset"}, "nothing is loaded or run"

    def handle_data(self, data: str) -> None:
        self.text += data


def evidence(word: str) -> dict[str, Any]:
    facts = "id app environment host started_at finished_at target_time choice base_id base_class reason"
    return {
        **dict.fromkeys(facts.split(), word),
        "result": "failed",
        "seconds": {"restore": 1.5, word: 2},
        "versions": {word: word},
        "checks": [
            {"check": word, "good": False, "found": word, "wrong": 1, "seen": 1},
            {"check": "plain", "good": True, "found": "", "wrong": 0, "seen": 41},
        ],
        "differences": [{"namespace": word, "what": word, "expected": word, "found": word}],
        "collections": [{"name": word, "documents": 1, "digest": "d" * 64}],
        "objects": [{"key": word, "size": 1, "sha256": "e" * 64}],
    }


@given(st.text(st.characters(exclude_characters="\0\r", codec="utf-8"), min_size=1))
def test_no_value_becomes_markup(word: str) -> None:
    reader = Reader()
    reader.feed(page(evidence(word + HOSTILE)))
    assert reader.tags <= TAGS
    assert HOSTILE in reader.text


def test_everything_is_there() -> None:
    reader = Reader()
    reader.feed(page(evidence("word")))
    for told in ("FAILED", "FAILS", "0 of 41 wrong", "d" * 64, "e" * 64, "1.5 s"):
        assert told in reader.text
