"""A chain of backups that tests of verification damage; what they damage is mended behind them."""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest

from steward.metrics import read
from tests.faults.backup_site import FaultProxy, Site
from tests.support.aws import AwsEndpoint
from tests.support.mongod import MongoServer


@dataclass
class Chain:
    """A full and four slices; what a test damages is put back behind it."""

    site: Site
    proxy: FaultProxy
    full: dict[str, Any]
    slices: list[dict[str, Any]]
    pristine: set[str] = field(default_factory=set)
    purged: list[tuple[str, bytes, dict[str, Any]]] = field(default_factory=list)

    def versions(self) -> list[tuple[str, str]]:
        listed = self.site.s3().list_object_versions(Bucket=self.site.bucket)
        both = [*listed.get("Versions", []), *listed.get("DeleteMarkers", [])]
        return [(item["Key"], item["VersionId"]) for item in both]

    def remember(self) -> None:
        self.pristine = {version for _, version in self.versions()}

    def mend(self) -> None:
        """Undo every damage, and forget what was verified."""
        self.proxy.stalled.clear()
        self.proxy.rule = lambda _: "pass"
        for key, version in self.versions():
            if version not in self.pristine:
                self.remove(key, version)
        for key, body, lock in self.purged:
            self.site.s3().put_object(Bucket=self.site.bucket, Key=key, Body=body, **lock)
        if self.purged:
            self.remember()
        self.purged = []
        self.site.write()
        for path in (*self.site.metrics.iterdir(), *(self.site.folder / "state").glob("verify-*.json")):
            path.unlink()

    def remove(self, key: str, version: str) -> None:
        self.site.s3().delete_object(
            Bucket=self.site.bucket, Key=key, VersionId=version, BypassGovernanceRetention=True
        )

    def body(self, key: str) -> bytes:
        body: bytes = self.site.s3().get_object(Bucket=self.site.bucket, Key=key)["Body"].read()
        return body

    def lock(self, key: str) -> dict[str, Any]:
        head = self.site.s3().head_object(Bucket=self.site.bucket, Key=key)
        until = head["ObjectLockRetainUntilDate"]
        return {"ObjectLockMode": "GOVERNANCE", "ObjectLockRetainUntilDate": until}

    def overwrite(self, key: str, body: bytes, **more: Any) -> None:
        """As rot would look, or a mistake with an administrator's key: the lock stays."""
        self.site.s3().put_object(Bucket=self.site.bucket, Key=key, Body=body, **self.lock(key), **more)

    def delete(self, *keys: str) -> None:
        for key in keys:
            self.site.s3().delete_object(Bucket=self.site.bucket, Key=key)

    def purge(self, *keys: str) -> None:
        """Remove every version."""
        for key in keys:
            self.purged.append((key, self.body(key), self.lock(key)))
            for found, version in self.versions():
                if found == key:
                    self.remove(key, version)

    def found(self, *options: str) -> dict[str, Any]:
        """What is found wrong: exactly one thing."""
        document = self.site.json("verify", *options, status=3)
        assert (document["good"], len(document["findings"])) == (False, 1), document
        finding: dict[str, Any] = document["findings"][0]
        return finding | {"document": document}

    def end(self, number: int) -> int:
        """The last second (Unix time) that can be restored with slices up to this one."""
        covered = self.slices[number]["oplog"]["covered_to"]
        return int(covered["t"] if covered["i"] == 0xFFFF_FFFF else covered["t"] - 1)

    def costs_what_is_behind(self, number: int, finding: dict[str, Any]) -> None:
        """From the end of the slice before ``number`` to the end of all."""
        expected = [{"from": text(self.end(number - 1) + 1), "to": text(self.end(-1))}]
        assert finding["lost"] == expected
        assert finding["document"]["lost"] == expected


def text(second: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(second))


@pytest.fixture(scope="module")
def made(
    tmp_path_factory: pytest.TempPathFactory, aws_endpoint: AwsEndpoint, server: MongoServer
) -> Iterator[Chain]:
    proxy = FaultProxy(aws_endpoint.http_url)
    site = Site(
        tmp_path_factory.mktemp("verify"),
        aws_endpoint,
        server,
        aws_endpoint.new_bucket("backup", ObjectLockEnabledForBucket=True),
        proxy.url,
        database=f"shop{secrets.token_hex(4)}",
    )
    site.insert(200)
    full = site.json("full")
    slices = []
    for count in (10, 30, 20, 25):
        site.insert(count)
        slices.append(site.json("oplog")["slice"])
    chain = Chain(site, proxy, full, slices)
    chain.remember()
    try:
        yield chain
    finally:
        proxy.close()


@pytest.fixture
def chain(made: Chain) -> Iterator[Chain]:
    try:
        yield made
    finally:
        made.mend()


def metric(site: Site, name: str) -> float | None:
    samples = read(site.metrics / "steward_verify_bitesbay.prom")
    return next((value for found, _, value in samples if found == f"steward_verify_{name}"), None)
