"""One multipart upload: a stream of unknown length as parts of one object.

Every part carries its SHA-256, so the service itself refuses a part that
changed on the way. Memory is bounded by :data:`PARTS_IN_FLIGHT` parts, and one
that is being filled, whatever the size of the stream: their buffers are made
once and used again.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from queue import SimpleQueue
from typing import TYPE_CHECKING

from steward.errors import FaultError, StewardError
from steward.storage import StoredObject

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
#: How often a part is sent that the service says has changed on the way. botocore repeats what
#: the service could not do, not what it refused.
PART_ATTEMPTS = 3
#: Amazon S3's error codes for a body that is not what its digest says.
_CHANGED = frozenset({"BadDigest", "XAmzContentChecksumMismatch", "XAmzContentSHA256Mismatch"})


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
        self._free: SimpleQueue[bytearray] = SimpleQueue()
        for _ in range(PARTS_IN_FLIGHT + 1):
            self._free.put(bytearray())

    def checksum(self) -> str:
        """What S3 keeps for a multipart object: the digest of its parts' digests, and their number."""
        return f"{base64_text(hashlib.sha256(b''.join(self._digests)).digest())}-{len(self._digests)}"

    def send(self, chunks: Iterable[bytes], progress: Callable[[int], None] | None) -> StoredObject:
        """Upload the whole stream and complete the object."""
        whole = hashlib.sha256()
        size = 0
        pool = ThreadPoolExecutor(PARTS_IN_FLIGHT, thread_name_prefix="upload")
        try:
            for part in _parts(chunks, self._free):
                whole.update(part)
                size += len(part)
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
            # Each of them holds its part and this upload: together they would wait for the collector
            # of cycles, and a run of many uploads would hold the buffers of all.
            self._pending.clear()
        answer = self._s3.complete_multipart_upload(
            Bucket=self._bucket,
            Key=self._key,
            UploadId=self._id,
            MultipartUpload={"Parts": completed},
        )
        # Not every service tells it, nor the number of parts behind the digest.
        told = answer.get("ChecksumSHA256")
        if told is not None and told.partition("-")[0] != self.checksum().partition("-")[0]:
            raise FaultError(f"{self._key}: the stored checksum is {told}, expected {self.checksum()}")
        return StoredObject(key=self._key, size=size, sha256=whole.hexdigest(), parts=len(completed))

    def _submit(self, pool: ThreadPoolExecutor, part: bytearray) -> None:
        digest = hashlib.sha256(part).digest()
        self._digests.append(digest)
        future = pool.submit(self._upload_part, len(self._digests), part, base64_text(digest))
        future.add_done_callback(lambda _: self._free.put(part))
        self._pending.append(future)

    def _upload_part(self, number: int, part: bytearray, sha256: str) -> CompletedPartTypeDef:
        from botocore.exceptions import ClientError

        attempt = 1
        while True:
            try:
                # botocore sends a bytearray from where it lies; of bytes it makes a copy first.
                answer = self._s3.upload_part(
                    Bucket=self._bucket,
                    Key=self._key,
                    UploadId=self._id,
                    PartNumber=number,
                    Body=part,  # type: ignore[arg-type]  # the stubs leave out what botocore's validate.py takes
                    ChecksumSHA256=sha256,
                )
            except ClientError as error:
                changed = error.response.get("Error", {}).get("Code") in _CHANGED
                if not changed or attempt == PART_ATTEMPTS:
                    raise
                attempt += 1
            else:
                return {"PartNumber": number, "ETag": answer["ETag"], "ChecksumSHA256": sha256}

    def abort(self) -> None:
        """Drop what was uploaded, as far as the service lets us.

        An error is not told: the one that led here matters more, and the
        bucket's lifecycle removes unfinished uploads in any case.
        """
        from botocore.exceptions import BotoCoreError, ClientError

        with contextlib.suppress(BotoCoreError, ClientError):
            self._s3.abort_multipart_upload(Bucket=self._bucket, Key=self._key, UploadId=self._id)


def _parts(chunks: Iterable[bytes], free: SimpleQueue[bytearray]) -> Iterator[bytearray]:
    """Cut a stream into parts of :func:`part_bytes`; the last may be shorter.

    Each part lies in a buffer taken from ``free``, and taking one waits until
    there is one. Whoever is done with a part puts it back.
    """
    buffer = bytearray()
    filled = 0
    number = 0
    for chunk in chunks:
        rest = memoryview(chunk)
        while rest:
            if filled == len(buffer):
                if number:
                    yield buffer
                if number == MAX_PARTS:
                    raise StewardError(f"the backup is larger than {MAX_PARTS} parts of an S3 object")
                number += 1
                filled = 0
                buffer = free.get()
                if len(buffer) != part_bytes(number):
                    buffer = bytearray(part_bytes(number))
            taken = rest[: len(buffer) - filled]
            buffer[filled : filled + len(taken)] = taken
            filled += len(taken)
            rest = rest[len(taken) :]
    if filled:
        del buffer[filled:]
        yield buffer
