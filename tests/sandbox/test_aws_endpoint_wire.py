"""Bodies and request lines of S3, read without a server."""

from __future__ import annotations

import io
from datetime import UTC, datetime, timedelta

import pytest

from sandbox.aws_endpoint import payload, s3_request
from sandbox.aws_endpoint.errors import AwsError, protocol_of
from sandbox.aws_endpoint.signature import Signed, signing_key

# The example of https://docs.aws.amazon.com/AmazonS3/latest/API/sigv4-streaming.html
SEED = "4f232c4386841ef735655705268965c44a0e4690baa4adea153f7db9fa80a0a9"
CHUNKS = (
    (65536, "ad80c730a21e5b8d04586a2213dd63b9a0e99e0e2307b0ade35a65485a288648"),
    (1024, "0055627c9e194cb4542bae2aa5492e3c1575bbb81b612b7d234b86a503ef5497"),
    (0, "b6c6ea8a5354eaf15b3cb7646744f4275b71ea724fed81ceb9323e279d449df9"),
)
STREAMING = {
    "x-amz-content-sha256": "STREAMING-AWS4-HMAC-SHA256-PAYLOAD",
    "x-amz-decoded-content-length": "66560",
}
UNSIGNED = {
    "x-amz-content-sha256": "STREAMING-UNSIGNED-PAYLOAD-TRAILER",
    "x-amz-trailer": "x-amz-checksum-crc32",
    "x-amz-decoded-content-length": "9",
}


def signer() -> payload.ChunkSigner:
    """Of the documentation's example key."""
    signed = Signed(
        "AKIAIOSFODNN7EXAMPLE", "20130524", "us-east-1", "s3", (), SEED, "20130524T000000Z", False, ""
    )
    key = signing_key("wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY", signed)
    return payload.ChunkSigner(key, signed.timestamp, signed.scope, SEED)


def example(letter: bytes = b"a") -> bytes:
    parts = [f"{size:x};chunk-signature={mac}\r\n".encode() + letter * size + b"\r\n" for size, mac in CHUNKS]
    return b"".join(parts)


def receive(raw: bytes, headers: dict[str, str]) -> payload.Body:
    return payload.receive(io.BytesIO(raw), headers, signer=signer)


def test_signed_chunks_as_in_the_documentation() -> None:
    assert receive(example(), STREAMING).read() == b"a" * 66560


@pytest.mark.parametrize(
    ("raw", "headers", "code"),
    [
        (example(b"b"), STREAMING, "BadSignature"),
        (example()[:60000], STREAMING, "IncompleteBody"),
        (example(), STREAMING | {"x-amz-decoded-content-length": "1"}, "IncompleteBody"),
        (b"9\r\n123456789\r\n0\r\nx-amz-checksum-crc32:AAAAAA==\r\n\r\n", UNSIGNED, "BadDigest"),
        (b"9\r\n123456789\r\n0\r\n\r\n", UNSIGNED, "MalformedTrailerError"),
        (b"9\r\n1234567890\r\n0\r\n\r\n", UNSIGNED, "InvalidChunkSizeError"),
        (b"zz\r\n", UNSIGNED, "InvalidChunkSizeError"),
        (b"", UNSIGNED, "IncompleteBody"),
        (b"12", {"content-length": "3", "x-amz-content-sha256": "UNSIGNED-PAYLOAD"}, "IncompleteBody"),
        (b"12", {"content-length": "2", "x-amz-content-sha256": "0" * 64}, "XAmzContentSHA256Mismatch"),
        (b"12", {"content-length": "2", "x-amz-content-sha256": "none"}, "InvalidRequest"),
        (b"12", {"content-length": "2", "x-amz-content-sha256": "STREAMING-OTHER"}, "InvalidRequest"),
    ],
)
def test_bodies_that_are_refused(raw: bytes, headers: dict[str, str], code: str) -> None:
    with pytest.raises(AwsError) as caught:
        receive(raw, headers)
    assert caught.value.code == code


def test_a_trailing_checksum() -> None:
    body = receive(b"9\r\n123456789\r\n0\r\nx-amz-checksum-crc32:y/Q5Jg==\r\n\r\n", UNSIGNED)
    assert (body.read(), body.checksums) == (b"123456789", {"CRC32": "y/Q5Jg=="})


def actions(method: str, path: str, query: str = "", **headers: str) -> list[str]:
    """The permissions of a request, ``action resource`` each."""
    names = {name.replace("_", "-"): value for name, value in headers.items()}
    request = s3_request.parse(method, "10.77.1.1:5443", path, query, names)
    return [f"{action} {resource}" for action, resource in s3_request.permissions(request)]


OBJECT, BUCKET = "arn:aws:s3:::b/k/x", "arn:aws:s3:::b"


