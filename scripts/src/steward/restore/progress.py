"""How far a long restore is: a moving line on a terminal, a line now and then without one."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from steward.output import note, rate_text, size_text

#: Seconds between two lines where there is no terminal, such as in the log of a job.
LINE_EVERY_S = 30.0


class Pace:
    """What is done, how fast, and how long the rest takes, in words."""

    def __init__(self, text: str, total: int, unit: str, begun: float) -> None:
        """
        Args:
            total: how much there is to do; 0: not known.
            unit: ``bytes``, or a word that follows the number.
            begun: when, in seconds of any clock.
        """
        self.text, self.total, self.unit, self.begun = text, total, unit, begun

    def line(self, done: int, now: float) -> str:
        """Such as ``loading: 1.0 GiB of 3.0 GiB (33 %), 20.5 MiB/s, 1:40 left``."""
        parts = self._amount(done)
        if self.total:
            parts += f" of {self._amount(self.total)} ({min(100, 100 * done // self.total)} %)"
        if now > self.begun and done:
            rate = done / (now - self.begun)
            parts += (
                f", {size_text(int(rate)) if self.unit == 'bytes' else rate_text(rate) + f' {self.unit}'}/s"
            )
            if self.total:
                left = round(max(0, self.total - done) / rate)
                parts += f", {left // 60}:{left % 60:02} left"
        return f"{self.text}: {parts}"

    def _amount(self, number: int) -> str:
        return size_text(number) if self.unit == "bytes" else f"{number} {self.unit}"


@contextmanager
def progress(
    text: str,
    total: int,
    unit: str,
    *,
    enabled: bool = True,
    clock: Callable[[], float] = time.monotonic,
) -> Iterator[Callable[[int], None]]:
    """Show a phase on stderr; nothing unless ``enabled``.

    Yields:
        A function that takes how much is done so far.
    """
    if not enabled:
        yield lambda _: None
        return
    pace = Pace(text, total, unit, clock())
    if not sys.stderr.isatty():
        last = pace.begun

        def write(done: int) -> None:
            nonlocal last
            now = clock()
            if now - last >= LINE_EVERY_S:
                last = now
                note(pace.line(done, now))

        yield write
        return
    from rich.console import Console
    from rich.status import Status

    with Status(text, console=Console(stderr=True)) as status:
        yield lambda done: status.update(pace.line(done, clock()))
