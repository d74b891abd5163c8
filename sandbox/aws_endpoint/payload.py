"""Reading a request's body once, in pieces, while every digest is computed.

The body lands in a temporary file (in memory while small), already freed from
``aws-chunked`` framing, and only after it proved equal to what was signed.
Framing: https://docs.aws.amazon.com/AmazonS3/latest/API/sigv4-streaming.html
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from werkzeug.exceptions import ClientDisconnected

from sandbox.aws_endpoint import checksums
from sandbox.aws_endpoint.errors import AwsError

#: Bytes read at once, and the size up to which a body stays in memory.
PIECE = 256 * 1024
IN_MEMORY = 1024 * 1024
#: AWS takes at most 5 GiB in one request.
MAX_BODY = 5 * 1024**3
_EMPTY_SHA256 = hashlib.sha256(b"").hexdigest()
_STREAMING = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD"


@dataclass
class Body:
    """A received body: its file (at position 0), size and digests."""

    file: tempfile.SpooledTemporaryFile[bytes]
    size: int
    md5: str
    sha256: str
    #: Checksums that came with the request and were right: algorithm -> base64.
    checksums: dict[str, str] = field(default_factory=dict)

    def read(self) -> bytes:
        """The whole body; for the small ones only."""
        self.file.seek(0)
        data = self.file.read()
        self.file.seek(0)
        return data


@dataclass(frozen=True)
class ChunkSigner:
    """What the signatures of the chunks of a streaming upload are computed with."""

    key: bytes
    timestamp: str
    scope: str
    seed: str

    def chunk(self, previous: str, data: bytes) -> str:
        text = "\n".join(
            (
                "AWS4-HMAC-SHA256-PAYLOAD",
                self.timestamp,
                self.scope,
                previous,
                _EMPTY_SHA256,
                hashlib.sha256(data).hexdigest(),
            )
        )
        return hmac.digest(self.key, text.encode(), "sha256").hex()

    def trailer(self, previous: str, lines: list[str]) -> str:
        digest = hashlib.sha256("".join(f"{line}\n" for line in lines).encode()).hexdigest()
        text = "\n".join(("AWS4-HMAC-SHA256-TRAILER", self.timestamp, self.scope, previous, digest))
        return hmac.digest(self.key, text.encode(), "sha256").hex()


def _plain(stream: Any, length: int) -> Iterator[bytes]:
    left = length
    while left:
        try:
            piece = stream.read(min(PIECE, left))
        except ClientDisconnected:
            piece = b""
        if not piece:
            raise AwsError(
                "IncompleteBody", "The request ended before Content-Length bytes were received.", 400
            )
        left -= len(piece)
        yield piece


def _until_end(stream: Any, limit: int) -> Iterator[bytes]:
    total = 0
    while piece := stream.read(PIECE):
        total += len(piece)
        if total > limit:
            raise AwsError("EntityTooLarge", f"The body is larger than {limit} bytes.", 400)
        yield piece


def _line(stream: Any) -> bytes:
    line = bytes(stream.readline(8192))
    if not line.endswith(b"\n"):
        raise AwsError("IncompleteBody", "The aws-chunked body ended inside a chunk header or trailer.", 400)
    return line.rstrip(b"\r\n")


def _chunked(
    stream: Any, signer: ChunkSigner | None, trailers: dict[str, str], trailing: bool
) -> Iterator[bytes]:
    """The data of an ``aws-chunked`` body; fills ``trailers``; checks chunk signatures when signed."""
    previous = signer.seed if signer else ""
    mismatch = AwsError("BadSignature", "A chunk's signature does not match its data.")
    while True:
        head, _, extension = _line(stream).partition(b";")
        try:
            size = int(head, 16)
        except ValueError:
            raise AwsError(
                "InvalidChunkSizeError", "The aws-chunked body has a malformed chunk header.", 400
            ) from None
        if signer:
            # A signature covers its whole chunk: it is needed in one piece (clients send 64 KiB to 1 MiB).
            if size > 32 * 1024 * 1024:
                raise AwsError("InvalidChunkSizeError", "A signed chunk may hold 32 MiB at most.", 400)
            data = b"".join(_plain(stream, size))
            given = extension.decode("ascii", "replace").removeprefix("chunk-signature=")
            previous = signer.chunk(previous, data)
            if not hmac.compare_digest(previous, given):
                raise mismatch
            if data:
                yield data
        else:
            yield from _plain(stream, size)
        if size == 0:
            break
        if _line(stream):
            raise AwsError("InvalidChunkSizeError", "A chunk is longer than its header says.", 400)
    lines: list[str] = []
    given = ""
    while text := bytes(stream.readline(8192)).rstrip(b"\r\n").decode("latin-1"):
        name, _, value = text.partition(":")
        if name.lower() == "x-amz-trailer-signature":
            given = value.strip()
        else:
            trailers[name.lower()] = value.strip()
            lines.append(f"{name.lower()}:{value.strip()}")
    if signer and trailing and not hmac.compare_digest(signer.trailer(previous, lines), given):
        raise mismatch


def _expected(headers: Mapping[str, str], trailers: Mapping[str, str]) -> dict[str, str]:
    """Checksums that the client sent: algorithm -> base64 digest."""
    found = {}
    for algorithm in checksums.ALGORITHMS:
        name = f"x-amz-checksum-{algorithm.lower()}"
        value = trailers.get(name) or headers.get(name)
        if value:
            found[algorithm] = value
    return found


def receive(
    stream: Any, headers: Mapping[str, str], *, signer: Callable[[], ChunkSigner], limit: int = MAX_BODY
) -> Body:
    """Read and check the body of a request.

    Args:
        stream: the connection's input (``wsgi.input``).
        headers: the request's, lower-case.
        signer: makes the chunk signer; called for signed streaming bodies only.
        limit: bytes the decoded body may have.

    Raises:
        AwsError: for a body that is cut short, too large, malformed, or differs from its digests.
    """
    declared = headers.get("x-amz-content-sha256", "")
    length_text = headers.get("content-length", "")
    if length_text and not length_text.isdigit():
        raise AwsError("InvalidRequest", "Content-Length is not a number.", 400)
    announced = headers.get("x-amz-trailer", "").lower()
    trailers: dict[str, str] = {}
    names = {a for a in checksums.ALGORITHMS if announced == f"x-amz-checksum-{a.lower()}"}
    if declared.startswith("STREAMING-"):
        if declared not in (_STREAMING, f"{_STREAMING}-TRAILER", "STREAMING-UNSIGNED-PAYLOAD-TRAILER"):
            raise AwsError("InvalidRequest", f"x-amz-content-sha256 {declared} is not supported here.", 400)
        signed = declared.startswith(_STREAMING)
        pieces = _chunked(stream, signer() if signed else None, trailers, declared.endswith("-TRAILER"))
    elif length_text:
        pieces = _plain(stream, int(length_text))
    elif "chunked" in headers.get("transfer-encoding", ""):
        pieces = _until_end(stream, limit)
    else:
        pieces = iter(())
    names |= _expected(headers, {}).keys()
    running = {name: checksums.new(name) for name in names}
    sha256, md5 = hashlib.sha256(), hashlib.md5(usedforsecurity=False)
    size = 0
    file: tempfile.SpooledTemporaryFile[bytes] = tempfile.SpooledTemporaryFile(IN_MEMORY)  # noqa: SIM115 - returned
    try:
        for piece in pieces:
            size += len(piece)
            if size > limit:
                raise AwsError("EntityTooLarge", f"The body is larger than {limit} bytes.", 400)
            file.write(piece)
            md5.update(piece)
            sha256.update(piece)
            for checksum in running.values():
                checksum.update(piece)
        _compare(headers, trailers, declared, size, sha256.hexdigest(), md5.digest(), running)
    except BaseException:
        file.close()
        raise
    file.seek(0)
    digests = {name: checksums.encoded(value) for name, value in running.items()}
    return Body(file, size, md5.hexdigest(), sha256.hexdigest(), digests)


def _compare(
    headers: Mapping[str, str],
    trailers: Mapping[str, str],
    declared: str,
    size: int,
    sha256: str,
    md5: bytes,
    running: Mapping[str, checksums.Checksum],
) -> None:
    if re.fullmatch(r"[0-9a-f]{64}", declared):
        if declared != sha256:
            raise AwsError(
                "XAmzContentSHA256Mismatch", "The body's SHA-256 differs from x-amz-content-sha256.", 400
            )
    elif declared and declared != "UNSIGNED-PAYLOAD" and not declared.startswith("STREAMING-"):
        raise AwsError("InvalidRequest", "x-amz-content-sha256 is neither a SHA-256 nor a known word.", 400)
    decoded = headers.get("x-amz-decoded-content-length", "")
    if decoded and decoded != str(size):
        raise AwsError(
            "IncompleteBody", f"x-amz-decoded-content-length is {decoded}, received were {size} bytes.", 400
        )
    if "content-md5" in headers and base64.b64encode(md5).decode() != headers["content-md5"]:
        raise AwsError("BadDigest", "The Content-MD5 you specified did not match what we received.", 400)
    if headers.get("x-amz-trailer", "").lower().startswith("x-amz-checksum-") and not trailers:
        raise AwsError("MalformedTrailerError", "The announced trailing checksum did not arrive.", 400)
    for name, value in _expected(headers, trailers).items():
        if name not in running:
            raise AwsError(
                "MalformedTrailerError", f"The trailer {name} was not announced in x-amz-trailer.", 400
            )
        if checksums.encoded(running[name]) != value:
            raise AwsError("BadDigest", f"The {name} you specified did not match what we received.", 400)
