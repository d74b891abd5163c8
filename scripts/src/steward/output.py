"""What commands print: JSON on stdout, or text for people; progress only on a terminal."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager


def print_json(document: object) -> None:
    """The answer of a command as one JSON document on stdout."""
    json.dump(document, sys.stdout, indent=2, ensure_ascii=False)
    sys.stdout.write("\n")


def note(message: str) -> None:
    """A line on stderr, for what is no error but should be read."""
    print(f"steward: {message}", file=sys.stderr)


def size_text(size: int) -> str:
    """A size in bytes as people read it: ``12.3 MiB``."""
    value = float(size)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if value < 1024:
            return f"{value:.0f} {unit}" if unit == "B" else f"{value:.1f} {unit}"
        value /= 1024
    return f"{value:.1f} TiB"


def rate_text(rate: float) -> str:
    """A rate as people read it: ``1234``, ``56.7``."""
    return f"{rate:.1f}".removesuffix(".0") if rate < 100 else f"{rate:.0f}"


@contextmanager
def byte_progress(text: str, enabled: bool = True) -> Iterator[Callable[[int], None]]:
    """A line that shows how many bytes are done; nothing unless stderr is a terminal.

    Yields:
        A function that takes the number of bytes done so far.
    """
    if not enabled or not sys.stderr.isatty():
        yield lambda _: None
        return
    from rich.console import Console
    from rich.progress import DownloadColumn, Progress, TextColumn, TimeElapsedColumn, TransferSpeedColumn

    columns = (TextColumn("{task.description}"), DownloadColumn(), TransferSpeedColumn(), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task(text, total=None)
        yield lambda done: progress.update(task, completed=done)
