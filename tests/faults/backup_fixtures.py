"""Fixtures of the fault tests of backups; published by conftest.py."""

from __future__ import annotations

import os
import secrets
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults.backup_site import FaultProxy, Site
from tests.support.aws import AwsEndpoint
from tests.support.mongod import MongoServer


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MongoServer]:
    """One MongoDB server for a module's tests; each uses a database of its own."""
    found = MongoServer(tmp_path_factory.mktemp("backup") / "mongod", login=True, oplog_mb=64)
    found.start()
    try:
        yield found
    finally:
        found.stop()


@pytest.fixture
def proxy(aws_endpoint: AwsEndpoint) -> Iterator[FaultProxy]:
    """A way to the endpoint that can fail."""
    found = FaultProxy(aws_endpoint.http_url)
    try:
        yield found
    finally:
        found.close()


@pytest.fixture
def site(tmp_path: Path, aws_endpoint: AwsEndpoint, server: MongoServer, proxy: FaultProxy) -> Site:
    """A host with a fresh bucket behind ``proxy`` and a database with 200 documents."""
    found = Site(
        tmp_path / "site",
        aws_endpoint,
        server,
        aws_endpoint.new_bucket("backup", ObjectLockEnabledForBucket=True),
        proxy.url,
        database=f"shop{secrets.token_hex(4)}",
    )
    found.insert(200)
    return found


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 12 MiB."""
    if os.geteuid() != 0:
        pytest.skip("mounts a file system, which root alone may")
    folder = tmp_path / "disk"
    folder.mkdir()
    subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=12m", "steward-test", str(folder)], check=True, timeout=20
    )
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True, timeout=20)
