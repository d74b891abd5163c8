"""The services of a sandbox on this machine's end of the bridge."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping

from sandbox.env import admin_key
from sandbox.files import write_private
from sandbox.processes import Service, ensure, stop
from sandbox.settings import Sandbox
from steward.appfile import AppFile

AWS, RAZORPAY, SMTP = "aws-endpoint", "razorpay", "smtp"


def _port(url: str) -> int:
    return int(url.rpartition(":")[2])


def start_aws(sandbox: Sandbox, environment: Mapping[str, str]) -> None:
    """Start the AWS endpoint unless it runs. A new one remembers nothing."""
    admin_key(sandbox)
    ca = sandbox.state / "ca"
    https, plain = _port(sandbox.aws_url), _port(sandbox.aws_plain_url)
    command = [
        sys.executable, "-m", "sandbox.aws_endpoint",
        "--address", sandbox.gateway,
        "--https-port", str(https),
        "--http-port", str(plain),
        "--certificate", str(ca / "aws.crt"),
        "--key", str(ca / "aws.key"),
        "--admin-file", str(sandbox.state / "aws-admin.json"),
    ]  # fmt: skip
    ensure(sandbox.state, Service(AWS, command, (sandbox.gateway, https)), environment)


def start_others(
    sandbox: Sandbox,
    environment: Mapping[str, str],
    seeded: Mapping[str, Mapping[str, Mapping[str, str]]],
    apps: Mapping[str, AppFile],
) -> None:
    """Start the payment and mail stand-ins with the applications' keys."""
    for name, values, make in (
        (RAZORPAY, {app: dict(seeded[app]["razorpay"]) for app in apps}, _razorpay),
        (SMTP, {app: dict(seeded[app]["smtp"]) for app in apps}, _smtp),
    ):
        keys = sandbox.state / f"{name}-keys.json"
        text = json.dumps(values, sort_keys=True)
        if not keys.exists() or keys.read_text() != text:
            write_private(keys, text)
            stop(sandbox.state, name)
        ensure(sandbox.state, make(sandbox, str(keys)), environment)


def _razorpay(sandbox: Sandbox, keys_file: str) -> Service:
    port = _port(sandbox.razorpay_url)
    command = [sys.executable, "-m", "sandbox.services", "razorpay"]
    options = ["--address", sandbox.gateway, "--port", str(port), "--keys-file", keys_file]
    return Service(RAZORPAY, command + options, (sandbox.gateway, port))


def _smtp(sandbox: Sandbox, keys_file: str) -> Service:
    address, port = sandbox.smtp_address
    command = [sys.executable, "-m", "sandbox.services", "smtp"]
    options = ["--address", address, "--port", str(port)]
    inbox = ["--inbox-port", str(_port(sandbox.smtp_inbox_url)), "--keys-file", keys_file]
    return Service(SMTP, command + options + inbox, (address, port))
