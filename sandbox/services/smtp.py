"""Stand-in for a mail provider: takes mail from those who log in, delivers nothing, shows what came.

SMTP with AUTH PLAIN and LOGIN (RFC 4954) by aiosmtpd, STARTTLS when a
certificate is given; a small HTTP server shows the last messages as JSON.
"""

from __future__ import annotations

import email
import email.policy
import hmac
import logging
import ssl
import threading
import warnings
from collections import deque
from datetime import UTC, datetime
from email.message import EmailMessage
from pathlib import Path
from typing import Any

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session

from sandbox.services.jsonhttp import Request, Response
from sandbox.services.keys import KeysFile, MailLogin

#: How many messages are remembered, and how much text of each.
REMEMBERED = 500
TEXT_LIMIT = 64 * 1024
MESSAGE_LIMIT = 1024 * 1024


def _text(message: EmailMessage) -> str:
    body = message.get_body(preferencelist=("plain", "html"))
    if body is None:
        return ""
    return str(body.get_content())[:TEXT_LIMIT]


class Inbox:
    """The last messages, newest first; an aiosmtpd handler and a JSON application in one."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._messages: deque[dict[str, Any]] = deque(maxlen=REMEMBERED)
        self._received = 0

    async def handle_DATA(self, _server: SMTP, session: Session, envelope: Envelope) -> str:  # noqa: N802
        """Keep a message (aiosmtpd calls this by its name)."""
        content = envelope.content or b""
        raw = content if isinstance(content, bytes) else content.encode()
        message = email.message_from_bytes(raw, policy=email.policy.default)
        assert isinstance(message, EmailMessage)  # noqa: S101 - what policy.default makes
        login: LoginPassword | None = getattr(session, "auth_data", None)
        with self._lock:
            self._received += 1
            self._messages.appendleft(
                {
                    "id": self._received,
                    "received_at": datetime.now(UTC).isoformat(timespec="milliseconds"),
                    "login": login.login.decode(errors="replace") if login else None,
                    "from": envelope.mail_from,
                    "to": list(envelope.rcpt_tos),
                    "subject": str(message["subject"] or ""),
                    "text": _text(message),
                }
            )
        return "250 OK"

    def __call__(self, request: Request) -> Response:
        """``GET /messages?to=ADDRESS&limit=N``, ``DELETE /messages``, ``GET /health``."""
        match (request.method, request.path):
            case ("GET", "/health"):
                with self._lock:
                    return Response(200, {"status": "ok", "received": self._received})
            case ("GET", "/messages"):
                return self._list(request.query)
            case ("DELETE", "/messages"):
                with self._lock:
                    self._messages.clear()
                return Response(200, {"status": "ok"})
        return Response(404, {"error": f"there is no {request.method} {request.path}"})

    def _list(self, query: dict[str, str]) -> Response:
        try:
            limit = int(query.get("limit", "20"))
        except ValueError:
            return Response(400, {"error": "limit: must be a number"})
        to = query.get("to", "").lower()
        with self._lock:
            found = [m for m in self._messages if not to or to in (a.lower() for a in m["to"])]
        return Response(200, {"messages": found[: max(0, limit)]})


class _Authenticator:
    """Says whether a login is one of the keys file's."""

    def __init__(self, keys: KeysFile[MailLogin]) -> None:
        self._keys = keys

    def __call__(
        self, _server: SMTP, _session: Session, _envelope: Envelope, _mechanism: str, data: Any
    ) -> AuthResult:
        good = False
        if isinstance(data, LoginPassword):
            # Applications may have the same user name with different passwords.
            for login in self._keys.entries().values():
                user = hmac.compare_digest(login.username.encode(), data.login)
                password = hmac.compare_digest(login.password.encode(), data.password)
                good = good or (user and password)
        # handled=False: aiosmtpd then answers 535 itself.
        return AuthResult(success=good, handled=False, auth_data=data if good else None)


def tls_context(certificate: Path, key: Path) -> ssl.SSLContext:
    """A server's TLS context.

    Raises:
        OSError: when the files cannot be read or do not fit (``ssl.SSLError`` is one).
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    return context


def controller(
    address: str, port: int, inbox: Inbox, keys: KeysFile[MailLogin], tls: ssl.SSLContext | None = None
) -> Controller:
    """The mail server; ``start()`` raises ``OSError`` when the port is taken."""
    # Without a certificate there is nothing else than a login in the clear; it is a sandbox's network.
    warnings.filterwarnings("ignore", message="Requiring AUTH while not requiring TLS", category=UserWarning)
    logging.getLogger("mail.log").setLevel(logging.ERROR)
    return Controller(
        inbox,
        hostname=address,
        port=port,
        authenticator=_Authenticator(keys),
        auth_required=True,
        auth_require_tls=tls is not None,
        tls_context=tls,
        data_size_limit=MESSAGE_LIMIT,
        timeout=60,
        ident="sandbox mail",
    )
