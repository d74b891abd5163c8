"""The lock of a deployment: one run an application and host, from its first step to its last.

A deployment is many tasks, so no process on the host can hold the lock. It is a file with
the name of the run that holds it, renewed by each step of that run; without a renewal it
ends by itself.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import pathlib
import time
from collections.abc import Iterator
from typing import Any


class LockError(Exception):
    """Another run holds the lock."""

    def __init__(self, holder: dict[str, Any]) -> None:
        super().__init__(
            f"locked since {holder.get('since', '?')} by {holder.get('who', '?')} ({holder.get('why', '?')})"
        )
        self.holder = holder


class DeployLock:
    """The lock file of one application on this host.

    Args:
        root: the application's folder.
        minutes: without a renewal for so long the lock is free.
    """

    def __init__(self, root: pathlib.Path, minutes: float) -> None:
        self.path = root / "deploy.lock"
        self.seconds = minutes * 60

    @contextlib.contextmanager
    def _alone(self) -> Iterator[None]:
        """Reading and writing in one step."""
        self.path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
        with self.path.with_name(".deploy.lock.guard").open("w") as guard:
            fcntl.flock(guard, fcntl.LOCK_EX)
            yield

    def holder(self) -> dict[str, Any] | None:
        """Who holds it; None when it is free or has ended."""
        try:
            found: dict[str, Any] = json.loads(self.path.read_text("utf-8"))
            age = time.time() - self.path.stat().st_mtime
        except FileNotFoundError:
            return None
        except ValueError:
            return None  # written by no run: a run writes it whole
        # One from the future is a clock that was set back: it ends as late as any other.
        return found if -self.seconds < age < self.seconds else None

    def take(self, token: str, facts: dict[str, Any], instead_of: str = "") -> None:
        """Take it, or renew it when ``token`` has it already.

        Args:
            token: the name of the run.
            facts: ``who``, ``why`` and whatever else is to be known of the run.
            instead_of: the name of a run that is known to be over.

        Raises:
            LockError: another run holds it.
        """
        with self._alone():
            holder = self.holder()
            if holder and holder.get("token") not in (token, instead_of):
                raise LockError(holder)
            since = time.strftime("%FT%TZ", time.gmtime())
            if holder and holder["token"] == token:
                since = holder["since"]
            temporary = self.path.with_name(f".deploy.lock.{os.getpid()}")
            temporary.write_text(json.dumps({**facts, "token": token, "since": since}), "utf-8")
            temporary.replace(self.path)

    def renew(self, token: str) -> None:
        """Hold it longer.

        Raises:
            LockError: ``token`` does not have it any more.
        """
        with self._alone():
            holder = self.holder()
            if not holder or holder.get("token") != token:
                raise LockError(holder or {"who": "nobody", "why": "it had ended or was taken away"})
            os.utime(self.path)

    def give_back(self, token: str) -> bool:
        """Free it; whether ``token`` had it."""
        with self._alone():
            holder = self.holder()
            if holder and holder.get("token") != token:
                return False
            self.path.unlink(missing_ok=True)
            return holder is not None
