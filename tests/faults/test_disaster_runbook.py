"""The commands of docs/runbooks/disaster.md run as they stand there, but for names, times and addresses."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.faults.restore_bench import DATABASE, Bench, Make, contents, text
from tests.faults.runbooks import Shell, blocks
from tests.faults.test_encrypted import make_key
from tests.support.aws import AwsEndpoint
from tests.support.gcs import GcsServer
from tests.support.mongod import MongoServer

pytestmark = pytest.mark.timeout(240)

PAGE = "disaster.md"
REPLICA, GOOGLE, LOOK, ONTO_LIVE, NEW_STORE = blocks(PAGE, 1)
WHICH_KEY, KEY_BACK, KEY_PROOF, RECIPIENTS, SECOND_KEY = blocks(PAGE, 2)
SINCE_WHEN, AS_IT_WAS, SCRATCH, EXPORT, PUT_RIGHT, GO_ON = blocks(PAGE, 4)


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory, aws_endpoint: AwsEndpoint) -> Iterator[Bench]:
    """A full for two keys and a slice after it."""
    folder = tmp_path_factory.mktemp("disaster")
    live = MongoServer(folder / "live", login=True, oplog_mb=64)
    live.start()
    try:
        bench = Bench(folder / "bench", aws_endpoint, live)
        first, second = (make_key(folder / name) for name in ("first.txt", "second.txt"))
        bench.encrypt_for(first, second, identity_file=folder / "first.txt")
        with live.client() as client:
            client[DATABASE].orders.insert_many([{"_id": n, "pad": "x" * 100} for n in range(200)])
            bench.steward("backup", "full", "--json")
            client[DATABASE].orders.insert_one({"_id": "late"})
        bench.slice_after(int(time.time()))
        yield bench
    finally:
        live.stop()


class Copies(Bench):
    """A host of its own, whose bucket keeps versions and locks, with the backups of another one in it."""

    def __init__(self, folder: Path, stored: Bench, live: MongoServer) -> None:
        super().__init__(folder, stored.aws, live)
        self.bucket = self.aws.new_bucket("worst", ObjectLockEnabledForBucket=True)
        lock = {"Mode": "GOVERNANCE", "Days": 1}
        self.s3.put_object_lock_configuration(
            Bucket=self.bucket,
            ObjectLockConfiguration={"ObjectLockEnabled": "Enabled", "Rule": {"DefaultRetention": lock}},
        )
        self.use_live(live)
        _, found, encryption = stored.config.read_text().partition("[encryption]")
        here = self.config.read_text().replace("[backup]", 'object_lock_mode = "GOVERNANCE"\n[backup]')
        self.config.write_text(here + found + encryption)
        fill(self, stored, self.bucket)

    def versions(self) -> tuple[int, int]:
        """How many versions and delete markers there are."""
        page = self.s3.list_object_versions(Bucket=self.bucket)
        return len(page.get("Versions", [])), len(page.get("DeleteMarkers", []))


def fill(bench: Bench, stored: Bench, bucket: str) -> None:
    """Put the backups there, locked as their manifests say."""
    for key in stored.keys(""):
        lock: dict[str, Any] = {}
        if not key.startswith("lock/"):
            manifest = json.loads(read(stored, f"{key.rpartition('/')[0]}/manifest.json"))
            lock = {"ObjectLockMode": "GOVERNANCE", "ObjectLockRetainUntilDate": manifest["retain_until"]}
        bench.s3.put_object(
            Bucket=bucket, Key=key, Body=read(stored, key), ChecksumAlgorithm="SHA256", **lock
        )


def read(bench: Bench, key: str) -> bytes:
    found: bytes = bench.s3.get_object(Bucket=bench.bucket, Key=key)["Body"].read()
    return found


@pytest.fixture
def bench(stored: Bench, mongod: Make, tmp_path: Path) -> Copies:
    """A new, empty live server and the backups of the lost one."""
    return Copies(tmp_path / "bench", stored, mongod())


def shell(bench: Bench, folder: Path, **more: str) -> Shell:
    live = bench.live
    words = {
        "/root/copy": f"{folder}/copy",
        "/etc/steward/": f"{bench.folder}/",
        "bitesbay-production-backups-ACCOUNT": bench.bucket,
        "mongodb://db1.internal:27017/": live.uri,
        "restorer": live.username,
        "--into-live": "--into-live --yes",
    }
    return Shell(bench, folder / "shell", {**words, **more})


def lose(bench: Bench) -> None:
    """Delete the bucket, locks or not."""
    page = bench.s3.list_object_versions(Bucket=bench.bucket)
    for item in page.get("Versions", []) + page.get("DeleteMarkers", []):
        bench.s3.delete_object(
            Bucket=bench.bucket,
            Key=item["Key"],
            VersionId=item["VersionId"],
            BypassGovernanceRetention=True,
        )
    bench.s3.delete_bucket(Bucket=bench.bucket)


def test_the_bucket_is_lost_and_the_replica_is_not(stored: Bench, bench: Copies, tmp_path: Path) -> None:
    replica = bench.aws.new_bucket("replica", ObjectLockEnabledForBucket=True)
    fill(bench, stored, replica)
    lose(bench)
    assert "no such bucket" in bench.steward("backup", "list", status=1).err
    night = shell(bench, tmp_path, **{"bitesbay-production-replica-ACCOUNT": replica})
    assert "Recoverable" in night.run(REPLICA, LOOK)
    for name in ("steward.toml", "secrets.toml"):
        assert (tmp_path / "copy" / name).stat().st_mode & 0o777 == 0o600
    assert bench.aws.admin_secret_access_key not in (tmp_path / "copy/secrets.toml").read_text()
    assert "no difference" in night.run(ONTO_LIVE, typed=f"{bench.live.password}\n")
    assert contents(bench.live) == contents(stored.live)

    # The store is built again, empty and under its name; the replica was only read.
    bench.s3.create_bucket(Bucket=bench.bucket, ObjectLockEnabledForBucket=True)
    night.run(NEW_STORE)
    assert [b["kind"] for b in bench.steward("backup", "list", "--json").json["backups"]] == ["full"]
    listed = bench.s3.list_objects_v2(Bucket=replica)["Contents"]
    assert sorted(item["Key"] for item in listed) == stored.keys("")


def test_the_bucket_is_lost_and_the_copy_at_google_is_not(
    stored: Bench, bench: Copies, gcs_server: GcsServer, tmp_path: Path
) -> None:
    copy = gcs_server.new_bucket()
    for key in stored.keys(""):
        gcs_server.upload(copy, key, read(stored, key))
    lose(bench)
    night = shell(
        bench,
        tmp_path,
        **{
            "bitesbay-production-gcs-ACCOUNT": copy,
            '"/etc/steward/gcs.json"': f'"{gcs_server.credentials_file}"\nendpoint_url = "{gcs_server.url}"',
        },
    )
    assert "Recoverable" in night.run(GOOGLE, LOOK)
    assert "no difference" in night.run(ONTO_LIVE, typed=f"{bench.live.password}\n")
    assert contents(bench.live) == contents(stored.live)


def test_the_key_of_the_bucket_is_taken_back(bench: Copies, tmp_path: Path) -> None:
    kms: Any = bench.aws.client("kms")
    key = kms.create_key()["KeyMetadata"]["KeyId"]
    default = {"SSEAlgorithm": "aws:kms", "KMSMasterKeyID": key}
    bench.s3.put_bucket_encryption(
        Bucket=bench.bucket,
        ServerSideEncryptionConfiguration={"Rules": [{"ApplyServerSideEncryptionByDefault": default}]},
    )
    night = shell(bench, tmp_path)
    kms.schedule_key_deletion(KeyId=key, PendingWindowInDays=30)
    assert "PendingDeletion" in night.run(WHICH_KEY)
    cancel, enable = KEY_BACK.splitlines()
    for command, state in ((cancel, "Disabled"), (enable, "Enabled")):
        night.run(WHICH_KEY, command)
        assert kms.describe_key(KeyId=key)["KeyMetadata"]["KeyState"] == state
    night.run(KEY_PROOF)


def test_one_private_key_is_lost_and_the_other_one_is_not(
    stored: Bench, bench: Copies, tmp_path: Path
) -> None:
    here = stored.folder.parent
    bench.config.write_text(bench.config.read_text().replace(f'identity_file = "{here}/first.txt"\n', ""))
    shutil.copy(here / "second.txt", tmp_path / "second.txt")
    night = shell(bench, tmp_path, **{"/root/second.txt": str(tmp_path / "second.txt")})
    assert "NOT opened" in night.run("steward restore plan --at latest")
    assert "opened by the private key at hand" in night.run(SECOND_KEY)
    told = [line.split("\t") for line in night.run(RECIPIENTS).splitlines()]
    assert len(told) == 2
    assert all(len(keys) == 2 and all(k.startswith("age1") for k in keys) for _, _, *keys in told)


def attack(bench: Copies) -> str:
    """Spoil the store with all that keys of hosts and administrators can do; the second before."""
    before = int(time.time())
    while int(time.time()) == before:
        time.sleep(0.05)
    dump, slice_, full, last = *bench.data_keys(), *(k for k in bench.keys("") if k.endswith("manifest.json"))
    bench.s3.put_object(Bucket=bench.bucket, Key=dump, Body=b"pay")
    bench.s3.put_object(Bucket=bench.bucket, Key=full, Body=b"pay")
    for key in (slice_, last):
        bench.s3.delete_object(Bucket=bench.bucket, Key=key)
    bench.s3.put_object(Bucket=bench.bucket, Key="daily/README", Body=b"pay")
    return text(before)


def test_backups_are_spoiled_and_every_one_comes_back(
    stored: Bench, bench: Copies, mongod: Make, tmp_path: Path
) -> None:
    scratch = mongod()
    with bench.live.client() as client:
        client[DATABASE].orders.insert_one({"_id": "the database itself still runs"})
    intact = bench.versions()
    before = attack(bench)
    assert bench.steward("restore", "plan", "--at", "latest", status=3)
    night = shell(
        bench,
        tmp_path,
        **{
            "2026-11-22T14:03:06Z": before,
            "mongodb://scratch.internal:27017/": scratch.uri,
            "/srv/": f"{tmp_path}/",
        },
    )
    spoiled = night.run(SINCE_WHEN).splitlines()
    assert len(spoiled) == 4
    assert sum(line.endswith("\tdeleted") for line in spoiled) == 2
    assert all(line[:19] > before[:19] for line in spoiled)

    assert "Recoverable" in night.run(AS_IT_WAS)
    assert "no difference" in night.run(SCRATCH, typed=f"{scratch.password}\n")
    assert contents(scratch) == contents(stored.live)
    night.run(EXPORT)
    assert (tmp_path / "export-1403/SHA256SUMS").exists()
    copy = str(tmp_path / "copy/steward.toml")
    assert "storage.as_of" in night.run(f"steward --config {copy} backup full", status=2)

    night.run(SINCE_WHEN, PUT_RIGHT)
    assert bench.versions() == (intact[0] + 1, 0), "all but the file that was added is as before"
    assert contents(scratch) == contents(stored.live)
    night.run(GO_ON)


def test_no_block_is_left_out() -> None:
    """Each section's are named above; those of the others say that they are not run."""
    assert [blocks(PAGE, section) for section in (3, 5)] == [[], []]
