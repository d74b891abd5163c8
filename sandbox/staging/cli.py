"""``sandbox/hosts``: up, down, status, ssh, reset, image."""

from __future__ import annotations

import argparse
import json
import os
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime

from sandbox.settings import HOSTS, Sandbox, current
from sandbox.staging import image, keys, network
from sandbox.staging.commands import locked, remove_tree, say
from sandbox.staging.errors import StagingError
from sandbox.staging.machine import Machine, Status

EXAMPLES = """\
examples:
  sandbox/hosts up                          boot all six hosts (does nothing when they run)
  sandbox/hosts up monitor1                 boot one
  sandbox/hosts status --json               what runs, for programs
  sandbox/hosts ssh bitesbay-app1           a shell on a host
  sandbox/hosts ssh kampyn-db1 uptime       one command on a host
  sandbox/hosts reset bitesbay-db1          a fresh disk and a fresh boot
  sandbox/hosts down                        remove hosts, bridge, nft table, keys

STEWARD_SANDBOX chooses the sandbox: up (default) or test; both may run side by side.
Exit status: 0 done, 1 failed, 2 wrong usage or configuration, 3 a host does not run (status),
4 another command holds the lock, 130 interrupted; ssh gives the remote command's own.
"""


def parser() -> argparse.ArgumentParser:
    """The command line."""
    top = argparse.ArgumentParser(
        prog="sandbox/hosts",
        description="Staging hosts of this sandbox: Debian machines in systemd-nspawn on a bridge.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = top.add_subparsers(dest="command", required=True, metavar="COMMAND")

    def add(name: str, text: str) -> argparse.ArgumentParser:
        return commands.add_parser(name, help=text, description=text)

    def add_hosts(to: argparse.ArgumentParser) -> None:
        to.add_argument("hosts", nargs="*", metavar="HOST", help=f"one of {', '.join(HOSTS)}; default: all")

    add_hosts(add("up", "boot what does not run; build the base image first when it is missing"))
    add("down", "end and remove every host, the bridge, the nft table and the keys")
    status = add("status", "show host, address, state, boot time and memory")
    status.add_argument("--json", action="store_true", help="for programs")
    ssh = add("ssh", "log in to a host as root, or run one command there")
    ssh.add_argument("host", metavar="HOST")
    ssh.add_argument("remote", nargs=argparse.REMAINDER, metavar="COMMAND")
    add_hosts(add("reset", "throw away the disk of hosts and boot them fresh (their ssh keys stay)"))
    add("image", "build the base image if it is missing and print its folder")
    return top


def chosen(sandbox: Sandbox, names: Iterable[str]) -> list[Machine]:
    """The machines of these names, all when there is none.

    Raises:
        StagingError: (2) when a name is no host.
    """
    wanted = list(dict.fromkeys(names)) or list(HOSTS)
    for name in wanted:
        if name not in HOSTS:
            raise StagingError(f"no host {name!r}; the hosts are {', '.join(HOSTS)}", 2)
    return [Machine(sandbox, name) for name in wanted]


def on_all(machines: Sequence[Machine], action: Callable[[Machine], object]) -> None:
    """Do something on several hosts at once; every host is tried, then the first error is raised."""
    with ThreadPoolExecutor(max_workers=max(1, len(machines))) as pool:
        futures = [pool.submit(action, machine) for machine in machines]
    errors = [error for future in futures if (error := future.exception()) is not None]
    for error in errors[1:]:
        say(f"sandbox/hosts: {error}")
    if errors:
        raise errors[0]


def up(sandbox: Sandbox, names: Sequence[str], *, fresh: bool = False) -> None:
    """Boot the hosts that do not run; with ``fresh``, boot all of them with new disks."""
    machines = chosen(sandbox, names)
    begin = time.monotonic()
    network.check(sandbox)
    base = image.ensure(sandbox)
    network.ensure(sandbox)
    keys.ensure(sandbox)
    if fresh:
        on_all(machines, Machine.remove)
    idle = [machine for machine in machines if not machine.running()]

    def boot(machine: Machine) -> None:
        machine.start(base)
        machine.wait()
        say(f"  {machine.host:<14} {machine.address:<12} up after {time.monotonic() - begin:.1f} s")

    if idle:
        say(f"booting {len(idle)} of {len(machines)} hosts on {sandbox.bridge}")
        on_all(idle, boot)
    running = [machine for machine in machines if machine not in idle]
    on_all(running, Machine.wait)
    on_all(running, Machine.refresh_trust)
    outdated = [machine.host for machine in running if machine.image() != base]
    if outdated:
        say(f"older base image: {', '.join(outdated)}; 'sandbox/hosts reset {' '.join(outdated)}' renews it")
    say(f"{len(machines)} hosts up in {time.monotonic() - begin:.1f} s; 'sandbox/hosts ssh HOST' logs in")


def down(sandbox: Sandbox) -> None:
    """Remove every trace of the hosts from this machine; images stay in the cache."""
    network.check(sandbox)
    on_all(chosen(sandbox, []), Machine.remove)
    for group in {group.parent for group in Machine(sandbox, next(iter(HOSTS))).groups}:
        if group.name == sandbox.bridge and group.exists():
            group.rmdir()
    network.remove(sandbox)
    remove_tree(keys.folder(sandbox))
    remove_tree(keys.control_folder(sandbox))
    remove_tree(sandbox.state / "hosts")
    network.forget()
    say(f"hosts of sandbox '{sandbox.name}' are gone")


def table(statuses: Sequence[Status]) -> str:
    """The statuses for people."""
    lines = [f"{'HOST':<14} {'ADDRESS':<12} {'STATE':<8} {'BOOTED (UTC)':<20} {'MEMORY':>8}"]
    for one in statuses:
        booted = f"{datetime.fromtimestamp(one.booted_at, UTC):%Y-%m-%d %H:%M:%S}" if one.booted_at else "-"
        memory = f"{one.memory_bytes / 1e6:.0f} MB" if one.memory_bytes is not None else "-"
        lines.append(f"{one.host:<14} {one.address:<12} {one.state:<8} {booted:<20} {memory:>8}")
    return "\n".join(lines)


def show_status(sandbox: Sandbox, *, as_json: bool) -> int:
    """Print the status; 3 when a host does not run."""
    with ThreadPoolExecutor(max_workers=len(HOSTS)) as pool:
        statuses = list(pool.map(Machine.status, chosen(sandbox, [])))
    if as_json:
        hosts = [one.as_dict() for one in statuses]
        content = {"sandbox": sandbox.name, "bridge": sandbox.bridge, "hosts": hosts}
        print(json.dumps(content, indent=2))
    else:
        print(table(statuses))
    return 0 if all(one.state == "running" for one in statuses) else 3


def log_in(sandbox: Sandbox, host: str, remote: Sequence[str]) -> int:
    """Become ssh."""
    (machine,) = chosen(sandbox, [host])
    if not keys.config_file(sandbox).exists():
        raise StagingError(f"{host}: the hosts are not up; run 'sandbox/hosts up'", 1)
    command = machine.ssh(*(remote[1:] if remote[:1] == ["--"] else remote))
    os.execvp(command[0], command)  # noqa: S606


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit status."""
    options = parser().parse_args(arguments)
    try:
        sandbox = current()
    except ValueError as error:
        say(f"sandbox/hosts: {error}")
        return 2
    try:
        if options.command == "status":
            return show_status(sandbox, as_json=options.json)
        if options.command == "ssh":
            return log_in(sandbox, options.host, options.remote)
        if os.geteuid() != 0:
            raise StagingError(f"'{options.command}' needs root; run it with sudo", 2)
        if options.command == "image":
            print(image.ensure(sandbox))
            return 0
        with locked(sandbox.state / "run" / "hosts.lock", "sandbox/hosts command"):
            if options.command == "down":
                down(sandbox)
            else:
                up(sandbox, options.hosts, fresh=options.command == "reset")
    except StagingError as error:
        say(f"sandbox/hosts: {error}")
        return error.exit_code
    except KeyboardInterrupt:
        say("sandbox/hosts: interrupted; 'sandbox/hosts up' continues, 'sandbox/hosts down' removes")
        return 130
    return 0
