"""Verification of AWS Signature Version 4, in the header or in the query string.

The canonical request and the key derivation are botocore's own, so that both
sides of the sandbox follow the same implementation; only the list of headers
comes from the request instead of being chosen.
Protocol: https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html
"""

from __future__ import annotations

import hmac
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import quote, unquote

from botocore.auth import S3SigV4Auth, SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from sandbox.aws_endpoint.errors import AwsError

#: How far the client's clock may be off (AWS: 15 minutes).
MAX_SKEW = timedelta(minutes=15)
#: Longest validity of a presigned URL (AWS: 7 days).
MAX_EXPIRES = 7 * 24 * 3600
_TIMESTAMP = "%Y%m%dT%H%M%SZ"
_HEADER = re.compile(
    r"AWS4-HMAC-SHA256\s+Credential=(?P<credential>[^,\s]+)\s*,\s*"
    r"SignedHeaders=(?P<headers>[^,\s]+)\s*,\s*Signature=(?P<signature>[0-9a-f]{64})"
)
_SIGNATURE_PARAMETERS = {
    "X-Amz-Algorithm",
    "X-Amz-Credential",
    "X-Amz-Date",
    "X-Amz-Expires",
    "X-Amz-SignedHeaders",
    "X-Amz-Signature",
    "X-Amz-Security-Token",
}


@dataclass(frozen=True)
class Signed:
    """What the client claims in its signature."""

    access_key_id: str
    date: str
    region: str
    service: str
    signed_headers: tuple[str, ...]
    signature: str
    timestamp: str
    presigned: bool
    token: str

    @property
    def scope(self) -> str:
        return f"{self.date}/{self.region}/{self.service}/aws4_request"


class _HeaderAuth(SigV4Auth):
    """botocore's signer with the header list and query encoding of a verifier."""

    wanted: tuple[str, ...] = ()

    def headers_to_sign(self, request: Any) -> Any:
        headers = type(request.headers)()
        for name in self.wanted:
            for value in request.headers.get_all(name, []):
                headers[name] = value
        return headers

    def _canonical_query_string_url(self, parts: Any) -> str:
        pairs = []
        for part in filter(None, parts.query.split("&")):
            name, _, value = part.partition("=")
            if unquote(name) != "X-Amz-Signature":
                pairs.append((quote(unquote(name), safe="-_.~"), quote(unquote(value), safe="-_.~")))
        return "&".join(f"{name}={value}" for name, value in sorted(pairs))


class _S3HeaderAuth(_HeaderAuth, S3SigV4Auth):
    def _normalize_url_path(self, path: str) -> str:
        return "/".join(quote(unquote(segment), safe="~") for segment in path.split("/"))


def _credential(text: str) -> tuple[str, str, str, str]:
    parts = text.split("/")
    if len(parts) != 5 or parts[4] != "aws4_request" or not re.fullmatch(r"[a-z0-9.-]+", parts[3]):
        raise AwsError(
            "AuthorizationHeaderMalformed", "The credential scope of the signature is malformed.", 400
        )
    return parts[0], parts[1], parts[2], parts[3]


def parse(headers: Mapping[str, str], query: Mapping[str, list[str]]) -> Signed:
    """The claim of a request; ``headers`` have lower-case names.

    Raises:
        AwsError: when the request carries no Signature Version 4, or a malformed one.
    """
    authorization = headers.get("authorization", "")
    if authorization:
        found = _HEADER.fullmatch(authorization.strip())
        if not found:
            raise AwsError(
                "NoSignature", "The Authorization header is not a Signature Version 4 (AWS4-HMAC-SHA256)."
            )
        key, date, region, service = _credential(found["credential"])
        signed = tuple(found["headers"].split(";"))
        timestamp = headers.get("x-amz-date", "")
        return Signed(
            key,
            date,
            region,
            service,
            signed,
            found["signature"],
            timestamp,
            False,
            headers.get("x-amz-security-token", ""),
        )
    if "X-Amz-Signature" in query:
        first = {name: values[0] for name, values in query.items() if name in _SIGNATURE_PARAMETERS}
        key, date, region, service = _credential(first.get("X-Amz-Credential", ""))
        signed = tuple(first.get("X-Amz-SignedHeaders", "").split(";"))
        return Signed(
            key,
            date,
            region,
            service,
            signed,
            first["X-Amz-Signature"],
            first.get("X-Amz-Date", ""),
            True,
            first.get("X-Amz-Security-Token", ""),
        )
    raise AwsError("NoSignature", "The request is not signed; anonymous access is not served here.")


