"""How a stream is cut into the parts of an upload."""

from __future__ import annotations

import gc
import weakref
from collections import deque
from collections.abc import Iterator
from queue import SimpleQueue
from typing import Any

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


class Service:
    """Takes every part, and may refuse the last request."""

    def __init__(self, *, refuse: bool = False) -> None:
        self._refuse = refuse

    def upload_part(self, **_: Any) -> dict[str, str]:
        return {"ETag": "e"}

    def complete_multipart_upload(self, **_: Any) -> dict[str, str]:
        if self._refuse:
            raise StewardError("refused")
        return {}


@pytest.mark.parametrize("refuse", [False, True])
def test_an_upload_that_is_over_holds_no_buffer(refuse: bool) -> None:
    """A run of many uploads would hold the buffers of all until cycles are collected."""
    upload = multipart.MultipartUpload(Service(refuse=refuse), "b", "k", "1")  # type: ignore[arg-type]
    gc.disable()
    try:
        if refuse:
            with pytest.raises(StewardError):
                upload.send([bytes(20)], None)
        else:
            assert upload.send([bytes(20)], None).size == 20
        gone = weakref.ref(upload)
        del upload
        assert gone() is None
    finally:
        gc.enable()
