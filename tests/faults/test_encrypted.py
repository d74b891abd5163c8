"""Encrypted backups: nobody reads them without a private key, and every fault of a key is told at once."""

from __future__ import annotations

import hashlib
import json
import re
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from sandbox import settings
from tests.faults.backup_site import FaultProxy, Site
from tests.faults.restore_bench import DATABASE, Bench, Make, contents, is_untouched
from tests.faults.test_full_closing import writing_dump
from tests.support.aws import AwsEndpoint
from tests.support.mongod import MongoServer

pytestmark = pytest.mark.timeout(240)

MARKER = "a-word-that-must-not-be-readable"


def make_key(path: Path) -> str:
    """A key pair of the stock command; the private key is in ``path``, the public one is the answer."""
    tool = settings.current().tools / "age-keygen"
    return subprocess.run(
        [str(tool), "-o", str(path)], check=True, capture_output=True, text=True
    ).stderr.split()[-1]


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory, aws_endpoint: AwsEndpoint) -> Iterator[Bench]:
    """An encrypted full with a closing slice and a slice for two keys, then a slice for the new one alone."""
    folder = tmp_path_factory.mktemp("encrypted")
    live = MongoServer(folder / "live", login=True, oplog_mb=64)
    live.start()
    try:
        made = Bench(folder / "bench", aws_endpoint, live)
        old, new = (make_key(folder / name) for name in ("old.txt", "new.txt"))
        make_key(folder / "other.txt")
        tool = writing_dump(folder / "bin", live, DATABASE)
        tools = settings.current().tools
        made.config.write_text(made.config.read_text().replace(f"{tools}/mongodump", tool))
        made.encrypt_for(old, new)
        with live.client() as client:
            client[DATABASE].orders.insert_many([{"_id": n, "note": MARKER} for n in range(200)])
        made.steward("backup", "full", "--json")
        for number, recipients in enumerate(((old, new), (new,))):
            made.encrypt_for(*recipients)
            with live.client() as client:
                client[DATABASE].orders.insert_one({"_id": f"slice {number}", "note": MARKER})
            made.slice_after(int(time.time()))
        yield made
    finally:
        live.stop()


@pytest.fixture
def bench(stored: Bench, tmp_path: Path) -> Bench:
    """A copy of the backups, on a host without any key."""
    return stored.copy(tmp_path / "bench")


@pytest.fixture
def keys(stored: Bench) -> Callable[[str], str]:
    """The file of a private key by its name."""
    return lambda name: str(stored.folder.parent / f"{name}.txt")


def test_every_object_is_encrypted_and_its_manifest_says_for_whom(
    stored: Bench, keys: Callable[[str], str]
) -> None:
    objects = stored.data_keys()
    assert len(objects) == 4
    assert all(key.endswith(".zst.age") for key in objects)
    for key in objects:
        body = stored.s3.get_object(Bucket=stored.bucket, Key=key)["Body"].read()
        assert body.startswith(b"age-encryption.org/v1\n")
        zstd = subprocess.run(
            ["age", "-d", "-i", keys("new")], input=body, check=True, capture_output=True
        ).stdout
        plain = subprocess.run(["zstd", "-dc"], input=zstd, check=True, capture_output=True).stdout
        assert MARKER.encode() in plain or b"during-" in plain
        assert zstd[:4] not in body
    full, *_, newest = stored.steward("backup", "list", "--json").json["backups"]
    assert len(full["recipients"]) == 2
    assert newest["recipients"] == full["recipients"][1:]
    shown = stored.steward("backup", "show", full["id"]).out
    assert [line.split()[-1] for line in shown.splitlines() if line.startswith("opened by")] == full[
        "recipients"
    ]
    everything = b"".join(
        stored.s3.get_object(Bucket=stored.bucket, Key=key)["Body"].read() for key in stored.keys("")
    )
    assert b"AGE-SECRET-KEY" not in everything


def test_the_new_key_alone_restores_over_its_rotation(
    bench: Bench, keys: Callable[[str], str], mongod: Make
) -> None:
    target = mongod()
    plan = bench.steward("restore", "plan", "--identity", keys("new"), "--json").json
    assert plan["encryption"]["opens"]
    assert [len(names) for names in plan["encryption"]["recipients"]] == [2, 1]
    report = bench.restore(target, "latest", "--identity", keys("other"), "--identity", keys("new")).json
    assert report["result"] == "restored"
    assert report["plan"]["encryption"]["opens"]
    assert contents(target) == contents(bench.live)


def test_the_key_of_the_configuration_serves_a_host_that_restores(
    bench: Bench, keys: Callable[[str], str], mongod: Make
) -> None:
    target = mongod()
    bench.encrypt_for(identity_file=Path(keys("new")))
    told = bench.steward("restore", "plan").out
    assert "opened by the private key at hand" in told
    assert bench.restore(target, "latest").json["result"] == "restored"
    assert contents(target) == contents(bench.live)


@pytest.mark.parametrize("given", [[], ["other"], ["old"]], ids=["none", "wrong", "rotated out"])
def test_a_key_that_does_not_open_everything_is_told_before_the_first_write(
    bench: Bench, keys: Callable[[str], str], mongod: Make, given: list[str]
) -> None:
    target = mongod()
    options = [word for name in given for word in ("--identity", keys(name))]
    refused = bench.restore(target, "latest", *options, status=2)
    assert "encrypted for age1" in refused.err
    assert "--identity" in refused.err
    assert is_untouched(target)
    plan = bench.steward("restore", "plan", *options, "--json").json
    assert not plan["encryption"]["opens"]
    assert any("this restore will be refused" in text for text in plan["notes"])


