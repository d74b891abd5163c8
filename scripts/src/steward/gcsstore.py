"""A backup bucket at Google Cloud Storage.

Where S3 has ETags, Cloud Storage has generations: "0" as the condition of a write means that
nothing is there yet (cloud.google.com/storage/docs/request-preconditions). The service's CRC32C
is compared after each upload and at the end of each download.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime
from functools import cached_property
from typing import TYPE_CHECKING, Any

from steward.errors import FaultError, StewardError
from steward.gcserrors import gcs_errors
from steward.storage import (
    CONNECT_TIMEOUT_S,
    READ_BYTES,
    READ_TIMEOUT_S,
    ObjectInfo,
    Store,
    StoredObject,
    Versioned,
    json_bytes,
)
from steward.throttle import throttled

if TYPE_CHECKING:
    from google.auth.transport.requests import AuthorizedSession
    from google.cloud.storage import Blob, Bucket

    from steward.config import StorageSettings
    from steward.encryption import Identities

MIB = 1024 * 1024
#: One request of an upload or a download; an upload keeps it in memory until it is acknowledged.
CHUNK_BYTES = 16 * MIB
#: A request that failed is repeated for so long, in seconds.
RETRY_S = 120.0
TIMEOUT_S = (CONNECT_TIMEOUT_S, READ_TIMEOUT_S)
SCOPE = "https://www.googleapis.com/auth/devstorage.read_write"
#: Object lock of S3 -> object retention here (cloud.google.com/storage/docs/object-lock).
_RETENTION = {"GOVERNANCE": "Unlocked", "COMPLIANCE": "Locked"}


class GcsStore(Store):
    """One bucket of Cloud Storage."""

    def __init__(self, settings: StorageSettings, identities: Identities | None = None) -> None:
        super().__init__(settings, identities)
        self._endpoint = (settings.endpoint_url or "https://storage.googleapis.com").rstrip("/")
        self._where = f"bucket {settings.bucket} at {settings.endpoint_url or 'Google Cloud Storage'}"

    @cached_property
    def _session(self) -> AuthorizedSession:
        import google.auth
        from google.auth.transport.requests import AuthorizedSession
        from google.oauth2.service_account import Credentials

        from steward.config import check_private

        if self.settings.credentials_file:
            check_private(self.settings.credentials_file)
            credentials = Credentials.from_service_account_file(
                str(self.settings.credentials_file), scopes=[SCOPE]
            )
        else:
            credentials, _ = google.auth.default(scopes=[SCOPE])
        session = AuthorizedSession(credentials)
        if self.settings.ca_file:
            session.verify = str(self.settings.ca_file)
        return session

    @cached_property
    def _bucket(self) -> Bucket:
        from google.cloud.storage import Client

        client = Client(
            project=None,
            credentials=self._session.credentials,
            _http=self._session,
            client_options={"api_endpoint": self._endpoint},
        )
        return client.bucket(self.settings.bucket)

    @property
    def _patience(self) -> dict[str, Any]:
        from google.cloud.storage.retry import DEFAULT_RETRY

        return {"timeout": TIMEOUT_S, "retry": DEFAULT_RETRY.with_timeout(RETRY_S)}

    def _new(self, key: str, retain_until: datetime | None) -> Blob:
        """An object that is not stored yet, with its retention."""
        blob = self._bucket.blob(key, chunk_size=CHUNK_BYTES)
        if self.settings.object_lock_mode and retain_until is not None:
            blob.retention.mode = _RETENTION[self.settings.object_lock_mode]
            blob.retention.retain_until_time = retain_until
        return blob

    def put_stream(
        self,
        key: str,
        chunks: Iterable[bytes],
        retain_until: datetime | None,
        progress: Callable[[int], None] | None = None,
    ) -> StoredObject:
        """See :meth:`Store.put_stream`. An upload that is given up ends by itself after a week."""
        if rate := self.settings.upload_mib_per_second:
            chunks = throttled(chunks, rate * MIB)
        stream = _Stream(key, chunks, progress)
        with gcs_errors(self._where, key):
            self._new(key, retain_until).upload_from_file(
                stream,
                content_type="application/octet-stream",
                if_generation_match=0,
                checksum="crc32c",
                **self._patience,
            )
            found = self.head(key)
        if found is None:
            raise FaultError(f"{key}: stored, but the bucket does not show it")
        if found.size != stream.tell():
            raise FaultError(f"{key}: {stream.tell()} bytes were sent, {found.size} are stored")
        parts = -(-found.size // CHUNK_BYTES)
        return StoredObject(key=key, size=found.size, sha256=stream.sha256.hexdigest(), parts=parts)

    def put_json(self, key: str, document: object, retain_until: datetime | None) -> None:
        """See :meth:`Store.put_json`."""
        from google.api_core.exceptions import PreconditionFailed

        body = json_bytes(document)
        with gcs_errors(self._where, key):
            try:
                self._put(self._new(key, retain_until), body, 0)
            except PreconditionFailed as error:
                # Another writer was first, or a repetition met what our own request had stored.
                if b"".join(self.open_read(key)) != body:
                    raise StewardError(f"{key}: exists already with another content") from error

    def _put(self, blob: Blob, body: bytes, generation: int) -> str:
        """Put a JSON text over that generation; the new one."""
        blob.upload_from_string(
            body,
            content_type="application/json",
            if_generation_match=generation,
            checksum="crc32c",
            **self._patience,
        )
        return str(blob.generation)

    def put_versioned(self, key: str, document: object, etag: str | None) -> str | None:
        """See :meth:`Store.put_versioned`."""
        from google.api_core.exceptions import NotFound, PreconditionFailed

        with gcs_errors(self._where, key):
            try:
                return self._put(self._new(key, None), json.dumps(document).encode(), int(etag or 0))
            except PreconditionFailed:
                return None
            except NotFound:  # it is gone; without a condition on a version the bucket itself is
                if etag is None:
                    raise
                return None

    def get_versioned(self, key: str) -> Versioned | None:
        """See :meth:`Store.get_versioned`."""
        from google.api_core.exceptions import NotFound

        with gcs_errors(self._where, key):
            blob = self._bucket.get_blob(key, **self._patience)
            if blob is None:
                return None
            try:
                version = self._bucket.blob(key, generation=blob.generation)
                text = version.download_as_bytes(raw_download=True, **self._patience)
            except NotFound:  # another version took its place this moment: its writer is at work
                return self.get_versioned(key)
            now = self.server_time()
        try:
            document: object = json.loads(text)
        except ValueError:
            document = None
        return Versioned(document, str(blob.generation), now - blob.updated)

    def open_read(self, key: str, version_id: str | None = None) -> Iterator[bytes]:
        """See :meth:`Store.open_read`; the checksum is compared at the end of the stream."""
        from google_crc32c import Checksum

        with gcs_errors(self._where, key):
            blob = self._bucket.get_blob(
                key, generation=int(version_id) if version_id else None, **self._patience
            )
            if blob is None:
                raise StewardError(f"{self._where}, {key}: no such object")
            # A handle of the generation alone: the address that the service tells need not name it.
            version = self._bucket.blob(key, generation=blob.generation)
            came, checksum = 0, Checksum()
            while came < blob.size:
                # One request, repeated by itself when it breaks off. Bounds are inclusive.
                data = version.download_as_bytes(
                    start=came,
                    end=min(came + CHUNK_BYTES, blob.size) - 1,
                    raw_download=True,
                    checksum=None,
                    **self._patience,
                )
                if not data:
                    break
                came += len(data)
                checksum.update(data)
                whole = memoryview(data)
                yield from (bytes(whole[at : at + READ_BYTES]) for at in range(0, len(data), READ_BYTES))
        if came != blob.size:
            raise FaultError(f"{key}: {came} bytes came, {blob.size} were announced")
        if blob.crc32c and blob.crc32c.encode() != base64.b64encode(checksum.digest()):
            raise FaultError(f"{key}: damaged: its checksum is not the one that was stored")

    def head(self, key: str) -> ObjectInfo | None:
        """See :meth:`Store.head`; the lock is that of the object or of the bucket, whichever ends later."""
        with gcs_errors(self._where, key):
            blob = self._bucket.get_blob(key, **self._patience)
        if blob is None:
            return None
        locks = (blob.retention.retain_until_time, blob.retention_expiration_time)
        return _info(blob, max((lock for lock in locks if lock), default=None))

    def list_prefix(self, prefix: str) -> Iterator[ObjectInfo]:
        """See :meth:`Store.list_prefix`."""
        with gcs_errors(self._where):
            for blob in self._bucket.list_blobs(prefix=prefix, **self._patience):
                yield _info(blob)

    def list_hidden(self, prefix: str) -> Iterator[tuple[str, str]]:
        """See :meth:`Store.list_hidden`."""
        newest: Blob | None = None
        with gcs_errors(self._where):
            # By name, and the versions of one name by generation: the newest comes last.
            # As a word: the client would send True, which JSON's spelling of it is safer than.
            for blob in self._bucket.list_blobs(prefix=prefix, versions="true", **self._patience):
                if newest is not None and newest.name != blob.name and newest.time_deleted:
                    yield newest.name, str(newest.generation)
                newest = blob
        if newest is not None and newest.time_deleted:
            yield newest.name, str(newest.generation)

    def server_time(self) -> datetime:
        """See :meth:`Store.server_time`."""
        from email.utils import parsedate_to_datetime

        from google.api_core.exceptions import from_http_response

        with gcs_errors(self._where):
            answer = self._session.get(
                f"{self._endpoint}/storage/v1/b/{self.settings.bucket}/o",
                params={"prefix": "daily/", "maxResults": "1", "fields": "kind"},
                timeout=TIMEOUT_S,
            )
            if answer.status_code != 200:
                raise from_http_response(answer)
        told = answer.headers.get("date", "")
        try:
            return parsedate_to_datetime(told).astimezone(UTC)
        except ValueError as error:
            raise StewardError(f"{self._where}: its answer tells no time (Date: {told!r})") from error


def _info(blob: Blob, locked_until: datetime | None = None) -> ObjectInfo:
    return ObjectInfo(blob.name, blob.size, blob.updated, str(blob.generation), locked_until=locked_until)


class _Stream:
    """Chunks as the file that the client reads, which asks for whole requests; counted and hashed."""

    def __init__(self, key: str, chunks: Iterable[bytes], progress: Callable[[int], None] | None) -> None:
        self._key = key
        self._chunks = iter(chunks)
        self._progress = progress
        self._rest = memoryview(b"")
        self._position = 0
        self.sha256 = hashlib.sha256()

    def tell(self) -> int:
        """How many bytes were read."""
        return self._position

    def read(self, size: int) -> bytes:
        """So many bytes; fewer only at the end of the stream.

        Raises:
            StewardError: the stream is empty.
        """
        filled = bytearray()
        while len(filled) < size:
            if not self._rest:
                chunk = next(self._chunks, None)
                if chunk is None:
                    break
                self._rest = memoryview(chunk)
                continue
            taken = self._rest[: size - len(filled)]
            filled += taken
            self._rest = self._rest[len(taken) :]
        if not filled and not self._position:
            raise StewardError(f"{self._key}: the stream to store is empty")
        self._position += len(filled)
        self.sha256.update(filled)
        if self._progress is not None and filled:
            self._progress(self._position)
        return bytes(filled)
