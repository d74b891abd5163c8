"""What an S3 REST request asks for, and which permissions that needs. Pure.

Actions: https://docs.aws.amazon.com/AmazonS3/latest/userguide/using-with-s3-policy-actions.html
"""

from __future__ import annotations

import ipaddress
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from urllib.parse import parse_qs, unquote

from sandbox.aws_endpoint.errors import AwsError

#: Bucket subresource -> (GET, PUT, DELETE) action without "s3:"; "" where AWS has no such request.
_BUCKET = {
    "accelerate": ("GetAccelerateConfiguration", "PutAccelerateConfiguration", ""),
    "acl": ("GetBucketAcl", "PutBucketAcl", ""),
    "cors": ("GetBucketCORS", "PutBucketCORS", "PutBucketCORS"),
    "encryption": ("GetEncryptionConfiguration", "PutEncryptionConfiguration", "PutEncryptionConfiguration"),
    "inventory": ("GetInventoryConfiguration", "PutInventoryConfiguration", "PutInventoryConfiguration"),
    "lifecycle": ("GetLifecycleConfiguration", "PutLifecycleConfiguration", "PutLifecycleConfiguration"),
    "location": ("GetBucketLocation", "", ""),
    "logging": ("GetBucketLogging", "PutBucketLogging", ""),
    "notification": ("GetBucketNotification", "PutBucketNotification", ""),
    "object-lock": ("GetBucketObjectLockConfiguration", "PutBucketObjectLockConfiguration", ""),
    "ownershipControls": (
        "GetBucketOwnershipControls",
        "PutBucketOwnershipControls",
        "PutBucketOwnershipControls",
    ),
    "policy": ("GetBucketPolicy", "PutBucketPolicy", "DeleteBucketPolicy"),
    "policyStatus": ("GetBucketPolicyStatus", "", ""),
    "publicAccessBlock": (
        "GetBucketPublicAccessBlock",
        "PutBucketPublicAccessBlock",
        "PutBucketPublicAccessBlock",
    ),
    "replication": (
        "GetReplicationConfiguration",
        "PutReplicationConfiguration",
        "PutReplicationConfiguration",
    ),
    "tagging": ("GetBucketTagging", "PutBucketTagging", "PutBucketTagging"),
    "uploads": ("ListBucketMultipartUploads", "", ""),
    "versioning": ("GetBucketVersioning", "PutBucketVersioning", ""),
    "versions": ("ListBucketVersions", "", ""),
    "website": ("GetBucketWebsite", "PutBucketWebsite", "DeleteBucketWebsite"),
}
#: Subresources of AWS that moto lacks; it would take DELETE ?metrics for the deletion of the bucket.
_LACKING = {
    "analytics",
    "intelligent-tiering",
    "metadataConfiguration",
    "metadataTable",
    "metrics",
    "requestPayment",
    "session",
    "torrent",
    "abac",
    "renameObject",
}
_OBJECT_ONLY = {"attributes", "legal-hold", "restore", "retention", "select", "uploadId"}
_SUBRESOURCES = set(_BUCKET) | _LACKING | _OBJECT_ONLY | {"delete"}


@dataclass(frozen=True)
class S3Request:
    """A parsed S3 request; header names are lower-case."""

    method: str
    bucket: str
    key: str
    subresource: str
    query: Mapping[str, list[str]]
    headers: Mapping[str, str]

    def parameter(self, name: str) -> str | None:
        """First value of a query parameter."""
        return self.query[name][0] if name in self.query else None

    @property
    def version_id(self) -> str | None:
        return self.parameter("versionId")

    @property
    def arn(self) -> str:
        """ARN of the object, or of the bucket when there is no key."""
        return f"arn:aws:s3:::{self.bucket}" + (f"/{self.key}" if self.key else "")

    @property
    def bypass(self) -> bool:
        """Whether the client asks to bypass governance retention."""
        return self.headers.get("x-amz-bypass-governance-retention", "").lower() == "true"

    @property
    def needs_body_to_decide(self) -> bool:
        """Whether the body says what is asked (lists of keys, retention, policies)."""
        return self.subresource not in ("", "uploadId", "uploads")


