"""Puts and multipart uploads: received files become objects without being copied."""

from __future__ import annotations

import base64
import hashlib
from datetime import datetime
from typing import Any
from urllib.parse import parse_qs

from sandbox.aws_endpoint import checksums, moto_backend, object_lock, object_read, xml
from sandbox.aws_endpoint.errors import AwsError
from sandbox.aws_endpoint.http import Response
from sandbox.aws_endpoint.payload import Body
from sandbox.aws_endpoint.s3_request import S3Request
from sandbox.aws_endpoint.storage import Stored, stored

#: AWS's limits on parts: smallest (but for the last), and highest number.
MIN_PART = 5 * 1024 * 1024
MAX_PART_NUMBER = 10_000


def _metadata(request: S3Request) -> Any:
    from moto.s3.utils import metadata_from_headers

    headers = dict(request.headers)
    encodings = [e.strip() for e in headers.pop("content-encoding", "").split(",")]
    if kept := [e for e in encodings if e and e != "aws-chunked"]:
        headers["content-encoding"] = ",".join(kept)
    return metadata_from_headers(headers)


def _tags(request: S3Request) -> dict[str, str]:
    pairs = parse_qs(request.headers.get("x-amz-tagging", ""), keep_blank_values=True)
    return {name: values[0] for name, values in pairs.items()}


def check_conditions(bucket: Any, request: S3Request) -> None:
    """``If-None-Match: *`` and ``If-Match`` of a put or completion; holds because the lock is held.

    Raises:
        AwsError: ``PreconditionFailed``.
    """
    current = moto_backend.s3().get_object(bucket.name, request.key)
    none_match, match = request.headers.get("if-none-match"), request.headers.get("if-match")
    if none_match is not None:
        if none_match.strip() != "*":
            raise AwsError("NotImplemented", "If-None-Match takes only * here.", 501)
        if current is not None:
            raise AwsError(
                "PreconditionFailed", "At least one of the pre-conditions you specified did not hold", 412
            )
    if match is not None:
        if current is None:
            raise AwsError("NoSuchKey", "The specified key does not exist.", 404)
        if not object_read.etag_matches(match, current.etag):
            raise AwsError(
                "PreconditionFailed", "At least one of the pre-conditions you specified did not hold", 412
            )


def _require_checksum(bucket: Any, request: S3Request, body: Body) -> None:
    """AWS takes a put under retention only with a digest of the body."""
    locked = object_lock.requested(request.headers) or bucket.has_default_lock
    if locked and "content-md5" not in request.headers and not body.checksums:
        raise AwsError(
            "InvalidRequest",
            "Content-MD5 OR x-amz-checksum- HTTP header is required for Put Object requests with Object Lock"
            " parameters",
            400,
        )


def _remember_checksum(key: Any, body: Body, preferred: str = "") -> None:
    """Keep one checksum of the body with its key; moto has room for one."""
    names = sorted(body.checksums, key=lambda name: name != preferred)
    if names:
        key.checksum_algorithm, key.checksum_value, key.checksum_type = (
            names[0],
            body.checksums[names[0]],
            "FULL_OBJECT",
        )


def _response(key: Any, extra: dict[str, str] | None = None) -> Response:
    keep = ("etag", "x-amz-version-id", "x-amz-server-side-encryption")
    headers = {n.lower(): str(v) for n, v in key.response_dict.items() if n.lower().startswith(keep)}
    headers |= extra or {}
    headers["content-length"] = "0"
    return Response(200, list(headers.items()))


def put(bucket: Any, request: S3Request, body: Body, now: datetime, kms_arn: str | None) -> Response:
    """PutObject."""
    check_conditions(bucket, request)
    _require_checksum(bucket, request, body)
    mode, until, hold = object_lock.for_new_object(bucket, request.headers, now)
    backend = moto_backend.s3()
    key = backend.put_object(
        bucket.name,
        request.key,
        Stored.of(body),
        storage=request.headers.get("x-amz-storage-class", "STANDARD"),
        encryption=request.headers.get("x-amz-server-side-encryption"),
        kms_key_id=kms_arn,
        bucket_key_enabled=request.headers.get("x-amz-server-side-encryption-bucket-key-enabled"),
        lock_mode=mode,
        lock_until=until,
        lock_legal_status=hold,
    )
    _remember_checksum(key, body)
    key.set_metadata(_metadata(request))
    key.set_acl(bucket.acl)
    key.website_redirect_location = request.headers.get("x-amz-website-redirect-location")
    backend.put_object_tagging(key, _tags(request))
    return _response(key, object_read.checksum_headers(key))


