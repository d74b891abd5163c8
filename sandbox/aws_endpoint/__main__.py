"""Start the endpoint: ``python -m sandbox.aws_endpoint --address A ...``."""

from __future__ import annotations

import argparse
import contextlib
import logging
import resource
import signal
import socket
import ssl
import sys
import threading
from pathlib import Path

from sandbox.aws_endpoint import identity, moto_backend, server


def _arguments(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m sandbox.aws_endpoint", description=__doc__)
    parser.add_argument("--address", required=True, help="address to listen on")
    parser.add_argument("--https-port", type=int, required=True, help="port with TLS (0: any free one)")
    parser.add_argument("--http-port", type=int, required=True, help="port without TLS (0: any free one)")
    parser.add_argument(
        "--certificate", type=Path, required=True, help="PEM file of the server's certificate"
    )
    parser.add_argument("--key", type=Path, required=True, help="PEM file of its key")
    parser.add_argument(
        "--admin-file", type=Path, required=True, help="JSON with access_key_id and secret_access_key"
    )
    parser.add_argument("--log", type=Path, help="file for one line a request (default: standard error)")
    return parser.parse_args(argv)


def _bind(address: str, port: int) -> socket.socket:
    listening = socket.socket()
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((address, port))
        listening.listen(128)
    except OSError as error:
        listening.close()
        raise OSError(f"cannot listen on {address}:{port}: {error.strerror}") from error
    return listening


def _log_to(path: Path | None) -> None:
    handler: logging.Handler = (
        logging.FileHandler(path, encoding="utf-8") if path else logging.StreamHandler()
    )
    handler.setFormatter(logging.Formatter("%(asctime)s %(message)s"))
    # Only our own line a request: moto's and the server's loggers would add secrets and noise.
    ours = logging.getLogger("sandbox.aws_endpoint")
    ours.addHandler(handler)
    ours.setLevel(logging.INFO)
    ours.propagate = False
    logging.getLogger("werkzeug").setLevel(logging.CRITICAL)


def _allow_many_files() -> None:
    """Each stored body above 1 MiB is an open file without a name; the usual limit is 1024."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def main(argv: list[str] | None = None) -> int:
    """Serve until SIGTERM or SIGINT.

    Returns:
        0 after a clean end; 1 when a port is taken; 2 when a file given cannot be used.
    """
    arguments = _arguments(argv)
    stopped = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopped.set())
    _allow_many_files()
    try:
        admin = identity.read_admin(arguments.admin_file)
        context = server.tls_context(arguments.certificate, arguments.key)
        _log_to(arguments.log)
    except (ValueError, ssl.SSLError, OSError) as error:
        print(f"sandbox AWS endpoint: {error}", file=sys.stderr)
        return 2
    with contextlib.ExitStack() as stack:
        try:
            sockets = [
                stack.enter_context(_bind(arguments.address, port))
                for port in (arguments.https_port, arguments.http_port)
            ]
        except OSError as error:
            print(f"sandbox AWS endpoint: {error}", file=sys.stderr)
            return 1
        # moto and what builds on it are imported after the quick checks: that takes seconds.
        from sandbox.aws_endpoint.app import Application

        application = Application(moto_backend.load(), admin)
        listeners = server.Listeners(
            [
                server.Listener(arguments.address, sockets[0], application, context),
                server.Listener(arguments.address, sockets[1], application, None),
            ]
        )
        listeners.start()
        secure, plain = (s.getsockname()[1] for s in sockets)
        print(
            f"sandbox AWS endpoint ready: https://{arguments.address}:{secure} http://{arguments.address}:{plain}",
            flush=True,
        )
        stopped.wait()
        listeners.stop()
    return 0


if __name__ == "__main__":
    sys.exit(main())
