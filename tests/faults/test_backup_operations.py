"""Hooks, pings, messages and limits around real runs: none of them changes what a backup is worth."""

from __future__ import annotations

import json
import os
import re
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.faults.backup_site import FaultProxy, Site, hanging_dump
from tests.unit.test_hooks import script
from tests.unit.test_notify import Receiver, _serving

#: Stands in the URLs that nobody may see.
SECRET = "c0ffee-secret-path"


@pytest.fixture
def heard(site: Site) -> Iterator[Receiver]:
    """A dead man's switch and a webhook that the site tells of its jobs."""
    receiver = Receiver()
    with _serving(receiver) as url:
        secrets = site.folder / "secrets.toml"
        pings = "\n".join(f'{job} = "{url}/{SECRET}/{job}"' for job in ("full", "oplog", "verify", "drill"))
        secrets.write_text(
            f'{secrets.read_text()}[pings]\n{pings}\n[notify]\nwebhook_url = "{url}/{SECRET}/hook"\n'
        )
        yield receiver


def add(site: Site, text: str) -> None:
    site.config.write_text(f"{site.config.read_text()}{text}\n")


def hooks(site: Site, **commands: str) -> None:
    add(site, "[hooks]\n" + "\n".join(f'{name} = ["{path}"]' for name, path in commands.items()))


def paths(receiver: Receiver) -> list[str]:
    return [path.removeprefix(f"/{SECRET}/") for path, _ in receiver.came]


def messages(receiver: Receiver) -> list[dict[str, Any]]:
    return [json.loads(body) for path, body in receiver.came if path.endswith("/hook")]


def test_a_good_run_is_told_to_its_switch_and_hooks(site: Site, heard: Receiver, tmp_path: Path) -> None:
    out = tmp_path / "out"
    line = 'echo "$STEWARD_JOB,$STEWARD_OUTCOME,$STEWARD_BACKUP_ID,$STEWARD_REASON"'
    before, after = tmp_path / "before", tmp_path / "after"
    for folder in (before, after):
        folder.mkdir()
    hooks(
        site,
        before_full=script(before, f"{line} >> {out}; ls {site.folder}/state > {tmp_path}/locks"),
        after=script(after, f"{line} >> {out}; exit 1"),
    )
    backup = site.json("full")
    assert paths(heard) == ["full/start", "full"]
    assert heard.came[1][1].startswith(f"full {backup['id']}, ".encode())
    assert out.read_text() == f"full,,,\nfull,success,{backup['id']},\n"
    assert "backup-bitesbay-local-full.lock" in (tmp_path / "locks").read_text()
    site.insert(3)
    done = site.run("oplog")
    assert "ended with status 1" in done.stderr  # the backup stands
    assert paths(heard)[2:] == ["oplog/start", "oplog"]
    assert messages(heard) == []


def test_a_hook_before_that_fails_stops_the_run_with_its_reason(
    site: Site, heard: Receiver, tmp_path: Path
) -> None:
    told = tmp_path / "told"
    other = tmp_path / "other"
    other.mkdir()
    hooks(
        site,
        before_full=script(tmp_path, "echo the volume is not mounted; exit 3"),
        on_failure=script(other, f'echo "$STEWARD_OUTCOME $STEWARD_REASON" > {told}'),
    )
    done = site.run("full", status=1)
    assert "ended with status 3: the volume is not mounted" in done.stderr
    assert site.keys() == []
    assert told.read_text().startswith("failure hook ")
    assert paths(heard) == ["full/start", "full/fail", "hook"]
    assert site.metric("steward_backup_last_run_success", kind="full") == 0


def test_a_failure_is_one_message_until_it_is_over(site: Site, heard: Receiver, proxy: FaultProxy) -> None:
    proxy.rule = lambda step: "403" if step.name == "create" else "pass"
    for _ in range(3):
        site.fails("full")
    assert [m["state"] for m in messages(heard)] == ["failed"]
    assert "access denied" in messages(heard)[0]["text"]
    assert paths(heard).count("full/fail") == 3
    proxy.rule = lambda _: "pass"
    site.run("full")
    site.run("full")
    assert [m["state"] for m in messages(heard)] == ["failed", "recovered"]


def test_the_daily_verification_is_told_and_a_look_at_one_backup_is_not(site: Site, heard: Receiver) -> None:
    backup = site.json("full")
    heard.came.clear()
    site.run("verify", "--deep", "--id", backup["id"])
    site.run("verify")
    assert paths(heard) == []
    site.run("verify", "--deep", "--every", "1")
    assert paths(heard) == ["verify/start", "verify"]
    assert heard.came[1][1].startswith(b"verify 1 backups read, ")
    stored = site.keys()
    key = next(key for key in stored if key.endswith(".zst"))
    site.s3().put_object(Bucket=site.bucket, Key=key, Body=b"damaged")
    heard.came.clear()
    site.run("verify", "--deep", status=3)
    assert paths(heard) == ["verify/start", "verify/fail", "hook"]
    assert messages(heard)[0]["job"] == "verify"
    assert key in messages(heard)[0]["text"]


