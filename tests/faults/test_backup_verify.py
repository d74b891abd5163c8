"""steward backup verify: every kind of damage is found and named, and nothing else is."""

from __future__ import annotations

import struct
import time

import pytest

from infra.documents.store import host_policy
from infra.lifecycle import prefix
from steward import s3store
from steward.appfile import BACKUP_CLASSES
from tests.faults.backup_site import Step
from tests.faults.verify_chain import Chain, metric, text
from tests.support.mongod import free_port

pytestmark = pytest.mark.timeout(240)


def test_a_good_store_is_good_and_read_whole(chain: Chain) -> None:
    chain.proxy.steps.clear()
    document = chain.site.json("verify")
    assert document["good"]
    assert (document["read"], document["findings"], document["unknown"], document["lost"]) == ([], [], [], [])
    assert (document["backups"], document["objects"]) == (5, 10)
    steps = [step for step in chain.proxy.steps if step.key]
    assert [s.key for s in steps if s.name == "read" and not s.key.endswith("manifest.json")] == []
    assert len(steps) == 3 * 5, "a manifest, and what it and its data object are locked by"
    assert metric(chain.site, "last_success_timestamp_seconds") is None, "nothing was read"

    document = chain.site.json("verify", "--deep")
    ids = [chain.full["id"], *(s["id"] for s in chain.slices)]
    assert (document["good"], document["read"]) == (True, ids)
    assert document["bytes_read"] == sum(b["object"]["size"] for b in (chain.full, *chain.slices))
    assert metric(chain.site, "damaged_objects") == 0
    assert metric(chain.site, "bytes") == document["bytes_read"]
    assert (metric(chain.site, "last_success_timestamp_seconds") or 0) > time.time() - 60


def test_a_truncated_object_is_found_without_reading_it(chain: Chain) -> None:
    key = chain.slices[1]["object"]["key"]
    chain.overwrite(key, chain.body(key)[:-1])
    finding = chain.found()
    assert (finding["kind"], finding["key"]) == ("damaged", key)
    chain.costs_what_is_behind(1, finding)


