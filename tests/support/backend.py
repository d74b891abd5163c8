"""Releases of the sample backend for tests."""

from __future__ import annotations

import subprocess
from pathlib import Path

from sandbox.settings import REPOSITORY, current

BACKEND = REPOSITORY / "sandbox/backend"
#: npm ci on a cold cache and a busy machine.
BUILD_SECONDS = 600


def build(out: Path, source: Path = BACKEND) -> tuple[str, Path]:
    """Build a release in the folder ``out``: its id and its archive."""
    done = subprocess.run(
        [str(source / "build"), str(out)], capture_output=True, text=True, timeout=BUILD_SECONDS, check=False
    )
    assert done.returncode == 0, done.stderr
    release = done.stdout.strip()
    return release, out / f"backend-{release}.tar.gz"


def unpack(folder: Path) -> tuple[str, Path]:
    """The release of the present sources, unpacked below ``folder``: its id and its folder."""
    name, archive = build(current().cache / "backend")
    tree = folder / name
    tree.mkdir(parents=True)
    subprocess.run(["tar", "-xzf", str(archive), "-C", str(tree)], check=True, timeout=60)
    return name, tree