def test_nobody_listens_and_the_backup_is_taken(site: Site, heard: Receiver) -> None:
    heard.statuses = [500] * 100
    done = site.run("full")
    assert "did not arrive" in done.stderr
    assert SECRET not in done.stderr + done.stdout
    assert [b["state"] for b in site.json("list")["backups"]] == ["ok"]


def test_a_run_that_finds_the_lock_held_tells_nobody(site: Site, heard: Receiver, proxy: FaultProxy) -> None:
    proxy.rule = lambda step: "stall" if step.name == "create" else "pass"
    with site.started("full") as process:
        assert proxy.stalled.wait(60)
        heard.came.clear()
        site.fails("full", status=4)
        assert heard.came == []
        process.kill()
        process.wait()


def test_a_run_that_is_ended_from_outside_is_told(site: Site, heard: Receiver, tmp_path: Path) -> None:
    text = site.config.read_text()
    tool, running = hanging_dump(tmp_path)
    site.config.write_text(text.replace(site.mongodump, tool))
    with site.started("full") as process:
        running()
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=60)
    assert process.returncode == 130
    assert paths(heard) == ["full/start", "full/fail", "hook"]
    assert "interrupted by SIGTERM" in messages(heard)[0]["text"]


def test_the_dump_is_as_nice_as_the_run_and_secrets_are_nowhere(
    site: Site, heard: Receiver, tmp_path: Path
) -> None:
    text = site.config.read_text().replace("oplog_settle_seconds", "nice = 7\noplog_settle_seconds")
    tool, running = hanging_dump(tmp_path)
    site.config.write_text(text.replace(site.mongodump, tool))
    with site.started("full") as process:
        dump = running()
        assert os.getpriority(os.PRIO_PROCESS, dump) == 7
        for pid in (process.pid, dump):
            for name in ("cmdline", "environ"):
                assert SECRET.encode() not in Path(f"/proc/{pid}/{name}").read_bytes()
        process.send_signal(signal.SIGTERM)
        out, err = process.communicate(timeout=60)
    assert SECRET not in out + err
    for path in (site.folder / "state").iterdir():
        assert SECRET not in path.read_text()


@pytest.mark.parametrize("victim", ["steward", "mongodump"])
def test_no_core_holds_what_a_run_held_in_memory(site: Site, tmp_path: Path, victim: str) -> None:
    # In this folder the kernel would leave a core, were it allowed to.
    folder = tmp_path / "cores"
    folder.mkdir()
    tool, running = hanging_dump(tmp_path)
    site.write(mongodump=tool)
    with site.started("full", prefix=["prlimit", "--core=unlimited", "--"], folder=folder) as process:
        dump = running()
        for pid in (process.pid, dump):
            [line] = re.findall(r"Max core file size +(.+)", Path(f"/proc/{pid}/limits").read_text())
            assert line.split()[0] == "0"
        os.kill(process.pid if victim == "steward" else dump, signal.SIGSEGV)
        process.communicate(timeout=60)
    assert process.returncode == (-signal.SIGSEGV if victim == "steward" else 1)
    assert list(folder.iterdir()) == []


def test_a_limited_and_harder_compressed_backup_is_a_good_one(site: Site) -> None:
    text = site.config.read_text()
    text = text.replace('object_lock_mode = "GOVERNANCE"', "upload_mib_per_second = 4.5")
    site.config.write_text(f"{text}[backup.compression]\nlevel = 19\nthreads = 1\n")
    site.run("full")
    site.insert(5)
    assert site.json("oplog")["slice"]["oplog"]["count"] == 6


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ('[hooks]\nafter = ["relative"]', "hooks.after: must begin with the path of a program"),
        ("[hooks]\nafter = []", "hooks.after"),
        ('[notify.mail]\nhost = "h"\nsender = "a@b"\nrecipients = []', "notify.mail.recipients"),
    ],
)
def test_a_mistake_in_the_sections_is_one_line(site: Site, line: str, words: str) -> None:
    add(site, line)
    assert words in site.fails("full", status=2)


def test_a_wrong_url_is_refused_and_not_repeated(site: Site) -> None:
    secrets = site.folder / "secrets.toml"
    secrets.write_text(f'{secrets.read_text()}[pings]\nfull = "http://example.test/{SECRET}"\n')
    message = site.fails("full", status=2)
    assert "pings.full: must be an https URL" in message
    assert SECRET not in message
