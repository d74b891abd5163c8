"""One multipart upload: a stream of unknown length as parts of one object.

Every part carries its SHA-256, so the service itself refuses a part that
changed on the way. Memory is bounded by :data:`PARTS_IN_FLIGHT` parts, and one
that is being filled, whatever the size of the stream.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

from steward.errors import StewardError

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_s3.type_defs import CompletedPartTypeDef

MIB = 1024 * 1024
PART_BYTES = 16 * MIB
PARTS_IN_FLIGHT = 3
#: S3 allows 10,000 parts. The part size doubles after each 2,000, which is
#: enough for 970 GiB of stored data; memory grows only for such large dumps.
PARTS_PER_SIZE = 2000
MAX_PARTS = 10_000


@dataclass(frozen=True)
class StoredObject:
    """What an upload stored. ``sha256`` is the hex digest of the stored bytes."""

    key: str
    size: int
    sha256: str
    parts: int


def part_bytes(number: int) -> int:
    """Size in bytes of the part with this number (from 1)."""
    return PART_BYTES << ((number - 1) // PARTS_PER_SIZE)


def base64_text(digest: bytes) -> str:
    """A digest as S3 writes it."""
    return base64.b64encode(digest).decode("ascii")


class MultipartUpload:
    """An upload that was created; :meth:`send` completes it, or :meth:`abort` ends it."""

    def __init__(self, s3: S3Client, bucket: str, key: str, upload_id: str) -> None:
        self._s3 = s3
        self._bucket = bucket
        self._key = key
        self._id = upload_id
        self._digests: list[bytes] = []
        self._pending: list[Future[CompletedPartTypeDef]] = []
        self._slots = threading.BoundedSemaphore(PARTS_IN_FLIGHT)

    def checksum(self) -> str:
        """What S3 keeps for a multipart object: the digest of its parts' digests, and their number."""
        return f"{base64_text(hashlib.sha256(b''.join(self._digests)).digest())}-{len(self._digests)}"

    def send(self, chunks: Iterable[bytes], progress: Callable[[int], None] | None) -> StoredObject:
        """Upload the whole stream and complete the object."""
        whole = hashlib.sha256()
        size = 0
        pool = ThreadPoolExecutor(PARTS_IN_FLIGHT, thread_name_prefix="upload")
        try:
            for part in _parts(chunks):
                whole.update(part)
                size += len(part)
                self._slots.acquire()
                for earlier in self._pending:
                    if earlier.done():
                        earlier.result()  # a failed part ends the upload at once
                self._submit(pool, part)
                if progress is not None:
                    progress(size)
            if not self._pending:
                raise StewardError(f"{self._key}: the stream to store is empty")
            completed = [future.result() for future in self._pending]
        finally:
            # Parts already under way are waited for: an abort that overtakes
            # them would leave them behind.
            pool.shutdown(wait=True, cancel_futures=True)
        self._s3.complete_multipart_upload(
            Bucket=self._bucket,
            Key=self._key,
            UploadId=self._id,
            MultipartUpload={"Parts": completed},
        )
        return StoredObject(key=self._key, size=size, sha256=whole.hexdigest(), parts=len(completed))

    def _submit(self, pool: ThreadPoolExecutor, part: bytes) -> None:
        digest = hashlib.sha256(part).digest()
        self._digests.append(digest)
        future = pool.submit(self._upload_part, len(self._digests), part, base64_text(digest))
        future.add_done_callback(lambda _: self._slots.release())
        self._pending.append(future)

    def _upload_part(self, number: int, part: bytes, sha256: str) -> CompletedPartTypeDef:
        answer = self._s3.upload_part(
            Bucket=self._bucket,
            Key=self._key,
            UploadId=self._id,
            PartNumber=number,
            Body=part,
            ChecksumSHA256=sha256,
        )
        return {"PartNumber": number, "ETag": answer["ETag"], "ChecksumSHA256": sha256}

    def abort(self) -> None:
        """Drop what was uploaded, as far as the service lets us.

        An error is not told: the one that led here matters more, and the
        bucket's lifecycle removes unfinished uploads in any case.
        """
        from botocore.exceptions import BotoCoreError, ClientError

        with contextlib.suppress(BotoCoreError, ClientError):
            self._s3.abort_multipart_upload(Bucket=self._bucket, Key=self._key, UploadId=self._id)


def _parts(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """Cut a stream into parts of :func:`part_bytes`; the last may be shorter."""
    buffer = bytearray()
    number = 1
    for chunk in chunks:
        buffer += chunk
        while len(buffer) >= (size := part_bytes(number)):
            if number >= MAX_PARTS:
                raise StewardError(f"the backup is larger than {MAX_PARTS} parts of an S3 object")
            yield bytes(buffer[:size])
            del buffer[:size]
            number += 1
    if buffer:
        yield bytes(buffer)
