"""The log archive as hosts see it: they put and list, and never read.

So an upload cannot be checked by asking for the object. It is checked on its way: S3 refuses each part
whose SHA-256 is not the one that was sent with it, answers with the checksum of the whole, and lists
the size.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from steward.errors import FaultError
from steward.s3store import S3Store
from steward.storage import StoredObject

#: Key prefix of all archived logs (infra/documents/archive.py).
PREFIX = "logs/"


class LogStore(S3Store):
    """The bucket of the log archive."""

    PROBE = PREFIX

    def put(
        self, key: str, chunks: Iterable[bytes], progress: Callable[[int], None] | None = None
    ) -> StoredObject:
        """Store a stream. When ``chunks`` raises, no object appears.

        Raises:
            StewardError: the service refused, or cannot be reached.
            FaultError: what was stored is not what was sent.
        """
        stored, _ = self._upload(key, chunks, None, progress)
        if (size := self.size(key)) != stored.size:
            found = "nothing" if size is None else f"{size} bytes"
            raise FaultError(f"{key}: {stored.size} bytes were sent, {found} can be seen in the bucket")
        return stored

    def size(self, key: str) -> int | None:
        """Bytes of an object; None when there is none."""
        return next((info.size for info in self.list_prefix(key) if info.key == key), None)
