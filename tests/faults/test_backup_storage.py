"""The store fails: retried where that helps, else one line and nothing counted."""

from __future__ import annotations

import json
import os

import pytest

from steward import config as steward_config
from steward import s3store
from steward.multipart import PART_ATTEMPTS
from steward.storage import open_store
from tests.faults.backup_site import FaultProxy, Site, Step
from tests.support.mongod import free_port

#: A manifest that somebody damaged.
BAD = "daily/20261122T000000Z-abcdef/manifest.json"


@pytest.mark.parametrize("failure", ["500", "503", "reset"])
def test_each_request_may_fail_once(site: Site, proxy: FaultProxy, failure: str) -> None:
    failed: set[str] = set()

    def once(step: Step) -> str:
        if step.name in failed:
            return "pass"
        failed.add(step.name)
        return failure

    proxy.rule = once
    site.run("full")
    assert failed >= {"list", "create", "part", "complete", "head", "manifest"}
    assert [b["state"] for b in site.json("list")["backups"]] == ["ok"]
    assert site.uploads() == []


@pytest.mark.parametrize("failure", ["503", "reset"])
@pytest.mark.parametrize("name", ["part", "complete", "manifest"])
def test_a_store_that_keeps_failing_is_one_line_and_counts_nothing(
    site: Site, proxy: FaultProxy, name: str, failure: str
) -> None:
    proxy.rule = lambda step: failure if step.name == name else "pass"
    message = site.fails("full")
    assert site.bucket in message
    proxy.rule = lambda _: "pass"
    assert site.uploads() == []
    assert site.json("list")["backups"] == []
    assert site.metric("steward_backup_last_run_success", kind="full") == 0
    assert site.metric("steward_backup_last_success_timestamp_seconds", kind="full") is None


def test_an_upload_that_may_not_be_aborted_still_counts_nothing(site: Site, proxy: FaultProxy) -> None:
    proxy.rule = lambda step: {"part": "503", "abort": "403"}.get(step.name, "pass")
    site.fails("full")
    proxy.rule = lambda _: "pass"
    assert len(site.uploads()) == 1  # the bucket's lifecycle removes it
    assert site.json("list")["backups"] == []


def test_a_lost_answer_to_the_manifest_is_no_failure(site: Site, proxy: FaultProxy) -> None:
    """The first PUT is stored but its answer is lost; the retry meets what it stored."""
    lost: list[Step] = []

    def lose(step: Step) -> str:
        if step.name == "manifest" and not lost:
            lost.append(step)
            return "lose"
        return "pass"

    proxy.rule = lose
    site.run("full")
    assert len(lost) == 1
    assert len(site.json("list")["backups"]) == 1


def test_a_download_that_breaks_goes_on_at_the_same_byte(site: Site, proxy: FaultProxy) -> None:
    data = os.urandom(4_000_000)
    site.s3().put_object(Bucket=site.bucket, Key="daily/x/data", Body=data)
    cuts: list[Step] = []

    def cut_twice(step: Step) -> str:
        if step.name == "read" and len(cuts) < 2:
            cuts.append(step)
            return "cut"
        return "pass"

    proxy.rule = cut_twice
    store = open_store(steward_config.load(site.config).storage)
    assert b"".join(store.open_read("daily/x/data")) == data
    assert len(cuts) == 2


def test_wrong_keys_unknown_bucket_and_no_endpoint_are_one_line(site: Site) -> None:
    site.write(bucket="bitesbay-none")
    assert "no such bucket; check storage.bucket" in site.fails("full")
    site.write(access_key_id="AKIANOBODY")
    assert "the access key is not known" in site.fails("full")
    site.write(secret_access_key="wrong")
    assert "the secret access key is wrong" in site.fails("list")
    site.write(endpoint_url=f"http://127.0.0.1:{free_port()}")
    assert "cannot be reached" in site.fails("full")


def test_temporary_credentials_of_a_role_store_backups_and_a_wrong_token_is_one_line(site: Site) -> None:
    iam = site.aws.client("iam")
    name = f"hosts{site.bucket}"[:60]
    trust = {"Effect": "Allow", "Principal": {"AWS": "*"}, "Action": "sts:AssumeRole"}
    allow = {"Effect": "Allow", "Action": "s3:*", "Resource": "*"}
    role = iam.create_role(
        RoleName=name, AssumeRolePolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": [trust]})
    )["Role"]
    iam.put_role_policy(
        RoleName=name,
        PolicyName="store",
        PolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": [allow]}),
    )
    keys = site.aws.client("sts").assume_role(RoleArn=role["Arn"], RoleSessionName="host")["Credentials"]
    site.write(access_key_id=keys["AccessKeyId"], secret_access_key=keys["SecretAccessKey"])
    secrets = site.folder / "secrets.toml"
    text = secrets.read_text()
    secrets.write_text(f'{text}session_token = "{keys["SessionToken"]}"\n')
    site.run("full")
    assert [b["state"] for b in site.json("list")["backups"]] == ["ok"]
    secrets.write_text(f'{text}session_token = "another"\n')
    message = site.fails("full")
    assert "token" in message
    assert keys["SecretAccessKey"] not in message


