"""Make the archive that the role `steward` unpacks on hosts: steward and every wheel it needs.

Run on the controller, by the interpreter that runs Ansible. Prints one line of
JSON: ``id`` (names the content), ``archive`` and whether it was ``built`` now.
"""

from __future__ import annotations

import argparse
import fcntl
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterator
from pathlib import Path

#: Oldest and newest glibc (2.N) whose wheels are asked for; Debian 12 has 2.36.
GLIBC = range(17, 37)
TIMEOUT_SECONDS = 600
KEPT_ARCHIVES = 4


class BuildError(Exception):
    """One line for the user."""


def sources(repository: Path) -> Iterator[Path]:
    """Every file that decides what steward's wheel holds, in a stable order."""
    yield repository / "scripts" / "pyproject.toml"
    for path in sorted((repository / "scripts" / "src" / "steward").rglob("*")):
        if path.is_file() and "__pycache__" not in path.parts:
            yield path


def identity(repository: Path, python: str, machine: str, locked: Path) -> str:
    """16 hex digits that change with the content: code, lock, way of installing, kind of host."""
    digest = hashlib.sha256(f"{python} {machine}".encode())
    installing = Path(__file__).parent
    for path in (*sources(repository), locked, installing / "install.sh", installing / "build.py"):
        name = path.relative_to(repository) if path.is_relative_to(repository) else path.name
        digest.update(f"\0{name}\0{hashlib.sha256(path.read_bytes()).hexdigest()}".encode())
    return digest.hexdigest()[:16]


def lock(repository: Path, store: str) -> Path:
    """The locked requirements of steward with the client of one kind of store."""
    return repository / "requirements" / ("steward.lock" if store == "s3" else f"steward-{store}.lock")


def run_pip(arguments: list[str], what: str) -> None:
    """Run this interpreter's pip.

    Raises:
        BuildError: with the last line of pip's own error.
    """
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--no-input", *arguments]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT_SECONDS, check=False)
    except subprocess.TimeoutExpired as error:
        raise BuildError(
            f"{what}: not done within {TIMEOUT_SECONDS} s; is the package index reached?"
        ) from error
    if done.returncode:
        lines = [line for line in done.stderr.splitlines() if line.strip()] or ["pip gave no reason"]
        reasons = [line for line in lines if line.lstrip().startswith("ERROR:")] or lines
        raise BuildError(f"{what}: {reasons[-1].strip().removeprefix('ERROR: ')}")


def dependencies(locked: Path, out: Path, python: str, machine: str) -> Path:
    """The folder with the locked wheels for the host's Python and machine, fetched once a lock."""
    digest = hashlib.sha256(f"{python} {machine} {GLIBC}".encode() + locked.read_bytes())
    folder = out / f"wheels-{digest.hexdigest()[:16]}"
    if not folder.exists():
        with tempfile.TemporaryDirectory(prefix=".wheels-", dir=out) as temporary:
            wheels = Path(temporary) / "wheels"
            download(locked, wheels, python, machine)
            wheels.rename(folder)
    return folder


def download(locked: Path, wheels: Path, python: str, machine: str) -> None:
    """Fetch the locked wheels; each is checked by its hash."""
    platforms = [f"manylinux_2_{minor}_{machine}" for minor in reversed(GLIBC)] + [f"manylinux2014_{machine}"]
    run_pip(
        [
            *("download", "--quiet", "--no-deps", "--only-binary=:all:", "--require-hashes"),
            *("--implementation=cp", f"--python-version={python}", f"--abi=cp{python.replace('.', '')}"),
            *("--abi=abi3", "--abi=none"),
            *(f"--platform={name}" for name in platforms),
            f"--dest={wheels}",
            f"--requirement={locked}",
        ],
        f"wheels for Python {python} on {machine}",
    )


def build(repository: Path, wheels: Path, work: Path) -> None:
    """Build steward's own wheel from a copy, so that no remains of an older build get into it."""
    copy = work / "source"
    for path in sources(repository):
        target = copy / path.relative_to(repository / "scripts")
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, target)
    run_pip(
        ["wheel", "--quiet", "--no-deps", "--no-build-isolation", f"--wheel-dir={wheels}", str(copy)],
        "wheel of steward",
    )


def make(repository: Path, archive: Path, python: str, machine: str, locked: Path) -> None:
    """Write the archive; it gets its name when it is complete."""
    with tempfile.TemporaryDirectory(prefix=".build-", dir=archive.parent) as folder:
        work = Path(folder)
        wheels = work / "wheels"
        shutil.copytree(dependencies(locked, archive.parent, python, machine), wheels)
        build(repository, wheels, work)
        shutil.copyfile(locked, wheels / "requirements.lock")
        shutil.copyfile(Path(__file__).with_name("install.sh"), wheels / "install.sh")
        part = work / archive.name
        # Not compressed: wheels are.
        with tarfile.open(part, "w") as out:
            out.add(wheels, arcname=".")
        part.replace(archive)
    prune(archive.parent)


def prune(folder: Path) -> None:
    """Keep the newest archives: each edit of steward makes one."""
    archives = sorted(folder.glob("steward-*.tar"), key=lambda path: path.stat().st_mtime)
    for old in archives[:-KEPT_ARCHIVES]:
        old.unlink()


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repository", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True, help="folder of the archives")
    parser.add_argument("--python", required=True, help="the host's Python, such as 3.11")
    parser.add_argument("--machine", required=True, help="the host's machine, such as x86_64")
    parser.add_argument("--store", choices=("s3", "gcs"), default="s3", help="kind of the backups' store")
    options = parser.parse_args()
    locked = lock(options.repository, options.store)
    try:
        name = identity(options.repository, options.python, options.machine, locked)
        archive = options.out / f"steward-{name}.tar"
        options.out.mkdir(parents=True, exist_ok=True)
        built = False
        with (options.out / ".lock").open("w") as held:
            fcntl.flock(held, fcntl.LOCK_EX)
            if not archive.exists():
                make(options.repository, archive, options.python, options.machine, locked)
                built = True
    except (BuildError, OSError) as error:
        print(f"steward: {error}", file=sys.stderr)
        return 1
    print(json.dumps({"id": name, "archive": os.fspath(archive), "built": built}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
