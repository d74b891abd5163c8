#!/usr/bin/python3 -I
"""Decides which application servers nginx passes requests to.

nginx itself only notices a bad server by the requests that it loses there. This program
asks each server for its health (``watch``) and takes servers out and in for maintenance
(``drain``, ``restore``). It writes one file that nginx includes, checks it and reloads
nginx, which ends no request. Standard library alone: it runs with the host's Python.
"""

from __future__ import annotations

import argparse
import contextlib
import fcntl
import http.client
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

CONFIG = Path("/etc/nginx/upstream.json")
#: The file that nginx includes; on disk, since nginx reads it at boot.
SERVERS = Path("/var/lib/nginx-upstream/servers.conf")
#: What ends with a reboot: drains, what the watcher has seen, the lock.
STATE = Path("/run/nginx-upstream")
#: While it exists every request is answered with 503; it outlives a reboot.
MAINTENANCE = Path("/var/lib/nginx-upstream/maintenance")
PID_FILE = Path("/run/nginx.pid")

#: Exit status beside 0 (done), 1 (failed) and 2 (wrong usage): the server is the last one that serves.
LAST = 3

EXAMPLES = """\
examples:
  nginx-upstream status                                    who serves, who does not, and why
  nginx-upstream drain 10.0.0.11:3000 --seconds 600        no new requests there; ends by itself
  nginx-upstream restore 10.0.0.11:3000
  nginx-upstream entry leave                               a load balancer's check of this nginx fails
  nginx-upstream entry join
  nginx-upstream maintenance on                            every request is answered with 503

exit status: 0 done, 1 failed, 2 wrong usage, 3 refused since the server is the last one that serves
"""


class UpstreamError(Exception):
    """It cannot go on; the message is one line for the user."""


@dataclass(frozen=True)
class Config:
    """``upstream.json``. Times are seconds."""

    servers: tuple[str, ...]
    options: str
    path: str
    host: str
    interval: float
    timeout: float
    fall: int
    rise: int

    @classmethod
    def read(cls, path: Path | None = None) -> Config:
        """Read it.

        Raises:
            UpstreamError: it cannot be read or has other keys.
        """
        path = path or CONFIG
        try:
            found = json.loads(path.read_text("utf-8"))
            return cls(**{**found, "servers": tuple(found["servers"])})
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise UpstreamError(f"{path}: {error}; run the playbook that wrote it again") from error


def out_of_service(servers: Sequence[str], drained: Iterable[str], failing: Iterable[str]) -> dict[str, str]:
    """Servers that get no requests, and why (``drained`` or ``failing``).

    Never all of them: when no server looks well, asking them is better than refusing everybody.
    """
    out = dict.fromkeys(failing, "failing") | dict.fromkeys(drained, "drained")
    out = {server: why for server, why in out.items() if server in servers}
    if len(out) == len(servers):
        out = {server: why for server, why in out.items() if why == "drained"}
    return {} if len(out) == len(servers) else out


def render(config: Config, out: dict[str, str]) -> str:
    """The lines of nginx' upstream block."""
    lines = ["# Written by nginx-upstream: changes by hand are lost.\n"]
    for server in config.servers:
        end = f" down; # {out[server]}" if server in out else ";"
        lines.append(f"server {server} {config.options}".rstrip() + end + "\n")
    return "".join(lines)


@dataclass
class Health:
    """What the answers of one server say: it falls after some bad ones in a row, and rises alike."""

    failing: bool = False
    against: int = 0  # answers in a row that contradict the present state

    def saw(self, good: bool, fall: int, rise: int) -> bool:
        """Count one answer; whether the state has changed."""
        if good != self.failing:
            self.against = 0
            return False
        self.against += 1
        if self.against < (rise if good else fall):
            return False
        self.failing, self.against = not good, 0
        return True


def probe(server: str, config: Config) -> str:
    """Ask a server for its health on a new connection; "" when it is good, else what was wrong."""
    address, _, port = server.rpartition(":")
    connection = http.client.HTTPConnection(address.strip("[]"), int(port), timeout=config.timeout)
    try:
        connection.request("GET", config.path, headers={"Host": config.host, "Connection": "close"})
        status = connection.getresponse().status
    except (OSError, http.client.HTTPException) as error:
        return str(error) or type(error).__name__
    finally:
        connection.close()
    return "" if status == 200 else f"status {status}"