def test_a_key_file_that_others_can_open_is_refused(bench: Bench, tmp_path: Path, mongod: Make) -> None:
    make_key(tmp_path / "key.txt")
    (tmp_path / "key.txt").chmod(0o644)
    target = mongod()
    refused = bench.restore(target, "latest", "--identity", str(tmp_path / "key.txt"), status=2)
    assert "chmod 0600" in refused.err
    assert is_untouched(target)
    assert (
        "chmod 0600"
        in bench.steward("restore", "plan", "--identity", str(tmp_path / "key.txt"), status=2).err
    )


def _flip(body: bytes, place: int) -> bytes:
    return body[:place] + bytes([body[place] ^ 1]) + body[place + 1 :]


def _other_shares(body: bytes) -> bytes:
    """For every recipient a well-formed line that is for somebody else."""
    return (
        re.sub(
            rb"(-> X25519 .{10})(.)",
            lambda found: found[1] + (b"B" if found[2] == b"A" else b"A"),
            body[: body.index(b"\n---")],
        )
        + body[body.index(b"\n---") :]
    )


DAMAGES: dict[str, Callable[[bytes], bytes]] = {
    "flipped in the header": lambda body: _flip(body, 60),
    "for nobody by its header": _other_shares,
    "flipped in the content": lambda body: _flip(body, len(body) - 40),
    "cut": lambda body: body[:-9],
    "longer": lambda body: body + b"more",
}


@pytest.mark.parametrize("kind", ["full", "slice"])
@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_stream_is_found_before_the_first_write(
    bench: Bench, keys: Callable[[str], str], mongod: Make, kind: str, damage: str
) -> None:
    key = next(k for k in bench.data_keys() if k.startswith("oplog/") == (kind == "slice"))
    body = bench.s3.get_object(Bucket=bench.bucket, Key=key)["Body"].read()
    bench.s3.put_object(Bucket=bench.bucket, Key=key, Body=DAMAGES[damage](body))
    target = mongod()
    refused = bench.restore(target, "latest", "--identity", keys("new"), status=3)
    assert f"{key}: damaged" in refused.err
    assert is_untouched(target)


def test_changed_content_that_was_encrypted_anew_is_found(
    bench: Bench, keys: Callable[[str], str], mongod: Make
) -> None:
    """Anybody can encrypt for a public key: only the digest of what went in tells whose content it is."""

    def through(data: bytes, *command: str) -> bytes:
        return subprocess.run(command, input=data, check=True, capture_output=True).stdout

    key = next(k for k in bench.data_keys() if "dump.archive" in k)
    manifest_key = f"{key.rpartition('/')[0]}/manifest.json"
    manifest = json.loads(bench.s3.get_object(Bucket=bench.bucket, Key=manifest_key)["Body"].read())
    body = bench.s3.get_object(Bucket=bench.bucket, Key=key)["Body"].read()
    plain = through(through(body, "age", "-d", "-i", keys("new")), "zstd", "-dc")
    changed = plain.replace(MARKER.encode(), MARKER.upper().encode(), 1)
    recipient = manifest["object"]["encryption"]["recipients"][1]
    other = through(through(changed, "zstd", "-c"), "age", "-r", recipient)
    manifest["object"] |= {"size": len(other), "sha256": hashlib.sha256(other).hexdigest()}
    bench.s3.put_object(Bucket=bench.bucket, Key=manifest_key, Body=json.dumps(manifest).encode())
    bench.s3.put_object(Bucket=bench.bucket, Key=key, Body=other)
    target = mongod()
    refused = bench.restore(target, "latest", "--identity", keys("new"), status=3)
    assert f"{key}: its content is not the one of the manifest" in refused.err
    assert is_untouched(target)


def test_a_manifest_that_denies_its_encryption_is_refused(bench: Bench) -> None:
    key = next(k for k in bench.keys("oplog/") if k.endswith("manifest.json"))
    manifest = json.loads(bench.s3.get_object(Bucket=bench.bucket, Key=key)["Body"].read())
    del manifest["object"]["encryption"]
    bench.s3.put_object(Bucket=bench.bucket, Key=key, Body=json.dumps(manifest).encode())
    assert f"{key}: damaged manifest" in bench.steward("restore", "plan", status=3).err


@pytest.mark.parametrize("step", ["create", "part", "complete"])
def test_an_upload_that_is_refused_ends_the_encryption_with_it(
    site: Site, proxy: FaultProxy, tmp_path: Path, step: str
) -> None:
    site.recipients = [make_key(tmp_path / "key.txt")]
    site.write()
    proxy.rule = lambda seen: "403" if seen.name == step else "pass"
    site.fails("full")
    assert [thread for thread in threading.enumerate() if thread.name == "age"] == []
    assert site.keys() == []
    proxy.rule = lambda _: "pass"
    assert site.json("full")["object"]["key"].endswith(".age")


def test_a_host_without_a_key_verifies_every_stored_byte_and_says_that_it_opened_none(stored: Bench) -> None:
    told = stored.steward("backup", "verify", "--deep", "--json").json
    ids = [backup["id"] for backup in stored.steward("backup", "list", "--json").json["backups"]]
    assert told["good"]
    assert sorted(told["read"]) == sorted(told["sealed"]) == sorted(ids)
    assert "not opened, for no key is here" in stored.steward("backup", "verify", "--deep").out
