"""The other tools, at fixed versions, in the cache: nothing is installed for the whole machine.

Go modules are built by way of the module proxy, whose checksum database proves their content. ``aws``
is the one of the checkout's virtual environment, pinned there by hash; gzip and zstd are the system's.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

from bench.measure import BenchError
from sandbox.settings import REPOSITORY, current

MODULES = {
    "versitygw": ("github.com/versity/versitygw/cmd/versitygw", "v1.8.0"),
    "restic": ("github.com/restic/restic/cmd/restic", "v0.18.1"),
    "rclone": ("github.com/rclone/rclone", "v1.71.2"),
    "vegeta": ("github.com/tsenart/vegeta/v12", "v12.12.0"),
}
_BUILD_LIMIT_S = 1800.0


def folder() -> Path:
    """Where the built tools lie; the version is part of the path, so another one is built anew."""
    return current().cache / "bench"


def path(name: str) -> Path:
    """Where the tool is, or will be once it is built."""
    return folder() / f"{name}-{MODULES[name][1]}" / name


def missing(names: tuple[str, ...]) -> list[str]:
    """The tools that have to be built before a run."""
    return [name for name in names if not path(name).exists()]


def system_tool(name: str) -> str:
    """A program of the checkout or the machine.

    Raises:
        BenchError: there is none.
    """
    search = os.pathsep.join([str(REPOSITORY / ".venv/bin"), os.environ.get("PATH", os.defpath)])
    found = shutil.which(name, path=search)
    if found is None:
        raise BenchError(f"{name}: not found; run sandbox/bootstrap, or install it")
    return found


def build(name: str) -> None:
    """Build one tool; a killed build leaves nothing at :func:`path`, ``go install`` renames.

    Raises:
        BenchError: there is no Go, or the build failed.
    """
    search = os.pathsep.join(
        [os.environ.get("PATH", os.defpath), "/usr/local/go/bin", str(current().cache / "go/bin")]
    )
    go = shutil.which("go", path=search)
    if go is None:
        raise BenchError("no Go to build tools with; sandbox/tools/build installs one")
    module, version = MODULES[name]
    environment = os.environ | {"GOBIN": str(path(name).parent), "CGO_ENABLED": "0", "GOTOOLCHAIN": "local"}
    try:
        done = subprocess.run(
            [go, "install", "-trimpath", "-ldflags=-s -w", f"{module}@{version}"],
            env=environment,
            capture_output=True,
            text=True,
            timeout=_BUILD_LIMIT_S,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise BenchError(f"{name}: not built within {_BUILD_LIMIT_S:.0f} s") from error
    if done.returncode:
        raise BenchError(f"{name} {version} cannot be built: {done.stderr.strip().splitlines()[-1:]}")