def write(path: Path, text: str) -> None:
    """Write a file, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.write_text(text, "utf-8")
    temporary.replace(path)


@contextlib.contextmanager
def locked(limit: float = 60.0) -> Iterator[None]:
    """Hold the lock of what is written, which the kernel frees with the process.

    Raises:
        UpstreamError: another process holds it for longer than ``limit`` seconds.
    """
    STATE.mkdir(parents=True, exist_ok=True)
    deadline = time.monotonic() + limit
    with (STATE / "lock").open("w") as lock:
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except OSError as error:
                if time.monotonic() > deadline:
                    raise UpstreamError("another run holds the lock; try again") from error
                time.sleep(0.1)
        yield


def clock() -> float:
    """Seconds since this boot, as long as what :data:`STATE` holds: no change of the time of day moves it."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def drains(now: float) -> dict[str, dict[str, Any]]:
    """The drains that have not ended at :func:`clock` ``now``: server -> ``until`` and ``reason``."""
    found = {}
    for path in sorted((STATE / "drained").glob("[!.]*")):
        try:
            entry = json.loads(path.read_text("utf-8"))
        except (OSError, ValueError):
            continue
        if entry["until"] > now:
            found[path.name] = entry
    return found


def seen_failing(now: float, config: Config) -> list[str]:
    """What the watcher says, as long as it lives."""
    try:
        seen = json.loads((STATE / "failing.json").read_text("utf-8"))
    except (OSError, ValueError):
        return []
    return list(seen["servers"]) if now - seen["at"] < 10 * config.interval + 30 else []


