"""The scratch server of a drill: started, proven to be the one that was started, ended, removed.

Everything of a drill lies in one folder, ``<state_dir>/drill/<id>/``, which only this user can open. The
server has the folder's path in its arguments, so whatever a drill that was killed has left is found by that:
folder and process. Drills hold a lock, so what is found belongs to none that runs.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from steward.config import DrillSettings
from steward.errors import StewardError
from steward.process import GRACE_SECONDS, ends_with_this_process

if TYPE_CHECKING:
    from pymongo import MongoClient

#: Seconds until a server that was started must answer.
START_SECONDS = 60.0
#: Seconds until one that was killed must be gone.
END_SECONDS = 30.0
#: Room that data take beside their bytes in the dump: indexes and the server's own journal.
SPACE_FACTOR = 2
#: What is kept of a drill has this file in its folder, with the reason.
KEPT = "kept.json"
USERNAME = "drill"
_MB = 10**6


class Scratch:
    """A server in a folder of its own."""

    def __init__(self, folder: Path, settings: DrillSettings) -> None:
        self.folder = folder
        self.port = _free_port()
        self.username = USERNAME
        self.password = secrets.token_urlsafe(24)
        self._settings = settings
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def uri(self) -> str:
        """Its address, without the login."""
        return f"mongodb://127.0.0.1:{self.port}/?directConnection=true"

    def start(self) -> None:
        """Start it, and wait until it answers and asks for a login.

        Raises:
            StewardError: it cannot be started, ended, does not answer, lets everybody in, or
                another server answers.
        """
        data, users = self.folder / "data", self.folder / "users.json"
        data.mkdir(mode=0o700)
        users.touch(mode=0o600)
        users.write_text(json.dumps({self.username: self.password}), encoding="utf-8")
        values = {"port": str(self.port), "dir": str(data), "users": str(users)}
        command = [_filled(argument, values) for argument in self._settings.server]
        with (self.folder / "server.log").open("ab") as log:
            try:
                self._process = subprocess.Popen(
                    [*ends_with_this_process(), *command],
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    cwd=self.folder,
                    start_new_session=True,
                )
            except OSError as error:
                raise StewardError(
                    f"drill.server: {command[0]}: cannot be started: {error.strerror}"
                ) from error
        self._await_answer()
        self._close_to_others(made=any("{users}" in argument for argument in self._settings.server))
        self._check_own()

    def _await_answer(self) -> None:
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            self.check_running()
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), timeout=1):
                return
            time.sleep(0.1)
        raise StewardError(f"the scratch server does not answer after {START_SECONDS:g} s: {self.reason()}")

    def _client(self, *, login: bool) -> MongoClient[dict[str, Any]]:
        from pymongo import MongoClient

        credentials: dict[str, Any] = (
            {"username": self.username, "password": self.password, "authSource": "admin"} if login else {}
        )
        milliseconds = int(START_SECONDS * 1000)
        return MongoClient(
            self.uri,
            serverSelectionTimeoutMS=milliseconds,
            connectTimeoutMS=milliseconds,
            socketTimeoutMS=milliseconds,
            **credentials,
        )

    def _close_to_others(self, *, made: bool) -> None:
        """Make the one login, and see that without it nobody gets in: real data are about to be in there.

        A mongod with ``--auth`` and no users lets its first user be made from its own host (MongoDB
        manual, "Localhost Exception").

        Args:
            made: the server has read the login from its file.
        """
        from pymongo.errors import OperationFailure

        from steward.mongo import mongo_errors

        with mongo_errors(self.uri), contextlib.closing(self._client(login=False)) as client:
            if not made:
                client.admin.command("createUser", self.username, pwd=self.password, roles=["root"])
            try:
                client.admin.command("listDatabases", nameOnly=True)
            except OperationFailure:
                return
        raise StewardError(
            "the scratch server lets everybody in: add --auth to drill.server; nothing was restored"
        )

    def _check_own(self) -> None:
        """Who answers is the server that was started: the port is nobody else's."""
        from steward.mongo import mongo_errors

        with mongo_errors(self.uri), contextlib.closing(self._client(login=True)) as client:
            pid = client.admin.command("serverStatus").get("pid")
        self.check_running()
        if self._process is None or pid is None:
            return
        try:
            own = os.getsid(int(pid)) == self._process.pid
        except (OSError, ValueError):
            own = False
        if not own:
            raise StewardError(
                f"at {self.uri} answers process {pid}, which is not the scratch server: nothing was restored;"
                " check drill.server"
            )

    def check_running(self) -> None:
        """Raises: StewardError: it has ended."""
        if self._process is not None and (status := self._process.poll()) is not None:
            raise StewardError(f"the scratch server ended with status {status}: {self.reason()}")

    def reason(self) -> str:
        """The last line of its log."""
        with contextlib.suppress(OSError), (self.folder / "server.log").open("rb") as log:
            log.seek(max(0, log.seek(0, os.SEEK_END) - 4096))
            lines = log.read().decode("utf-8", "replace").split("\n")
            return next((line.strip()[:300] for line in reversed(lines) if line.strip()), "it said nothing")
        return "it has no log"

    def end(self) -> None:
        """End it and whatever it has started."""
        if self._process is None:
            return
        for number, seconds in ((signal.SIGTERM, GRACE_SECONDS), (signal.SIGKILL, END_SECONDS)):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, number)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(seconds)
        _end_processes_of(self.folder)