def _bucket_of_host(host: str) -> str:
    """Bucket of a virtual-hosted request; "" for an address, a plain name, or S3's own host."""
    name = re.sub(r":\d+$", "", host).lower()
    try:
        ipaddress.ip_address(name.strip("[]"))
        return ""
    except ValueError:
        pass
    found = re.fullmatch(r"(?P<bucket>.+?)\.(localhost|s3[.-]?([a-z0-9.-]+\.)?amazonaws\.com)", name)
    return found["bucket"] if found else ""


def parse(method: str, host: str, raw_path: str, raw_query: str, headers: Mapping[str, str]) -> S3Request:
    """Read bucket, key and subresource, path-style or virtual-hosted.

    Raises:
        AwsError: for subresources that contradict each other or that the endpoint lacks.
    """
    bucket, path = _bucket_of_host(host), raw_path.removeprefix("/")
    if not bucket:
        bucket, _, path = path.partition("/")
        bucket = unquote(bucket)
    query = parse_qs(raw_query, keep_blank_values=True)
    named = sorted(_SUBRESOURCES & query.keys())
    if len(named) > 1:
        raise AwsError("InvalidArgument", f"Conflicting query parameters: {', '.join(named)}", 400)
    subresource = named[0] if named else ""
    if subresource in _LACKING:
        raise AwsError("NotImplemented", f"?{subresource} is not implemented by this endpoint.", 501)
    if bucket and not re.fullmatch(r"[A-Za-z0-9._-]{1,255}", bucket):
        raise AwsError("InvalidBucketName", "The specified bucket is not valid.", 400)
    return S3Request(method, bucket, unquote(path), subresource, query, headers)


def _write_extras(request: S3Request) -> list[str]:
    """Permissions that headers of a put, copy or multipart start need besides the action itself."""
    names = request.headers
    extras = []
    if "x-amz-acl" in names or any(name.startswith("x-amz-grant-") for name in names):
        extras.append("PutObjectAcl")
    if "x-amz-tagging" in names:
        extras.append("PutObjectTagging")
    if "x-amz-object-lock-mode" in names or "x-amz-object-lock-retain-until-date" in names:
        extras.append("PutObjectRetention")
    if "x-amz-object-lock-legal-hold" in names:
        extras.append("PutObjectLegalHold")
    return extras


def _bucket_actions(request: S3Request) -> list[str]:
    method, sub = request.method, request.subresource
    if method == "HEAD" and not sub:
        return ["ListBucket"]
    if method == "POST" and sub == "delete":
        return []  # decided object by object
    if sub in _BUCKET and method in ("GET", "PUT", "DELETE"):
        action = _BUCKET[sub][("GET", "PUT", "DELETE").index(method)]
        return [action] if action else _unsupported(request)
    if sub:
        return _unsupported(request)
    if method == "PUT":
        actions = ["CreateBucket"]
        if request.headers.get("x-amz-bucket-object-lock-enabled", "").lower() == "true":
            actions += ["PutBucketObjectLockConfiguration", "PutBucketVersioning"]
        if "x-amz-object-ownership" in request.headers:
            actions.append("PutBucketOwnershipControls")
        if "x-amz-acl" in request.headers:
            actions.append("PutBucketAcl")
        return actions
    simple = {"GET": ["ListBucket"], "DELETE": ["DeleteBucket"]}
    return simple[method] if method in simple else _unsupported(request)


def _unsupported(request: S3Request) -> list[str]:
    raise AwsError("MethodNotAllowed", f"{request.method} is not allowed against this resource.", 405)


