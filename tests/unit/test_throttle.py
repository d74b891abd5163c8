"""steward.throttle: never more than rate and burst, and never slower than it must be."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from steward import throttle
from steward.throttle import TokenBucket, throttled

BURST = 100


class Time:
    """A clock that sleeping moves."""

    def __init__(self) -> None:
        self.now = 1000.0

    def clock(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        assert seconds > 0
        self.now += seconds


@given(
    rate=st.floats(0.5, 10_000),
    requests=st.lists(st.tuples(st.integers(0, BURST), st.floats(0, 60)), min_size=1, max_size=60),
)
def test_in_any_stretch_of_time_at_most_rate_and_burst_pass(
    rate: float, requests: list[tuple[int, float]]
) -> None:
    time = Time()
    bucket = TokenBucket(rate, BURST, time.clock, time.sleep)
    passed: list[tuple[float, int]] = []
    for size, pause in requests:
        time.now += pause
        bucket.take(size)
        passed.append((time.now, size))
    for first in range(len(passed)):
        total = 0
        for moment, size in passed[first:]:
            total += size
            assert total <= rate * (moment - passed[first][0]) + BURST + 1e-3


@given(st.floats(1, 10_000), st.lists(st.integers(1, BURST), min_size=1, max_size=60))
def test_a_stream_without_pauses_is_as_fast_as_it_may_be(rate: float, sizes: list[int]) -> None:
    time = Time()
    bucket = TokenBucket(rate, BURST, time.clock, time.sleep)
    for size in sizes:
        bucket.take(size)
    assert time.now - 1000.0 == pytest.approx(max(0.0, (sum(sizes) - BURST) / rate), abs=1e-3)


def test_more_than_a_burst_at_once_is_refused() -> None:
    with pytest.raises(ValueError, match="more than a burst"):
        TokenBucket(1.0, BURST).take(BURST + 1)


@given(st.lists(st.binary(max_size=50), max_size=5))
def test_a_throttled_stream_is_the_same_stream(chunks: list[bytes]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(throttle, "BURST_BYTES", 7)
        assert b"".join(throttled(chunks, 1e9)) == b"".join(chunks)
