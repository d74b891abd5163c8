"""Who may log in where: keys, known hosts and the ssh configuration of one sandbox.

All keys are made here before the hosts boot, so every connection is checked
against a known key from the first one on.
"""

from __future__ import annotations

import os
from pathlib import Path

from sandbox.settings import HOSTS, Sandbox
from sandbox.staging.commands import run, write_whole


def folder(sandbox: Sandbox) -> Path:
    """Where the keys and the configuration lie."""
    return sandbox.state / "ssh"


def config_file(sandbox: Sandbox) -> Path:
    """The file for ``ssh -F``."""
    return folder(sandbox) / "config"


def control_folder(sandbox: Sandbox) -> Path:
    """Sockets of shared connections; short, for a socket's path may have 107 bytes."""
    return Path("/run/steward") / sandbox.bridge


def _key(path: Path, comment: str) -> str:
    """Make an ed25519 key if it is not there; return its public line."""
    public = path.with_name(f"{path.name}.pub")
    if not (path.exists() and public.exists()):
        temporary = path.with_name(f".{path.name}.{os.getpid()}")
        for stale in (temporary, temporary.with_name(f"{temporary.name}.pub")):
            stale.unlink(missing_ok=True)
        run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", comment, "-f", str(temporary)])
        temporary.with_name(f"{temporary.name}.pub").replace(public)
        temporary.replace(path)
    return public.read_text().strip()


def host_key(sandbox: Sandbox, host: str) -> tuple[Path, str]:
    """The host's own key (private file, public line); the same after every reset."""
    place = folder(sandbox) / "hosts"
    place.mkdir(parents=True, exist_ok=True)
    path = place / host
    return path, _key(path, host)


def login_key(sandbox: Sandbox) -> str:
    """The public line that root accepts on every host."""
    return _key(folder(sandbox) / "id_ed25519", f"steward-{sandbox.name}")


def ensure(sandbox: Sandbox) -> None:
    """Make what is missing: login key, host keys, known_hosts, config."""
    place = folder(sandbox)
    place.mkdir(parents=True, exist_ok=True)
    place.chmod(0o700)
    control = control_folder(sandbox)
    control.mkdir(parents=True, exist_ok=True)
    control.chmod(0o700)
    login_key(sandbox)
    known = []
    for host in HOSTS:
        kind, blob = host_key(sandbox, host)[1].split()[:2]
        known.append(f"{host},{sandbox.address(host)} {kind} {blob}\n")
    write_whole(place / "known_hosts", "".join(known), 0o600)
    write_whole(config_file(sandbox), configuration(sandbox), 0o600)


def configuration(sandbox: Sandbox) -> str:
    """The text of the ssh configuration: an alias for each host."""
    place = folder(sandbox)
    blocks = [
        f"Host {host} {sandbox.address(host)}\n"
        f"    HostName {sandbox.address(host)}\n"
        f"    HostKeyAlias {host}\n"
        for host in HOSTS
    ]
    common = f"""\
Host *
    User root
    IdentityFile "{place}/id_ed25519"
    IdentitiesOnly yes
    IdentityAgent none
    UserKnownHostsFile "{place}/known_hosts"
    GlobalKnownHostsFile /dev/null
    StrictHostKeyChecking yes
    UpdateHostKeys no
    PasswordAuthentication no
    ConnectTimeout 30
    ServerAliveInterval 5
    ServerAliveCountMax 3
    ControlMaster auto
    ControlPath {control_folder(sandbox)}/%C
    ControlPersist 60
    LogLevel ERROR
"""
    return "".join(blocks) + common