def _object_actions(request: S3Request) -> list[str]:
    method, sub = request.method, request.subresource
    version = "Version" if request.version_id else ""
    table: dict[tuple[str, str], list[str]] = {
        ("GET", ""): [f"GetObject{version}"],
        ("HEAD", ""): [f"GetObject{version}"],
        ("GET", "acl"): [f"GetObject{version}Acl"],
        ("GET", "attributes"): [f"GetObject{version}", f"GetObject{version}Attributes"],
        ("GET", "legal-hold"): ["GetObjectLegalHold"],
        ("GET", "retention"): ["GetObjectRetention"],
        ("GET", "tagging"): [f"GetObject{version}Tagging"],
        ("GET", "uploadId"): ["ListMultipartUploadParts"],
        ("PUT", ""): ["PutObject", *_write_extras(request)],
        ("PUT", "acl"): [f"PutObject{version}Acl"],
        ("PUT", "legal-hold"): ["PutObjectLegalHold"],
        ("PUT", "retention"): ["PutObjectRetention"],
        ("PUT", "tagging"): [f"PutObject{version}Tagging"],
        ("PUT", "uploadId"): ["PutObject"],
        ("POST", "restore"): ["RestoreObject"],
        ("POST", "select"): ["GetObject"],
        ("POST", "uploadId"): ["PutObject"],
        ("POST", "uploads"): ["PutObject", *_write_extras(request)],
        ("DELETE", ""): [f"DeleteObject{version}"],
        ("DELETE", "tagging"): [f"DeleteObject{version}Tagging"],
        ("DELETE", "uploadId"): ["AbortMultipartUpload"],
    }
    actions = list(table.get((method, sub)) or _unsupported(request))
    if request.bypass and (method, sub) in (("DELETE", ""), ("PUT", "retention")):
        actions.append("BypassGovernanceRetention")
    return actions


def copy_source(request: S3Request) -> tuple[str, str, str | None] | None:
    """Bucket, key and version of ``x-amz-copy-source``, or None without that header.

    Raises:
        AwsError: when the header does not name a bucket and a key.
    """
    header = request.headers.get("x-amz-copy-source")
    if header is None:
        return None
    path, _, raw_query = header.partition("?")
    bucket, _, key = unquote(path).lstrip("/").partition("/")
    if not bucket or not key:
        raise AwsError("InvalidArgument", "x-amz-copy-source must be /bucket/key.", 400)
    return bucket, key, parse_qs(raw_query).get("versionId", [None])[0]


def permissions(request: S3Request) -> list[tuple[str, str]]:
    """All (action, resource) pairs that must be allowed for the request."""
    if not request.bucket:
        if request.method != "GET":
            _unsupported(request)
        return [("s3:ListAllMyBuckets", "*")]
    actions = _object_actions(request) if request.key else _bucket_actions(request)
    pairs = [(f"s3:{action}", request.arn) for action in actions]
    source = copy_source(request) if request.key and request.method == "PUT" else None
    if source:
        bucket, key, version = source
        pairs.append((f"s3:GetObject{'Version' if version else ''}", f"arn:aws:s3:::{bucket}/{key}"))
    return pairs


_HEADER_KEYS = {
    "s3:x-amz-acl": "x-amz-acl",
    "s3:x-amz-content-sha256": "x-amz-content-sha256",
    "s3:x-amz-copy-source": "x-amz-copy-source",
    "s3:x-amz-metadata-directive": "x-amz-metadata-directive",
    "s3:x-amz-object-ownership": "x-amz-object-ownership",
    "s3:x-amz-server-side-encryption": "x-amz-server-side-encryption",
    "s3:x-amz-server-side-encryption-aws-kms-key-id": "x-amz-server-side-encryption-aws-kms-key-id",
    "s3:x-amz-server-side-encryption-customer-algorithm": "x-amz-server-side-encryption-customer-algorithm",
    "s3:x-amz-storage-class": "x-amz-storage-class",
    "s3:if-match": "if-match",
    "s3:if-none-match": "if-none-match",
    "s3:object-lock-legal-hold": "x-amz-object-lock-legal-hold",
}


def context(
    request: S3Request, retention: tuple[str, datetime | None] | None, now: datetime
) -> dict[str, list[str]]:
    """The ``s3:`` condition keys of a request.

    ``retention`` is the mode and date asked for, by header or in a retention document.
    """
    found: dict[str, str | None] = {key: request.headers.get(name) for key, name in _HEADER_KEYS.items()}
    found |= {f"s3:{name}": request.parameter(name) for name in ("prefix", "delimiter", "max-keys")}
    found["s3:versionid"] = request.version_id
    if retention:
        mode, until = retention
        found["s3:object-lock-mode"] = mode or None
        if until:
            found["s3:object-lock-retain-until-date"] = until.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
            # AWS counts started days: a date 6.2 days ahead has 7 remaining.
            found["s3:object-lock-remaining-retention-days"] = str(
                math.ceil((until - now) / timedelta(days=1))
            )
    return {key: [value] for key, value in found.items() if value is not None}
