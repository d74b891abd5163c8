"""AWS errors, written in the format of the protocol that the client speaks."""

from __future__ import annotations

import gzip
import json
import re
from functools import cache
from pathlib import Path
from xml.sax.saxutils import escape

import botocore

#: Signing name -> folder of its model in botocore, where the two differ.
_MODEL_FOLDERS = {
    "monitoring": "cloudwatch",
    "email": "ses",
    "tagging": "resourcegroupstaggingapi",
    "eventbridge": "events",
    "states": "stepfunctions",
    "s3control": "s3control",
}

#: Generic code -> (S3, query, JSON) codes; AWS names the same refusal differently per protocol.
_CODES = {
    "UnknownKey": ("InvalidAccessKeyId", "InvalidClientTokenId", "UnrecognizedClientException"),
    "BadSignature": ("SignatureDoesNotMatch", "SignatureDoesNotMatch", "InvalidSignatureException"),
    "NoSignature": ("AccessDenied", "MissingAuthenticationToken", "MissingAuthenticationTokenException"),
    "AccessDenied": ("AccessDenied", "AccessDenied", "AccessDeniedException"),
    "MalformedPolicy": ("MalformedPolicy", "MalformedPolicyDocument", "MalformedPolicyDocumentException"),
}


class AwsError(Exception):
    """A refusal on its way to the client.

    ``code`` is either one of the generic codes of this module, translated for
    each protocol, or an AWS code that is sent as it is.
    """

    def __init__(self, code: str, message: str, status: int = 403) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.status = status


@cache
def protocol_of(service: str) -> str:
    """``s3``, ``query``, ``ec2``, ``json``, ``rest-json`` or ``rest-xml`` for a signing name."""
    if service == "s3":
        return "s3"
    folder = Path(botocore.__file__).parent / "data" / _MODEL_FOLDERS.get(service, service)
    models = sorted(folder.glob("*/service-2.json*")) if re.fullmatch(r"[a-z0-9.-]+", service) else []
    if not models:
        return "json"
    raw = models[-1].read_bytes()
    text = gzip.decompress(raw) if models[-1].suffix == ".gz" else raw
    return str(json.loads(text)["metadata"]["protocol"])


def _cbor_text(text: str) -> bytes:
    """A CBOR text string (RFC 8949, major type 3) with a 16-bit length."""
    raw = text.encode()[:65535]
    return b"\x79" + len(raw).to_bytes(2, "big") + raw


def render(
    error: AwsError, service: str, *, request_id: str, resource: str = "", headers: dict[str, str]
) -> tuple[int, list[tuple[str, str]], bytes]:
    """Status, headers and body of ``error`` for a client of ``service``.

    ``headers`` are the request's, lower-case: a service that speaks several
    protocols is answered in the one the request used.
    """
    protocol = protocol_of(service)
    if headers.get("smithy-protocol") == "rpc-v2-cbor":
        protocol = "cbor"
    elif "x-amz-target" in headers:
        protocol = "json"
    elif headers.get("content-type", "").startswith("application/x-www-form-urlencoded"):
        protocol = "ec2" if protocol == "ec2" else "query"
    column = 0 if protocol == "s3" else 2 if protocol in ("json", "rest-json", "cbor") else 1
    code = _CODES[error.code][column] if error.code in _CODES else error.code
    status = 400 if column == 2 and error.code in _CODES else error.status
    out = [("x-amzn-RequestId", request_id), ("x-amz-request-id", request_id)]
    code_xml, message_xml = escape(code), escape(error.message)
    if protocol == "cbor":
        pairs = (("__type", code), ("message", error.message))
        body = b"\xa2" + b"".join(_cbor_text(k) + _cbor_text(v) for k, v in pairs)
        return status, [*out, ("Content-Type", "application/cbor"), ("smithy-protocol", "rpc-v2-cbor")], body
    if column == 2:
        body = json.dumps({"__type": code, "message": error.message, "Message": error.message}).encode()
        return (
            status,
            [*out, ("Content-Type", "application/x-amz-json-1.1"), ("x-amzn-ErrorType", code)],
            body,
        )
    if protocol == "s3":
        text = (
            f"<Error><Code>{code_xml}</Code><Message>{message_xml}</Message>"
            f"<Resource>{escape(resource)}</Resource><RequestId>{request_id}</RequestId></Error>"
        )
    elif protocol == "ec2":
        text = (
            f"<Response><Errors><Error><Code>{code_xml}</Code><Message>{message_xml}</Message></Error></Errors>"
            f"<RequestID>{request_id}</RequestID></Response>"
        )
    else:
        text = (
            f"<ErrorResponse><Error><Type>Sender</Type><Code>{code_xml}</Code><Message>{message_xml}</Message>"
            f"</Error><RequestId>{request_id}</RequestId></ErrorResponse>"
        )
    body = b'<?xml version="1.0" encoding="UTF-8"?>\n' + text.encode()
    return status, [*out, ("Content-Type", "application/xml")], body
