"""A backup bucket at Amazon S3, or at a service that speaks its protocol.

After an upload the service is asked for size and checksum of what it holds.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import UTC, datetime
from functools import cached_property
from typing import TYPE_CHECKING, Any

from steward.encryption import Identities
from steward.errors import FaultError, StewardError
from steward.multipart import MIB, PARTS_IN_FLIGHT, MultipartUpload, base64_text
from steward.s3errors import s3_errors
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
    from mypy_boto3_s3 import S3Client

    from steward.config import StorageSettings

MAX_ATTEMPTS = 4
#: A download is resumed where it broke off, as often as this.
READ_RESUMES = 5


class S3Store(Store):
    """One S3 bucket."""

    #: Where this identity may list; only for a look at the service's time.
    PROBE = "daily/"

    def __init__(self, settings: StorageSettings, identities: Identities | None = None) -> None:
        super().__init__(settings, identities)
        self._endpoint = settings.endpoint_url or f"S3 in {settings.region}"
        self._tls = settings.endpoint_url is None or settings.endpoint_url.startswith("https:")

    @cached_property
    def _s3(self) -> S3Client:
        import boto3
        from botocore.config import Config as BotoConfig

        login = self.settings.login
        with s3_errors(self._endpoint, self.settings.bucket):
            return boto3.client(
                "s3",
                region_name=self.settings.region,
                endpoint_url=self.settings.endpoint_url,
                verify=str(self.settings.ca_file) if self.settings.ca_file else None,
                aws_access_key_id=login.access_key_id if login else None,
                aws_secret_access_key=login.secret_access_key.get_secret_value() if login else None,
                aws_session_token=(
                    login.session_token.get_secret_value() if login and login.session_token else None
                ),
                config=BotoConfig(
                    connect_timeout=CONNECT_TIMEOUT_S,
                    read_timeout=READ_TIMEOUT_S,
                    retries={"mode": "standard", "total_max_attempts": MAX_ATTEMPTS},
                    # A bucket as a host name resolves on AWS alone.
                    s3={
                        "addressing_style": "path" if self.settings.endpoint_url else "auto",
                        # botocore would hash each body once more for the signature. Within TLS the
                        # SHA-256 that we give is enough: its header is signed, the service compares it.
                        "payload_signing_enabled": not self._tls,
                    },
                    max_pool_connections=PARTS_IN_FLIGHT + 10,
                    # The checksums that matter are given explicitly.
                    request_checksum_calculation="when_required",
                    response_checksum_validation="when_required",
                ),
            )

    def _protection(self, retain_until: datetime | None) -> dict[str, Any]:
        """Encryption and object lock, as parameters of a new object."""
        arguments: dict[str, Any] = {}
        if self.settings.kms_key_arn:
            arguments |= {"ServerSideEncryption": "aws:kms", "SSEKMSKeyId": self.settings.kms_key_arn}
        if self.settings.object_lock_mode and retain_until is not None:
            arguments |= {
                "ObjectLockMode": self.settings.object_lock_mode,
                "ObjectLockRetainUntilDate": retain_until,
            }
        return arguments

    def put_stream(
        self,
        key: str,
        chunks: Iterable[bytes],
        retain_until: datetime | None,
        progress: Callable[[int], None] | None = None,
    ) -> StoredObject:
        """Store a stream of unknown length under ``key`` and check what was stored.

        When ``chunks`` raises, or this call is interrupted, the upload is
        aborted and no object appears. (Where the abort fails, the bucket's
        lifecycle removes the parts.)

        Args:
            progress: called with the number of bytes stored so far.

        Raises:
            StewardError: the service refused, or cannot be reached any more.
            FaultError: what was stored is not what was sent.
        """
        stored, checksum = self._upload(key, chunks, retain_until, progress)
        self._check_stored(stored, checksum)
        return stored

    def _upload(
        self,
        key: str,
        chunks: Iterable[bytes],
        retain_until: datetime | None,
        progress: Callable[[int], None] | None,
    ) -> tuple[StoredObject, str]:
        """Store a stream; what was sent, and the checksum that the service must have of it."""
        if rate := self.settings.upload_mib_per_second:
            # The parts fill at this rate; each is then sent at once.
            chunks = throttled(chunks, rate * MIB)
        with s3_errors(self._endpoint, self.settings.bucket):
            created = self._s3.create_multipart_upload(
                Bucket=self.settings.bucket,
                Key=key,
                ChecksumAlgorithm="SHA256",
                **self._protection(retain_until),
            )
            upload = MultipartUpload(self._s3, self.settings.bucket, key, created["UploadId"])
            try:
                return upload.send(chunks, progress), upload.checksum()
            except BaseException:
                upload.abort()
                raise

    def _check_stored(self, stored: StoredObject, checksum: str) -> None:
        """Ask the service what it holds and compare size and checksum."""
        found = self.head(stored.key)
        if found is None:
            raise FaultError(f"{stored.key}: stored, but the bucket does not show it")
        if found.size != stored.size:
            raise FaultError(f"{stored.key}: {stored.size} bytes were sent, {found.size} are stored")
        # A service without checksums is only asked for the size; each part was
        # checked by it on arrival or not at all.
        # "-N" behind the digest is the number of parts; not every service adds it.
        if found.checksum is not None and found.checksum.partition("-")[0] != checksum.partition("-")[0]:
            raise FaultError(f"{stored.key}: the stored checksum is {found.checksum}, expected {checksum}")

    def put_json(self, key: str, document: object, retain_until: datetime | None) -> None:
        """Store a JSON document under a key that must not exist yet.

        Raises:
            StewardError: the key exists with another content, or the service refused.
        """
        from botocore.exceptions import ClientError

        body = json_bytes(document)
        with s3_errors(self._endpoint, self.settings.bucket):
            try:
                self._put(key, body, IfNoneMatch="*", **self._protection(retain_until))
            except ClientError as error:
                if error.response["ResponseMetadata"]["HTTPStatusCode"] != 412:
                    raise
                # Either another writer was first, or the answer to our own
                # request was lost and a retry met what it had stored.
                if b"".join(self.open_read(key)) != body:
                    raise StewardError(f"{key}: exists already with another content") from error

    def _put(self, key: str, body: bytes, **arguments: Any) -> str:
        """Put a JSON text with its checksum; its ETag."""
        answer = self._s3.put_object(
            Bucket=self.settings.bucket,
            Key=key,
            Body=body,
            ContentType="application/json",
            ChecksumAlgorithm="SHA256",
            ChecksumSHA256=base64_text(hashlib.sha256(body).digest()),
            **arguments,
        )
        return answer["ETag"]

    def put_versioned(self, key: str, document: object, etag: str | None) -> str | None:
        """Store a JSON document over the version ``etag``, or, with None, where there is none.

        Returns:
            Its ETag; None when the key holds another version meanwhile.

        Raises:
            StewardError: the service refused, or cannot be reached.
        """
        from botocore.exceptions import ClientError

        condition = {"IfMatch": etag} if etag else {"IfNoneMatch": "*"}
        with s3_errors(self._endpoint, self.settings.bucket, key):
            try:
                return self._put(key, json.dumps(document).encode(), **condition, **self._protection(None))
            except ClientError as error:
                # 404: it is gone; 409: another conditional write is under way
                # (Amazon S3 user guide, "How to prevent object overwrites with conditional writes").
                code = error.response.get("Error", {}).get("Code")
                if code not in ("PreconditionFailed", "ConditionalRequestConflict", "NoSuchKey"):
                    raise
                return None

    def get_versioned(self, key: str) -> Versioned | None:
        """A small JSON document with its ETag and age; None without one. What is not JSON reads as None.

        Raises:
            StewardError: the service refused, or cannot be reached.
        """
        from botocore.exceptions import ClientError

        with s3_errors(self._endpoint, self.settings.bucket, key):
            try:
                answer = self._s3.get_object(Bucket=self.settings.bucket, Key=key)
            except ClientError as error:
                if error.response["ResponseMetadata"]["HTTPStatusCode"] == 404:
                    return None
                raise
            text = answer["Body"].read()
        try:
            document: object = json.loads(text)
        except ValueError:
            document = None
        return Versioned(document, answer["ETag"], self._date(answer) - answer["LastModified"])

    def open_read(self, key: str, version_id: str | None = None) -> Iterator[bytes]:
        """The content of an object in chunks of about 1 MiB.

        A broken connection is taken up again at the same byte; that the object
        is still the same one is checked with its ETag.

        Raises:
            StewardError: no such object, or the service cannot be reached.
            FaultError: the stream ended early.
        """
        with s3_errors(self._endpoint, self.settings.bucket, key):
            yield from self._read(key, version_id)

    def _read(self, key: str, version_id: str | None) -> Iterator[bytes]:
        from botocore.exceptions import HTTPClientError, IncompleteReadError, ResponseStreamingError
        from urllib3.exceptions import HTTPError

        broken = (HTTPClientError, IncompleteReadError, ResponseStreamingError, HTTPError, OSError)
        position, total, etag = 0, -1, ""
        for attempt in range(READ_RESUMES + 1):
            arguments: dict[str, Any] = {"Bucket": self.settings.bucket, "Key": key}
            if version_id:
                arguments["VersionId"] = version_id
            if position:
                arguments |= {"Range": f"bytes={position}-", "IfMatch": etag}
            answer = self._s3.get_object(**arguments)
            if total < 0:
                total, etag = answer["ContentLength"], answer["ETag"]
            try:
                while chunk := answer["Body"].read(READ_BYTES):
                    position += len(chunk)
                    yield chunk
            except broken as error:
                if attempt == READ_RESUMES:
                    raise StewardError(f"{key}: broke off at byte {position} of {total}: {error}") from error
            finally:
                answer["Body"].close()
            if position >= total:
                break
        if position != total:
            raise FaultError(f"{key}: {position} bytes came, {total} were announced")

    def head(self, key: str, version_id: str | None = None) -> ObjectInfo | None:
        """See :meth:`Store.head`; of the current version unless another is named."""
        from botocore.exceptions import ClientError

        version: Any = {"VersionId": version_id} if version_id else {}
        with s3_errors(self._endpoint, self.settings.bucket, key):
            try:
                answer = self._s3.head_object(
                    Bucket=self.settings.bucket, Key=key, ChecksumMode="ENABLED", **version
                )
            except ClientError as error:
                if error.response["ResponseMetadata"]["HTTPStatusCode"] == 404:
                    return None
                raise
        return ObjectInfo(
            key=key,
            size=answer["ContentLength"],
            modified=answer["LastModified"],
            etag=answer["ETag"],
            checksum=answer.get("ChecksumSHA256"),
            locked_until=answer.get("ObjectLockRetainUntilDate"),
        )

    def list_prefix(self, prefix: str) -> Iterator[ObjectInfo]:
        """Every object whose key starts with ``prefix``."""
        with s3_errors(self._endpoint, self.settings.bucket):
            pages = self._s3.get_paginator("list_objects_v2").paginate(
                Bucket=self.settings.bucket, Prefix=prefix
            )
            for page in pages:
                for item in page.get("Contents", []):
                    yield ObjectInfo(
                        key=item["Key"],
                        size=item["Size"],
                        modified=item["LastModified"],
                        etag=item["ETag"],
                    )

    def list_hidden(self, prefix: str) -> Iterator[tuple[str, str]]:
        """Keys below ``prefix`` that were deleted but have a version left, and the newest one's id."""
        with s3_errors(self._endpoint, self.settings.bucket):
            pages = self._s3.get_paginator("list_object_versions").paginate(
                Bucket=self.settings.bucket, Prefix=prefix
            )
            before = ""
            for page in pages:
                for item in page.get("Versions", []):  # by key, the newest version first
                    if item["Key"] != before and not item["IsLatest"]:
                        yield item["Key"], item["VersionId"]
                    before = item["Key"]

    def server_time(self) -> datetime:
        """The time of the service, which the ``Date`` of each of its answers tells (in whole seconds).

        Raises:
            StewardError: the service cannot be asked, or tells no time.
        """
        with s3_errors(self._endpoint, self.settings.bucket):
            # A host may list below its prefixes only, and HeadBucket asks for the whole bucket.
            answer = self._s3.list_objects_v2(Bucket=self.settings.bucket, Prefix=self.PROBE, MaxKeys=1)
        return self._date(answer)

    def _date(self, answer: Mapping[str, Any]) -> datetime:
        """The time of the service when it gave this answer."""
        from email.utils import parsedate_to_datetime

        told = answer["ResponseMetadata"]["HTTPHeaders"].get("date", "")
        try:
            return parsedate_to_datetime(told).astimezone(UTC)
        except ValueError as error:
            raise StewardError(f"{self._endpoint}: its answer tells no time (Date: {told!r})") from error
