"""Handing a checked request to moto."""

from __future__ import annotations

import io
from typing import IO, Any
from urllib.parse import quote, unquote

from sandbox.aws_endpoint.errors import AwsError
from sandbox.aws_endpoint.http import HttpRequest, Response
from sandbox.aws_endpoint.moto_backend import LOCK
from sandbox.aws_endpoint.payload import Body
from sandbox.aws_endpoint.s3_request import S3Request
from sandbox.aws_endpoint.signature import Signed

#: Routes of moto's own: they would reset or show its state to anyone.
_PRIVATE = ("/moto-api", "/latest/meta-data/", "/latest/api/")
#: Headers of the transport and the signature, which this layer has dealt with; moto would
#: decode a second time, or keep them as metadata of the object.
_DROPPED = {
    "HTTP_TRANSFER_ENCODING",
    "HTTP_X_AMZ_DECODED_CONTENT_LENGTH",
    "HTTP_X_AMZ_CONTENT_SHA256",
    "HTTP_X_AMZ_TRAILER",
    "HTTP_CONTENT_MD5_CHECKED",
    "HTTP_EXPECT",
    "wsgi.input_terminated",
}


def refuse_private(path: str) -> None:
    """Raise for moto's own routes."""
    if path.startswith(_PRIVATE) or path == "/favicon.ico":
        raise AwsError("AccessDenied", "This path is not served.")


def _discard(_data: bytes) -> None:
    """WSGI's old way to write; neither Flask nor moto uses it."""


def _run(app: Any, environ: dict[str, Any]) -> Response:
    captured: list[Any] = []

    def start_response(status: str, headers: list[tuple[str, str]], _exc_info: Any = None) -> Any:
        captured[:] = [int(status.split(" ", 1)[0]), headers]
        return _discard

    refuse_private(environ["PATH_INFO"])
    with LOCK:
        result = app(environ, start_response)
        try:
            body = b"".join(result)
        finally:
            if hasattr(result, "close"):
                result.close()
    return Response(captured[0], list(captured[1]), (body,) if body else ())


def _environ(http: HttpRequest, signed: Signed, stream: IO[bytes], length: int) -> dict[str, Any]:
    environ = {
        name: value
        for name, value in http.environ.items()
        if name not in _DROPPED and not name.startswith("HTTP_X_MOTO")
    }
    # moto reads service, region and key from this header, also for a presigned URL that has none.
    environ["HTTP_AUTHORIZATION"] = (
        f"AWS4-HMAC-SHA256 Credential={signed.access_key_id}/{signed.scope},"
        f" SignedHeaders={';'.join(signed.signed_headers)}, Signature={signed.signature}"
    )
    environ["wsgi.input"] = stream
    environ["CONTENT_LENGTH"] = str(length)
    return environ


def service(app: Any, http: HttpRequest, signed: Signed, body: bytes) -> Response:
    """Run a request of any service but S3."""
    return _run(app, _environ(http, signed, io.BytesIO(body), len(body)))


def s3(app: Any, http: HttpRequest, signed: Signed, request: S3Request, body: Body | None) -> Response:
    """Run an S3 request, always path-style; the body is read from its file."""
    stream: IO[bytes] = body.file if body else io.BytesIO()
    stream.seek(0)
    environ = _environ(http, signed, stream, body.size if body else 0)
    path = f"/{request.bucket}" + (f"/{request.key}" if request.key else "")
    raw_path = quote(path, safe="/-_.~")
    query = "&".join(
        part
        for part in http.raw_query.split("&")
        if part and not unquote(part.partition("=")[0]).startswith("X-Amz-")
    )
    environ |= {
        "PATH_INFO": path.encode().decode("latin-1"),
        "RAW_URI": raw_path + (f"?{query}" if query else ""),
        "REQUEST_URI": raw_path + (f"?{query}" if query else ""),
        "QUERY_STRING": query,
        "HTTP_HOST": "localhost",
    }
    encodings = [e.strip() for e in environ.pop("HTTP_CONTENT_ENCODING", "").split(",")]
    if kept := [e for e in encodings if e and e != "aws-chunked"]:
        environ["HTTP_CONTENT_ENCODING"] = ",".join(kept)
    for algorithm, value in (body.checksums if body else {}).items():
        environ.setdefault("HTTP_X_AMZ_SDK_CHECKSUM_ALGORITHM", algorithm)
        environ[f"HTTP_X_AMZ_CHECKSUM_{algorithm}"] = value
    return _run(app, environ)
