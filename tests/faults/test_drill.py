"""``steward drill run`` with real servers: what is proven, what is evidence, what is left behind."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from infra.documents.store import host_policy
from infra.lifecycle import host_prefixes
from tests.faults.drill_bench import DrillBench, back_up, bench, fill, order
from tests.faults.restore_bench import DATABASE, Make, text
from tests.support.aws import AwsEndpoint
from tests.unit.test_notify import Receiver, _serving

__all__ = ["bench"]

pytestmark = pytest.mark.timeout(240)


def test_a_good_drill_is_proven_and_leaves_nothing_but_evidence(bench: DrillBench) -> None:
    document = bench.steward("drill", "run", "--latest", "--json").json
    assert document["result"] == "proven"
    assert bench.folders() == []
    assert bench.servers() == []
    (evidence,) = bench.evidence()
    assert evidence == {k: v for k, v in document.items() if k != "evidence"}
    assert {c["name"]: c["documents"] for c in evidence["collections"]} == {
        f"{DATABASE}.orders": 41,
        f"{DATABASE}.users": 10,
    }
    assert [c["good"] for c in evidence["checks"]] == [True] * 4
    assert {o["key"] for o in evidence["objects"]} == set(bench.data_keys())
    assert evidence["seconds"]["restore"] > 0
    page = f"evidence/{evidence['id']}/report.html"
    body = bench.s3.get_object(Bucket=bench.bucket, Key=page)["Body"].read().decode()
    assert "PROVEN" in body
    assert bench.metric("steward_drill_last_run_success") == 1
    assert bench.verified is not None
    listed = bench.steward("backup", "list", "--json").json
    assert listed["unfinished"] == []
    assert len(listed["backups"]) == 2


def test_the_same_second_gives_the_same_digests(bench: DrillBench) -> None:
    told = [
        bench.steward("drill", "run", "--at", text(bench.second), "--json").json["collections"]
        for _ in range(2)
    ]
    assert told[0] == told[1]
    earlier = bench.steward("drill", "run", "--json").json
    assert earlier["choice"] == "random"


def test_a_dry_run_starts_and_writes_nothing(bench: DrillBench) -> None:
    said = bench.steward("drill", "run", "--latest", "--dry-run").out
    assert said.startswith("would restore ")
    assert bench.evidence() == []
    assert bench.folders() == []
    assert bench.metric("steward_drill_last_run_success") is None
    bench.use_server(["/nonexistent/mongod", "{port}", "{dir}"])
    assert "not found" in bench.steward("drill", "run", "--dry-run", status=2).err


def test_kept_data_are_the_newest_only(bench: DrillBench) -> None:
    first = bench.steward("drill", "run", "--latest", "--keep", "--json").json["kept"]
    assert (Path(first) / "data").is_dir()
    assert not (Path(first) / "users.json").exists()
    second = bench.steward("drill", "run", "--latest", "--keep", "--json").json["kept"]
    assert [str(p) for p in bench.folders()] == [second] != [first]
    bench.steward("drill", "run", "--latest", "--json")
    assert [str(p) for p in bench.folders()] == [second], "a good drill takes nothing away"


def test_wrong_data_fail_the_checks_and_the_evidence_says_which(
    mongod: Make, tmp_path: Path, aws_endpoint: AwsEndpoint
) -> None:
    live = mongod()
    fill(live)
    bench = DrillBench(tmp_path / "bench", aws_endpoint, live)
    back_up(bench, order(1000, user=77), order(1001, total=1), order(1002))
    receiver = Receiver()
    with _serving(receiver) as url:
        secrets = bench.folder / "secrets.toml"
        secrets.write_text(f'{secrets.read_text()}[pings]\ndrill = "{url}/drill"\n')
        failed = bench.steward("drill", "run", "--latest", status=3)
    assert [path for path, _ in receiver.came] == ["/drill/start", "/drill/fail"]
    assert b"orders.user -> users._id: 1 of 43 are wrong" in receiver.came[1][1]
    assert "orders.user -> users._id: 1 of 43 are wrong (_id 1000)" in failed.err
    assert "(_id 1001)" in failed.err
    (evidence,) = bench.evidence()
    assert evidence["result"] == "failed"
    assert [c["good"] for c in evidence["checks"]] == [True, False, False, True]
    assert [c["examples"] for c in evidence["checks"]] == [[], ["1000"], ["1001"], []]
    assert bench.verified is None
    assert bench.metric("steward_drill_last_run_success") == 0
    (kept,) = bench.folders()
    assert str(kept) in failed.out + failed.err
    assert bench.servers() == []
    shutil.rmtree(kept)


def test_compliance_from_the_store(bench: DrillBench) -> None:
    told = bench.steward("backup", "compliance", "--json").json
    assert told["met"] is True
    assert [(c["class"], c["expected"], c["last_drilled"]) for c in told["classes"]] == [
        ("daily", 1, None),
        ("weekly", 1, None),
        ("monthly", 1, None),
    ]
    bench.steward("drill", "run", "--latest")
    drilled = {
        c["class"]: c["last_drilled"] for c in bench.steward("backup", "compliance", "--json").json["classes"]
    }
    assert [name for name, at in drilled.items() if at] == ["monthly"], "the only full is a monthly one"
    dump = next(key for key in bench.data_keys() if key.endswith("dump.archive.zst"))
    bench.s3.delete_object(Bucket=bench.bucket, Key=dump)
    assert "monthly has 0 of 1" in bench.steward("backup", "compliance", status=3).err


def test_with_the_rights_that_a_host_has(bench: DrillBench) -> None:
    policy = host_policy(
        bucket_arn=f"arn:aws:s3:::{bench.bucket}",
        kms_key_arn="arn:aws:kms:us-east-1:123456789012:key/none",
        region="us-east-1",
        prefixes=host_prefixes(),
    )
    user = bench.aws.new_user(policy, "drill")
    secrets = bench.folder / "secrets.toml"
    secrets.write_text(
        secrets.read_text()
        .replace(bench.aws.admin_access_key_id, user.access_key_id)
        .replace(bench.aws.admin_secret_access_key, user.secret_access_key)
    )
    assert bench.steward("drill", "run", "--json").json["result"] == "proven"
    assert bench.steward("backup", "compliance", "--json").json["met"] is True
