"""A bucket's replication configuration: checked as S3 does, kept as it was put. Nothing is copied.

moto keeps all of it, and answers with half: filter and delete markers are made up, the
source criteria are left out, so that a change of them could not be seen.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sandbox.aws_endpoint import moto_backend, xml
from sandbox.aws_endpoint.errors import AwsError
from sandbox.aws_endpoint.http import Response
from sandbox.aws_endpoint.payload import Body


def check(body: Body) -> None:
    """Refuse what S3 refuses beyond the source's versioning, which moto asks for itself.

    Raises:
        AwsError: ``InvalidRequest`` naming what a rule lacks.
    """
    content = xml.parse(body.read(), "ReplicationConfiguration", lists=("Rule",))
    for rule in content.get("Rule") or []:
        destination = rule.get("Destination") or {}
        name = str(destination.get("Bucket") or "").rpartition(":")[2]
        target = moto_backend.bucket(name)
        if target is None or not target.is_versioned:
            raise AwsError("InvalidRequest", "Destination bucket must have versioning enabled.", 400)
        criteria = rule.get("SourceSelectionCriteria") or {}
        if ("SseKmsEncryptedObjects" in criteria) != ("EncryptionConfiguration" in destination):
            raise AwsError(
                "InvalidRequest",
                "SseKmsEncryptedObjects and EncryptionConfiguration must be specified together.",
                400,
            )
        if "ReplicationTime" in destination and "Metrics" not in destination:
            raise AwsError("InvalidRequest", "ReplicationTime needs Metrics.", 400)


def configuration(bucket: Any) -> Response:
    """What was put, with the ids and priorities that were filled in."""
    kept = getattr(bucket, "replication", None)
    if not kept:
        raise AwsError(
            "ReplicationConfigurationNotFoundError", "The replication configuration was not found", 404
        )
    return xml.response(
        "ReplicationConfiguration", {name: _filled(kept[name]) for name in ("Role", "Rule") if name in kept}
    )


def _filled(value: Any) -> Any:
    """An element that was there and empty stays there: a filter by the empty prefix is one of everything."""
    if isinstance(value, Mapping):
        return {name: _filled(item) for name, item in value.items()}
    if isinstance(value, list):
        return [_filled(item) for item in value]
    return "" if value is None else str(value)
