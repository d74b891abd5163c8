"""One staging host: its folders, its supervisor, and what state it is in."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from sandbox.settings import HOSTS, Sandbox
from sandbox.staging import cgroups, keys, seed
from sandbox.staging.commands import remove_tree, run, write_whole
from sandbox.staging.errors import StagingError
from sandbox.staging.supervisor import process_identity

NSPAWN_RUN = Path("/run/systemd/nspawn")


@dataclass(frozen=True)
class Status:
    """What ``sandbox/hosts status`` tells of one host.

    ``state`` is ``running`` (ssh answers), ``booting``, ``stopped`` (its disk is there) or ``absent``.
    ``booted_at`` is in seconds since the epoch, ``memory_bytes`` counts processes, not caches.
    """

    host: str
    app: str
    purpose: str
    address: str
    state: str
    booted_at: float | None
    memory_bytes: int | None
    log: str

    def as_dict(self) -> dict[str, Any]:
        """For ``--json``."""
        return asdict(self)


class Machine:
    """One host of a sandbox."""

    def __init__(self, sandbox: Sandbox, host: str) -> None:
        self.sandbox = sandbox
        self.host = host
        self.address = sandbox.address(host)
        #: The name systemd-nspawn knows; with "vb-" before it, it must fit an interface name (15).
        self.name = f"{sandbox.bridge}-{HOSTS[host][0]}"
        self.folder = sandbox.state / "hosts" / host
        self.run_file = sandbox.state / "run" / f"host-{host}.json"
        self.log = sandbox.state / "log" / f"host-{host}.log"
        self._supervisor: subprocess.Popen[bytes] | None = None

    # -- what is

    @property
    def scope(self) -> str:
        """The systemd scope that holds the host, on machines that run systemd."""
        return f"{self.sandbox.bridge}-{self.host}.scope"

    @property
    def groups(self) -> list[Path]:
        """The host's control groups, whether or not they exist."""
        inner = (
            Path("system.slice") / self.scope
            if cgroups.systemd_runs()
            else Path(self.sandbox.bridge) / self.host
        )
        return [root / inner for root in cgroups.hierarchies()]

    def running(self) -> dict[str, Any] | None:
        """The supervisor's record, if that very process lives; a reused id does not count."""
        try:
            record: dict[str, Any] = json.loads(self.run_file.read_text())
            state, ticks = process_identity(record["pid"])
            return record if ticks == record["start_ticks"] and state != "Z" else None
        except (OSError, ValueError, KeyError):
            return None

    def image(self) -> Path | None:
        """The image the host's disk is a layer over; None when it has no (complete) disk."""
        try:
            return Path(json.loads((self.folder / "disk.json").read_text())["image"])
        except (OSError, ValueError, KeyError):
            return None

    def answers(self, timeout: float = 5.0) -> bool:
        """Whether its ssh server greets within ``timeout`` seconds."""
        try:
            with socket.create_connection((self.address, 22), timeout=timeout) as link:
                link.settimeout(timeout)
                return link.recv(4) == b"SSH-"
        except OSError:
            return False

    def status(self) -> Status:
        """Everything about the host; never changes anything."""
        record = self.running()
        _, app, purpose = HOSTS[self.host]
        if record:
            state = "running" if self.answers() else "booting"
        else:
            state = "stopped" if self.image() else "absent"
        return Status(
            host=self.host,
            app=app,
            purpose=purpose,
            address=self.address,
            state=state,
            booted_at=record["booted_at"] if record else None,
            memory_bytes=cgroups.memory_bytes(self.groups) if record else None,
            log=str(self.log),
        )

    # -- what is done

    def prepare(self, image: Path) -> None:
        """Make the host's disk, or bring its seed files up to date; the host must not run."""
        if self.image() != image or not image.exists():
            remove_tree(self.folder)
            for part in ("upper", "work", "root"):
                (self.folder / part).mkdir(parents=True)
            (self.folder / "upper").chmod(0o755)
        # Left by a mount that did not end in order; its data is in the page cache all the same.
        remove_tree(self.folder / "work")
        (self.folder / "work").mkdir()
        extra = seed.authorities(self.sandbox)
        seed.write(self.sandbox, self.host, seed.Layer(image, self.folder / "upper"), extra)
        write_whole(self.folder / "authorities.json", json.dumps(extra))
        write_whole(self.folder / "disk.json", json.dumps({"image": str(image)}))

    def start(self, image: Path) -> None:
        """Boot the host from its disk; returns at once, see :meth:`wait`."""
        self.stop()
        self.prepare(image)
        root = self.folder / "root"
        config = {
            "run_file": str(self.run_file),
            "root": str(root),
            "cgroups": [str(group) for group in self.groups],
            "mount": [
                *("mount", "-t", "overlay", self.name, "-o"),
                # volatile: a host's disk is thrown away, so nothing waits for it to be written.
                f"volatile,lowerdir={image},upperdir={self.folder}/upper,workdir={self.folder}/work",
                str(root),
            ],
            "command": [
                *("systemd-nspawn", "--quiet", "--settings=no", "--boot", "--keep-unit", "--register=no"),
                f"--directory={root}",
                f"--machine={self.name}",
                f"--hostname={self.host}",
                f"--network-bridge={self.sandbox.bridge}",
                *("--link-journal=no", "--resolv-conf=off", "--timezone=off", "--console=read-only"),
            ],
        }
        config_file = self.folder / "supervisor.json"
        write_whole(config_file, json.dumps(config, indent=1))
        self.run_file.parent.mkdir(parents=True, exist_ok=True)
        self.log.parent.mkdir(parents=True, exist_ok=True)
        command = [
            *("unshare", "--mount", "--propagation", "private"),
            *(sys.executable, "-I", str(Path(__file__).with_name("supervisor.py")), str(config_file)),
        ]
        if cgroups.systemd_runs():
            scope = ["systemd-run", "--scope", "--quiet", "--collect", f"--unit={self.scope}"]
            command = [*scope, "--slice=system.slice", "--property=Delegate=yes", "--", *command]
        environment = {name: value for name, value in os.environ.items() if name in {"PATH", "LANG"}}
        # /tmp on the disk, as a Debian 12 server has it, not in memory (systemd: docs/ENVIRONMENT.md).
        environment["SYSTEMD_NSPAWN_TMPFS_TMP"] = "0"
        with self.log.open("wb") as stream:
            self._supervisor = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=stream, stderr=stream,
                start_new_session=True, cwd="/", env=environment,
            )  # fmt: skip

    def wait(self, timeout: float = 60.0) -> None:
        """Until the host's ssh server answers.

        Raises:
            StagingError: when the host ends or ``timeout`` seconds pass; the message names the log.
        """
        begin = time.monotonic()
        while not self.answers(timeout=0.5):
            passed = time.monotonic() - begin
            # Just started by us: the process tells; it has not written its record yet.
            ours = self._supervisor
            ended = ours.poll() is not None if ours else not self.running()
            if ended or passed > timeout:
                how = "ended while it booted" if ended else f"does not answer on ssh after {passed:.0f} s"
                raise StagingError(f"{self.host}: {how}; see {self.log}")
            time.sleep(0.1)

    def stop(self) -> None:
        """End the host without ceremony (its disk stays) and take its traces away."""
        self._close_connections()
        record = self._stale_record()
        cgroups.end(self.groups, self.host)
        if cgroups.systemd_runs():
            # Waits until systemd forgets the scope, so that its name is free for the next boot.
            subprocess.run(
                ["systemctl", "stop", self.scope],
                stdin=subprocess.DEVNULL, capture_output=True, timeout=30, check=False,
            )  # fmt: skip
        if record and "lock" in record:
            Path(record["lock"]).unlink(missing_ok=True)
        for place in ("propagate", "unix-export"):
            trace = NSPAWN_RUN / place / self.name
            if trace.is_dir():
                trace.rmdir()
        self.run_file.unlink(missing_ok=True)

    def remove(self) -> None:
        """End the host and throw its disk away."""
        self.stop()
        remove_tree(self.folder)

    def _stale_record(self) -> dict[str, Any] | None:
        try:
            record: dict[str, Any] = json.loads(self.run_file.read_text())
        except (OSError, ValueError):
            return None
        return record

    def _close_connections(self) -> None:
        """End shared ssh connections to the host, which would hang on to a dead one."""
        config = keys.config_file(self.sandbox)
        if not config.exists():
            return
        subprocess.run(
            ["ssh", "-F", str(config), "-O", "exit", self.host],
            stdin=subprocess.DEVNULL, capture_output=True, timeout=10, check=False,
        )  # fmt: skip

    def ssh(self, *arguments: str) -> list[str]:
        """The command line of an ssh to this host."""
        return ["ssh", "-F", str(keys.config_file(self.sandbox)), self.host, *arguments]

    def refresh_trust(self) -> bool:
        """Give a running host authorities that came into being after its boot; True when it did.

        The sandbox's own authority may be younger than the host.
        """
        note = self.folder / "authorities.json"
        known: dict[str, str] = json.loads(note.read_text())
        wanted = seed.authorities(self.sandbox)
        missing = {name: pem for name, pem in wanted.items() if known.get(name) != pem}
        for name, pem in missing.items():
            run(self.ssh(f"cat > /{seed.LOCAL}/{name}"), stdin=pem)
        if missing:
            run(self.ssh("update-ca-certificates"), timeout=120)
            write_whole(note, json.dumps(wanted))
        return bool(missing)
