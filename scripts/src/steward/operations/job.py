"""One run of a job and everybody who is told of it: hooks, pings, messages.

Nothing of it changes what a run is worth: a backup that is stored stays good when a hook, a ping or a
message after it fails. Only a hook before the job stops it.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

from steward.backup.catalog import host_name
from steward.errors import Interrupted, LockHeldError, StewardError
from steward.notify import Message, incidents
from steward.notify.channels import channels
from steward.operations.hooks import run_hook
from steward.operations.pings import Event, ping
from steward.operations.settings import JobConfig
from steward.output import note


class Job:
    """A run; made by :func:`job`."""

    def __init__(self, config: JobConfig, name: str) -> None:
        self._config = config
        self._name = name
        self._started = time.monotonic()
        self._begun = False
        #: Id of the backup that was stored; empty when there was nothing new.
        self.backup_id = ""
        #: What a run that stores no backup has done, in a few words.
        self.summary = ""
        #: Why the run failed although it came to its end.
        self.fault = ""

    def begin(self) -> None:
        """The locks are held and the work starts.

        Raises:
            StewardError: the hook before the job failed.
        """
        self._begun = True
        self._ping("start", "")
        if command := self._config.hooks.before(self._name):
            run_hook(command, self._variables("", ""), self._config.hooks.timeout_seconds)

    def succeeded(self) -> None:
        """It ended well."""
        self._ping(
            "success", f"{self._name} {self.summary or self.backup_id or 'nothing new'}, {self._seconds()}"
        )
        incidents.recovered(self._state, channels(self._config), self._message)
        self._hook(self._config.hooks.after, "success", "")

    def failed(self, reason: str) -> None:
        """It failed; those who tell people come before hooks, which may take long."""
        self._ping("fail", f"{self._name} after {self._seconds()}: {reason}")
        incidents.failed(self._state, channels(self._config), self._message, reason)
        if self._begun:
            self._hook(self._config.hooks.after, "failure", reason)
        self._hook(self._config.hooks.on_failure, "failure", reason)

    def _hook(self, command: list[str] | None, outcome: str, reason: str) -> None:
        if command is None:
            return
        try:
            run_hook(command, self._variables(outcome, reason), self._config.hooks.timeout_seconds)
        except StewardError as error:
            note(str(error))

    def _ping(self, event: Event, text: str) -> None:
        if url := self._config.pings.of(self._name):
            ping(url, self._name, event, text)

    def _variables(self, outcome: str, reason: str) -> dict[str, str]:
        return {
            "STEWARD_APP": self._config.app,
            "STEWARD_ENVIRONMENT": self._config.environment,
            "STEWARD_JOB": self._name,
            "STEWARD_OUTCOME": outcome,
            "STEWARD_BACKUP_ID": self.backup_id,
            "STEWARD_REASON": reason,
        }

    def _message(self, state: Literal["failed", "recovered"], text: str) -> Message:
        return Message(
            app=self._config.app,
            environment=self._config.environment,
            host=host_name(),
            job=self._name,
            state=state,
            text=text,
        )

    @property
    def _state(self) -> Path:
        config = self._config
        return config.state_dir / f"incident-{config.app}-{config.environment}-{self._name}.json"

    def _seconds(self) -> str:
        return f"{time.monotonic() - self._started:.1f} s"


@contextmanager
def job(config: JobConfig, name: str) -> Iterator[Job]:
    """A run of a job: the block does it, and calls :meth:`Job.begin` once it holds the locks.

    A run that finds the lock held by another is none: nobody is told.
    """
    be_nice(config.nice)
    run = Job(config, name)
    try:
        yield run
    except LockHeldError:
        raise
    except StewardError as error:
        run.failed(str(error))
        raise
    except Interrupted as error:
        run.failed(f"interrupted by {error}, or not done within its time limit")
        raise
    except Exception as error:
        # Its text is not checked for secrets; the log has it.
        run.failed(f"unexpected error ({type(error).__name__})")
        raise
    if run.fault:
        run.failed(run.fault)
    else:
        run.succeeded()


def be_nice(level: int) -> None:
    """Leave the processor to others: lower this run's priority, and that of what it starts.

    Args:
        level: niceness, 0 to 19; never lowers one that is higher already.
    """
    if os.getpriority(os.PRIO_PROCESS, 0) < level:
        os.setpriority(os.PRIO_PROCESS, 0, level)
