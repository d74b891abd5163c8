"""What the module ``app_release`` sees of an application on its host."""

from __future__ import annotations

import datetime
import json
import os
import pathlib
import re
import signal
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from typing import Any

from ansible.module_utils.app_environment_file import EnvironmentFile
from ansible.module_utils.app_release_state import ReleaseError, Wanted, Worker, decide, parse_jlist

#: File in a release that failed. Going back never chooses such a release.
BAD = "BAD_RELEASE"
#: Seconds between two looks at what a command does.
WATCH_S = 0.1


class Host:
    """The application on this host, as it is."""

    def __init__(self, params: dict[str, Any]) -> None:
        self.p = params
        self.root = pathlib.Path(params["root"])
        self.current = self.root / "current"
        self.releases = self.root / "releases"
        self.log = self.root / "releases.jsonl"
        self.environment = EnvironmentFile(params["environment_file"])
        # Workers that are older are replaced: when that was, or 0.
        self.not_before = 0.0
        self.stage_s = (
            params["instances"] * (params["listen_timeout_ms"] + params["kill_timeout_ms"]) / 1000 + 30
        )

    def run(self, *argv: str, timeout: float = 60, watch: Callable[[], str] | None = None) -> str:
        """Standard output of a command.

        ``watch`` is asked again and again while it runs; anything but "" is why it is ended.

        Raises:
            ReleaseError: it cannot be run, fails, takes longer than ``timeout`` seconds or was ended.
        """
        deadline = time.monotonic() + timeout
        try:
            process = subprocess.Popen(
                argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd="/",
                start_new_session=True,
            )  # fmt: skip
        except OSError as error:
            raise ReleaseError(f"{argv[0]}: {error}") from error
        with process:
            while True:
                try:
                    out, err = process.communicate(timeout=WATCH_S if watch else timeout)
                    break
                except subprocess.TimeoutExpired as error:
                    reason = watch() if watch else ""
                    if reason or time.monotonic() >= deadline:
                        os.killpg(process.pid, signal.SIGKILL)  # also what the command has started
                        said = f"{' '.join(argv[:3])}: it takes longer than {timeout:.0f} s"
                        raise ReleaseError(reason or said) from error
        if process.returncode:
            said = (err.strip() or out.strip()).splitlines()
            raise ReleaseError(
                f"{' '.join(argv[:3])}: exit {process.returncode}: {said[-1][:200] if said else ''}"
            )
        return out

    def stop(self, unit: str) -> None:
        """Stop a unit and forget its failures; one that does not exist is fine."""
        for verb in ("stop", "reset-failed"):
            subprocess.run(["systemctl", verb, unit], capture_output=True, timeout=180, check=False)

    def started(self, unit: str) -> float | None:
        """Start of a unit in seconds since the epoch, None when it does not run."""
        text = self.run("systemctl", "show", unit, "--timestamp=unix", "-pActiveState,ActiveEnterTimestamp")
        state = dict(line.split("=", 1) for line in text.splitlines() if "=" in line)
        if state.get("ActiveState") != "active":
            return None
        return float(state["ActiveEnterTimestamp"].lstrip("@") or 0)

    def workers(self) -> list[Worker]:
        """The application's workers."""
        found = []
        for process in parse_jlist(self.run(self.p["pm2"], "jlist")):
            if process.get("name") != self.p["name"]:
                continue
            env = process["pm2_env"]
            try:
                directory = (
                    str(pathlib.Path(f"/proc/{process['pid']}/cwd").readlink()) if process.get("pid") else ""
                )
            except OSError:
                directory = ""
            found.append(
                Worker(
                    pm_id=str(process["pm_id"]),
                    status=env.get("status", ""),
                    mode=env.get("exec_mode", ""),
                    started=env.get("pm_uptime", 0) / 1000,
                    script=env.get("pm_exec_path", ""),
                    config=env.get("STEWARD_CONFIG", ""),
                    pm2_version=env.get("_pm2_version", ""),
                    directory=directory,
                )
            )
        return found

    def strays(self) -> list[int]:
        """Worker processes that PM2 started and does not know any more.

        Its list has one place a worker, which a second start takes over (PM2 7.0.4, God.js ``executeApp``).
        The first then goes on serving its release, whatever is deployed later.
        """
        if not (daemon := self.daemon()):
            return []
        # The processes first: one that starts or ends in between must not look forgotten.
        children = [pid for pid in self.processes() if self.parent(pid) == daemon]
        known = {p.get("pid") for p in parse_jlist(self.run(self.p["pm2"], "jlist"))}
        return [pid for pid in children if pid not in known and self.parent(pid) == daemon]

    def daemon(self) -> int:
        """The id of PM2's process, 0 when it does not run."""
        return int(self.run("systemctl", "show", self.p["unit"], "--value", "-pMainPID").strip() or 0)

    def processes(self) -> dict[int, str]:
        """Processes that work in a release, and the name of that release."""
        found = {}
        for cwd in pathlib.Path("/proc").glob("[0-9]*/cwd"):
            try:
                target = cwd.readlink()
            except OSError:  # it ended meanwhile
                continue
            if self.releases in target.parents:
                found[int(cwd.parent.name)] = target.relative_to(self.releases).parts[0]
        return found

    @staticmethod
    def parent(pid: int) -> int:
        """The id of a process's parent, 0 when the process is gone or dead."""
        try:
            text = pathlib.Path(f"/proc/{pid}/stat").read_text("utf-8", "replace")
        except OSError:
            return 0
        state, parent = text.rpartition(")")[2].split()[:2]
        return 0 if state in "ZX" else int(parent)

    def wanted(self, release: str) -> Wanted:
        """What has to run for ``release``."""

        def written(path: str) -> float:
            try:
                return pathlib.Path(path).stat().st_mtime
            except OSError as error:
                raise ReleaseError(f"{path}: {error.strerror}") from error

        config = re.search(r'"STEWARD_CONFIG": "(\w+)"', pathlib.Path(self.p["ecosystem"]).read_text("utf-8"))
        pending = self.environment.pending()
        return Wanted(
            directory=str(self.releases / release),
            script=str(self.current / self.p["script"]),
            instances=self.p["instances"],
            config=config.group(1) if config else "",
            pm2_version=json.loads(pathlib.Path(self.p["pm2_package"]).read_text("utf-8"))["version"],
            not_before=max(
                # Of a first release the file is still to come.
                0 if pending and not self.environment.path.exists() else written(self.p["environment_file"]),
                self.not_before,
            ),
            unit_written=written(self.p["unit_file"]),
            environment_pending=pending,
        )

    def needed(self, release: str) -> tuple[str, list[str]]:
        """:func:`decide` for ``release`` and what runs now."""
        since = self.started(self.p["unit"])
        return decide(since, self.workers() if since is not None else [], self.wanted(release))

    def linked(self) -> str:
        """The release that ``current`` points to, "" when there is none."""
        try:
            return self.current.readlink().name
        except OSError:
            return ""

    def last_good(self, but: str) -> str:
        """The release to go back to: the last that was activated well and is still here, except ``but``."""
        candidates = [self.linked()]
        if self.log.exists():
            for line in self.log.read_text("utf-8").splitlines():
                try:
                    entry = json.loads(line)
                except ValueError:  # a line cut short by a crash
                    continue
                if entry.get("result") == "active":
                    candidates.append(entry["release"])
        good = (c for c in reversed(candidates) if c and c != but and self.complete(c) and not self.bad(c))
        return next(good, "")

    def bad(self, release: str) -> str:
        """Why the release was marked bad, "" when it was not."""
        try:
            mark = json.loads((self.releases / release / BAD).read_text("utf-8"))
        except OSError:
            return ""
        except ValueError:
            return "its mark cannot be read"
        return f"{mark.get('reason', '')} ({mark.get('time', '')})"

    def mark(self, release: str, reason: str) -> None:
        """Mark a release bad, or with an empty ``reason`` not bad any more."""
        path = self.releases / release / BAD
        if not reason:
            path.unlink(missing_ok=True)
        elif path.parent.is_dir():
            now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
            mark = {"time": now, "who": self.p["who"], "reason": reason}
            temporary = path.with_name(f".{BAD}")
            temporary.write_text(json.dumps(mark) + "\n", "utf-8")
            temporary.replace(path)

    def complete(self, release: str) -> bool:
        """Whether the release is unpacked."""
        return (self.releases / release / self.p["script"]).is_file()

    def ask(self, url: str, release: str) -> str:
        """Ask for health on a new connection; "" when it is good, else what was wrong."""
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        request = urllib.request.Request(url, headers={"Connection": "close", "Accept": "application/json"})  # noqa: S310
        try:
            with opener.open(request, timeout=5) as answer:
                body = json.loads(answer.read(65536))
        except urllib.error.HTTPError as error:
            text = error.read(200).decode("utf-8", "replace").replace("\n", " ")
            return f"HTTP status {error.code}: {text}"
        except (OSError, ValueError) as error:
            return f"{getattr(error, 'reason', error)}"
        seen = body.get(self.p["health_release_key"]) if isinstance(body, dict) else None
        return "" if seen == release else f"it is release {seen!r}"

    def gate(self, url: str, release: str, count: int, timeout: float, unit: str = "") -> None:
        """Wait for ``count`` good answers in a row.

        Raises:
            ReleaseError: they did not come within ``timeout`` seconds, or ``unit`` has ended.
        """
        deadline = time.monotonic() + timeout
        good = 0
        while good < count:
            problem = self.ask(url, release)
            if not problem:
                good += 1
                continue
            good = 0
            if unit and self.started(unit) is None:
                raise ReleaseError("it ended at once")
            if time.monotonic() > deadline:
                raise ReleaseError(f"{url} is not healthy with {release} after {timeout:.0f} s: {problem}")
            time.sleep(0.2)
