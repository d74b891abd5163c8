"""A limit on how fast a stream may flow: a token bucket."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator

#: Bytes that may pass at once after a pause.
BURST_BYTES = 1024 * 1024


class TokenBucket:
    """Lets at most ``rate * t + burst`` bytes pass in any stretch of t seconds.

    Args:
        rate: bytes a second.
        burst: bytes; nothing larger may be asked for at once.
    """

    def __init__(
        self,
        rate: float,
        burst: int = BURST_BYTES,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._rate = rate
        self._burst = burst
        self._clock = clock
        self._sleep = sleep
        self._tokens = float(burst)
        self._at = clock()

    def take(self, size: int) -> None:
        """Wait until ``size`` bytes may pass."""
        if size > self._burst:
            raise ValueError(f"{size} bytes are more than a burst of {self._burst}")
        self._fill()
        if self._tokens < size:
            # Never shorter than asked for (Python, time.sleep); a rounding error stays in the bucket.
            self._sleep((size - self._tokens) / self._rate)
            self._fill()
        self._tokens -= size

    def _fill(self) -> None:
        now = self._clock()
        self._tokens = min(self._burst, self._tokens + (now - self._at) * self._rate)
        self._at = now


def throttled(chunks: Iterable[bytes], bytes_per_second: float) -> Iterator[bytes]:
    """A stream that flows no faster than that."""
    bucket = TokenBucket(bytes_per_second)
    for chunk in chunks:
        for begin in range(0, len(chunk), BURST_BYTES):
            piece = chunk[begin : begin + BURST_BYTES]
            bucket.take(len(piece))
            yield piece
