"""Telling during a long step that it still runs."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator

#: A step that runs longer than this says so again and again.
HEARTBEAT_SECONDS = 15.0


@contextlib.contextmanager
def heartbeat(tell: Callable[[float], None]) -> Iterator[Callable[[], float]]:
    """Call ``tell`` with the seconds since the begin while the block runs; gives a clock of them."""
    began = time.monotonic()
    over = threading.Event()

    def elapsed() -> float:
        return time.monotonic() - began

    def beat() -> None:
        while not over.wait(HEARTBEAT_SECONDS):
            tell(elapsed())

    ticker = threading.Thread(target=beat, daemon=True)
    ticker.start()
    try:
        yield elapsed
    finally:
        over.set()
        ticker.join()
