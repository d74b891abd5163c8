"""Compression, encryption and digests of a stream on its way into the store."""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from steward.config import Compression
from steward.encryption import SUFFIX, encrypt
from steward.manifest import DataObject, Encryption

if TYPE_CHECKING:
    from datetime import datetime
    from hashlib import _Hash

    from steward.storage import Store, StoredObject

OUTPUT_BYTES = 1024 * 1024
DEFAULT = Compression()


@dataclass
class Meter:
    """Size in bytes and SHA-256 of what passed."""

    size: int = 0
    digest: _Hash = field(default_factory=hashlib.sha256)

    def watch(self, chunks: Iterable[bytes]) -> Iterator[bytes]:
        """Pass a stream on and measure it."""
        for chunk in chunks:
            self.size += len(chunk)
            self.digest.update(chunk)
            yield chunk

    def describe(self, stored: StoredObject, recipients: Sequence[str] = ()) -> DataObject:
        """The manifest's entry for a stream that was measured here and then stored for ``recipients``."""
        return DataObject(
            key=stored.key,
            size=stored.size,
            sha256=stored.sha256,
            raw_size=self.size,
            raw_sha256=self.digest.hexdigest(),
            encryption=Encryption(recipients=list(recipients)) if recipients else None,
            parts=stored.parts,
        )


def compress(chunks: Iterable[bytes], settings: Compression = DEFAULT) -> Iterator[bytes]:
    """A stream as one zstd frame with a checksum, in chunks of 1 MiB.

    Memory does not depend on the length of the stream.
    """
    import zstandard

    threads = min(os.cpu_count() or 1, settings.threads)
    compressor = zstandard.ZstdCompressor(level=settings.level, threads=threads, write_checksum=True)
    chunker = compressor.chunker(chunk_size=OUTPUT_BYTES)
    for chunk in chunks:
        yield from chunker.compress(chunk)
    yield from chunker.finish()  # type: ignore[no-untyped-call]


def put_compressed(
    store: Store,
    key: str,
    chunks: Iterable[bytes],
    retain_until: datetime,
    progress: Callable[[int], None] | None = None,
    *,
    recipients: Sequence[str],
    compression: Compression = DEFAULT,
) -> DataObject:
    """Compress and encrypt a stream into one object of the store; the manifest's entry for it.

    Args:
        recipients: public keys; with any, ``.age`` is added to ``key``, without, nothing is encrypted.

    Raises:
        StewardError: the store does not take it; nothing is stored.
    """
    raw = Meter()
    compressed = compress(raw.watch(chunks), compression)
    if not recipients:
        return raw.describe(store.put_stream(key, compressed, retain_until, progress))
    # Closed here: the stream has a thread.
    with contextlib.closing(encrypt(compressed, recipients)) as stream:
        stored = store.put_stream(key + SUFFIX, stream, retain_until, progress)
    return raw.describe(stored, recipients)
