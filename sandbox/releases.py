"""Releases of the sample backend that differ from the running one, for trying deployments."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

#: Statements that are put before the program of a release.
FAILS_AT_ONCE = "process.exit(1);"
#: Healthy as a canary, dead as a worker: no check before the switch can see it.
FAILS_UNDER_PM2 = "if (!process.env.CANARY) process.exit(1);"


def fails_on(host: str) -> str:
    """Dead as a worker on one host alone, so that the others run the release already."""
    condition = f"!process.env.CANARY && hostname() === '{host}'"
    return f"import {{ hostname }} from 'node:os'; if ({condition}) process.exit(1);"


def variant(
    build: Path,
    running: str,
    release: str,
    folder: Path,
    start: str = "",
    migrations: Mapping[str, str] | None = None,
) -> Path:
    """An archive of release ``running`` under another id, with ``start`` put before its program.

    Args:
        build: folder of the built archives.
        running: id of a release there.
        release: the id of the new one.
        folder: where its archive is made.
        start: statements of JavaScript.
        migrations: further files of its folder ``migrations``, name -> text.
    """
    tree = folder / release
    tree.mkdir()
    source = build / f"backend-{running}.tar.gz"
    subprocess.run(["tar", "-xzf", str(source), "-C", str(tree)], check=True, timeout=60)
    (tree / "RELEASE").write_text(release + "\n")
    server = tree / "src/server.js"
    server.write_text(f"{start}\n{server.read_text()}")
    for name, text in (migrations or {}).items():
        (tree / "migrations" / name).write_text(text)
    archive = folder / f"backend-{release}.tar.gz"
    subprocess.run(["tar", "-czf", str(archive), "-C", str(tree), "."], check=True, timeout=60)
    shutil.rmtree(tree)
    return archive
