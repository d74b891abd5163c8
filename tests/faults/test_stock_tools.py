"""Section 7 of docs/runbooks/restore.md: its commands, as they stand there, for a night without steward."""

from __future__ import annotations

import os
import re
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from sandbox.settings import REPOSITORY
from steward.bsonio import iter_raw_bson
from tests.faults.restore_bench import DATABASE, Bench, Make, contents
from tests.faults.test_encrypted import make_key
from tests.support.aws import REGION, AwsEndpoint
from tests.support.mongod import MongoServer

pytestmark = pytest.mark.timeout(240)

RUNBOOK = (REPOSITORY / "docs/runbooks/restore.md").read_text()


def block(*words: str, without: str = "\0") -> str:
    """The one code block of section 7 that holds all these words."""
    section = RUNBOOK.partition("\n## 7. ")[2].partition("\n## ")[0]
    found = [
        text
        for text in re.findall(r"^```\n(.*?)^```$", section, re.DOTALL | re.MULTILINE)
        if all(word in text for word in words) and without not in text
    ]
    assert len(found) == 1, f"{words}: {found}"
    return str(found[0])


FETCH = block("sha256sum -c")
LOADS = {
    "plain": [block("zstd -dc < dump")],
    "encrypted": [block("age -d -i key.txt dump"), block("$DUMP - | age")],
}
SLICES = {
    "plain": block("for S in", without="age -d"),
    "encrypted": block("for S in", "age -d -i key.txt"),
}


@pytest.fixture(scope="module", params=["plain", "encrypted"])
def stored(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, aws_endpoint: AwsEndpoint
) -> Iterator[tuple[str, Bench]]:
    """A monthly and a daily full, then two slices."""
    folder = tmp_path_factory.mktemp("runbook")
    live = MongoServer(folder / "live", login=True, oplog_mb=64)
    live.start()
    try:
        bench = Bench(folder / "bench", aws_endpoint, live)
        public = make_key(folder / "key.txt")
        if request.param == "encrypted":
            bench.encrypt_for(public)
        for _ in range(2):
            with live.client() as client:
                client[DATABASE].orders.insert_many([{"n": n, "pad": "x" * 100} for n in range(200)])
            bench.steward("backup", "full", "--json")
        for n in range(2):
            with live.client() as client:
                client[DATABASE].late.insert_one({"_id": n})
            bench.slice_after(int(time.time()))
        yield str(request.param), bench
    finally:
        live.stop()


def run(bench: Bench, folder: Path, commands: str) -> subprocess.CompletedProcess[str]:
    """What somebody types, with the names of this store in the places of the runbook's examples."""
    daily = next(m for m in bench.keys("daily/") if m.endswith("/manifest.json")).rpartition("/")[0]
    slices = " ".join(dict.fromkeys(key.split("/")[1] for key in bench.keys("oplog/")))
    for pattern, text in (
        (r"^B=\S+", f"B={bench.bucket}"),
        (r"^FULL=\S+", f"FULL={daily}"),
        (r"for S in [^;]+;", f"for S in {slices};"),
    ):
        commands = re.sub(pattern, text, commands, flags=re.MULTILINE)
    aws = bench.aws
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(folder),
        "AWS_ENDPOINT_URL": aws.https_url,
        "AWS_CA_BUNDLE": str(aws.ca_file),
        "AWS_DEFAULT_REGION": REGION,
        "AWS_ACCESS_KEY_ID": aws.admin_access_key_id,
        "AWS_SECRET_ACCESS_KEY": aws.admin_secret_access_key,
    }
    return subprocess.run(
        ["bash", "-e", "-c", commands],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def prepare(bench: Bench, folder: Path, target: MongoServer) -> None:
    """The two files that the runbook has one write: the target's login and the private key."""
    login = f"{target.username}:{target.password}"
    for name, text in (
        ("target.yml", f"uri: mongodb://{login}@{target.host}:{target.port}/?directConnection=true\n"),
        ("key.txt", (bench.folder.parent / "key.txt").read_text()),
    ):
        (folder / name).touch(0o600)
        (folder / name).write_text(text)


def test_the_dump_is_loaded_by_the_commands_of_the_runbook(
    stored: tuple[str, Bench], tmp_path: Path, mongod: Make
) -> None:
    kind, bench = stored
    for number, load in enumerate(LOADS[kind]):
        folder, target = tmp_path / str(number), mongod()
        folder.mkdir()
        prepare(bench, folder, target)
        done = run(bench, folder, FETCH + load)
        assert done.returncode == 0, done.stderr
        assert "dump: OK" in done.stdout
        assert "400 document(s) restored successfully. 0 document(s) failed to restore" in done.stderr
        assert contents(target) == {"orders": contents(bench.live)["orders"]}


def test_a_damaged_or_wrongly_opened_dump_fails_its_pipe(
    stored: tuple[str, Bench], tmp_path: Path, mongod: Make
) -> None:
    kind, bench = stored
    if kind == "plain":
        load = f"truncate -s -9 dump\n{LOADS[kind][0]}"
    else:
        load = f"age-keygen > key.txt\n{LOADS[kind][0]}"
    prepare(bench, tmp_path, mongod())
    assert run(bench, tmp_path, FETCH + load).returncode != 0


def test_the_slices_become_one_oplog(stored: tuple[str, Bench], tmp_path: Path, mongod: Make) -> None:
    kind, bench = stored
    prepare(bench, tmp_path, mongod())
    done = run(bench, tmp_path, f"set -o pipefail\nB={bench.bucket}\n{SLICES[kind]}")
    assert done.returncode == 0, done.stderr
    entries = list(iter_raw_bson([(tmp_path / "oplog.bson").read_bytes()]))
    backups = bench.steward("backup", "list", "--json").json["backups"]
    assert len(entries) == sum(b["oplog"]["count"] for b in backups if b["kind"] == "oplog")
    assert any(b"late" in entry for entry in entries)
