"""The steps of ``make up``: what runs now, for how long, and where its log is."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from sandbox.heartbeat import heartbeat


class StepError(RuntimeError):
    """A step failed; the message is what the user reads."""


@dataclass
class Steps:
    """Runs steps and remembers how long each took."""

    log_folder: Path
    environment: Mapping[str, str]
    folder: Path
    began: float = field(default_factory=time.monotonic)
    #: (name, seconds) of the finished steps, in the order of their end.
    taken: list[tuple[str, float]] = field(default_factory=list)
    _print_lock: threading.Lock = field(default_factory=threading.Lock)

    def say(self, text: str) -> None:
        """One line with the seconds since the start."""
        with self._print_lock:
            sys.stdout.write(f"[{time.monotonic() - self.began:4.0f}s] {text}\n")
            sys.stdout.flush()

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        """Announce, time and name one step; the body does the work."""
        self.say(f"{name} ...")
        with heartbeat(lambda seconds: self.say(f"{name} ... {seconds:.0f} s so far")) as elapsed:
            yield
        seconds = elapsed()
        self.taken.append((name, seconds))
        self.say(f"{name}: done in {seconds:.1f} s")

    def log(self, name: str) -> Path:
        """The log file of a step."""
        self.log_folder.mkdir(parents=True, exist_ok=True)
        return self.log_folder / f"{''.join(c if c.isalnum() else '-' for c in name.lower())}.log"

    def command(self, name: str, argv: Sequence[str], seconds: float) -> None:
        """Run a command without a shell, its output in the step's log.

        Raises:
            StepError: when it fails or takes longer than ``seconds``.
        """
        log = self.log(name)
        with log.open("wb") as out:
            try:
                status = subprocess.run(
                    list(argv),
                    stdin=subprocess.DEVNULL,
                    stdout=out,
                    stderr=subprocess.STDOUT,
                    env=dict(self.environment),
                    cwd=self.folder,
                    timeout=seconds,
                    check=False,
                ).returncode
            except subprocess.TimeoutExpired:
                raise StepError(f"{name}: not done after {seconds:.0f} s; see {log}") from None
            except OSError as error:
                raise StepError(f"{name}: {argv[0]} cannot be run: {error}") from error
        if status != 0:
            tail = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()[-6:]
            shown = "".join(f"\n    {line}" for line in tail)
            raise StepError(f"{name}: failed with status {status}; the whole output is in {log}{shown}")

    def run(self, name: str, argv: Sequence[str], seconds: float) -> None:
        """:meth:`command` as a step of its own."""
        with self.step(name):
            self.command(name, argv, seconds)

    def together(self, works: Sequence[Callable[[], None]]) -> None:
        """Run several at once; all end before the first failure is raised."""
        with ThreadPoolExecutor(max_workers=len(works)) as pool:
            futures = [pool.submit(work) for work in works]
        for future in futures:
            future.result()
