"""Fixtures with an AWS endpoint of their own for tests; a pytest plugin."""

from __future__ import annotations

import json
import secrets
import selectors
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

from sandbox import ca
from sandbox.settings import REPOSITORY
from steward.process import ends_with_this_process

#: Seconds the endpoint may take until it is ready, and to end.
START_SECONDS = 60
STOP_SECONDS = 10
REGION = "us-east-1"


@cache
def _session() -> boto3.session.Session:
    """One session: it keeps the service models, which take a second each to read."""
    return boto3.session.Session()


@dataclass(frozen=True)
class AwsEndpoint:
    """A running endpoint and how to reach it."""

    https_url: str
    http_url: str
    ca_file: Path
    bundle_file: Path
    admin_access_key_id: str
    admin_secret_access_key: str
    log_file: Path
    admin_file: Path
    pid: int

    def client(
        self,
        service: str,
        access_key_id: str | None = None,
        secret_access_key: str | None = None,
        plain: bool = False,
        *,
        session_token: str | None = None,
        config: Config | None = None,
    ) -> Any:
        """A boto3 client, of the administrator unless a key is given; ``plain`` goes without TLS.

        Retries are off: a refusal is asked for once.
        """
        base = Config(retries={"max_attempts": 1}, connect_timeout=10, read_timeout=120)
        return _session().client(  # type: ignore[call-overload]
            service,
            endpoint_url=self.http_url if plain else self.https_url,
            region_name=REGION,
            aws_access_key_id=access_key_id or self.admin_access_key_id,
            aws_secret_access_key=secret_access_key or self.admin_secret_access_key,
            aws_session_token=session_token,
            verify=False if plain else str(self.ca_file),
            config=base.merge(config) if config else base,
        )

    def new_bucket(self, prefix: str = "test", **options: Any) -> str:
        """Create a bucket with a name no other test has; ``options`` go to CreateBucket."""
        name = f"{prefix}-{secrets.token_hex(6)}"
        self.client("s3").create_bucket(Bucket=name, **options)
        return name

    def new_user(self, policy: dict[str, Any] | None = None, prefix: str = "test") -> AwsUser:
        """Create an IAM user with an access key and, when given, one inline policy."""
        iam = self.client("iam")
        name = f"{prefix}-{secrets.token_hex(6)}"
        arn = iam.create_user(UserName=name)["User"]["Arn"]
        if policy is not None:
            iam.put_user_policy(UserName=name, PolicyName="test", PolicyDocument=json.dumps(policy))
        key = iam.create_access_key(UserName=name)["AccessKey"]
        return AwsUser(self, name, arn, key["AccessKeyId"], key["SecretAccessKey"])


@dataclass(frozen=True)
class AwsUser:
    """An IAM user of the endpoint."""

    endpoint: AwsEndpoint
    name: str
    arn: str
    access_key_id: str
    secret_access_key: str

    def client(self, service: str, plain: bool = False) -> Any:
        """A boto3 client with this user's key."""
        return self.endpoint.client(service, self.access_key_id, self.secret_access_key, plain)


def error_code(caught: pytest.ExceptionInfo[ClientError]) -> str:
    """The AWS error code of a refused call."""
    return str(caught.value.response["Error"]["Code"])


def refused(call: Callable[..., Any], **arguments: Any) -> str:
    """The error code of a call that must be refused."""
    with pytest.raises(ClientError) as caught:
        call(**arguments)
    return error_code(caught)


def put_bucket_policy(endpoint: AwsEndpoint, bucket: str, *statements: dict[str, Any]) -> None:
    """Set the policy of a bucket, as the administrator."""
    document = {"Version": "2012-10-17", "Statement": list(statements)}
    endpoint.client("s3").put_bucket_policy(Bucket=bucket, Policy=json.dumps(document))


def _ready_line(process: subprocess.Popen[str]) -> str:
    """The endpoint's first line; fails the test run with its output when there is none in time."""
    assert process.stdout is not None
    deadline = time.monotonic() + START_SECONDS
    with selectors.DefaultSelector() as selector:
        selector.register(process.stdout, selectors.EVENT_READ)
        while (left := deadline - time.monotonic()) > 0:
            if selector.select(left):
                line = process.stdout.readline()
                if " ready: " in line or not line:
                    return line
    return ""


def start(folder: Path, https_port: int = 0, http_port: int = 0) -> tuple[subprocess.Popen[str], AwsEndpoint]:
    """Start an endpoint with its state in ``folder``; port 0 takes a free one."""
    authority = ca.ensure(folder / "ca")
    leaf = ca.issue(folder / "ca", "aws", ["localhost"], ["127.0.0.1"])
    admin = {
        "access_key_id": f"AKIATEST{secrets.token_hex(6).upper()}",
        "secret_access_key": secrets.token_urlsafe(30),
    }
    admin_file, log_file = folder / "aws-admin.json", folder / "aws.log"
    admin_file.touch(mode=0o600)
    admin_file.write_text(json.dumps(admin), encoding="utf-8")
    command = [
        *ends_with_this_process(),
        sys.executable,
        "-m",
        "sandbox.aws_endpoint",
        "--address",
        "127.0.0.1",
        "--https-port",
        str(https_port),
        "--http-port",
        str(http_port),
        "--certificate",
        str(leaf.certificate),
        "--key",
        str(leaf.key),
        "--admin-file",
        str(admin_file),
        "--log",
        str(log_file),
    ]
    process = subprocess.Popen(command, cwd=REPOSITORY, stdout=subprocess.PIPE, text=True)
    line = _ready_line(process)
    if not line:
        process.kill()
        process.wait()
        pytest.fail(
            "the AWS endpoint did not get ready; its reason is on standard error above", pytrace=False
        )
    https_url, http_url = line.split(" ready: ")[1].split()
    endpoint = AwsEndpoint(
        https_url,
        http_url,
        authority.certificate,
        authority.bundle,
        admin["access_key_id"],
        admin["secret_access_key"],
        log_file,
        admin_file,
        process.pid,
    )
    return process, endpoint


def stop(process: subprocess.Popen[str]) -> int:
    """End an endpoint with SIGTERM; returns its exit status."""
    process.terminate()
    try:
        return process.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        return process.wait()
    finally:
        if process.stdout is not None:
            process.stdout.close()


@pytest.fixture(scope="session")
def aws_endpoint(tmp_path_factory: pytest.TempPathFactory) -> Iterator[AwsEndpoint]:
    """An AWS endpoint on free loopback ports, with and without TLS, for the whole run.

    State is shared between tests: take names from :meth:`AwsEndpoint.new_bucket`
    and :meth:`AwsEndpoint.new_user`.
    """
    process, endpoint = start(tmp_path_factory.mktemp("aws"))
    try:
        yield endpoint
    finally:
        stop(process)