def nginx_workers() -> dict[int, bool]:
    """nginx' worker processes: id -> whether it takes new connections. Empty when nginx does not run."""
    try:
        master = int(PID_FILE.read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    workers = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            if int(stat.read_text("utf-8", "replace").rpartition(")")[2].split()[1]) != master:
                continue
            title = stat.with_name("cmdline").read_bytes()
        except OSError:  # it ended meanwhile
            continue
        if title.startswith(b"nginx: worker process"):
            workers[int(stat.parent.name)] = b"shutting down" not in title
    return workers


def command(*argv: str) -> None:
    """Run a command.

    Raises:
        UpstreamError: it fails; with its last line.
    """
    try:
        done = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise UpstreamError(f"{argv[0]}: {error}") from error
    if done.returncode:
        said = (done.stderr.strip() or done.stdout.strip()).splitlines()
        raise UpstreamError(f"{' '.join(argv)}: {said[-1] if said else f'exit {done.returncode}'}")


def reload_nginx(wait: float = 10.0) -> set[int]:
    """Make nginx read its configuration; returns the workers that still finish old requests.

    Raises:
        UpstreamError: the configuration is bad, or no new worker came in ``wait`` seconds.
    """
    before = set(nginx_workers())
    if not before:
        return set()  # it will read the file when it starts
    command("nginx", "-t", "-q")
    command("nginx", "-s", "reload")
    deadline = time.monotonic() + wait
    while True:
        now = nginx_workers()
        fresh = [pid for pid, takes in now.items() if takes and pid not in before]
        if fresh and not any(now.get(pid, False) for pid in before):
            return before & now.keys()
        if time.monotonic() > deadline:
            raise UpstreamError("nginx did not take the new list of servers; see its error log")
        time.sleep(0.05)


def apply(config: Config) -> tuple[dict[str, str], bool, set[int]]:
    """Write what holds now and reload nginx when that has changed.

    Returns:
        Servers out of service, whether the file changed, and nginx' workers that finish old requests.

    Raises:
        UpstreamError: nginx refuses it; the file is then as it was.
    """
    now = clock()
    out = out_of_service(config.servers, drains(now), seen_failing(now, config))
    text = render(config, out)
    before = SERVERS.read_text("utf-8") if SERVERS.exists() else ""
    if text == before:
        return out, False, set()
    write(SERVERS, text)
    try:
        return out, True, reload_nginx()
    except UpstreamError:
        if before:
            write(SERVERS, before)
        raise


def known(server: str, config: Config) -> None:
    """Raise an UpstreamError unless nginx has such a server."""
    if server not in config.servers:
        raise UpstreamError(f"no server {server}; there are: {', '.join(config.servers)}")


def drain(server: str, seconds: float, reason: str, wait: float) -> int:
    """Pass no new requests to ``server`` for ``seconds``, and wait for the open ones.

    Returns:
        An exit status: :data:`LAST` when nobody else would serve.
    """
    config = Config.read()
    known(server, config)
    with locked():
        now = clock()
        if not set(config.servers) - {server} - drains(now).keys() - set(seen_failing(now, config)):
            print(f"{server} is the last server that serves: not drained", file=sys.stderr)
            return LAST
        write(STATE / "drained" / server, json.dumps({"until": now + seconds, "reason": reason}))
        _, changed, old = apply(config)
    deadline = time.monotonic() + wait
    while (left := old & nginx_workers().keys()) and time.monotonic() < deadline:
        time.sleep(0.1)
    rest = f"; {len(left)} processes of nginx still finish old requests" if left else ""
    print(f"{server} drained for {seconds:g} s{rest}" if changed else f"{server} got no requests before")
    return 0


def restore(server: str, wait: float) -> int:
    """Pass requests to ``server`` again, at once or when its health is good; returns an exit status.

    Raises:
        UpstreamError: its health is still bad after ``wait`` seconds.
    """
    config = Config.read()
    known(server, config)
    with locked():
        (STATE / "drained" / server).unlink(missing_ok=True)
        _, changed, _ = apply(config)
    deadline = time.monotonic() + wait
    while server in seen_failing(clock(), config):
        if time.monotonic() > deadline:
            raise UpstreamError(f"{server}: its health is still bad; journalctl -u nginx-upstream")
        time.sleep(0.2)
    print(f"{server} gets requests" + ("" if changed else ", as before"))
    return 0


def render_now() -> int:
    """Write what holds now; says whether anything changed, for Ansible."""
    with locked():
        _, changed, _ = apply(Config.read())
    print("changed" if changed else "unchanged")
    return 0


def entry(verb: str, seconds: float) -> int:
    """Let a load balancer's check of this nginx fail for ``seconds``, or succeed again."""
    if verb == "leave":
        write(STATE / "leaving", json.dumps({"until": clock() + seconds}))
    else:
        (STATE / "leaving").unlink(missing_ok=True)
    print("load balancers are sent away" if verb == "leave" else "load balancers may come")
    return 0


def maintenance(verb: str) -> int:
    """Answer every request of the application with 503, or serve again."""
    if verb == "on":
        write(MAINTENANCE, "")
    else:
        MAINTENANCE.unlink(missing_ok=True)
    print(f"maintenance is {verb}")
    return 0


def status(as_json: bool) -> int:
    """Print who serves."""
    config = Config.read()
    now = clock()
    drained, failing = drains(now), seen_failing(now, config)
    out = out_of_service(config.servers, drained, failing)
    rows = [
        {
            "server": server,
            "serves": server not in out,
            "failing": server in failing,
            "drained_seconds": round(drained[server]["until"] - now) if server in drained else 0,
            "reason": drained[server]["reason"] if server in drained else "",
        }
        for server in config.servers
    ]
    if as_json:
        state = {"entry": not (STATE / "leaving").exists(), "maintenance": MAINTENANCE.exists()}
        print(json.dumps({"servers": rows, **state}))
        return 0
    for row in rows:
        words = ["serves" if row["serves"] else "out"]
        words += ["health is bad"] if row["failing"] else []
        if row["drained_seconds"]:
            words.append(f"drained for {row['drained_seconds']} s more: {row['reason']}")
        print(f"{row['server']:<24} {', '.join(words)}")
    if (STATE / "leaving").exists():
        print("load balancers are sent away from this nginx")
    if MAINTENANCE.exists():
        print("maintenance is on: every request is answered with 503")
    return 0


def end_leaving(now: float) -> None:
    """Let load balancers come again when their time has passed, whoever sent them away."""
    path = STATE / "leaving"
    with contextlib.suppress(FileNotFoundError):
        try:
            until = float(json.loads(path.read_text("utf-8"))["until"])
        except (ValueError, KeyError, TypeError):  # made by hand: it stays
            return
        if until <= now:
            path.unlink()


class Watcher:
    """Asks all servers again and again."""

    def __init__(self, say: Callable[[str], None]) -> None:
        self.health: dict[str, Health] = {}
        self.say = say
        self.ended = threading.Event()

    def round(self, config: Config, pool: ThreadPoolExecutor) -> None:
        """Ask each server once and apply what follows.

        A drained server is asked too: it has to be well when its drain ends.
        """
        self.health = {server: self.health.get(server, Health()) for server in config.servers}
        problems = list(pool.map(lambda server: probe(server, config), config.servers))
        for server, problem in zip(config.servers, problems, strict=True):
            health = self.health[server]
            if health.saw(not problem, config.fall, config.rise):
                self.say(f"{server}: {f'bad, {problem}' if health.failing else 'good again'}")
        end_leaving(clock())
        failing = [server for server, health in self.health.items() if health.failing]
        with locked():
            write(STATE / "failing.json", json.dumps({"at": clock(), "servers": failing}))
            out, changed, _ = apply(config)
        if changed:
            self.say(f"out of service: {', '.join(f'{s} ({why})' for s, why in out.items()) or 'none'}")

    def run(self) -> int:
        """Until a signal; a round that fails is told, and the next one tries again."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._end)
        told = ""
        with ThreadPoolExecutor(max_workers=16) as pool:
            while not self.ended.is_set():
                pause = 2.0
                try:
                    config = Config.read()
                    pause = config.interval
                    self.round(config, pool)
                    told = ""
                except (UpstreamError, OSError) as error:  # a full disk, for one
                    if str(error) != told:  # not the same line every two seconds
                        told = str(error)
                        self.say(told)
                self.ended.wait(pause)
        return 0

    def _end(self, _number: int, _frame: FrameType | None) -> None:
        self.ended.set()


def parser() -> argparse.ArgumentParser:
    """The command line."""
    top = argparse.ArgumentParser(
        prog="nginx-upstream",
        description="Which application servers nginx passes requests to.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = top.add_subparsers(dest="command", required=True, metavar="COMMAND")
    one = commands.add_parser("drain", help="pass no new requests to a server, and wait for the open ones")
    one.add_argument("server", metavar="ADDRESS:PORT")
    one.add_argument("--seconds", type=float, default=600, help="the drain ends by itself (default 600)")
    one.add_argument("--wait", type=float, default=30, help="seconds to wait for open requests (default 30)")
    one.add_argument("--reason", default="", help="shown by status")
    one = commands.add_parser("restore", help="pass requests to it again, and wait for its good health")
    one.add_argument("server", metavar="ADDRESS:PORT")
    one.add_argument("--wait", type=float, default=30, help="seconds to wait for that (default 30)")
    one = commands.add_parser("entry", help="send load balancers away from this nginx, or let them come")
    one.add_argument("verb", choices=["leave", "join"])
    one.add_argument("--seconds", type=float, default=600, help="they come again after that (default 600)")
    one = commands.add_parser("maintenance", help="answer every request with 503, or serve again")
    one.add_argument("verb", choices=["on", "off"])
    one = commands.add_parser("status", help="show who serves")
    one.add_argument("--json", action="store_true", help="for programs")
    commands.add_parser("render", help="write the list of servers anew")
    commands.add_parser("watch", help="ask the servers for their health until it is ended (the service)")
    return top


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point; returns an exit status."""
    options = parser().parse_args(argv)
    runs: dict[str, Callable[[], int]] = {
        "drain": lambda: drain(options.server, options.seconds, options.reason, options.wait),
        "restore": lambda: restore(options.server, options.wait),
        "entry": lambda: entry(options.verb, options.seconds),
        "maintenance": lambda: maintenance(options.verb),
        "status": lambda: status(options.json),
        "render": render_now,
        "watch": lambda: Watcher(lambda line: print(line, flush=True)).run(),
    }
    try:
        return runs[options.command]()
    except UpstreamError as error:
        print(f"nginx-upstream: {error}", file=sys.stderr)
    except OSError as error:
        print(f"nginx-upstream: {error}; it needs root", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
