"""steward.bsonio: a stream of BSON cut anywhere."""

from __future__ import annotations

from collections.abc import Iterator

import bson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from steward.bsonio import MAX_DOCUMENT_BYTES, iter_raw_bson
from steward.errors import FaultError

DOCUMENTS = st.lists(
    st.dictionaries(
        st.text(st.characters(codec="ascii", exclude_characters="\0"), max_size=5), st.text(max_size=30)
    ),
    max_size=12,
)


def cut(data: bytes, sizes: list[int]) -> Iterator[bytes]:
    """The data in pieces of these sizes, again and again."""
    position, number = 0, 0
    while position < len(data):
        size = sizes[number % len(sizes)]
        yield data[position : position + size]
        position, number = position + size, number + 1


@given(DOCUMENTS, st.lists(st.integers(1, 40), min_size=1, max_size=5))
def test_every_document_comes_out_once_however_the_stream_is_cut(
    documents: list[dict[str, str]], sizes: list[int]
) -> None:
    raw = [bson.encode(d) for d in documents]
    assert list(iter_raw_bson(cut(b"".join(raw), sizes))) == raw


@given(DOCUMENTS.filter(bool), st.data())
def test_a_stream_that_ends_inside_a_document_is_a_fault(
    documents: list[dict[str, str]], data: st.DataObject
) -> None:
    raw = [bson.encode(d) for d in documents]
    last = len(raw[-1])
    missing = data.draw(st.integers(1, last - 1))
    found = []
    with pytest.raises(FaultError, match=f"starts at byte {sum(map(len, raw)) - last}"):
        found.extend(iter_raw_bson([b"".join(raw)[:-missing]]))


@pytest.mark.parametrize("size", [0, 4, -1, MAX_DOCUMENT_BYTES + 1])
def test_an_impossible_length_is_a_fault_at_its_byte(size: int) -> None:
    good = bson.encode({"a": 1})
    with pytest.raises(FaultError, match=f"at byte {len(good)}"):
        list(iter_raw_bson([good + size.to_bytes(4, "little", signed=True) + b"xxxx"]))


def test_a_document_without_its_last_byte_is_a_fault() -> None:
    with pytest.raises(FaultError, match="has no end"):
        list(iter_raw_bson([bson.encode({"a": 1})[:-1] + b"x"]))
