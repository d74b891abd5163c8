"""Errors that are meant for the user, and the exit status each one ends with.

Exit statuses of every command: 0 done; 1 failed; 2 wrong usage or
configuration; 3 it ran and found a fault; 4 another run holds the lock; 130
interrupted.
"""

from __future__ import annotations

EXIT_FAILED = 1
EXIT_USAGE = 2
EXIT_FAULT = 3
EXIT_LOCKED = 4
EXIT_INTERRUPTED = 130


class StewardError(Exception):
    """A command failed. The message is one line: what, where, what to do."""

    def __init__(self, message: str, exit_code: int = EXIT_FAILED) -> None:
        super().__init__(" ".join(message.split()))
        self.exit_code = exit_code


class ConfigError(StewardError):
    """The configuration or the arguments cannot be used."""

    def __init__(self, message: str) -> None:
        super().__init__(message, EXIT_USAGE)


class FaultError(StewardError):
    """The command ran and found something broken: a gap, a damaged object."""

    def __init__(self, message: str) -> None:
        super().__init__(message, EXIT_FAULT)


class LockHeldError(StewardError):
    """Another run of the same kind is under way, on this host or another."""

    def __init__(self, message: str) -> None:
        super().__init__(message, EXIT_LOCKED)


class Interrupted(BaseException):
    """SIGINT or SIGTERM arrived.

    Not an :class:`Exception`, so that no handler of ordinary errors swallows
    it on the way up through the clean-up code.
    """