@pytest.mark.parametrize(
    ("method", "path", "query", "expected"),
    [
        ("GET", "/", "", ["s3:ListAllMyBuckets *"]),
        ("GET", "/b", "list-type=2&prefix=k", [f"s3:ListBucket {BUCKET}"]),
        ("HEAD", "/b/", "", [f"s3:ListBucket {BUCKET}"]),
        ("GET", "/b", "versions", [f"s3:ListBucketVersions {BUCKET}"]),
        ("PUT", "/b", "policy", [f"s3:PutBucketPolicy {BUCKET}"]),
        ("DELETE", "/b", "lifecycle", [f"s3:PutLifecycleConfiguration {BUCKET}"]),
        ("DELETE", "/b", "", [f"s3:DeleteBucket {BUCKET}"]),
        ("POST", "/b", "delete", []),
        ("GET", "/b/k%2Fx", "", [f"s3:GetObject {OBJECT}"]),
        ("HEAD", "/b/k/x", "versionId=1", [f"s3:GetObjectVersion {OBJECT}"]),
        ("GET", "/b/k/x", "retention&versionId=1", [f"s3:GetObjectRetention {OBJECT}"]),
        ("GET", "/b/k/x", "uploadId=1", [f"s3:ListMultipartUploadParts {OBJECT}"]),
        ("PUT", "/b/k/x", "uploadId=1&partNumber=1", [f"s3:PutObject {OBJECT}"]),
        ("POST", "/b/k/x", "uploads", [f"s3:PutObject {OBJECT}"]),
        ("DELETE", "/b/k/x", "uploadId=1", [f"s3:AbortMultipartUpload {OBJECT}"]),
        ("DELETE", "/b/k/x", "versionId=1", [f"s3:DeleteObjectVersion {OBJECT}"]),
        ("PUT", "/b/k/x", "tagging&versionId=1", [f"s3:PutObjectVersionTagging {OBJECT}"]),
    ],
)
def test_permissions_of_a_request(method: str, path: str, query: str, expected: list[str]) -> None:
    assert actions(method, path, query) == expected


def test_headers_need_permissions_of_their_own() -> None:
    found = actions(
        "PUT",
        "/b/k/x",
        x_amz_tagging="a=b",
        x_amz_object_lock_mode="GOVERNANCE",
        x_amz_object_lock_legal_hold="ON",
        x_amz_copy_source="/other/key%20a?versionId=7",
    )
    assert found == [
        f"s3:PutObject {OBJECT}",
        f"s3:PutObjectTagging {OBJECT}",
        f"s3:PutObjectRetention {OBJECT}",
        f"s3:PutObjectLegalHold {OBJECT}",
        "s3:GetObjectVersion arn:aws:s3:::other/key a",
    ]
    bypass = actions("DELETE", "/b/k/x", "versionId=1", x_amz_bypass_governance_retention="TRUE")
    assert bypass == [f"s3:DeleteObjectVersion {OBJECT}", f"s3:BypassGovernanceRetention {OBJECT}"]


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ("acl&tagging", "InvalidArgument"),
        ("policy&uploadId=1", "InvalidArgument"),
        ("torrent", "NotImplemented"),
    ],
)
def test_subresources_that_are_refused(query: str, code: str) -> None:
    with pytest.raises(AwsError) as caught:
        actions("GET", "/b/k/x", query)
    assert caught.value.code == code


@pytest.mark.parametrize(
    ("host", "path", "expected"),
    [
        ("10.77.0.1:5443", "/b/k", ("b", "k")),
        ("[::1]:5443", "/b/k", ("b", "k")),
        ("aws.steward.test", "/b/k", ("b", "k")),
        ("localhost:5443", "/b/k", ("b", "k")),
        ("b.localhost:5443", "/k/x", ("b", "k/x")),
        ("s3.us-east-1.amazonaws.com", "/b//k", ("b", "/k")),
        ("b.c.s3.us-east-1.amazonaws.com", "/k", ("b.c", "k")),
        ("b.s3.amazonaws.com", "/", ("b", "")),
    ],
)
def test_path_style_and_virtual_hosts(host: str, path: str, expected: tuple[str, str]) -> None:
    request = s3_request.parse("GET", host, path, "", {})
    assert (request.bucket, request.key) == expected


def test_started_days_of_retention_count() -> None:
    now = datetime(2026, 11, 22, tzinfo=UTC)
    request = s3_request.parse("PUT", "localhost", "/b/k", "", {})
    for ahead, days in (
        (timedelta(days=7), "7"),
        (timedelta(days=6, hours=1), "7"),
        (timedelta(hours=1), "1"),
    ):
        found = s3_request.context(request, ("GOVERNANCE", now + ahead), now)
        assert found["s3:object-lock-remaining-retention-days"] == [days]
        assert found["s3:object-lock-mode"] == ["GOVERNANCE"]


@pytest.mark.parametrize(
    ("service", "protocol"),
    [("s3", "s3"), ("iam", "query"), ("kms", "json"), ("scheduler", "rest-json"), ("../x", "json")],
)
def test_the_protocol_of_a_service(service: str, protocol: str) -> None:
    assert protocol_of(service) == protocol