@contextlib.contextmanager
def folder_for(state_dir: Path, drill_id: str) -> Iterator[Path]:
    """A private folder for a drill, removed at the end unless :func:`keep` was called for it."""
    folder = state_dir / "drill" / drill_id
    try:
        folder.mkdir(mode=0o700, parents=True)
        folder.parent.chmod(0o700)
    except OSError as error:
        raise StewardError(f"{folder}: cannot be made: {error.strerror}") from error
    try:
        yield folder
    finally:
        if not (folder / KEPT).exists():
            _remove(folder)


def keep(folder: Path, reason: str) -> None:
    """Keep this drill's data, and remove those of the one before."""
    (folder / KEPT).write_text(json.dumps({"reason": reason}) + "\n", encoding="utf-8")
    (folder / "users.json").unlink(missing_ok=True)
    for other in folder.parent.iterdir():
        if other != folder:
            _remove(other)


def sweep(state_dir: Path) -> list[Path]:
    """Remove what drills that were killed have left, server and data; what was kept stays. Needs the lock."""
    folder = state_dir / "drill"
    found = [path for path in folder.iterdir() if not (path / KEPT).exists()] if folder.is_dir() else []
    for path in found:
        _end_processes_of(path)
        _remove(path)
    return found


def check_space(state_dir: Path, raw_bytes: int, min_free_mb: int) -> None:
    """Refuse to begin what would fill the disk; the live server may be on it.

    Args:
        raw_bytes: of everything that is restored, unpacked.

    Raises:
        StewardError: there is not enough room.
    """
    free = shutil.disk_usage(state_dir).free
    needed = raw_bytes * SPACE_FACTOR + min_free_mb * _MB
    if free < needed:
        kept = [str(path.parent) for path in (state_dir / "drill").glob(f"*/{KEPT}")]
        hint = f"; {', '.join(kept)} is of an earlier drill and may be removed" if kept else ""
        raise StewardError(
            f"{state_dir}: {free / _MB:.0f} MB are free, a drill needs {needed / _MB:.0f} MB"
            f" (drill.min_free_mb is {min_free_mb}): not begun{hint}"
        )


def _filled(argument: str, values: dict[str, str]) -> str:
    for name, value in values.items():
        argument = argument.replace(f"{{{name}}}", value)
    return argument


def _free_port() -> int:
    """A port of the loopback address that nobody listens on; whoever takes it first makes the start fail."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _end_processes_of(folder: Path) -> None:
    """Kill every process of this user that has the folder in its arguments."""
    deadline = time.monotonic() + END_SECONDS
    while found := _processes_of(folder):
        for pid in found:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        if time.monotonic() > deadline:
            raise StewardError(f"process {found[0]} of {folder} cannot be ended")
        time.sleep(0.05)


def _processes_of(folder: Path) -> list[int]:
    needle = os.fsencode(f"{folder}/")
    found = []
    for path in Path("/proc").iterdir():
        if not path.name.isdigit() or int(path.name) == os.getpid():
            continue
        with contextlib.suppress(OSError):  # it has ended meanwhile
            if path.stat().st_uid == os.geteuid() and needle in (path / "cmdline").read_bytes():
                found.append(int(path.name))
    return found


def _remove(path: Path) -> None:
    try:
        shutil.rmtree(path)
    except FileNotFoundError:
        return
    except OSError as error:
        raise StewardError(f"{path}: cannot be removed: {error.strerror}") from error
