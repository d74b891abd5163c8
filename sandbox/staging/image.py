"""The base image of all staging hosts: a stock, minimal Debian 12 server.

It is built once a recipe and kept in the cache. The folder's name is the hash
of the recipe, and it gets that name only when it is complete.
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
from pathlib import Path

from sandbox.settings import Sandbox
from sandbox.staging import aptsources
from sandbox.staging.commands import locked, remove_tree, say, step
from sandbox.staging.errors import StagingError

SUITE = "bookworm"

#: What an ordinary minimal server of this distribution has, and Ansible needs.
PACKAGES = (
    "systemd",
    "systemd-sysv",
    "dbus",
    "libpam-systemd",
    "openssh-server",
    "python3",
    "python3-apt",
    "apt-utils",
    "ca-certificates",
    "cron",
    "curl",
    "iproute2",
    "iputils-ping",
    "kmod",
    "less",
    "logrotate",
    "netbase",
    "nftables",
    "procps",
    "rsyslog",
    "sudo",
)

#: What the roles install later: downloaded into the image's apt cache, not installed,
#: so that a host is provisioned without fetching them each time. A role that needs
#: another package still works, by the network.
PRELOADED = (
    "acl",
    "apt-listchanges",
    "debsums",
    "fail2ban",
    "libpam-passwdqc",
    "lynis",
    "nginx",
    "nodejs",
    "python3-pip",
    "python3-systemd",
    "python3-venv",
    "redis-server",
    "rsync",
    "sysstat",
    "tzdata",
    "unattended-upgrades",
    "zstd",
)

#: Files of the image, besides what the packages bring.
FILES = {
    # A staging host's disk is thrown away, so nobody waits for it to be written.
    "etc/dpkg/dpkg.cfg.d/steward-sandbox": "force-unsafe-io\n",
    # Nothing may refresh or upgrade behind the back of a test.
    # Nobody reads descriptions of packages there, and each refresh of the lists would fetch and read them.
    "etc/apt/apt.conf.d/99steward-sandbox": 'APT::Periodic::Enable "0";\nAcquire::Languages "none";\n',
}

#: Shell lines run by mmdebstrap with the image's folder as $1.
HOOK = r"""
set -eu
export APT_CONFIG="$MMDEBSTRAP_APT_CONFIG"
apt-get clean
apt-get install --yes --download-only --no-install-recommends {preloaded}
rm -f "$1"/etc/ssh/ssh_host_*_key*
ln -sf /lib/systemd/system/systemd-networkd.service "$1"/etc/systemd/system/multi-user.target.wants/
ln -sf /dev/null "$1"/etc/systemd/system/systemd-networkd-wait-online.service
: > "$1"/etc/machine-id
rm -f "$1"/etc/hostname "$1"/etc/resolv.conf
"""

#: Raised when the steps of :func:`build` change in a way that the texts above do not show.
RECIPE_VERSION = 1


def recipe(sources: str, options: list[str]) -> dict[str, object]:
    """Everything that decides what the image holds."""
    return {
        "version": RECIPE_VERSION,
        "suite": SUITE,
        "packages": PACKAGES,
        "preloaded": PRELOADED,
        "files": FILES,
        "hook": HOOK,
        "sources": sources,
        "options": options,
    }


def digest(of: dict[str, object]) -> str:
    """The image's name: 16 hex digits that change with the recipe."""
    return hashlib.sha256(json.dumps(of, sort_keys=True).encode()).hexdigest()[:16]


def folder(sandbox: Sandbox) -> Path:
    """Where images lie."""
    return sandbox.cache / "images"


def current(sandbox: Sandbox) -> Path:
    """The folder of the image that the recipe of today asks for; it may not exist yet."""
    return folder(sandbox) / digest(recipe(aptsources.sources(SUITE), aptsources.options()))


def ensure(sandbox: Sandbox) -> Path:
    """The image's folder, built first when it is not in the cache.

    Raises:
        StagingError: when the build fails; the message names the log.
    """
    image = current(sandbox)
    if image.exists():
        return image
    with locked(folder(sandbox) / ".lock", "build of the base image"):
        if image.exists():
            return image
        # Only a build that was killed leaves such a folder: builds hold the lock.
        for remains in folder(sandbox).glob(".build-*"):
            remove_tree(remains)
        say(f"base image {image.name} is not in {folder(sandbox)}; building it (once, about two minutes)")
        log = sandbox.state / "log" / "image.log"
        log.parent.mkdir(parents=True, exist_ok=True)
        work = folder(sandbox) / f".build-{image.name}-{os.getpid()}"
        with step("base image"):
            build(work, log)
        work.replace(image)
    return image


def build(target: Path, log: Path, timeout: float = 1800.0) -> None:
    """Run mmdebstrap into ``target`` within ``timeout`` seconds.

    It gets mount and process namespaces of its own: when this process is killed,
    the build ends with it and leaves no mount of /proc behind.
    """
    sources = aptsources.sources(SUITE)
    source_file = target.with_name(f"{target.name}.list")
    command = [
        *("setpriv", "--pdeathsig", "KILL", "unshare", "--mount", "--propagation", "private"),
        *("--pid", "--fork", "--kill-child", "--mount-proc"),
        *("mmdebstrap", "--mode=root", "--format=directory", "--variant=minbase", "--skip=cleanup/apt"),
        f"--include={','.join(PACKAGES)}",
        *(f"--aptopt={option}" for option in aptsources.options()),
        f"--customize-hook={HOOK.format(preloaded=' '.join(PRELOADED))}",
        SUITE,
        str(target),
    ]
    if sources:
        source_file.write_text(sources)
        command.append(str(source_file))
    try:
        with log.open("wb") as stream:
            done = subprocess.run(
                command, stdin=subprocess.DEVNULL, stdout=stream, stderr=stream, timeout=timeout, check=False
            )
        if done.returncode:
            raise StagingError(f"base image: mmdebstrap failed ({_last_error(log)}); see {log}")
        for name, content in FILES.items():
            (target / name).write_text(content)
    except FileNotFoundError as error:
        raise StagingError(f"{error.filename}: not installed; run 'make up', which installs it", 2) from None
    except subprocess.TimeoutExpired:
        raise StagingError(f"base image: not done within {timeout:.0f} s; see {log}") from None
    finally:
        source_file.unlink(missing_ok=True)


def _last_error(log: Path) -> str:
    lines = log.read_text(errors="replace").splitlines()
    errors = [line for line in lines if line.startswith("E:")] or lines or ["no output"]
    return errors[0].removeprefix("E:").strip()
