"""A local S3 server behind TLS on loopback: versitygw over a folder."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from bench import tools
from sandbox import ca, files, processes

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

REGION = "us-east-1"
BUCKET = "bench"


@dataclass(frozen=True)
class Server:
    """A server that runs."""

    folder: Path
    url: str
    ca_file: Path
    access_key_id: str
    secret_access_key: str

    def environment(self) -> dict[str, str]:
        """For tools that read the names of AWS: keys and authority, and none of the caller's own."""
        kept = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("AWS_", "RCLONE_", "RESTIC_"))
        }
        return kept | {
            "AWS_ACCESS_KEY_ID": self.access_key_id,
            "AWS_SECRET_ACCESS_KEY": self.secret_access_key,
            "AWS_DEFAULT_REGION": REGION,
            "AWS_ENDPOINT_URL": self.url,
            "AWS_CA_BUNDLE": str(self.ca_file),
            "AWS_CONFIG_FILE": os.devnull,
            "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
            "AWS_EC2_METADATA_DISABLED": "true",
        }

    def settings_file(self) -> Path:
        """steward's settings of this server, with the key, for this user alone."""
        path = self.folder / "steward-storage.json"
        login = {"access_key_id": self.access_key_id, "secret_access_key": self.secret_access_key}
        settings = {"bucket": BUCKET, "region": REGION, "endpoint_url": self.url, "login": login}
        files.write_private(path, json.dumps(settings | {"ca_file": str(self.ca_file)}))
        return path

    def client(self) -> S3Client:
        """A client of the bench itself."""
        import boto3

        return boto3.client(
            "s3",
            endpoint_url=self.url,
            verify=str(self.ca_file),
            region_name=REGION,
            aws_access_key_id=self.access_key_id,
            aws_secret_access_key=self.secret_access_key,
        )

    def empty(self) -> None:
        """Remove every object, so that no run finds what the one before stored."""
        for path in (self.folder / "objects" / BUCKET).iterdir():
            shutil.rmtree(path) if path.is_dir() else path.unlink()


@contextmanager
def serve(folder: Path) -> Iterator[Server]:
    """Run a server with an empty bucket until the block ends; its objects stay in ``folder``.

    Raises:
        sandbox.processes.ServiceError: it does not start.
    """
    objects = folder / "objects"
    objects.mkdir(parents=True)
    authority = ca.ensure(folder / "ca")
    leaf = ca.issue(folder / "ca", "s3", addresses=["127.0.0.1"])
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    key_id, key = "BENCH" + secrets.token_hex(6).upper(), secrets.token_hex(20)
    server = Server(folder, f"https://127.0.0.1:{port}", authority.certificate, key_id, key)
    command = [
        str(tools.path("versitygw")),
        *("--port", f"127.0.0.1:{port}", "--cert", str(leaf.certificate), "--key", str(leaf.key)),
        *("--region", REGION, "--quiet", "posix", str(objects)),
    ]
    environment = os.environ | {"ROOT_ACCESS_KEY": key_id, "ROOT_SECRET_KEY": key}
    service = processes.Service("versitygw", command, ("127.0.0.1", port))
    processes.ensure(folder, service, environment)
    try:
        server.client().create_bucket(Bucket=BUCKET)
        yield server
    finally:
        processes.stop(folder, "versitygw")
