"""Making PM2's workers run a release, and proving that they do: what ``app_release`` does on its host."""

from __future__ import annotations

import os
import pathlib
import signal
import time
import urllib.parse
from contextlib import suppress

from ansible.module_utils.app_release_host import Host
from ansible.module_utils.app_release_state import ReleaseError

#: So many workers of a release have ended while PM2 replaced others by them: it dies as a worker.
DEATHS = 3


class Workers(Host):
    """The application's workers, and a canary beside them."""

    def canary(self, release: str) -> None:
        """Start ``release`` beside the workers on a spare port and ask for its health.

        Raises:
            ReleaseError: it cannot be started or is not healthy; no worker was touched.
        """
        unit = f"{self.p['name']}-canary.service"
        port = self.p["canary_port"]
        environment = {**self.p["canary_environment"], "HOST": "127.0.0.1", "PORT": port, "CANARY": "1"}
        if self.environment.pending():  # it is what is tried
            present, wanted = str(self.environment.path), str(self.environment.next)
            environment = {k: wanted if v == present else v for k, v in environment.items()}
        url = urllib.parse.urlsplit(self.p["health_url"])._replace(netloc=f"127.0.0.1:{port}").geturl()
        self.stop(unit)  # the rest of a run that was killed
        self.run(
            "systemd-run", "--quiet", "--collect", f"--unit={unit}", f"--uid={self.p['user']}",
            f"--working-directory={self.releases / release}",
            "--property=UMask=0077", "--property=NoNewPrivileges=yes", "--property=PrivateTmp=yes",
            "--property=ProtectSystem=full", "--property=ProtectHome=yes",
            "--property=RuntimeMaxSec=600",  # ends by itself when this run is killed
            *(f"--setenv={k}={v}" for k, v in environment.items()),
            self.p["node"], self.p["script"],
        )  # fmt: skip
        try:
            patience = self.p["listen_timeout_ms"] / 1000 + self.p["health_timeout_s"]
            self.gate(url, release, 3, patience, unit)
        except ReleaseError as error:
            raise ReleaseError(f"canary: {error}; its log: journalctl -u {unit}") from error
        finally:
            self.stop(unit)

    def link(self, release: str) -> None:
        """Point ``current`` to the release, in one step."""
        temporary = self.root / ".current.new"
        temporary.unlink(missing_ok=True)
        temporary.symlink_to(pathlib.Path("releases") / release)
        temporary.replace(self.current)

    def switch(self, release: str, at_least: str = "none") -> str:
        """Link ``release``, make the workers run it and prove that they do.

        The environment file that waits becomes theirs.

        With ``at_least="restart"`` PM2 itself is started anew, whatever it says of its workers.

        Returns:
            What was done, as :func:`decide` names it.

        Raises:
            ReleaseError: the workers do not run it or are not healthy.
        """
        self.link(release)
        try:
            self.environment.apply()
        except OSError as error:
            raise ReleaseError(f"{self.environment.path}: {error.strerror}") from error
        action, _ = self.needed(release)
        if at_least == "restart" and action != "start":
            action = "restart"
        if action in ("start", "restart"):
            self.run("systemctl", "daemon-reload")
            self.stop(self.p["unit"])
            self.run("systemctl", "start", self.p["unit"], timeout=self.stage_s)
        elif action == "reload":
            if unready := [w.pm_id for w in self.workers() if w.status != "online"]:
                # One that waits for its next try is started by PM2 again, beside that try or not at all:
                # only a stop ends the waiting. Twice, since a stop while one starts lets it wait again
                # (PM2 7.0.4, God/ActionMethods.js, ``restart_task``; God.js, ``readyCb``).
                for _ in range(2):
                    self.run(self.p["pm2"], "stop", *unready, timeout=self.stage_s)
            self.reload(release)
            if len(self.workers()) != self.p["instances"]:
                self.run(
                    self.p["pm2"], "scale", self.p["name"], str(self.p["instances"]), timeout=self.stage_s
                )
        self.end_strays()
        self.prove(release)
        self.gate(self.p["health_url"], release, self.p["health_count"], self.p["health_timeout_s"])
        self.prove(release)  # none of them restarted meanwhile
        return action

    def reload(self, release: str) -> None:
        """Let PM2 replace the workers, one at a time, as long as the new ones live.

        PM2 itself goes on to the next worker when the time of the new one is over, dead or alive, until no
        good one is left.

        Raises:
            ReleaseError: the workers of ``release`` end again and again. Those that PM2 had not come to yet
                serve as before.
        """
        daemon, before = self.daemon(), set(self.processes())
        alive: set[int] = set()
        ended: set[int] = set()

        def dying() -> str:
            now = {
                pid for pid, name in self.processes().items()
                if name == release and pid not in before and self.parent(pid) == daemon
            }  # fmt: skip
            ended.update(alive - now)
            alive.clear()
            alive.update(now)
            if len(ended) < DEATHS:
                return ""
            return f"{len(ended)} workers have ended; its log: journalctl -u {self.p['unit']} and error.log"

        try:
            # --force: PM2's own lock outlives a reload that was killed; this module has one of its own.
            self.run(
                self.p["pm2"], "reload", self.p["ecosystem"], "--force", timeout=self.stage_s, watch=dying
            )
        except ReleaseError:
            with suppress(ReleaseError):  # the first one says what is wrong
                self.await_parked()
            raise

    def await_parked(self) -> None:
        """Wait until PM2 has ended the worker that it was replacing; before, it replaces no other.

        Its place in the list is the new one's already (PM2 7.0.4, God/Reload.js).
        """
        deadline = time.monotonic() + (self.p["listen_timeout_ms"] + self.p["kill_timeout_ms"]) / 1000
        while self.strays() and time.monotonic() < deadline:
            time.sleep(0.5)

    def end_strays(self) -> int:
        """End the workers that PM2 has forgotten, as PM2 ends the others; returns how many there were.

        Raises:
            ReleaseError: one of them does not end.
        """
        strays = self.strays()
        for sign, patience in ((signal.SIGINT, self.p["kill_timeout_ms"] / 1000), (signal.SIGKILL, 5.0)):
            for pid in (left := [pid for pid in strays if self.parent(pid)]):
                with suppress(ProcessLookupError):
                    os.kill(pid, sign)
            deadline = time.monotonic() + patience
            while left and time.monotonic() < deadline:
                time.sleep(0.1)
                left = [pid for pid in left if self.parent(pid)]
            if not left:
                return len(strays)
        raise ReleaseError(f"process {left[0]}, a worker that PM2 has forgotten, does not end")

    def prove(self, release: str) -> None:
        """Raise a ReleaseError unless every worker runs ``release`` with the present configuration."""
        deadline = time.monotonic() + self.p["listen_timeout_ms"] / 1000
        while True:
            action, reasons = self.needed(release)
            if action == "none":
                return
            if time.monotonic() > deadline:
                raise ReleaseError(f"{reasons[0]}; its log: journalctl -u {self.p['unit']} and error.log")
            time.sleep(0.5)