def test_a_bucket_of_another_application_is_refused(site: Site) -> None:
    site.run("full")
    text = site.config.read_text()
    site.config.write_text(text.replace('app = "bitesbay"', 'app = "kampyn"'))
    message = site.fails("full")
    assert "holds backups of bitesbay (local)" in message
    assert "check storage.bucket" in message


def test_lost_data_are_shown_and_do_not_count(site: Site) -> None:
    backup = site.json("full")
    s3 = site.s3()
    for version in s3.list_object_versions(Bucket=site.bucket, Prefix=backup["object"]["key"])["Versions"]:
        s3.delete_object(
            Bucket=site.bucket,
            Key=version["Key"],
            VersionId=version["VersionId"],
            BypassGovernanceRetention=True,
        )
    found = site.json("list")
    assert [b["state"] for b in found["backups"]] == ["damaged"]
    assert found["points"] == []
    assert site.json("show", "latest")["state"] == "damaged"
    assert site.json("full")["class"] == "monthly"


def test_a_damaged_manifest_is_named(site: Site) -> None:
    site.s3().put_object(Bucket=site.bucket, Key=BAD, Body=b'{"schema": 1}')
    assert f"{BAD}: damaged manifest" in site.fails("list", status=3)


def test_a_part_that_changed_on_the_way_is_refused_and_sent_again(site: Site, proxy: FaultProxy) -> None:
    spoilt: list[Step] = []

    def once(step: Step) -> str:
        if step.name == "part" and not spoilt:
            spoilt.append(step)
            return "spoil"
        return "pass"

    proxy.rule = once
    site.run("full")
    assert len([s for s in proxy.steps if s.name == "part"]) == 2
    assert [b["state"] for b in site.json("list")["backups"]] == ["ok"]


def test_parts_that_always_change_on_the_way_count_nothing(site: Site, proxy: FaultProxy) -> None:
    proxy.rule = lambda step: "spoil" if step.name == "part" else "pass"
    assert "UploadPart" in site.fails("full")
    assert len([s for s in proxy.steps if s.name == "part"]) == PART_ATTEMPTS
    proxy.rule = lambda _: "pass"
    assert site.uploads() == []
    assert site.keys() == []


def test_credentials_that_expire_in_the_middle_count_nothing(site: Site, proxy: FaultProxy) -> None:
    proxy.rule = lambda step: "expired" if step.name in ("part", "abort") else "pass"
    assert "the session has expired; renew the credentials" in site.fails("full")
    proxy.rule = lambda _: "pass"
    assert site.json("list")["backups"] == []
    assert site.json("full")["class"] == "monthly"


@pytest.mark.parametrize("name", ["lock", "list", "create", "part", "complete", "head", "manifest"])
def test_a_request_that_is_not_answered_in_time_is_repeated(
    site: Site, proxy: FaultProxy, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setattr(s3store, "READ_TIMEOUT_S", 1)
    silent: list[Step] = []

    def once(step: Step) -> str:
        if step.name == name and not silent:
            silent.append(step)
            return "stall"
        return "pass"

    proxy.rule = once
    site.run("full")
    assert len(silent) == 1
    assert [b["state"] for b in site.json("list")["backups"]] == ["ok"]


def test_a_damaged_manifest_ends_no_backup_that_follows(site: Site) -> None:
    """Nobody may delete it before its time: what stores goes on without it, and what judges says so."""
    site.run("full")
    site.s3().put_object(Bucket=site.bucket, Key=BAD, Body=b'{"schema": 1}')
    site.insert(5)
    assert f"{BAD}: damaged manifest" in site.run("oplog").stderr
    assert f"{BAD}: damaged manifest" in site.run("full").stderr
    listed = site.run("list", "--json", status=3)
    assert f"{BAD}: damaged manifest" in listed.stderr
    assert [b["kind"] for b in json.loads(listed.stdout)["backups"]] == ["full", "oplog", "full"]
    assert site.metric("steward_backup_last_run_success", kind="full") == 1


def test_a_full_whose_key_is_gone_is_lost_and_a_new_one_is_taken(site: Site, proxy: FaultProxy) -> None:
    lost = site.json("full")
    key = f"{lost['class']}/{lost['id']}/manifest.json"
    proxy.rule = lambda step: "key-disabled" if (step.method, step.key) == ("GET", key) else "pass"
    second = site.json("full")
    assert second["class"] == lost["class"] == "monthly", "the lost one is no point of its month"
    listed = site.run("list", "--json", status=3)
    assert "KMS.DisabledException" in listed.stderr
    assert key in listed.stderr
    assert [b["id"] for b in json.loads(listed.stdout)["backups"]] == [second["id"]]


def test_a_slice_that_cannot_be_read_is_stored_again(site: Site, proxy: FaultProxy) -> None:
    site.run("full")
    site.insert(5)
    lost = site.json("oplog")["slice"]
    key = f"oplog/{lost['id']}/manifest.json"
    proxy.rule = lambda step: "key-disabled" if (step.method, step.key) == ("GET", key) else "pass"
    again = site.json("oplog")["slice"]
    assert again["oplog"]["start"] == lost["oplog"]["start"]
    assert again["oplog"]["count"] >= lost["oplog"]["count"]
