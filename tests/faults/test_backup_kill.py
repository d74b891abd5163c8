"""A backup that is killed or interrupted at any step never counts, and the next one works."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest
from pyrage import x25519

from steward.errors import EXIT_INTERRUPTED, EXIT_LOCKED
from tests.faults.backup_site import FaultProxy, Site, children, poll, write_tool
from tests.unit.test_backup_archive import ARCHIVE

PUBLIC_KEY = str(x25519.Identity.generate().to_public())
STEPS = ["lock", "create", "part", "complete", "head", "manifest"]
#: For whom the backup is encrypted; nobody: it is not.
readers = pytest.mark.parametrize("recipients", [[], [PUBLIC_KEY]], ids=["plain", "encrypted"])


def stall_at(proxy: FaultProxy, name: str) -> None:
    proxy.stalled.clear()
    proxy.rule = lambda step: "stall" if step.name == name else "pass"


def endless_dump(folder: Path) -> str:
    """A mongodump that sends half an archive and then hangs."""
    (folder / "half").write_bytes(ARCHIVE[: len(ARCHIVE) // 2])
    return write_tool(folder / "bin" / "mongodump", f'cat "{folder}/half"; exec sleep 600')


@readers
@pytest.mark.parametrize("name", STEPS)
def test_a_full_killed_at_any_step_never_counts(
    site: Site, proxy: FaultProxy, name: str, recipients: list[str]
) -> None:
    site.encrypt_for(recipients)
    stall_at(proxy, name)
    with site.started("full") as process:
        assert proxy.stalled.wait(60)
        process.kill()
        process.wait()
    proxy.rule = lambda _: "pass"
    found = site.json("list")
    assert found["backups"] == []
    assert found["timelines"] == []
    stored = site.keys()
    assert not [key for key in stored if key.endswith("manifest.json")]
    assert site.json("full")["class"] == "monthly"  # the killed one did not use it up
    assert [b["state"] for b in site.json("list")["backups"]] == ["ok"]


@readers
@pytest.mark.parametrize("name", STEPS)
def test_a_slice_killed_at_any_step_never_counts_and_is_read_again(
    site: Site, proxy: FaultProxy, name: str, recipients: list[str]
) -> None:
    site.encrypt_for(recipients)
    base = site.json("full")
    site.insert(50)
    stall_at(proxy, name)
    with site.started("oplog") as process:
        assert proxy.stalled.wait(60)
        process.kill()
        process.wait()
    proxy.rule = lambda _: "pass"
    assert [b["id"] for b in site.json("list")["backups"]] == [base["id"]]
    slice_ = site.json("oplog")["slice"]
    assert slice_["previous"] == base["id"]
    assert slice_["oplog"]["start"] == base["oplog"]["start"]
    assert slice_["oplog"]["count"] == 51


@readers
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_an_interrupted_full_ends_mongodump_and_aborts_its_upload(
    site: Site, tmp_path: Path, number: signal.Signals, recipients: list[str]
) -> None:
    site.encrypt_for(recipients)
    site.run("full")
    success = site.metric("steward_backup_last_success_timestamp_seconds", kind="full")
    site.write(mongodump=endless_dump(tmp_path))
    with site.started("full") as process:
        poll(lambda: bool(site.uploads()), "the upload begins")
        poll(lambda: bool(children(process.pid)), "mongodump runs")
        [dump] = children(process.pid)
        process.send_signal(number)
        _, message = process.communicate(timeout=60)
    assert process.returncode == EXIT_INTERRUPTED
    assert message == "steward: interrupted; nothing unfinished counts as a backup\n"
    poll(lambda: not Path(f"/proc/{dump}").exists(), "mongodump is gone")
    assert site.uploads() == []
    assert len(site.json("list")["backups"]) == 1
    assert site.metric("steward_backup_last_success_timestamp_seconds", kind="full") == success
    assert site.metric("steward_backup_last_run_success", kind="full") == 0


def test_a_killed_full_takes_mongodump_with_it_and_frees_the_lock(site: Site, tmp_path: Path) -> None:
    dump_tool = site.mongodump
    site.write(mongodump=endless_dump(tmp_path))
    with site.started("full") as process:
        poll(lambda: bool(site.uploads()), "the upload begins")
        poll(lambda: bool(children(process.pid)), "mongodump runs")
        [dump] = children(process.pid)
        refused = site.fails("full", status=EXIT_LOCKED)
        assert f"pid {process.pid}, since 20" in refused
        assert site.json("oplog", "--no-auto-full", status=1)["needs_full"]  # slices have a lock of their own
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
    poll(lambda: not Path(f"/proc/{dump}").exists(), "mongodump ends")
    site.write(mongodump=dump_tool)
    site.run("full")


def test_nothing_is_written_to_the_disk_but_lock_and_metrics(site: Site) -> None:
    site.run("full")
    site.insert(10)
    site.run("oplog")
    written = sorted(p.relative_to(site.folder).as_posix() for p in site.folder.rglob("*") if p.is_file())
    assert written == [
        "metrics/steward_backup_bitesbay.prom",
        "secrets.toml",
        "state/backup-bitesbay-local-full.lock",
        "state/backup-bitesbay-local-oplog.lock",
        "steward.toml",
    ]
