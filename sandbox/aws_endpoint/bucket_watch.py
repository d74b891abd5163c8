"""Access logging, inventories and events of a bucket, and a header of its lifecycle.

moto forgets parts of these settings (the key format of logs, event buses, the smallest
object a transition moves), and takes ``DELETE ?inventory`` for the deletion of the
bucket. So they are kept here, as sent. They are settings only: this endpoint writes no
logs and no reports, and sends no events.

Like AWS it refuses a target that S3 may not write to. For inventories it does so at once,
where AWS would only leave the reports out.
"""

from __future__ import annotations

import re
from typing import Any

from sandbox.aws_endpoint import moto_backend, policy, xml
from sandbox.aws_endpoint.errors import AwsError
from sandbox.aws_endpoint.http import Response
from sandbox.aws_endpoint.moto_backend import ACCOUNT
from sandbox.aws_endpoint.payload import Body
from sandbox.aws_endpoint.s3_request import S3Request

SUBRESOURCES = frozenset({"inventory", "logging", "notification"})
_ROOTS = {"logging": "BucketLoggingStatus", "notification": "NotificationConfiguration"}

_SIZE_HEADER = "x-amz-transition-default-minimum-object-size"
_SIZES = ("all_storage_classes_128K", "varies_by_storage_class")


def answer(bucket: Any, request: S3Request, body: Body) -> Response:
    """The answer to a request on one of :data:`SUBRESOURCES`.

    Raises:
        AwsError: for a setting AWS would refuse, or that this endpoint does not keep.
    """
    kept = _kept(bucket)
    if request.subresource == "inventory":
        return _inventory(bucket, kept, request, body)
    name = request.subresource
    root = _ROOTS[name]
    if request.method == "GET":
        return _document(kept[name]) if name in kept else xml.response(root, {})
    text = body.read()
    content = xml.parse(text, root)
    if name == "logging":
        _check_logging(bucket, content)
    elif set(content) - {"@xmlns", "EventBridgeConfiguration"}:
        raise AwsError("NotImplemented", "Events to topics, queues and functions are not implemented.", 501)
    kept[name] = text
    return Response(200)


def remember_lifecycle(bucket: Any, request: S3Request) -> None:
    """Keep the smallest object that transitions move; to be called before moto keeps the rules.

    Raises:
        AwsError: ``InvalidRequest`` for a value that AWS does not know.
    """
    size = request.headers.get(_SIZE_HEADER, _SIZES[0])
    if size not in _SIZES:
        raise AwsError("InvalidRequest", f"{_SIZE_HEADER} must be one of {', '.join(_SIZES)}", 400)
    _kept(bucket)["lifecycle"] = size


def tell_lifecycle(bucket: Any, response: Response) -> Response:
    """The answer with the value of :func:`remember_lifecycle`, where moto always has the default."""
    headers = [(name, value) for name, value in response.headers if name.lower() != _SIZE_HEADER]
    headers.append((_SIZE_HEADER, _kept(bucket).get("lifecycle", _SIZES[0])))
    return Response(response.status, headers, response.body)


def _kept(bucket: Any) -> dict[str, Any]:
    """The settings of a bucket, gone with it."""
    found: dict[str, Any] = vars(bucket).setdefault("watch_settings", {})
    return found


def _document(text: bytes) -> Response:
    headers = [("Content-Type", "application/xml"), ("Content-Length", str(len(text)))]
    return Response(200, headers, (text,))


def _inventory(bucket: Any, kept: dict[str, Any], request: S3Request, body: Body) -> Response:
    inventories: dict[str, bytes] = kept.setdefault("inventory", {})
    name = request.parameter("id")
    if request.method == "GET" and name is None:
        return _document(_listing(inventories))
    if not name:
        raise AwsError("InvalidArgument", "An inventory configuration needs an id.", 400)
    if request.method == "PUT":
        text = body.read()
        _check_inventory(bucket, name, xml.parse(text, "InventoryConfiguration"))
        inventories[name] = text
        return Response(200)
    if name not in inventories:
        raise AwsError("NoSuchConfiguration", "The specified configuration does not exist.", 404)
    if request.method == "GET":
        return _document(inventories[name])
    del inventories[name]
    return Response(204)


def _listing(inventories: dict[str, bytes]) -> bytes:
    root = b"ListInventoryConfigurationsResult"
    items = b"".join(re.sub(rb"^\s*<\?xml.*?\?>", b"", text) for _, text in sorted(inventories.items()))
    return b"<%s><IsTruncated>false</IsTruncated>%s</%s>" % (root, items, root)


def _check_logging(bucket: Any, content: dict[str, Any]) -> None:
    enabled = content.get("LoggingEnabled")
    if not enabled:
        return
    target = moto_backend.bucket(str(enabled.get("TargetBucket")))
    if target is None:
        raise AwsError("InvalidTargetBucketForLogging", "The target bucket does not exist.", 400)
    if target.region_name != bucket.region_name:
        raise AwsError("CrossLocationLoggingProhibitted", "The target bucket is in another region.", 403)
    key = f"{enabled.get('TargetPrefix') or ''}x"
    if not _may_write("logging.s3.amazonaws.com", bucket, target, key):
        raise AwsError(
            "InvalidTargetBucketForLogging", "The target bucket's policy does not let S3 deliver logs.", 400
        )


def _check_inventory(bucket: Any, name: str, content: dict[str, Any]) -> None:
    if content.get("Id") != name:
        raise AwsError("IdMismatch", "Document ID does not match the specified configuration ID.", 400)
    destination = (content.get("Destination") or {}).get("S3BucketDestination") or {}
    target = moto_backend.bucket(str(destination.get("Bucket", "")).removeprefix("arn:aws:s3:::"))
    if target is None:
        raise AwsError("InvalidS3DestinationBucket", "The destination bucket does not exist.", 400)
    prefix = destination.get("Prefix")
    key = f"{f'{prefix}/' if prefix else ''}{bucket.name}/{name}/x"
    if not _may_write("s3.amazonaws.com", bucket, target, key):
        raise AwsError(
            "InvalidS3DestinationBucket", "The destination's policy does not let S3 put reports.", 400
        )


def _may_write(service: str, source: Any, target: Any, key: str) -> bool:
    """Whether the target's policy lets a service of AWS put an object on behalf of the source bucket."""
    context = {
        "aws:principalisawsservice": "true",
        "aws:principalservicename": service,
        "aws:securetransport": "true",
        "aws:sourceaccount": ACCOUNT,
        "aws:sourcearn": f"arn:aws:s3:::{source.name}",
        "s3:tlsversion": "1.3",
        "s3:x-amz-acl": "bucket-owner-full-control",
    }
    asked = policy.Request(
        policy.Principal((f"Service:{service}",), "amazonaws"),
        "s3:PutObject",
        f"arn:aws:s3:::{target.name}/{key}",
        {name: [value] for name, value in context.items()},
    )
    document = policy.parse(target.policy, "resource", "bucket policy") if target.policy else None
    return policy.evaluate(asked, [], document, resource_must_allow=True).allowed
