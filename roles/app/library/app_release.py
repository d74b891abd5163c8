#!/usr/bin/python
"""Ansible module: make one unpacked release the one that PM2's workers run."""

from __future__ import annotations

import datetime
import fcntl
import json
import os
import pathlib
import shutil
import signal
import time
import urllib.parse
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from ansible.module_utils.app_release_host import Host
from ansible.module_utils.app_release_state import ReleaseError, to_prune
from ansible.module_utils.basic import AnsibleModule

DOCUMENTATION = r"""
module: app_release
short_description: Activate a release of a Node.js application under PM2 without dropping requests
description:
  - Starts the release on a spare port first (a canary) and asks for its health. PM2 itself would replace
    good workers by ones that never become ready and report success.
  - Then switches the link C(current), reloads the workers one at a time and proves by the workers' real
    working directory, start time and configuration that each runs the release.
  - When the proof or the health fails, the last good release is linked and reloaded again; the task fails.
  - Acts on what runs, not on what changed in this play, so a run that was killed is completed by the next.
options:
  name: {type: str, required: true, description: Name of the application in PM2.}
  release: {type: str, required: true, description: Id of the release, a folder in C(releases).}
  root: {type: path, required: true, description: Folder that holds C(releases) and C(current).}
  script: {type: str, required: true, description: Entry point inside the release.}
  user: {type: str, required: true, description: User of the workers.}
  unit: {type: str, required: true, description: Unit that runs PM2.}
  unit_file: {type: path, required: true, description: Its file; PM2 is restarted when it is newer.}
  ecosystem: {type: path, required: true, description: PM2's ecosystem file.}
  environment_file: {type: path, required: true, description: File that workers read when they start.}
  pm2: {type: path, required: true, description: The command.}
  pm2_package: {type: path, required: true, description: The installed package.json of PM2.}
  node: {type: path, required: true, description: The interpreter.}
  instances: {type: int, required: true, description: Number of workers.}
  listen_timeout_ms: {type: int, required: true, description: Time for a worker to become ready.}
  kill_timeout_ms: {type: int, required: true, description: Time for a worker to end.}
  health_url: {type: str, required: true, description: Health endpoint on this host, with the workers' port.}
  health_release_key: {type: str, default: release, description: Key of the release id in the answer.}
  health_count: {type: int, default: 10, description: Good answers in a row that are asked for.}
  health_timeout_s: {type: int, default: 30, description: Time to get them.}
  canary_port: {type: int, default: 0, description: Spare port on loopback; 0 for no canary.}
  canary_environment: {type: dict, default: {}, description: Environment of the canary; no secrets.}
  keep: {type: int, default: 5, description: Number of releases that are kept.}
"""


