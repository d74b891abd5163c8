"""The staging hosts that some parts need."""

from __future__ import annotations

from bench.measure import BenchError
from sandbox.settings import Sandbox, current


def staging(part: str) -> Sandbox:
    """The running sandbox.

    Args:
        part: who asks, for the message.

    Raises:
        BenchError: no sandbox is up.
    """
    sandbox = current()
    if not (sandbox.state / "site.done").exists():
        raise BenchError(f"{part} needs the staging hosts: run make up first")
    return sandbox
