#!/usr/bin/python
"""Ansible module: make one unpacked release the one that PM2's workers run."""

from __future__ import annotations

import datetime
import fcntl
import json
import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from ansible.module_utils.app_deploy_lock import DeployLock, LockError
from ansible.module_utils.app_release_state import ReleaseError, to_prune
from ansible.module_utils.app_release_workers import Workers
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
  environment_file:
    type: path
    required: true
    description: >-
      File that workers read when they start. One that waits beside it (C(.next)) is tried by the canary
      and replaces it when workers are replaced; it is taken back with a release.
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
  step:
    type: str
    default: switch
    choices: [choose, try, switch, back]
    description: >-
      C(try) sees what has to be done and starts the canary; C(switch) makes the workers run the release;
      C(back) goes back from it since another host could not run it; C(choose) names the last good one.
  renew:
    type: str
    default: none
    choices: [none, reload, restart]
    description: Replace the workers, or PM2 itself, also when they run the release already.
  allow_bad: {type: bool, default: false, description: Try a release again that was marked bad.}
  back_to:
    type: str
    default: ""
    description: C(back) - the release that runs again; default - the last good one.
  abandon: {type: bool, default: false, description: Mark the release that ran until now as bad.}
  token: {type: str, default: "", description: Name of the run that holds the lock; it is renewed.}
  lock_minutes: {type: int, default: 30, description: How long the lock lasts without.}
  verb: {type: str, default: deploy, description: What the history calls it.}
  who: {type: str, default: "", description: 'Who does it, for the history.'}
  why: {type: str, default: "", description: 'Why, for the history.'}
