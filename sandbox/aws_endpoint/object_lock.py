"""Object Lock as AWS enforces it; moto stores the settings and guards little.

Rules: https://docs.aws.amazon.com/AmazonS3/latest/userguide/object-lock.html
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from sandbox.aws_endpoint import xml
from sandbox.aws_endpoint.errors import AwsError
from sandbox.aws_endpoint.http import Response
from sandbox.aws_endpoint.payload import Body

MODES = ("GOVERNANCE", "COMPLIANCE")
_DENIED = "Access Denied because object protected by object lock."


def parse_date(text: str) -> datetime:
    """A retain-until date of a header or document.

    Raises:
        AwsError: ``InvalidArgument`` when it is no ISO 8601 date with a zone.
    """
    try:
        value = datetime.fromisoformat(text)
    except ValueError:
        value = datetime.min
    if value.tzinfo is None:
        raise AwsError(
            "InvalidArgument", f"The retain until date {text} is not an ISO 8601 date with a time zone.", 400
        )
    return value.astimezone(UTC)


def format_date(value: datetime) -> str:
    """The form in which moto keeps dates."""
    milliseconds = f".{value.microsecond // 1000:03d}" if value.microsecond else ""
    return value.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S") + milliseconds + "Z"


def requested(headers: Mapping[str, str]) -> tuple[str, datetime | None] | None:
    """Mode and date of the lock headers of a put, or None without them."""
    mode = headers.get("x-amz-object-lock-mode", "")
    until = headers.get("x-amz-object-lock-retain-until-date", "")
    return (mode, parse_date(until) if until else None) if mode or until else None


def _require_enabled(bucket: Any) -> None:
    if not bucket.object_lock_enabled:
        raise AwsError("InvalidRequest", "Bucket is missing Object Lock Configuration", 400)


def for_new_object(
    bucket: Any, headers: Mapping[str, str], now: datetime
) -> tuple[str | None, str | None, str | None]:
    """Mode, date and legal hold a new object gets: from its headers, else the bucket's default.

    Raises:
        AwsError: for headers that contradict each other, the clock, or the bucket.
    """
    hold = headers.get("x-amz-object-lock-legal-hold")
    asked = requested(headers)
    if hold is not None:
        _require_enabled(bucket)
        if hold not in ("ON", "OFF"):
            raise AwsError("InvalidArgument", "Legal hold must be ON or OFF.", 400)
    if asked is not None:
        _require_enabled(bucket)
        mode, until = asked
        if not mode or until is None:
            raise AwsError(
                "InvalidArgument",
                "x-amz-object-lock-retain-until-date and x-amz-object-lock-mode must both be supplied",
                400,
            )
        _check(mode, until, now)
        return mode, format_date(until), hold
    if bucket.has_default_lock:
        return bucket.default_lock_mode, bucket.default_retention(), hold
    return None, None, hold


def _check(mode: str, until: datetime, now: datetime) -> None:
    if mode not in MODES:
        raise AwsError("InvalidArgument", f"Unknown object lock mode {mode}.", 400)
    if until <= now:
        raise AwsError("InvalidArgument", "The retain until date must be in the future!", 400)


def _active(key: Any, now: datetime) -> datetime | None:
    """End of a retention that still holds."""
    if getattr(key, "lock_mode", None) not in MODES or not key.lock_until:
        return None
    until = parse_date(key.lock_until)
    return until if until > now else None


def is_locked(key: Any, now: datetime, *, bypass: bool) -> bool:
    """Whether a version may not be deleted; ``bypass`` is a permitted bypass of governance."""
    if getattr(key, "lock_legal_status", None) == "ON":
        return True
    return _active(key, now) is not None and not (key.lock_mode == "GOVERNANCE" and bypass)


def require_deletable(key: Any, now: datetime, *, bypass: bool) -> None:
    """Raise ``AccessDenied`` for a locked version."""
    if is_locked(key, now, bypass=bypass):
        raise AwsError("AccessDenied", _DENIED)


def retention_of(body: Body) -> tuple[str, datetime | None]:
    """Mode and date of a retention document; both empty when it removes the retention.

    Raises:
        AwsError: ``MalformedXML`` when only one of them is given.
    """
    content = xml.parse(body.read(), "Retention")
    mode, until = content.get("Mode") or "", content.get("RetainUntilDate") or ""
    if bool(mode) != bool(until):
        raise AwsError("MalformedXML", "A retention needs both Mode and RetainUntilDate.", 400)
    return mode, parse_date(until) if until else None


def put_retention(bucket: Any, key: Any, body: Body, now: datetime, *, bypass: bool) -> Response:
    """Set, lengthen, or (with a bypass) shorten or remove the retention of a version."""
    _require_enabled(bucket)
    mode, until = retention_of(body)
    if until is not None:
        _check(mode, until, now)
    current = _active(key, now)
    if current is not None:
        weaker = until is None or until < current or mode != key.lock_mode
        if weaker and (key.lock_mode == "COMPLIANCE" or not bypass):
            raise AwsError("AccessDenied", _DENIED)
    key.lock_mode = mode or None
    key.lock_until = format_date(until) if until else None
    return Response(200, [("Content-Length", "0")])


def get_retention(bucket: Any, key: Any) -> Response:
    """The retention of a version; moto would send the object instead."""
    _require_enabled(bucket)
    if not key.lock_mode:
        raise AwsError(
            "NoSuchObjectLockConfiguration",
            "The specified object does not have a ObjectLock configuration",
            404,
        )
    return xml.response("Retention", {"Mode": key.lock_mode, "RetainUntilDate": key.lock_until})


def put_legal_hold(bucket: Any, key: Any, body: Body) -> Response:
    """Switch the legal hold of a version."""
    _require_enabled(bucket)
    status = xml.parse(body.read(), "LegalHold").get("Status")
    if status not in ("ON", "OFF"):
        raise AwsError("MalformedXML", "A legal hold is ON or OFF.", 400)
    key.lock_legal_status = status
    return Response(200, [("Content-Length", "0")])


def get_legal_hold(bucket: Any, key: Any) -> Response:
    """The legal hold of a version."""
    _require_enabled(bucket)
    if not key.lock_legal_status:
        raise AwsError(
            "NoSuchObjectLockConfiguration",
            "The specified object does not have a ObjectLock configuration",
            404,
        )
    return xml.response("LegalHold", {"Status": key.lock_legal_status})


def put_configuration(bucket: Any, body: Body) -> Response:
    """Set the default retention; on AWS this works for buckets with objects too."""
    content = xml.parse(body.read(), "ObjectLockConfiguration")
    if content.get("ObjectLockEnabled") != "Enabled":
        raise AwsError("MalformedXML", "ObjectLockEnabled must be Enabled.", 400)
    if not bucket.is_versioned:
        raise AwsError(
            "InvalidBucketState",
            "Versioning must be 'Enabled' on the bucket to apply a Object Lock configuration",
            409,
        )
    default = (content.get("Rule") or {}).get("DefaultRetention") or {}
    mode, days, years = default.get("Mode"), int(default.get("Days") or 0), int(default.get("Years") or 0)
    if default and (mode not in MODES or (days > 0) == (years > 0)):
        raise AwsError("MalformedXML", "A default retention needs a mode and either days or years.", 400)
    bucket.object_lock_enabled = True
    bucket.default_lock_mode, bucket.default_lock_days, bucket.default_lock_years = mode, days, years
    return Response(200, [("Content-Length", "0")])


def get_configuration(bucket: Any) -> Response:
    """The bucket's Object Lock configuration."""
    if not bucket.object_lock_enabled:
        raise AwsError(
            "ObjectLockConfigurationNotFoundError",
            "Object Lock configuration does not exist for this bucket",
            404,
        )
    content: dict[str, Any] = {"ObjectLockEnabled": "Enabled"}
    if bucket.default_lock_mode:
        period = (
            {"Days": str(bucket.default_lock_days)}
            if bucket.default_lock_days
            else {"Years": str(bucket.default_lock_years)}
        )
        content["Rule"] = {"DefaultRetention": {"Mode": bucket.default_lock_mode, **period}}
    return xml.response("ObjectLockConfiguration", content)