def create_upload(bucket: Any, request: S3Request, now: datetime, kms_arn: str | None) -> Response:
    """CreateMultipartUpload; the lock is fixed now, as AWS does for explicit headers."""
    algorithm = request.headers.get("x-amz-checksum-algorithm", "").upper()
    if algorithm and algorithm not in checksums.ALGORITHMS:
        raise AwsError("InvalidRequest", f"Checksum algorithm {algorithm} is not supported.", 400)
    lock = object_lock.for_new_object(bucket, request.headers, now)
    encryption = request.headers.get("x-amz-server-side-encryption")
    upload = moto_backend.s3().create_multipart_upload(
        bucket.name,
        request.key,
        _metadata(request),
        request.headers.get("x-amz-storage-class", "STANDARD"),
        _tags(request),
        bucket.acl,
        encryption,
        kms_arn,
    )
    upload.request_headers = dict(request.headers)
    upload.lock = lock
    headers = []
    if encryption:
        headers.append(("x-amz-server-side-encryption", encryption))
    if kms_arn:
        headers.append(("x-amz-server-side-encryption-aws-kms-key-id", kms_arn))
    if algorithm:
        kind = request.headers.get("x-amz-checksum-type") or _default_type(algorithm)
        headers += [("x-amz-checksum-algorithm", algorithm), ("x-amz-checksum-type", kind)]
    content = {"Bucket": bucket.name, "Key": request.key, "UploadId": upload.id}
    return xml.response("InitiateMultipartUploadResult", content, headers)


def _default_type(algorithm: str) -> str:
    return "FULL_OBJECT" if algorithm == "CRC64NVME" else "COMPOSITE"


def find_upload(bucket: Any, request: S3Request) -> Any:
    """The multipart upload of a request.

    Raises:
        AwsError: ``NoSuchUpload``.
    """
    upload = bucket.multiparts.get(request.parameter("uploadId"))
    if upload is None or upload.key_name != request.key:
        raise AwsError(
            "NoSuchUpload",
            "The specified upload does not exist. The upload ID may be invalid, or the upload may have been"
            " aborted or completed.",
            404,
        )
    return upload


def put_part(bucket: Any, request: S3Request, body: Body) -> Response:
    """UploadPart."""
    upload = find_upload(bucket, request)
    text = request.parameter("partNumber") or ""
    if not text.isdigit() or not 1 <= int(text) <= MAX_PART_NUMBER:
        raise AwsError(
            "InvalidArgument", "Part number must be an integer between 1 and 10000, inclusive", 400
        )
    wanted = upload.metadata.get("x-amz-checksum-algorithm", "").upper()
    if wanted and wanted not in body.checksums:
        given = ", ".join(body.checksums) or "null"
        raise AwsError(
            "InvalidRequest",
            f"Checksum Type mismatch occurred, expected checksum Type: {wanted}, actual: {given}",
            400,
        )
    part = upload.set_part(int(text), Stored.of(body))
    _remember_checksum(part, body, wanted)
    headers = {n: v for n, v in object_read.checksum_headers(part).items() if n != "x-amz-checksum-type"}
    return _response(part, headers)


def _listed_parts(upload: Any, body: Body) -> list[tuple[int, Any]]:
    listed = xml.parse(body.read(), "CompleteMultipartUpload", ["Part"]).get("Part") or []
    parts: list[tuple[int, Any]] = []
    for item in listed:
        number = str(item.get("PartNumber", ""))
        part = upload.parts.get(int(number)) if number.isdigit() else None
        if part is None or str(item.get("ETag", "")).strip('"') != part.etag.strip('"'):
            raise AwsError("InvalidPart", f"Part {number} could not be found, or its ETag differs.", 400)
        for algorithm in checksums.ALGORITHMS:
            given = item.get(f"Checksum{algorithm}")
            if given and part.checksum_algorithm == algorithm and given != part.checksum_value:
                raise AwsError(
                    "InvalidPart", f"Part {number} has another {algorithm} than the one listed.", 400
                )
        if parts and int(number) <= parts[-1][0]:
            raise AwsError("InvalidPartOrder", "The list of parts was not in ascending order.", 400)
        parts.append((int(number), part))
    if not parts:
        raise AwsError("MalformedXML", "You must specify at least one part", 400)
    if any(part.contentsize < MIN_PART for _, part in parts[:-1]):
        raise AwsError("EntityTooSmall", "Your proposed upload is smaller than the minimum allowed size", 400)
    return parts


