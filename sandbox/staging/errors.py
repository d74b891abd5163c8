"""The one kind of error that the user of ``sandbox/hosts`` sees."""

from __future__ import annotations


class StagingError(Exception):
    """Something the user can read and act on.

    Args:
        message: one line: what, where, what to do.
        exit_code: 1 failed, 2 wrong usage or configuration, 4 lock held.
    """

    def __init__(self, message: str, exit_code: int = 1) -> None:
        super().__init__(message)
        self.exit_code = exit_code