def check_time(signed: Signed, query: Mapping[str, list[str]], now: datetime) -> None:
    """Refuse a signature from another time, or a presigned URL that has expired."""
    try:
        at = datetime.strptime(signed.timestamp, _TIMESTAMP).replace(tzinfo=UTC)
    except ValueError:
        raise AwsError("AccessDenied", "The request has no valid X-Amz-Date.") from None
    if not signed.timestamp.startswith(signed.date):
        raise AwsError("BadSignature", "The date of the credential scope differs from X-Amz-Date.")
    if signed.presigned:
        expires = query.get("X-Amz-Expires", [""])[0]
        if not expires.isdigit() or not 1 <= int(expires) <= MAX_EXPIRES:
            raise AwsError(
                "AuthorizationQueryParametersError", "X-Amz-Expires must be from 1 to 604800 seconds.", 400
            )
        if now > at + timedelta(seconds=int(expires)):
            raise AwsError("AccessDenied", "Request has expired.")
        if at > now + MAX_SKEW:
            raise AwsError("AccessDenied", "Request is not yet valid.")
    elif abs(now - at) > MAX_SKEW:
        raise AwsError(
            "RequestTimeTooSkewed" if signed.service == "s3" else "BadSignature",
            f"The request's time {signed.timestamp} is more than 15 minutes from this machine's.",
        )


def signing_key(secret: str, signed: Signed) -> bytes:
    """The derived key of one day, region and service."""
    key = f"AWS4{secret}".encode()
    for part in (signed.date, signed.region, signed.service, "aws4_request"):
        key = hmac.digest(key, part.encode(), "sha256")
    return key


def verify(
    signed: Signed,
    secret: str,
    *,
    method: str,
    scheme: str,
    raw_path: str,
    raw_query: str,
    headers: Mapping[str, str],
    payload_hash: Callable[[], str],
) -> None:
    """Recompute the signature and compare.

    ``payload_hash`` gives the SHA-256 of the body; it is called only when the
    request names none in ``x-amz-content-sha256``.

    Raises:
        AwsError: ``BadSignature`` when it differs, or when a header that must be signed is not.
    """
    required = {"host"} | {name for name in headers if name.startswith("x-amz-")}
    if signed.presigned:
        required = {"host"}
    unsigned = required - set(signed.signed_headers)
    # AWS insists on every x-amz- header; one added on the way could widen what a request does.
    if unsigned:
        raise AwsError(
            "AccessDenied", f"There were headers present which were not signed: {', '.join(sorted(unsigned))}"
        )
    if signed.presigned and signed.service == "s3":
        hashed = headers.get("x-amz-content-sha256", "UNSIGNED-PAYLOAD")
    else:
        hashed = headers.get("x-amz-content-sha256") or payload_hash()
    url = f"{scheme}://{headers.get('host', '')}{raw_path}" + (f"?{raw_query}" if raw_query else "")
    request = AWSRequest(
        method=method, url=url, headers={n: headers[n] for n in signed.signed_headers if n in headers}
    )
    request.context["timestamp"] = signed.timestamp
    if "x-amz-content-sha256" not in request.headers:
        request.headers["X-Amz-Content-SHA256"] = hashed
    kind = _S3HeaderAuth if signed.service == "s3" else _HeaderAuth
    auth = kind(Credentials(signed.access_key_id, secret), signed.service, signed.region)
    auth.wanted = signed.signed_headers
    expected = auth.signature(auth.string_to_sign(request, auth.canonical_request(request)), request)
    if not hmac.compare_digest(expected, signed.signature):
        raise AwsError(
            "BadSignature",
            "The request signature we calculated does not match the signature you provided."
            " Check your key and signing method.",
        )
