"""The backup bucket, whichever service keeps it: what steward asks of a store.

:mod:`steward.s3store` and :mod:`steward.gcsstore` do it. Nothing here deletes an object: hosts
may not, and expiry is the bucket's work.
"""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from steward.encryption import Identities
from steward.errors import FaultError

if TYPE_CHECKING:
    from steward.config import StorageSettings

CONNECT_TIMEOUT_S = 5
READ_TIMEOUT_S = 60
#: Objects are handed on in pieces of about this size.
READ_BYTES = 1024 * 1024


@dataclass(frozen=True)
class ObjectInfo:
    """An object in the bucket. The last two only from :meth:`Store.head`.

    ``etag`` names the version in the store's own way; ``checksum`` is as S3 writes it;
    until ``locked_until`` nobody may delete the object.
    """

    key: str
    size: int
    modified: datetime
    etag: str
    checksum: str | None = None
    locked_until: datetime | None = None


@dataclass(frozen=True)
class StoredObject:
    """What an upload stored. ``sha256`` is the hex digest of the stored bytes."""

    key: str
    size: int
    sha256: str
    parts: int


@dataclass(frozen=True)
class Versioned:
    """A JSON document as it was read; ``age`` by the store's own clock."""

    document: object
    etag: str
    age: timedelta


class Store(ABC):
    """One bucket of backups, and the private keys at hand for what is encrypted in it.

    Every method raises a :class:`~steward.errors.StewardError` of one line when the service
    refuses or cannot be reached.
    """

    def __init__(self, settings: StorageSettings, identities: Identities | None = None) -> None:
        self.settings = settings
        self.identities = identities or Identities()

    @abstractmethod
    def put_stream(
        self,
        key: str,
        chunks: Iterable[bytes],
        retain_until: datetime | None,
        progress: Callable[[int], None] | None = None,
    ) -> StoredObject:
        """Store a stream of unknown length under ``key`` and check what was stored.

        When ``chunks`` raises, or this call is interrupted, no object appears.

        Args:
            progress: called with the number of bytes stored so far.

        Raises:
            FaultError: what was stored is not what was sent.
        """

    @abstractmethod
    def put_json(self, key: str, document: object, retain_until: datetime | None) -> None:
        """Store a JSON document under a key that must not exist yet.

        Raises:
            StewardError: the key exists with another content.
        """

    @abstractmethod
    def put_versioned(self, key: str, document: object, etag: str | None) -> str | None:
        """Store a JSON document over the version ``etag``, or, with None, where there is none.

        Returns:
            Its ETag; None when the key holds another version meanwhile.
        """

    @abstractmethod
    def get_versioned(self, key: str) -> Versioned | None:
        """A small JSON document with its ETag and age; None without one. What is not JSON reads as None."""

    @abstractmethod
    def open_read(self, key: str, version_id: str | None = None) -> Iterator[bytes]:
        """The content of an object in chunks of about 1 MiB.

        A broken connection is taken up again at the same byte of the same version.

        Raises:
            StewardError: no such object.
            FaultError: the stream ended early.
        """

    @abstractmethod
    def head(self, key: str) -> ObjectInfo | None:
        """Size and checksum of an object, or None when there is none."""

    @abstractmethod
    def list_prefix(self, prefix: str) -> Iterator[ObjectInfo]:
        """Every object whose key starts with ``prefix``."""

    @abstractmethod
    def list_hidden(self, prefix: str) -> Iterator[tuple[str, str]]:
        """Keys below ``prefix`` that were deleted but have a version left, and the newest one's id."""

    @abstractmethod
    def server_time(self) -> datetime:
        """The time of the service, which the ``Date`` of its answer tells (in whole seconds)."""

    def get_json(self, key: str, version_id: str | None = None) -> object:
        """Read a JSON document, the current version of it unless another is named.

        Raises:
            FaultError: it is not JSON.
        """
        try:
            document: object = json.loads(b"".join(self.open_read(key, version_id)))
        except (ValueError, RecursionError) as error:  # also nested without end
            raise FaultError(f"{key}: damaged: not JSON") from error
        return document


def json_bytes(document: object) -> bytes:
    """A document as it is stored for people and machines to read."""
    return (json.dumps(document, indent=2, ensure_ascii=False) + "\n").encode()


def open_store(settings: StorageSettings, identities: Identities | None = None) -> Store:
    """The store of a configuration; its service is asked at the first use."""
    if settings.kind == "gcs":
        from steward.gcsstore import GcsStore

        return GcsStore(settings, identities)
    if settings.as_of is not None:
        from steward.paststore import PastS3Store

        return PastS3Store(settings, identities)
    from steward.s3store import S3Store

    return S3Store(settings, identities)
