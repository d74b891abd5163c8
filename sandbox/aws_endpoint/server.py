"""The two listeners: threads that speak HTTP, with and without TLS."""

from __future__ import annotations

import logging
import socket
import ssl
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

from werkzeug.serving import ThreadedWSGIServer

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIApplication

log = logging.getLogger("sandbox.aws_endpoint")

#: Seconds a client may stay silent inside a request.
IDLE_SECONDS = 120


def tls_context(certificate: Path, key: Path) -> ssl.SSLContext:
    """A server context for TLS 1.2 and 1.3.

    Raises:
        OSError: (or its child ``ssl.SSLError``) when the files cannot be used.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.load_cert_chain(certificate, key)
    return context


class Listener(ThreadedWSGIServer):
    """One port. TLS handshakes run in the request's thread, so a stalled client delays nobody."""

    daemon_threads = True

    def __init__(
        self, address: str, listening: socket.socket, app: WSGIApplication, context: ssl.SSLContext | None
    ) -> None:
        from moto.moto_server.werkzeug_app import MotoRequestHandler

        super().__init__(
            address, listening.getsockname()[1], app, handler=MotoRequestHandler, fd=listening.fileno()
        )
        # Set after the parent has seen none: it would wrap the listening socket and
        # shake hands inside accept().
        self.ssl_context = context

    def finish_request(self, request: Any, client_address: Any) -> None:
        """Serve one connection."""
        request.settimeout(IDLE_SECONDS)
        # Headers and body are written apart; a body that waits for their receipt is up to 40 ms late.
        request.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if self.ssl_context is None:
            super().finish_request(request, client_address)
            return
        with self.ssl_context.wrap_socket(request, server_side=True) as tls:
            super().finish_request(tls, client_address)

    def shutdown_request(self, request: Any) -> None:
        """Close, also when the TLS wrapper has taken the descriptor over."""
        if request.fileno() != -1:
            super().shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:  # noqa: ARG002 - the parent's signature
        """One line for a connection that broke; the standard one prints a traceback."""
        log.info(
            "- %s connection failed: %s", client_address[0] if client_address else "-", sys.exc_info()[1]
        )


class Listeners:
    """Both ports, served in threads of their own."""

    def __init__(self, servers: list[Listener]) -> None:
        self._servers = servers
        self._threads = [threading.Thread(target=server.serve_forever, daemon=True) for server in servers]

    def start(self) -> None:
        """Begin to accept."""
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Stop accepting and close the ports."""
        for server in self._servers:
            server.shutdown()
            server.server_close()
        for thread in self._threads:
            thread.join(timeout=5)
