"""``python -m bench.put SETTINGS KEY < ARCHIVE``: steward's own way from a stream into the store.

The command ``steward backup full`` takes its stream from mongodump alone; this is all that follows it.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from steward.backup.pipeline import put_compressed
from steward.config import StorageSettings
from steward.process import CHUNK_BYTES
from steward.storage import open_store


def _stdin() -> Iterator[bytes]:
    while chunk := os.read(sys.stdin.fileno(), CHUNK_BYTES):
        yield chunk


def main() -> None:
    """Store stdin; the manifest's entry goes to stdout."""
    settings = StorageSettings.model_validate_json(Path(sys.argv[1]).read_text(encoding="utf-8"))
    stored = put_compressed(open_store(settings), sys.argv[2], _stdin(), datetime.now(UTC), recipients=[])
    sys.stdout.write(stored.model_dump_json() + "\n")


if __name__ == "__main__":
    main()
