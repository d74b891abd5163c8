"""Command line: ``python -m sandbox.services razorpay|smtp ...``.

Each prints one line when it serves, and ends with status 0 after SIGTERM,
130 after SIGINT, 1 when a port is taken, 2 for wrong files or options.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import threading
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

from sandbox.services.jsonhttp import Application, JsonServer
from sandbox.services.keys import KeysError, KeysFile, MailLogin, RazorpayAccount
from sandbox.services.razorpay import Razorpay
from sandbox.services.smtp import Inbox, controller, tls_context
from sandbox.services.webhooks import Deliveries


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m sandbox.services", description="Stand-ins for outside services."
    )
    services = parser.add_subparsers(dest="service", required=True)
    razorpay = services.add_parser("razorpay", help="Razorpay's API")
    smtp = services.add_parser("smtp", help="a mail provider")
    for service, port in ((razorpay, 5090), (smtp, 5025)):
        service.add_argument("--address", default="127.0.0.1", help="address to listen on")
        service.add_argument("--port", type=int, default=port)
    razorpay.add_argument(
        "--keys-file", type=Path, required=True,
        help='{"<application>": {"key_id", "key_secret", "webhook_secret"}}; read again when it changes',
    )  # fmt: skip
    smtp.add_argument(
        "--keys-file", type=Path, required=True,
        help='{"<application>": {"username", "password"}}; read again when it changes',
    )  # fmt: skip
    smtp.add_argument("--inbox-port", type=int, default=5026, help="HTTP port that shows what came")
    smtp.add_argument("--tls-certificate", type=Path, help="PEM; with it STARTTLS is needed before a login")
    smtp.add_argument("--tls-key", type=Path)
    return parser


def _serve_http(stack: ExitStack, address: tuple[str, int], application: Application) -> None:
    server = JsonServer(address, application)
    stack.callback(server.server_close)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.1}, daemon=True)
    thread.start()
    stack.callback(server.shutdown)


def _razorpay(options: argparse.Namespace, stack: ExitStack) -> str:
    keys = KeysFile(options.keys_file, RazorpayAccount)
    deliveries = Deliveries()
    stack.callback(deliveries.close)
    _serve_http(stack, (options.address, options.port), Razorpay(keys, deliveries))
    return f"razorpay stand-in: ready on http://{options.address}:{options.port}"


def _smtp(options: argparse.Namespace, stack: ExitStack) -> str:
    keys = KeysFile(options.keys_file, MailLogin)
    tls = None
    if options.tls_certificate:
        try:
            tls = tls_context(options.tls_certificate, options.tls_key or options.tls_certificate)
        except OSError as error:
            raise KeysError(f"{options.tls_certificate}: cannot be used: {error}") from error
    inbox = Inbox()
    server = controller(options.address, options.port, inbox, keys, tls)
    server.start()
    stack.callback(server.stop)
    _serve_http(stack, (options.address, options.inbox_port), inbox)
    return (
        f"mail stand-in: ready on {options.address}:{options.port},"
        f" inbox http://{options.address}:{options.inbox_port}/messages"
    )


def main(arguments: list[str] | None = None) -> int:
    """Serve until a signal; returns the exit status."""
    options = _parser().parse_args(arguments)
    start: Callable[[argparse.Namespace, ExitStack], str] = {"razorpay": _razorpay, "smtp": _smtp}[
        options.service
    ]
    ended = threading.Event()
    status = 0

    def end(number: int, _frame: object) -> None:
        nonlocal status
        status = 130 if number == signal.SIGINT else 0
        ended.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, end)
    with ExitStack() as stack:
        try:
            ready = start(options, stack)
        except KeysError as error:
            sys.stderr.write(f"sandbox.services {options.service}: {error}\n")
            return 2
        except OSError as error:
            where = f"{options.address}:{options.port}"
            reason = os.strerror(error.errno) if error.errno else str(error)
            sys.stderr.write(f"sandbox.services {options.service}: cannot listen on {where}: {reason}\n")
            return 1
        sys.stdout.write(f"{ready}\n")
        sys.stdout.flush()
        ended.wait()
    return status


if __name__ == "__main__":
    sys.exit(main())