@pytest.mark.parametrize("where", ["middle", "zstd's checksum"])
@pytest.mark.parametrize("what", ["dump", "slice"])
def test_one_flipped_bit_is_found_by_reading(chain: Chain, what: str, where: str) -> None:
    backup = chain.full if what == "dump" else chain.slices[2]
    key = backup["object"]["key"]
    body = bytearray(chain.body(key))
    body[len(body) // 2 if where == "middle" else -1] ^= 0x10
    chain.overwrite(key, bytes(body))
    assert chain.site.json("verify")["good"], "size and lock are right"
    finding = chain.found("--deep")
    assert (finding["kind"], finding["key"]) == ("damaged", key)
    if what == "slice":
        chain.costs_what_is_behind(2, finding)
    else:
        first = chain.full["oplog"]["end"]["t"]
        assert finding["lost"] == [{"from": text(first), "to": text(chain.end(-1))}]
    others = {b["id"] for b in (chain.full, *chain.slices)} - {backup["id"]}
    assert set(finding["document"]["read"]) == others
    assert metric(chain.site, "damaged_objects") == 1
    assert metric(chain.site, "last_success_timestamp_seconds") is None


def padded(body: bytes, size: int) -> bytes:
    """The same content in ``size`` bytes: a skippable frame behind it (zstd's format, section 3.1.2)."""
    rest = size - len(body) - 8
    return body + struct.pack("<II", 0x184D2A50, rest) + bytes(rest)


@pytest.mark.parametrize("checksummed", [True, False])
def test_another_backups_object_of_equal_size_is_found(chain: Chain, checksummed: bool) -> None:
    """Where the store keeps a checksum it is found without reading a byte."""
    key, other = chain.slices[1]["object"]["key"], chain.slices[0]["object"]["key"]
    body = padded(chain.body(other), chain.slices[1]["object"]["size"])
    chain.overwrite(key, body, **({"ChecksumAlgorithm": "SHA256"} if checksummed else {}))
    finding = chain.found(*([] if checksummed else ["--deep"]))
    assert (finding["kind"], finding["key"]) == ("damaged", key)
    chain.costs_what_is_behind(1, finding)


@pytest.mark.parametrize("purged", [True, False])
def test_a_missing_object_is_found_and_a_version_that_is_left_is_named(chain: Chain, purged: bool) -> None:
    key = chain.slices[3]["object"]["key"]
    versions = [version for found, version in chain.versions() if found == key]
    (chain.purge if purged else chain.delete)(key)
    finding = chain.found("--deep")
    assert (finding["kind"], finding["key"]) == ("missing", key)
    assert ("no version of it is left" in finding["problem"]) == purged
    assert (f"copy {versions[0]} back" in finding["problem"]) != purged
    chain.costs_what_is_behind(3, finding)


@pytest.mark.parametrize("what", ["full", "slice", "last slice"])
def test_a_deleted_manifest_is_found_though_what_has_none_is_no_backup(chain: Chain, what: str) -> None:
    number = {"full": -1, "slice": 1, "last slice": 3}[what]
    backup = chain.full if what == "full" else chain.slices[number]
    key = f"{backup['class']}/{backup['id']}/manifest.json"
    chain.delete(key)
    finding = chain.found()
    assert (finding["kind"], finding["key"]) == ("manifest", key)
    assert "a version of it is left" in finding["problem"]
    if what == "full":
        assert finding["lost"] == [{"from": text(chain.full["oplog"]["end"]["t"]), "to": text(chain.end(-1))}]
    else:
        chain.costs_what_is_behind(number, finding)


@pytest.mark.parametrize("content", [b"{", b'{"schema": 1}', b"", b"[" * 100_000])
def test_a_damaged_manifest_hides_no_other_damage(chain: Chain, content: bytes) -> None:
    backup = chain.slices[1]
    key = f"oplog/{backup['id']}/manifest.json"
    chain.overwrite(key, content)
    chain.costs_what_is_behind(1, chain.found())
    other = chain.slices[3]["object"]["key"]
    chain.overwrite(other, b"x")
    document = chain.site.json("verify", status=3)
    assert {(f["kind"], f["key"]) for f in document["findings"]} == {("manifest", key), ("damaged", other)}


def test_a_slice_that_vanished_from_the_middle_is_found_before_any_restore(chain: Chain) -> None:
    backup = chain.slices[2]
    chain.purge(backup["object"]["key"], f"oplog/{backup['id']}/manifest.json")
    finding = chain.found()
    assert (finding["kind"], finding["backup"]) == ("vanished", backup["id"])
    assert chain.slices[3]["id"] in finding["problem"]
    chain.costs_what_is_behind(2, finding)
    said = chain.site.run("verify", status=3)
    first, last = (text(second) for second in (chain.end(1) + 1, chain.end(-1)))
    assert f"cannot be restored any more: {first} .. {last}\n" in said.stdout
    assert len(said.stderr.splitlines()) == 1


def test_an_object_that_is_not_locked_is_found(chain: Chain) -> None:
    key = chain.full["object"]["key"]
    chain.site.s3().put_object(Bucket=chain.site.bucket, Key=key, Body=chain.body(key))
    finding = chain.found("--deep")
    assert (finding["kind"], finding["key"]) == ("unlocked", key)
    assert finding["lost"] == []
    assert chain.full["id"] in finding["document"]["read"], "its content is good"


@pytest.mark.parametrize("failure", ["500", "503", "stall", "reset"])
def test_an_object_the_store_does_not_give_is_unknown_and_the_others_are_read(
    chain: Chain, monkeypatch: pytest.MonkeyPatch, failure: str
) -> None:
    monkeypatch.setattr(s3store, "READ_TIMEOUT_S", 1)
    key = chain.slices[1]["object"]["key"]

    def rule(step: Step) -> str:
        return failure if step.key == key and step.name == "read" else "pass"

    chain.proxy.rule = rule
    document = chain.site.json("verify", "--deep", "--every", "31", status=1)
    assert (document["good"], document["findings"]) == (False, [])
    assert [one["key"] for one in document["unknown"]] == [key]
    assert len(document["read"]) == 4
    assert metric(chain.site, "damaged_objects") is None, "it is not known that there are none"
    assert metric(chain.site, "last_success_timestamp_seconds") is None
    tries = [step for step in chain.proxy.steps if step.key == key and step.name == "read"]
    assert len(tries) > 1, "it was asked for again"

    chain.proxy.rule = lambda _: "pass"
    assert chain.site.json("verify", "--deep", "--every", "31")["read"] == [chain.slices[1]["id"]]
    assert metric(chain.site, "last_success_timestamp_seconds") is not None


def test_each_request_may_fail_once(chain: Chain) -> None:
    failed: set[str] = set()

    def once(step: Step) -> str:
        name = f"{step.name} {step.key} {step.query}"
        if name in failed:
            return "pass"
        failed.add(name)
        return "503"

    chain.proxy.rule = once
    assert chain.site.json("verify", "--deep")["good"]
    assert len(failed) > 20


def test_a_store_that_ends_in_the_middle_is_not_asked_for_ever(chain: Chain) -> None:
    chain.proxy.rule = lambda step: "500" if step.name == "head" else "pass"
    document = chain.site.json("verify", "--deep", status=1)
    assert len(document["unknown"]) >= 10
    assert any("3 times in a row" in one["reason"] for one in document["unknown"])
    assert document["read"] == []


def test_a_store_that_is_not_there_is_one_line(chain: Chain) -> None:
    chain.site.write(endpoint_url=f"http://127.0.0.1:{free_port()}")
    assert "cannot be reached" in chain.site.fails("verify", status=1)


def test_everything_is_read_once_and_again_only_when_it_is_due(chain: Chain) -> None:
    every = ("verify", "--deep", "--every", "31")
    assert len(chain.site.json(*every)["read"]) == 5
    assert chain.site.json(*every)["read"] == []
    (log,) = (chain.site.folder / "state").glob("verify-*.json")
    log.write_text("damaged")
    done = chain.site.run(*every)
    assert "every backup is read again" in done.stderr
    assert "5 read whole" in done.stdout


def test_what_is_damaged_is_told_every_day_until_it_is_mended(chain: Chain) -> None:
    every = ("--deep", "--every", "31")
    key = chain.slices[1]["object"]["key"]
    body = bytearray(chain.body(key))
    body[len(body) // 2] ^= 1
    chain.overwrite(key, bytes(body))
    for _ in range(2):
        assert chain.found(*every)["key"] == key
        assert metric(chain.site, "damaged_objects") == 1
    chain.proxy.rule = lambda step: "403" if step.key == key and step.name == "read" else "pass"
    assert chain.site.json("verify", *every, status=1)["findings"] == []
    assert metric(chain.site, "damaged_objects") == 1, "a store that does not answer mends nothing"
    chain.proxy.rule = lambda _: "pass"
    chain.mend()
    assert chain.site.json("verify", *every)["good"]
    assert metric(chain.site, "damaged_objects") == 0


def test_a_killed_run_is_taken_up_where_it_was_and_blocks_no_backup(chain: Chain) -> None:
    every = ("verify", "--deep", "--every", "31")
    key = chain.slices[1]["object"]["key"]

    def rule(step: Step) -> str:
        return "stall" if step.key == key and step.name == "read" else "pass"

    chain.proxy.rule = rule
    with chain.site.started(*every) as process:
        assert chain.proxy.stalled.wait(60)
        assert "another run holds the lock" in chain.site.fails(*every, status=4)
        assert chain.site.json("oplog", "--dry-run")["gap"] is None
        process.kill()
        process.wait()
    chain.proxy.rule = lambda _: "pass"
    assert chain.site.json(*every)["read"] == [s["id"] for s in chain.slices[1:]]


def test_the_rights_of_a_host_are_enough(chain: Chain) -> None:
    """It asks for versions and locks, which a backup never does."""
    arn = f"arn:aws:s3:::{chain.site.bucket}"
    policy = host_policy(
        bucket_arn=arn,
        kms_key_arn="arn:aws:kms:us-east-1:123456789012:key/1",
        region="us-east-1",
        prefixes=[prefix(c) for c in BACKUP_CLASSES],
    )
    user = chain.site.aws.new_user(policy, "host")
    key = chain.slices[1]["object"]["key"]
    chain.delete(key)
    chain.site.write(access_key_id=user.access_key_id, secret_access_key=user.secret_access_key)
    finding = chain.found("--deep")
    assert (finding["kind"], finding["document"]["unknown"]) == ("missing", [])
    assert "a version of it is left" in finding["problem"]


def test_single_backups_can_be_asked_for(chain: Chain) -> None:
    wanted = chain.slices[1]["id"]
    document = chain.site.json("verify", "--deep", "--id", wanted[:18], "--id", chain.full["id"])
    assert document["read"] == [chain.full["id"], wanted]
    assert metric(chain.site, "bytes") is None, "a part says nothing about the whole"
    keys = [chain.slices[n]["object"]["key"] for n in (1, 3)]
    chain.delete(*keys)
    chain.costs_what_is_behind(1, chain.found("--id", wanted))
    assert "no backup with the id 'none'" in chain.site.fails("verify", "--id", "none", status=2)
    assert "--every needs --deep" in chain.site.fails("verify", "--every", "31", status=2)