"""


class Activation(Workers):
    """The steps of a deployment on one host."""

    def attempt(self, release: str) -> dict[str, Any]:
        """See what has to be done for ``release``, and try it as a canary when something has.

        Raises:
            ReleaseError: it is not unpacked, marked bad or not healthy; no worker was touched.
        """
        if not self.complete(release):
            raise ReleaseError(
                f"{self.releases / release} lacks {self.p['script']}: the release is not unpacked"
            )
        linked = self.linked()
        self.environment.forget()
        action, reasons = self.needed(release)
        if linked == release and action == "none":
            self.gate(self.p["health_url"], release, self.p["health_count"], self.p["health_timeout_s"])
            reasons = [f"PM2 had forgotten {n} of its workers"] if (n := self.end_strays()) else []
            return {
                "changed": self.prune(release) or bool(reasons),
                "action": "none",
                "reasons": reasons,
                "previous": "",
                "migrates": self.migrates(release),
            }
        previous = self.last_good(but=release)
        if (why := self.bad(release)) and not self.p["allow_bad"]:
            raise ReleaseError(f"it was marked bad: {why}; to try it again: -e app_allow_bad=true")
        started = time.monotonic()
        if self.p["canary_port"]:
            try:
                self.canary(release)
            except ReleaseError as error:
                self.record(release, previous, "refused", time.monotonic() - started, str(error))
                if linked != release:  # one that ran well until now is not to blame
                    self.mark(release, str(error))
                raise ReleaseError(
                    f"{error}; nothing was changed, {linked or 'no release'} still runs"
                ) from error
        return {
            "changed": False,
            "action": action,
            "reasons": reasons,
            "previous": previous,
            "linked": linked,
            "environment": self.environment.pending(),
            "migrates": self.migrates(release),
        }

    def migrates(self, release: str) -> bool:
        """Whether ``release`` or the one that is linked has migrations of the database."""
        return any(
            (self.releases / name / "migrations").is_dir() for name in (release, self.linked()) if name
        )

    def activate(self, release: str) -> dict[str, Any]:
        """Make ``release`` the one that runs, or go back to the last good one and raise a ReleaseError."""
        previous = self.last_good(but=release)
        linked = self.linked()
        _, reasons = self.needed(release)
        started = time.monotonic()
        try:
            done = self.switch(release, "restart" if self.p["renew"] == "restart" else "none")
        except ReleaseError as error:
            os.utime(self.releases / release, (0, 0))  # the first to be removed
            self.record(release, previous, "failed", time.monotonic() - started, str(error))
            if linked == release:
                previous = release  # it ran well until now: not to blame
            else:
                self.mark(release, str(error))
            raise ReleaseError(f"{error}; {self.go_back(previous)}") from error
        self.record(release, previous, "active", time.monotonic() - started)
        self.mark(release, "")
        if self.p["abandon"] and linked != release:
            self.mark(linked, self.p["why"])
        os.utime(self.releases / release)
        self.prune(release, previous)
        return {"changed": True, "action": done, "reasons": reasons, "previous": previous}

    def take_back(self, release: str) -> dict[str, Any]:
        """Go back from ``release``, which runs well here, since another host could not run it."""
        previous = self.p["back_to"] or self.last_good(but=release)
        if not previous:
            return {"changed": False, "said": "there is no good release to go back to, so it stays"}
        started = time.monotonic()
        if previous != release:
            self.mark(release, self.p["why"])
        said = self.go_back(previous)
        if self.linked() != previous or self.needed(previous)[0] != "none":
            raise ReleaseError(said)
        self.record(previous, release, "active", time.monotonic() - started, f"{release} was taken back")
        return {"changed": True, "said": said, "previous": release}

    def choose(self) -> dict[str, Any]:
        """The release that runs, and the one that a rollback would go to; "" when there is none."""
        linked = self.linked()
        return {"changed": False, "linked": linked, "previous": self.last_good(but=linked)}

    def go_back(self, previous: str) -> str:
        """Run the last good release again; says in words how that went."""
        self.environment.take_back()
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

    def record(self, release: str, previous: str, result: str, seconds: float, reason: str = "") -> None:
        """Append to the host's history of releases."""
        entry = {
            "time": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
            "release": release, "previous": previous, "result": result, "seconds": round(seconds, 1),
            "verb": self.p["verb"], "who": self.p["who"], "why": self.p["why"], "reason": reason,
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
        "step": {"type": "str", "default": "switch", "choices": ["choose", "try", "switch", "back"]},
        "renew": {"type": "str", "default": "none", "choices": ["none", "reload", "restart"]},
        "allow_bad": {"type": "bool", "default": False},
        "back_to": {"type": "str", "default": ""},
        "abandon": {"type": "bool", "default": False},
        "token": {"type": "str", "default": "", "no_log": False},
        "lock_minutes": {"type": "int", "default": 30},
        "verb": {"type": "str", "default": "deploy"},
        "who": {"type": "str", "default": ""},
        "why": {"type": "str", "default": ""},
    }


def main() -> None:
    """Entry point for Ansible."""
    module = AnsibleModule(argument_spec=options(), supports_check_mode=True)
    host = Activation(module.params)
    release = module.params["release"]
    try:
        if module.params["step"] == "choose":
            module.exit_json(**host.choose())
        if module.params["renew"] != "none":
            host.not_before = time.time()
        if module.check_mode:
            if not host.complete(release):  # nothing is unpacked with --check
                module.exit_json(
                    changed=True, action="start", reasons=["the release is new"], previous=host.linked()
                )
            migrates = host.migrates(release)
            action, reasons = host.needed(release)
            changed = host.linked() != release or action != "none" or bool(host.strays())
            module.exit_json(changed=changed, action=action, reasons=reasons, previous="", migrates=migrates)
        with host.locked():
            if module.params["token"]:
                DeployLock(host.root, module.params["lock_minutes"]).renew(module.params["token"])
            steps = {"try": host.attempt, "switch": host.activate, "back": host.take_back}
            module.exit_json(**steps[module.params["step"]](release))
    except LockError as error:
        module.fail_json(msg=f"release {release}: this run holds the lock no more; {error}")
    except ReleaseError as error:
        module.fail_json(msg=f"release {release}: {error}")


if __name__ == "__main__":
    main()
