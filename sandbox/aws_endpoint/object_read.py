"""GET and HEAD of objects: ranges, parts and conditions, streamed from where the data lies."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

from sandbox.aws_endpoint.errors import AwsError
from sandbox.aws_endpoint.http import Response
from sandbox.aws_endpoint.s3_request import S3Request
from sandbox.aws_endpoint.storage import stored

_ARCHIVED = ("GLACIER", "DEEP_ARCHIVE")
#: What moto keeps as metadata and AWS returns; the rest of it are headers of the request.
_RETURNED = {
    "cache-control",
    "content-disposition",
    "content-encoding",
    "content-language",
    "content-type",
    "expires",
    "x-amz-website-redirect-location",
}
_INTERNAL = {"x-amz-sdk-checksum-algorithm", "content-length"}
_LOCK_HEADERS = {
    "x-amz-object-lock-mode",
    "x-amz-object-lock-retain-until-date",
    "x-amz-object-lock-legal-hold",
}
_OVERRIDES = (
    "content-type",
    "content-language",
    "expires",
    "cache-control",
    "content-disposition",
    "content-encoding",
)


def checksum_headers(key: Any) -> dict[str, str]:
    """The checksum of an object as response headers; of a multipart upload with the number of parts."""
    algorithm, value = key.checksum_algorithm, key.checksum_value
    if not algorithm or not value:
        return {}
    if key.checksum_type == "COMPOSITE" and key.checksum_parts:
        value = f"{value}-{key.checksum_parts}"
    kind = key.checksum_type or "FULL_OBJECT"
    return {f"x-amz-checksum-{algorithm.lower()}": value, "x-amz-checksum-type": kind}


def _headers(key: Any, request: S3Request, *, show_lock: bool) -> dict[str, str]:
    hidden = _INTERNAL if show_lock else _INTERNAL | _LOCK_HEADERS
    metadata = {n.lower(): str(v) for n, v in key.metadata.items()}
    headers = {n: v for n, v in metadata.items() if n in _RETURNED or n.startswith("x-amz-meta-")}
    headers |= {n.lower(): str(v) for n, v in key.response_dict.items() if n.lower() not in hidden}
    headers["accept-ranges"] = "bytes"
    for name in _OVERRIDES:
        if (value := request.parameter(f"response-{name}")) is not None:
            headers[name] = value
    return headers


def _time(text: str) -> datetime | None:
    try:
        return parsedate_to_datetime(text).astimezone(UTC)
    except (TypeError, ValueError):
        return None


def etag_matches(header: str, etag: str) -> bool:
    """Whether an ``If-Match`` style list names ``etag``."""
    wanted = {item.strip().removeprefix("W/").strip('"') for item in header.split(",")}
    return "*" in wanted or etag.strip('"') in wanted


def _not_modified(key: Any, headers: Mapping[str, str]) -> bool:
    """Evaluate the conditional headers; raises for a failed precondition."""
    modified = key.last_modified.replace(microsecond=0, tzinfo=UTC)
    if "if-match" in headers:
        if not etag_matches(headers["if-match"], key.etag):
            raise AwsError(
                "PreconditionFailed", "At least one of the pre-conditions you specified did not hold", 412
            )
    elif (since := _time(headers.get("if-unmodified-since", ""))) and modified > since:
        raise AwsError(
            "PreconditionFailed", "At least one of the pre-conditions you specified did not hold", 412
        )
    if "if-none-match" in headers:
        return etag_matches(headers["if-none-match"], key.etag)
    since = _time(headers.get("if-modified-since", ""))
    return since is not None and modified <= since


def _range(header: str, size: int) -> tuple[int, int] | None:
    """First byte and end of a single range; None for what S3 answers with the whole object."""
    found = re.fullmatch(r"bytes=(\d*)-(\d*)", header.strip())
    if not found or not (found[1] or found[2]):
        return None
    if not found[1]:
        first, stop = max(size - int(found[2]), 0), size
        satisfiable = int(found[2]) > 0 and size > 0
    else:
        first = int(found[1])
        stop = min(int(found[2]) + 1, size) if found[2] else size
        if found[2] and int(found[2]) < first:
            return None
        satisfiable = first < size
    if not satisfiable:
        raise AwsError(
            "InvalidRange", f"The requested range is not satisfiable: the object has {size} bytes.", 416
        )
    return first, stop


def _part(key: Any, text: str) -> tuple[int, int, int]:
    """First byte, end and number of parts of one part."""
    numbers = sorted(key.multipart.parts) if key.multipart else [1]
    if not text.isdigit() or int(text) not in numbers:
        raise AwsError("InvalidPartNumber", "The requested partnumber is not satisfiable", 416)
    sizes = (
        {n: key.multipart.parts[n].contentsize for n in numbers} if key.multipart else {1: key.contentsize}
    )
    first = sum(size for n, size in sizes.items() if n < int(text))
    return first, first + sizes[int(text)], len(numbers)


def serve(request: S3Request, key: Any, *, show_lock: bool) -> Response:
    """Answer GetObject or HeadObject for an existing version.

    Raises:
        AwsError: for failed conditions, unsatisfiable ranges and archived objects.
    """
    headers = _headers(key, request, show_lock=show_lock)
    if _not_modified(key, request.headers):
        return Response(
            304, [(n, v) for n, v in headers.items() if n in ("etag", "last-modified", "x-amz-version-id")]
        )
    if (
        request.method == "GET"
        and key.storage_class in _ARCHIVED
        and 'request="false"' not in headers.get("x-amz-restore", "")
    ):
        raise AwsError("InvalidObjectState", "The operation is not valid for the object's storage class", 403)
    size, status = key.contentsize, 200
    first, stop = 0, size
    part, wanted = request.parameter("partNumber"), request.headers.get("range", "")
    if part is not None:
        first, stop, count = _part(key, part)
        status, headers["x-amz-mp-parts-count"] = 206, str(count)
    elif wanted and (found := _range(wanted, size)):
        (first, stop), status = found, 206
    if status == 206:
        headers["content-range"] = f"bytes {first}-{stop - 1}/{size}"
    if request.headers.get("x-amz-checksum-mode", "").upper() == "ENABLED" and stop - first == size:
        headers |= checksum_headers(key)
    headers["content-length"] = str(stop - first)
    body = stored(key).pieces(first, stop) if request.method == "GET" else ()
    return Response(status, list(headers.items()), body)