class Activation(Host):
    """Making a release the one that runs."""

    def canary(self, release: str) -> None:
        """Start ``release`` beside the workers on a spare port and ask for its health.

        Raises:
            ReleaseError: it cannot be started or is not healthy; no worker was touched.
        """
        unit = f"{self.p['name']}-canary.service"
        port = self.p["canary_port"]
        environment = {**self.p["canary_environment"], "HOST": "127.0.0.1", "PORT": port, "CANARY": "1"}
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

        With ``at_least="restart"`` PM2 itself is started anew, whatever it says of its workers.

        Returns:
            What was done, as :func:`decide` names it.

        Raises:
            ReleaseError: the workers do not run it or are not healthy.
        """
        self.link(release)
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
            # --force: PM2's own lock outlives a reload that was killed; this module has one of its own.
            self.run(self.p["pm2"], "reload", self.p["ecosystem"], "--force", timeout=self.stage_s)
            if len(self.workers()) != self.p["instances"]:
                self.run(
                    self.p["pm2"], "scale", self.p["name"], str(self.p["instances"]), timeout=self.stage_s
                )
        self.end_strays()
        self.prove(release)
        self.gate(self.p["health_url"], release, self.p["health_count"], self.p["health_timeout_s"])
        self.prove(release)  # none of them restarted meanwhile
        return action

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

    def activate(self, release: str) -> dict[str, Any]:
        """Make ``release`` the one that runs, or go back to the last good one and raise a ReleaseError."""
        if not self.complete(release):
            raise ReleaseError(
                f"{self.releases / release} lacks {self.p['script']}: the release is not unpacked"
            )
        linked = self.linked()
        action, reasons = self.needed(release)
        if linked == release and action == "none":
            self.gate(self.p["health_url"], release, self.p["health_count"], self.p["health_timeout_s"])
            reasons = [f"PM2 had forgotten {n} of its workers"] if (n := self.end_strays()) else []
            return {
                "changed": self.prune(release) or bool(reasons),
                "action": "none",
                "reasons": reasons,
                "previous": "",
            }
        previous = self.last_good(but=release)
        started = time.monotonic()
        result = "refused"
        try:
            if self.p["canary_port"]:
                self.canary(release)
            result = "failed"
            done = self.switch(release)
            result = "active"
        except ReleaseError as error:
            if result == "refused":
                raise ReleaseError(
                    f"{error}; nothing was changed, {linked or 'no release'} still runs"
                ) from error
            os.utime(self.releases / release, (0, 0))  # the first to be removed
            raise ReleaseError(f"{error}; {self.go_back(previous)}") from error
        finally:
            self.record(release, previous, result, time.monotonic() - started)
        os.utime(self.releases / release)
        self.prune(release, previous)
        return {"changed": True, "action": done, "reasons": reasons, "previous": previous}

    def go_back(self, previous: str) -> str:
        """Run the last good release again; says in words how that went."""
        if not previous:
            self.stop(self.p["unit"])
            self.current.unlink(missing_ok=True)
            return "there was no good release to go back to, so nothing runs on this host"
        problems = []
        for at_least in ("none", "restart"):
            try:
                self.switch(previous, at_least)
            except ReleaseError as error:
                problems.append(str(error))
            else:
                return f"went back to {previous}, which is healthy"
        return f"going back to {previous} FAILED too: {problems[0]}; after a restart of PM2: {problems[1]}"

    def record(self, release: str, previous: str, result: str, seconds: float) -> None:
        """Append to the host's history of releases."""
        entry = {
            "time": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
            "release": release, "previous": previous, "result": result, "seconds": round(seconds, 1),
        }  # fmt: skip
        with self.log.open("a", encoding="utf-8") as log:
            log.write(json.dumps(entry) + "\n")

    def prune(self, *protected: str) -> bool:
        """Remove old releases, never one that is named or in which a process still runs."""
        used = {*protected, self.linked(), *self.processes().values()}
        found = {
            d.name: d.stat().st_mtime for d in self.releases.iterdir() if d.is_dir() and d.name[0] != "."
        }
        doomed = to_prune(found, used, self.p["keep"])
        for name in doomed:
            # Renamed first: a release that is only half there must not look like one.
            (self.releases / name).rename(self.releases / f".removed-{name}")
        a_day_ago = time.time() - 86400
        for rest in self.releases.glob(".*-*"):
            if rest.name.startswith(".removed-") or rest.stat().st_mtime < a_day_ago:
                shutil.rmtree(rest)
        return bool(doomed)

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the host's lock, which the kernel frees with the process that holds it."""
        with (self.root / ".release.lock").open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                raise ReleaseError("another run activates a release here: wait until it has ended") from error
            yield


def options() -> dict[str, Any]:
    """The argument spec; what each option means stands in DOCUMENTATION."""
    text, path, number = ({"type": t, "required": True} for t in ("str", "path", "int"))
    return {
        **dict.fromkeys(("name", "release", "script", "user", "unit", "health_url"), text),
        **dict.fromkeys(
            ("root", "unit_file", "ecosystem", "environment_file", "pm2", "pm2_package", "node"), path
        ),
        **dict.fromkeys(("instances", "listen_timeout_ms", "kill_timeout_ms"), number),
        "health_release_key": {"type": "str", "default": "release"},
        "health_count": {"type": "int", "default": 10},
        "health_timeout_s": {"type": "int", "default": 30},
        "canary_port": {"type": "int", "default": 0},
        "canary_environment": {"type": "dict", "default": {}},
        "keep": {"type": "int", "default": 5},
    }


def main() -> None:
    """Entry point for Ansible."""
    module = AnsibleModule(argument_spec=options(), supports_check_mode=True)
    host = Activation(module.params)
    release = module.params["release"]
    try:
        if module.check_mode:
            if not host.complete(release):  # nothing is unpacked with --check
                module.exit_json(
                    changed=True, action="start", reasons=["the release is new"], previous=host.linked()
                )
            action, reasons = host.needed(release)
            changed = host.linked() != release or action != "none" or bool(host.strays())
            module.exit_json(changed=changed, action=action, reasons=reasons, previous="")
        with host.locked():
            module.exit_json(**host.activate(release))
    except ReleaseError as error:
        module.fail_json(msg=f"release {release}: {error}")


if __name__ == "__main__":
    main()
