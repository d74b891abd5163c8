"""The WSGI application: authenticate, authorize, then let moto (or a mended part of it) answer."""

from __future__ import annotations

import hashlib
import logging
import secrets
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from werkzeug.http import HTTP_STATUS_CODES

from sandbox.aws_endpoint import (
    errors,
    http,
    moto_app,
    moto_backend,
    payload,
    s3_request,
    s3_service,
    services,
    signature,
)
from sandbox.aws_endpoint import identity as identities
from sandbox.aws_endpoint.authorize import Authorizer, base_context
from sandbox.aws_endpoint.errors import AwsError
from sandbox.aws_endpoint.http import HttpRequest, Response
from sandbox.aws_endpoint.identity import AdminKey, Identity
from sandbox.aws_endpoint.service_rules import check_service_request, local_answer

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

log = logging.getLogger("sandbox.aws_endpoint")

#: Bytes a request to a service other than S3 may have.
MAX_SERVICE_BODY = 20 * 1024 * 1024


@dataclass
class _Trace:
    """What the log line says; holds no secrets."""

    request_id: str = field(default_factory=lambda: secrets.token_hex(8).upper())
    service: str = "-"
    caller: str = "-"
    action: str = "-"
    target: str = "-"
    note: str = ""
    started: float = field(default_factory=time.monotonic)


class Application:
    """The endpoint as a WSGI application."""

    def __init__(self, moto: Any, admin: AdminKey) -> None:
        self._moto = moto
        self._admin = admin

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Serve one request."""
        request = http.from_environ(environ)
        trace = _Trace()
        try:
            response = self._serve(request, trace)
        except AwsError as error:
            trace.note = f"{error.code}: {error.message}"
            response = self._error(error, request, trace)
        except Exception:
            log.exception("%s failed inside the endpoint", trace.request_id)
            trace.note = "InternalError: see the traceback above"
            failure = AwsError("InternalError", "The endpoint failed; its log has the traceback.", 500)
            response = self._error(failure, request, trace)
        request.drain()
        names = {name.lower() for name, _ in response.headers}
        if "x-amz-request-id" not in names:
            response.headers.append(("x-amz-request-id", trace.request_id))
        status = f"{response.status} {HTTP_STATUS_CODES.get(response.status, 'Unknown')}"
        start_response(status, response.headers)
        return self._send(response, request, trace)

    @staticmethod
    def _error(error: AwsError, request: HttpRequest, trace: _Trace) -> Response:
        service = "s3" if trace.service == "-" else trace.service
        status, headers, body = errors.render(
            error, service, request_id=trace.request_id, resource=request.path, headers=dict(request.headers)
        )
        if request.method == "HEAD":
            return Response(status, headers)
        return Response(status, [*headers, ("Content-Length", str(len(body)))], (body,))

    @staticmethod
    def _send(response: Response, request: HttpRequest, trace: _Trace) -> Iterator[bytes]:
        sent, end = 0, "cut off"
        try:
            for piece in response.body:
                yield piece
                sent += len(piece)
            end = ""
        finally:
            if hasattr(response.body, "close"):
                response.body.close()
            milliseconds = (time.monotonic() - trace.started) * 1000
            log.info(
                "%s %s %s %s %s %s %s %d %db %.0fms%s",
                trace.request_id,
                request.remote,
                request.scheme,
                trace.caller,
                request.method,
                trace.action,
                trace.target,
                response.status,
                sent,
                milliseconds,
                "".join(f" {text}" for text in (end, " ".join(trace.note.split())) if text),
            )

    def _serve(self, request: HttpRequest, trace: _Trace) -> Response:
        moto_app.refuse_private(request.path)
        signed = signature.parse(request.headers, request.query)
        trace.service = signed.service
        now = datetime.now(UTC)
        signature.check_time(signed, request.query, now)
        with moto_backend.LOCK:
            caller = identities.find(signed.access_key_id, self._admin)
        trace.caller = caller.name
        if signed.token != caller.token:
            raise AwsError("InvalidToken", "The provided token is malformed or otherwise invalid.", 400)
        authorizer = Authorizer(caller, base_context(request, signed, caller, now))
        if signed.service == "s3" and not request.path.startswith("/v20180820/"):
            return self._serve_s3(request, signed, caller, authorizer, trace, now)
        return self._serve_service(request, signed, caller, authorizer, trace)

    @staticmethod
    def _verify(request: HttpRequest, signed: signature.Signed, caller: Identity, body: bytes) -> None:
        signature.verify(
            signed,
            caller.secret,
            method=request.method,
            scheme=request.scheme,
            raw_path=request.raw_path,
            raw_query=request.raw_query,
            headers=request.headers,
            payload_hash=lambda: hashlib.sha256(body).hexdigest(),
        )

    def _serve_service(
        self,
        request: HttpRequest,
        signed: signature.Signed,
        caller: Identity,
        authorizer: Authorizer,
        trace: _Trace,
    ) -> Response:
        body = payload.receive(
            request.stream, request.headers, signer=_no_chunks, limit=MAX_SERVICE_BODY
        ).read()
        self._verify(request, signed, caller, body)
        with moto_backend.LOCK:
            asked = services.parse(
                signed.service,
                signed.region,
                request.method,
                request.raw_path,
                request.raw_query,
                request.headers,
                body,
            )
            trace.action, trace.target = asked.action, asked.resource
            check_service_request(asked, signed.region, authorizer)
            answer = local_answer(asked, caller, trace.request_id)
            return answer or moto_app.service(self._moto, request, signed, body)

    def _serve_s3(
        self,
        request: HttpRequest,
        signed: signature.Signed,
        caller: Identity,
        authorizer: Authorizer,
        trace: _Trace,
        now: datetime,
    ) -> Response:
        asked = s3_request.parse(
            request.method,
            request.headers.get("host", ""),
            request.raw_path,
            request.raw_query,
            request.headers,
        )
        trace.action = f"s3?{asked.subresource}" if asked.subresource else "s3"
        trace.target = f"/{asked.bucket}/{asked.key}" + (
            f"?versionId={asked.version_id}" if asked.version_id else ""
        )
        if not signed.presigned and "x-amz-content-sha256" not in request.headers:
            raise AwsError(
                "InvalidRequest", "Missing required header for this request: x-amz-content-sha256", 400
            )
        self._verify(request, signed, caller, b"")
        exchange = s3_service.Exchange(asked, authorizer, signed.region, now)
        trace.action = ",".join(exchange.actions) or trace.action
        if not asked.needs_body_to_decide:
            with moto_backend.LOCK:
                exchange.authorize(None)
        limit = payload.MAX_BODY if not asked.needs_body_to_decide else MAX_SERVICE_BODY
        body = payload.receive(
            request.stream, request.headers, signer=lambda: _chunk_signer(signed, caller), limit=limit
        )
        with moto_backend.LOCK:
            if asked.needs_body_to_decide:
                exchange.authorize(body)
            answer = exchange.answer(body)
            return exchange.finish(answer or moto_app.s3(self._moto, request, signed, asked, body))


def _no_chunks() -> payload.ChunkSigner:
    raise AwsError("InvalidRequest", "Streaming signatures are for S3 only.", 400)


def _chunk_signer(signed: signature.Signed, caller: Identity) -> payload.ChunkSigner:
    key = signature.signing_key(caller.secret, signed)
    return payload.ChunkSigner(key, signed.timestamp, signed.scope, signed.signature)