def _whole_checksum(upload: Any, parts: list[tuple[int, Any]], data: Stored) -> tuple[str, str, str] | None:
    """Algorithm, type and base64 value for the object; None when the upload named no algorithm."""
    algorithm = upload.metadata.get("x-amz-checksum-algorithm", "").upper()
    if not algorithm:
        return None
    kind = upload.metadata.get("x-amz-checksum-type") or _default_type(algorithm)
    checksum = checksums.new(algorithm)
    if kind == "COMPOSITE":
        for _, part in parts:
            checksum.update(base64.b64decode(part.checksum_value))
    else:
        for piece in data.pieces(0, data.size):
            checksum.update(piece)
    return algorithm, kind, checksums.encoded(checksum)


def complete_upload(bucket: Any, request: S3Request, body: Body) -> Response:
    """CompleteMultipartUpload; asked again for a completed upload it answers the same."""
    backend = moto_backend.s3()
    current = backend.get_object(bucket.name, request.key)
    if getattr(getattr(current, "multipart", None), "id", "") == request.parameter("uploadId"):
        return _completed(current)
    upload = find_upload(bucket, request)
    check_conditions(bucket, request)
    parts = _listed_parts(upload, body)
    digest = hashlib.md5(
        b"".join(bytes.fromhex(part.etag.strip('"')) for _, part in parts), usedforsecurity=False
    )
    etag = f"{digest.hexdigest()}-{len(parts)}"
    data = Stored.joined([stored(part) for _, part in parts], etag)
    whole = _whole_checksum(upload, parts, data)
    if whole:
        given = request.headers.get(f"x-amz-checksum-{whole[0].lower()}", "").partition("-")[0]
        if given and given != whole[2]:
            raise AwsError(
                "BadDigest", f"The {whole[0]} you specified did not match the calculated checksum.", 400
            )
    mode, until, hold = upload.lock
    if not object_lock.requested(upload.request_headers) and bucket.has_default_lock:
        # A default retention counts from the moment the object exists.
        mode, until = bucket.default_lock_mode, bucket.default_retention()
    # Not through moto's __delitem__, which closes the data of the parts.
    dict.pop(bucket.multiparts, upload.id)
    for number in set(upload.parts) - {number for number, _ in parts}:
        upload.parts.pop(number).dispose()
    key = backend.put_object(
        bucket.name,
        request.key,
        data,
        storage=upload.storage,
        etag=etag,
        multipart=upload,
        encryption=upload.sse_encryption,
        kms_key_id=upload.kms_key_id,
        bucket_key_enabled=upload.request_headers.get("x-amz-server-side-encryption-bucket-key-enabled"),
        lock_mode=mode,
        lock_until=until,
        lock_legal_status=hold,
        request_method="POST",
    )
    key.set_metadata(upload.metadata)
    if whole:
        key.checksum_algorithm, key.checksum_type, key.checksum_value = whole
        key.checksum_parts = len(parts)
    backend.put_object_tagging(key, upload.tags)
    key.set_acl(bucket.acl)
    return _completed(key)


def _completed(key: Any) -> Response:
    headers = [(n, v) for n, v in _response(key).headers if n not in ("etag", "content-length")]
    algorithm = key.checksum_algorithm
    found = object_read.checksum_headers(key)
    content = {
        "Location": f"/{key.bucket_name}/{key.name}",
        "Bucket": key.bucket_name,
        "Key": key.name,
        "ETag": key.etag,
        f"Checksum{algorithm or ''}": found.get(f"x-amz-checksum-{(algorithm or '').lower()}"),
        "ChecksumType": found.get("x-amz-checksum-type"),
    }
    return xml.response("CompleteMultipartUploadResult", content, headers)
