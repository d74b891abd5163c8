"""Deleting objects and versions, one or many, without losing what a lock protects."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any

from sandbox.aws_endpoint import moto_backend, object_lock, object_read, xml
from sandbox.aws_endpoint.errors import AwsError
from sandbox.aws_endpoint.http import Response
from sandbox.aws_endpoint.payload import Body
from sandbox.aws_endpoint.s3_request import S3Request

#: AWS deletes up to this many objects in one request.
MAX_KEYS = 1000


def versions(bucket: Any, key: str) -> list[Any]:
    """All versions and delete markers of a key, oldest first."""
    return list(bucket.keys.getlist(key, []))


def delete(bucket: Any, key: str, version_id: str | None, now: datetime, *, bypass: bool) -> dict[str, str]:
    """Delete one version, or put a delete marker on a versioned key.

    Returns:
        ``version`` and ``marker`` ("true") as AWS reports them, when there are any.

    Raises:
        AwsError: ``AccessDenied`` for a locked version.
    """
    present = versions(bucket, key)
    if version_id is None:
        if bucket.is_versioned:
            if not present:  # moto adds no marker to a key that never was, AWS does
                return {}
            _, meta = moto_backend.s3().delete_object(bucket.name, key)
            return {"version": str(meta.get("version-id", "")), "marker": "true"}
        if bucket.versioning_status:
            raise AwsError(
                "NotImplemented",
                "Deleting without a version from a suspended bucket is not implemented.",
                501,
            )
        version_id = "null"
    found = next((v for v in present if str(v.version_id) == version_id), None)
    if found is None:
        return {"version": version_id} if version_id != "null" else {}
    object_lock.require_deletable(found, now, bypass=bypass)
    kept = [v for v in present if v is not found]
    if kept:
        bucket.keys.setlist(key, kept)
    else:
        bucket.keys.setlist(key, [])
        dict.pop(bucket.keys, key)
    marker = {} if hasattr(found, "contentsize") else {"marker": "true"}
    return ({"version": version_id} if version_id != "null" else {}) | marker


def delete_one(bucket: Any, request: S3Request, now: datetime) -> Response:
    """DeleteObject."""
    if "if-match" in request.headers:
        current = moto_backend.s3().get_object(bucket.name, request.key, version_id=request.version_id)
        if current is None or not object_read.etag_matches(request.headers["if-match"], current.etag):
            raise AwsError(
                "PreconditionFailed", "At least one of the pre-conditions you specified did not hold", 412
            )
    done = delete(bucket, request.key, request.version_id, now, bypass=request.bypass)
    headers = {"version": "x-amz-version-id", "marker": "x-amz-delete-marker"}
    return Response(204, [(headers[name], value) for name, value in done.items()])


def delete_many(
    bucket: Any, request: S3Request, body: Body, now: datetime, require: Callable[[str, str], None]
) -> Response:
    """DeleteObjects; ``require(action, arn)`` raises for objects the caller may not delete."""
    content = xml.parse(body.read(), "Delete", ["Object"])
    listed = content.get("Object") or []
    if not listed or len(listed) > MAX_KEYS or not all(isinstance(o, dict) and o.get("Key") for o in listed):
        raise AwsError("MalformedXML", f"Delete takes from 1 to {MAX_KEYS} objects with keys.", 400)
    deleted, errors = [], []
    for item in listed:
        key, version_id = str(item["Key"]), item.get("VersionId") or None
        named = {"Key": key, "VersionId": version_id}
        try:
            arn = f"arn:aws:s3:::{bucket.name}/{key}"
            require(f"s3:DeleteObject{'Version' if version_id else ''}", arn)
            if request.bypass:
                require("s3:BypassGovernanceRetention", arn)
            done = delete(bucket, key, version_id, now, bypass=request.bypass)
        except AwsError as error:
            errors.append({**named, "Code": error.code, "Message": error.message})
            continue
        if version_id is None and "marker" in done:
            named |= {"DeleteMarker": "true", "DeleteMarkerVersionId": done["version"]}
        deleted.append(named)
    quiet = content.get("Quiet") == "true"
    return xml.response("DeleteResult", {"Deleted": [] if quiet else deleted, "Error": errors})
