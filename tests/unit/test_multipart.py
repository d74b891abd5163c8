"""How a stream is cut into the parts of an upload."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from queue import SimpleQueue

import pytest
from hypothesis import given
from hypothesis import strategies as st

from steward import multipart
from steward.errors import StewardError

BUFFERS = 4


@pytest.fixture(autouse=True, scope="module")
def small_parts() -> Iterator[None]:
    """Parts of 4 bytes that double after each 2."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(multipart, "PART_BYTES", 4)
        patch.setattr(multipart, "PARTS_PER_SIZE", 2)
        patch.setattr(multipart, "MAX_PARTS", 8)
        yield


def cut(chunks: list[bytes], held: int) -> list[bytes]:
    """The parts of a stream, each read only after ``held`` later ones were filled."""
    free: SimpleQueue[bytearray] = SimpleQueue()
    for _ in range(BUFFERS):
        free.put(bytearray())
    in_flight: deque[bytearray] = deque()
    parts = []

    def finish() -> None:
        part = in_flight.popleft()
        parts.append(bytes(part))
        free.put(part)

    for part in multipart._parts(chunks, free):
        in_flight.append(part)
        if len(in_flight) > held:
            finish()
    while in_flight:
        finish()
    return parts


# 2 parts each of 4, 8, 16 and 32 bytes make 120.
@given(st.lists(st.binary(max_size=30), max_size=4), st.integers(0, BUFFERS - 1))
def test_the_parts_are_the_stream_and_only_the_last_is_shorter(chunks: list[bytes], held: int) -> None:
    parts = cut(chunks, held)
    assert b"".join(parts) == b"".join(chunks)
    whole = [multipart.part_bytes(number) for number in range(1, len(parts) + 1)]
    assert [len(part) for part in parts[:-1]] == whole[:-1]
    assert all(0 < len(part) <= size for part, size in zip(parts, whole, strict=True))


def test_a_stream_that_fills_every_part_is_stored_and_a_byte_more_is_refused() -> None:
    assert [len(part) for part in cut([b"x" * 120], 0)] == [4, 4, 8, 8, 16, 16, 32, 32]
    with pytest.raises(StewardError, match="larger than 8 parts"):
        cut([b"x" * 121], 0)
