"""``steward restore export``: what it writes is restored with the stock tools, and what can fail does."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from steward.bsonio import iter_raw_bson
from steward.config import load
from steward.errors import StewardError
from steward.restore.applier import Applier, Replay
from steward.restore.chain import choose
from steward.restore.expectation import Expectation
from steward.restore.export import export
from steward.restore.plan import Plan, make_plan
from steward.restore.selection import Selection
from steward.restore.sink import MongoSink
from steward.storage import Store, open_store
from tests.faults.restore_bench import DATABASE, Bench, Make, contents, text
from tests.support.mongod import MongoServer

pytestmark = pytest.mark.timeout(240)


def exported(bench: Bench, out: Path, *more: str, at: str = "latest", status: int = 0) -> Any:
    found = bench.steward("restore", "export", "--at", at, "--out", str(out), "--json", *more, status=status)
    return found.json if status == 0 else found.err


def commands(folder: Path, target: MongoServer) -> str:
    """The commands of the folder's README, which the stand-in can run without replay and indexes."""
    block = re.search(r"```\n(.*?)```", (folder / "README.md").read_text(), re.DOTALL)
    assert block is not None
    assert "mongorestore --config target.yml --oplogReplay dump/" in block[1]
    login = f"{target.username}:{target.password}@127.0.0.1:{target.port}/?directConnection=true"
    told = f"uri: mongodb://{login}"
    lines = block[1].replace("--oplogReplay", "--noIndexRestore").splitlines()
    at = next(n for n, line in enumerate(lines) if "target.yml" in line)
    return "\n".join(["set -e", *lines[: at + 1], f"echo '{told}' > target.yml", *lines[at + 1 :]])


def test_the_stock_tools_restore_what_steward_restores(stored: Bench, mongod: Make, tmp_path: Path) -> None:
    ours, theirs = mongod(), mongod()
    stored.restore(ours, text(stored.second))
    out = tmp_path / "out"
    report = exported(stored, out, at=text(stored.second))
    assert report["documents"] == 350
    assert sorted(p.name for p in tmp_path.iterdir() if "out" in p.name) == ["out"]
    assert out.stat().st_mode & 0o077 == 0

    done = subprocess.run(
        ["bash", "-c", commands(out, theirs)], cwd=out, capture_output=True, text=True, timeout=60, check=True
    )
    assert "350 document(s) restored successfully. 0 document(s) failed" in done.stderr
    with theirs.client() as client:
        whole = Replay((0, 0), (0, 0), (2**32 - 1, 0), Selection([DATABASE]))
        raw = iter_raw_bson([(out / "dump/oplog.bson").read_bytes()])
        counts = Applier(MongoSink(client), Expectation(), whole).run(raw)
    # A repeated time is a transaction that was taken apart; here there is none.
    assert counts.applied == report["oplog_operations"] == counts.entries
    assert contents(theirs) == contents(ours)
    metadata = (out / f"dump/{DATABASE}/users.metadata.json").read_text()
    assert '"unique":true' in metadata.replace(" ", "")
    dumped = subprocess.run(["bsondump", out / "dump/oplog.bson"], capture_output=True, text=True, check=True)
    assert len(dumped.stdout.splitlines()) == report["oplog_operations"]


def test_a_folder_with_something_in_it_is_refused(stored: Bench, tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "mine").touch()
    assert "not an empty folder" in exported(stored, out, status=2)
    assert "is not a folder" in exported(stored, tmp_path / "none/out", status=2)
    assert [p.name for p in out.iterdir()] == ["mine"]
    (out / "mine").unlink()
    assert exported(stored, out, "--dry-run")["result"] == "checked"
    assert not list(out.iterdir())
    exported(stored, out)
    assert (out / "SHA256SUMS").exists()


def test_a_damaged_object_leaves_no_folder(stored: Bench, tmp_path: Path) -> None:
    bench = stored.copy(tmp_path / "bench")
    for key in bench.data_keys():
        body = bytearray(bench.s3.get_object(Bucket=bench.bucket, Key=key)["Body"].read())
        bench.s3.put_object(Bucket=bench.bucket, Key=key, Body=bytes(body[:-1]) + bytes([body[-1] ^ 1]))
        assert key in exported(bench, tmp_path / "out", status=3)
        assert not list(tmp_path.glob("*out*"))
        bench.s3.put_object(Bucket=bench.bucket, Key=key, Body=bytes(body))


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 80 MiB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=80m", "tmpfs", str(folder)], check=True)
    try:
        yield folder
    finally:
        subprocess.run(["umount", str(folder)], check=True)


def fill(folder: Path) -> None:
    """Leave no free block."""
    with (folder / "filler").open("wb", buffering=0) as file:
        try:
            while True:
                file.write(bytes(4096))
        except OSError:
            pass


def plan_of(bench: Bench) -> tuple[Store, Plan]:
    from steward.backup.catalog import read_catalog

    config = load(bench.config)
    store = open_store(config.storage)
    scan = read_catalog(config, store).scan
    return store, make_plan(choose(scan.manifests, None), [DATABASE], scan)


def test_too_little_space_is_told_before_anything_is_written(stored: Bench, small_disk: Path) -> None:
    (small_disk / "filler").write_bytes(bytes(30 * 1024 * 1024))
    assert "are needed" in exported(stored, small_disk / "out", status=1)
    assert [p.name for p in small_disk.iterdir()] == ["filler"]


@pytest.mark.parametrize("phase", ["dump", "oplog"])
def test_a_disk_that_gets_full_leaves_no_folder(stored: Bench, small_disk: Path, phase: str) -> None:
    @contextmanager
    def display(text: str, _total: int, _unit: str) -> Iterator[Callable[[int], None]]:
        if text == phase:
            fill(small_disk)
        yield lambda _: None

    store, plan = plan_of(stored)
    with pytest.raises(StewardError, match="the disk is full"):
        export(store, plan, small_disk / "out", display)
    assert [p.name for p in small_disk.iterdir()] == ["filler"]
    (small_disk / "filler").unlink()
    assert exported(stored, small_disk / "out")["documents"] == 350


def test_a_killed_export_is_no_folder_and_is_cleared_away(stored: Bench, tmp_path: Path) -> None:
    out, unfinished = tmp_path / "out", tmp_path / ".out.unfinished"
    for _ in range(5):
        process = subprocess.Popen(
            stored.command("restore", "export", "--at", "latest", "--out", str(out)),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            while process.poll() is None and not (unfinished / "dump" / DATABASE).exists():
                time.sleep(0.001)
            os.kill(process.pid, signal.SIGKILL) if process.poll() is None else None
        finally:
            process.kill()
            process.wait(20)
        if unfinished.exists():
            break
        shutil.rmtree(out)  # it was faster
    else:
        pytest.fail("never killed in the middle")
    assert not out.exists()
    exported(stored, out)
    assert not unfinished.exists()
    subprocess.run(["sha256sum", "--quiet", "--check", "SHA256SUMS"], cwd=out, check=True)
