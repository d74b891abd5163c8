"""Reading back needs the same memory however large a backup is, and however well it compresses."""

from __future__ import annotations

import subprocess
import sys

from tests.support.aws import AwsEndpoint

#: Python with boto3 and bson (100), a megabyte on its way, and what a few KiB can be unpacked to.
LIMIT_MIB = 200

# 512 MiB of documents that are all the same become some 50 KiB.
CLIENT = """
import re, struct, sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
import bson
from steward import config
from steward.backup.archive import MAGIC
from steward.backup.pipeline import put_compressed
from steward.manifest import Manifest, Namespace, Versions
from steward.restore.verify import verify_archive
from steward.storage import open_store
verb, bucket, url, ca, key_id, megabytes = sys.argv[1:7]
login = config.StorageLogin(access_key_id=key_id, secret_access_key=sys.stdin.readline().strip())
settings = {"bucket": bucket, "region": "us-east-1", "endpoint_url": url, "ca_file": ca, "login": login}
store = open_store(config.StorageSettings(**settings))
END = b"\\xff\\xff\\xff\\xff"
names = {"db": "shop", "collection": "orders"}
many = bson.encode({"_id": 1, "pad": "x" * 8000}) * 131
def archive():
    yield struct.pack("<I", MAGIC) + bson.encode({"version": "0.1"})
    yield bson.encode({**names, "metadata": "{}", "type": "collection"}) + END
    yield bson.encode({**names, "EOF": False, "CRC": bson.Int64(0)})
    yield from (many for _ in range(int(megabytes)))
    yield END + bson.encode({**names, "EOF": True, "CRC": bson.Int64(1)}) + END
now = datetime(2026, 11, 22, tzinfo=UTC)
key = "daily/20261122T000000Z-abcdef/dump.archive.zst"
if verb == "put":
    stored = put_compressed(store, key, archive(), None, recipients=[])
    manifest = Manifest(kind="full", id="20261122T000000Z-abcdef", app="a", environment="e", class_="daily",
        host="h", started_at=now, finished_at=now, retain_until=now, object=stored, databases=[],
        namespaces=[Namespace(db="shop", collection="orders", type="collection", count=131 * int(megabytes),
        options={}, indexes=[])], versions=Versions(steward="0", server="7"))
    store.put_json(manifest.manifest_key, manifest.to_json(), None)
manifest = Manifest.model_validate(store.get_json("daily/20261122T000000Z-abcdef/manifest.json"))
if verb == "verify":
    verify_archive(store, manifest, every_value=True)
peak = re.search(r"VmHWM:\\s+(\\d+) kB", Path("/proc/self/status").read_text())
print(manifest.object.raw_size, manifest.object.size, int(peak[1]) // 1024)
"""


def test_half_a_gibibyte_that_compresses_to_nothing_is_read_in_constant_memory(
    aws_endpoint: AwsEndpoint,
) -> None:
    bucket = aws_endpoint.new_bucket("memory")
    where = [bucket, aws_endpoint.https_url, str(aws_endpoint.ca_file), aws_endpoint.admin_access_key_id]
    for verb in ("put", "verify"):
        done = subprocess.run(
            [sys.executable, "-c", CLIENT, verb, *where, "512"],
            input=aws_endpoint.admin_secret_access_key,
            capture_output=True,
            text=True,
            timeout=240,
            check=False,
        )
        assert done.returncode == 0, done.stderr
    raw, stored, peak = map(int, done.stdout.split())
    assert raw > 500 * 1024 * 1024
    assert stored < raw / 1000
    assert peak < LIMIT_MIB
