"""The endpoint as a process: start, end, wrong arguments, and what it logs."""

from __future__ import annotations

import socket
import ssl
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from botocore.exceptions import ClientError

from sandbox.settings import REPOSITORY
from tests.support import aws
from tests.support.aws import AwsEndpoint


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the command where it must refuse to start."""
    return subprocess.run(
        [sys.executable, "-m", "sandbox.aws_endpoint", *arguments],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def arguments(endpoint: AwsEndpoint, **changes: str) -> list[str]:
    folder = endpoint.admin_file.parent
    values = {
        "address": "127.0.0.1",
        "https-port": "0",
        "http-port": "0",
        "certificate": str(folder / "ca/aws.crt"),
        "key": str(folder / "ca/aws.key"),
        "admin-file": str(endpoint.admin_file),
    } | changes
    return [text for name, value in values.items() for text in (f"--{name}", value)]


def test_a_taken_port_and_unusable_files_are_one_line(aws_endpoint: AwsEndpoint, tmp_path: Path) -> None:
    port = str(urlsplit(aws_endpoint.http_url).port)
    ended = run(*arguments(aws_endpoint, **{"http-port": port}))
    assert (ended.returncode, ended.stdout) == (1, "")
    assert (
        ended.stderr == f"sandbox AWS endpoint: cannot listen on 127.0.0.1:{port}: Address already in use\n"
    )
    broken = tmp_path / "broken.json"
    broken.write_text("{}", encoding="utf-8")
    for change, word in (
        ({"admin-file": str(broken)}, "access_key_id"),
        ({"admin-file": str(tmp_path / "none")}, "none"),
        ({"certificate": str(broken)}, ""),
    ):
        ended = run(*arguments(aws_endpoint, **change))
        assert ended.returncode == 2
        assert ended.stderr.count("\n") == 1
        assert word in ended.stderr


@pytest.fixture
def own(tmp_path: Path) -> Iterator[tuple[subprocess.Popen[str], AwsEndpoint]]:
    """An endpoint that a test may end."""
    process, endpoint = aws.start(tmp_path)
    yield process, endpoint
    aws.stop(process)


def test_sigterm_ends_it_cleanly_although_a_client_stalls(
    own: tuple[subprocess.Popen[str], AwsEndpoint],
) -> None:
    process, endpoint = own
    address = urlsplit(endpoint.https_url)
    with socket.create_connection((address.hostname or "", address.port or 0)):  # no handshake follows
        endpoint.client("s3").list_buckets()  # others are served meanwhile
        assert aws.stop(process) == 0


def test_the_log_has_a_line_a_request_and_no_secrets(aws_endpoint: AwsEndpoint) -> None:
    bucket, user = aws_endpoint.new_bucket(), aws_endpoint.new_user()
    s3 = aws_endpoint.client("s3")
    s3.put_object(Bucket=bucket, Key="logged", Body=b"the-body-of-it")
    aws_endpoint.client("secretsmanager").create_secret(Name=bucket, SecretString="the-secret-of-it")
    with pytest.raises(ClientError):
        user.client("s3").get_object(Bucket=bucket, Key="logged")
    log = aws_endpoint.log_file.read_text(encoding="utf-8")
    assert f" PUT s3:PutObject /{bucket}/logged 200 " in log
    assert f" https {user.name} GET s3:GetObject /{bucket}/logged 403 " in log
    for secret in (
        "the-body-of-it",
        "the-secret-of-it",
        user.secret_access_key,
        aws_endpoint.admin_secret_access_key,
        "Signature=",
    ):
        assert secret not in log
    assert "Traceback" not in log


def test_old_tls_is_not_spoken(aws_endpoint: AwsEndpoint) -> None:
    address = urlsplit(aws_endpoint.https_url)
    context = ssl.create_default_context(cafile=str(aws_endpoint.ca_file))
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    with (
        socket.create_connection((address.hostname or "", address.port or 0), timeout=30) as raw,
        context.wrap_socket(raw, server_hostname="127.0.0.1") as tls,
    ):
        assert tls.version() == "TLSv1.3"
