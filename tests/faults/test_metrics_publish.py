"""steward metrics publish against a real endpoint: what arrives there, and what never does."""

from __future__ import annotations

import io
import json
import re
import secrets
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import redirect_stderr, redirect_stdout
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from infra.documents import store as store_documents
from infra.lifecycle import host_prefixes
from steward import cloudwatch_names as names
from steward.cli import main
from steward.manifest import Manifest, new_id
from steward.metrics import Metric, read, update
from steward.restore import textfile
from tests.faults.backup_site import DEADLINE_S, FaultProxy, Site
from tests.support.aws import AwsEndpoint
from tests.support.mongod import MongoServer, free_port
from tests.unit.manifest_samples import full as sample_full

DAY = 86_400
ALL = {
    (names.BACKUP_AGE_SECONDS, "daily"),
    (names.BACKUP_AGE_SECONDS, "weekly"),
    (names.BACKUP_AGE_SECONDS, "monthly"),
    (names.RECOVERABLE_LAG_SECONDS, None),
    (names.OPLOG_GAPS, None),
    (names.DRILL_AGE_SECONDS, None),
    (names.VERIFY_AGE_SECONDS, None),
    (names.DAMAGED_OBJECTS, None),
}
#: What a host tells only once it has verified.
VERIFIED = {(names.VERIFY_AGE_SECONDS, None), (names.DAMAGED_OBJECTS, None)}
COUNTS = (names.OPLOG_GAPS, names.DAMAGED_OBJECTS)


class Publisher:
    """A host that publishes: its store and CloudWatch are each reached through a proxy."""

    def __init__(self, site: Site, cloudwatch: FaultProxy) -> None:
        self.site = site
        self.cloudwatch = cloudwatch
        # Metrics of all tests lie in one namespace.
        self.environment = f"test{secrets.token_hex(4)}"
        self.configure()

    def configure(self, **changes: str) -> None:
        """Write the configuration; ``cloudwatch_url`` is this section's, the rest as :meth:`Site.write`."""
        url = changes.pop("cloudwatch_url", self.cloudwatch.url)
        self.site.write(**changes)
        text = self.site.config.read_text().replace(
            'environment = "local"', f'environment = "{self.environment}"'
        )
        section = f'[cloudwatch]\nregion = "us-east-1"\nendpoint_url = "{url}"\n' if url else ""
        self.site.config.write_text(text + section)

    def command(self, *options: str) -> list[str]:
        return ["--config", str(self.site.config), "metrics", "publish", *options]

    def run(self, *options: str, status: int = 0) -> tuple[str, str]:
        """What the command says on stdout and stderr."""
        out, err = io.StringIO(), io.StringIO()
        with redirect_stdout(out), redirect_stderr(err):
            found = main(self.command(*options))
        assert found == status, f"status {found}: {out.getvalue()}{err.getvalue()}"
        assert "Traceback" not in err.getvalue()
        assert len(err.getvalue().splitlines()) == (1 if status else 0), err.getvalue()
        return out.getvalue(), err.getvalue()

    def json(self, *options: str, status: int = 0) -> Any:
        return json.loads(self.run("--json", *options, status=status)[0])

    def full(self, age: int, backup_class: Any) -> Manifest:
        """Put a full backup into the store that was finished so many seconds ago."""
        sample = sample_full(None, backup_class=backup_class)
        finished = datetime.now(UTC) - timedelta(seconds=age)
        times = {"started_at": finished - timedelta(seconds=5), "finished_at": finished}
        made = sample.model_copy(update={"environment": self.environment, **times})
        s3 = self.site.s3()
        s3.put_object(Bucket=self.site.bucket, Key=made.object.key, Body=b"x" * made.object.size)
        body = json.dumps(made.to_json()).encode()
        s3.put_object(Bucket=self.site.bucket, Key=made.manifest_key, Body=body)
        return made

    def drilled(self, age: int) -> None:
        """A restore on this host was found good so many seconds ago."""
        values: dict[tuple[Metric, tuple[str, ...]], float] = {
            (textfile.VERIFIED, ("bitesbay",)): time.time() - age
        }
        update(self.site.metrics, textfile.FILE, (textfile.VERIFIED,), values)

    def drilled_elsewhere(self, age: int, result: str = "proven", **changes: Any) -> None:
        """The evidence of another host's drill, finished so many seconds ago."""
        at = datetime.now(UTC) - timedelta(seconds=age)
        evidence = {
            "id": new_id(at), "app": "bitesbay", "environment": self.environment, "result": result,
            "started_at": at.isoformat(), "finished_at": at.isoformat(), "base_id": new_id(at),
            "base_class": "monthly",
        } | changes  # fmt: skip
        key = f"evidence/{evidence['id']}/evidence.json"
        self.site.s3().put_object(Bucket=self.site.bucket, Key=key, Body=json.dumps(evidence).encode())

    def arrived(self) -> dict[tuple[str, str | None], tuple[float, float]]:
        """(metric, class) -> (greatest value, number of values) in CloudWatch; every value is of now."""
        client = self.site.aws.client("cloudwatch")
        found = {}
        now = datetime.now(UTC)
        for name, backup_class in ALL:
            dimensions = names.dimensions("bitesbay", self.environment)
            if backup_class:
                dimensions["Class"] = backup_class
            points = client.get_metric_statistics(
                Namespace=names.NAMESPACE,
                MetricName=name,
                Dimensions=[{"Name": n, "Value": v} for n, v in dimensions.items()],
                StartTime=now - timedelta(minutes=10),
                EndTime=now + timedelta(minutes=10),
                Period=3600,
                Statistics=["Maximum", "SampleCount"],
                Unit="Count" if name in COUNTS else "Seconds",
            )["Datapoints"]
            if points:
                found[name, backup_class] = (points[0]["Maximum"], points[0]["SampleCount"])
        return found

    def last_publish(self) -> float | None:
        samples = read(self.site.metrics / "steward_metrics_bitesbay.prom")
        return next((value for name, _, value in samples if name.startswith("steward_metrics_last")), None)


@pytest.fixture
def cloudwatch(aws_endpoint: AwsEndpoint) -> Iterator[FaultProxy]:
    """A way to CloudWatch that can fail."""
    found = FaultProxy(aws_endpoint.http_url)
    try:
        yield found
    finally:
        found.close()


@pytest.fixture
def host(
    tmp_path: Path, aws_endpoint: AwsEndpoint, server: MongoServer, proxy: FaultProxy, cloudwatch: FaultProxy
) -> Publisher:
    """A host with an empty store and no restore yet."""
    site = Site(
        tmp_path / "site",
        aws_endpoint,
        server,
        aws_endpoint.new_bucket("metrics"),
        proxy.url,
        database=f"shop{secrets.token_hex(4)}",
    )
    return Publisher(site, cloudwatch)


def assert_nothing_arrived(host: Publisher) -> None:
    assert host.arrived() == {}
    assert host.last_publish() is None


def test_a_backed_up_host_publishes_everything(site: Site, cloudwatch: FaultProxy) -> None:
    host = Publisher(site, cloudwatch)
    site.run("full")
    site.insert(10)
    site.run("oplog")
    _, err = host.run(status=1)
    assert err.startswith("steward: not published: DrillAgeSeconds (no restore")
    assert host.arrived().keys() == ALL - {(names.DRILL_AGE_SECONDS, None)} - VERIFIED
    host.drilled(age=700)
    site.run("verify", "--deep")
    began = time.time()
    host.run()
    found = {key: value for key, (value, _) in host.arrived().items()}
    assert found.keys() == ALL
    # The store tells its time in whole seconds.
    assert 699 <= found.pop((names.DRILL_AGE_SECONDS, None)) < 700 + DEADLINE_S
    assert found.pop((names.OPLOG_GAPS, None)) == found.pop((names.DAMAGED_OBJECTS, None)) == 0
    assert all(0 <= value < DEADLINE_S for value in found.values()), "the one full is of this minute"
    assert (host.last_publish() or 0) >= began - 2


def test_values_are_those_of_the_store_and_one_request_puts_them(host: Publisher) -> None:
    old, young = host.full(9 * DAY, "monthly"), host.full(2 * DAY, "daily")
    host.full(DAY, "daily")
    host.site.s3().delete_object(
        Bucket=host.site.bucket, Key=host.full(60, "daily").object.key
    )  # damaged, so it serves as nothing
    newest = host.full(DAY // 2, "daily")
    document = host.json(status=1)
    assert len(host.cloudwatch.steps) == 1
    at = datetime.fromisoformat(document["at"])
    expected = {
        (names.BACKUP_AGE_SECONDS, "daily"): (at - newest.finished_at).total_seconds(),
        (names.BACKUP_AGE_SECONDS, "weekly"): (at - old.finished_at).total_seconds(),
        (names.BACKUP_AGE_SECONDS, "monthly"): (at - old.finished_at).total_seconds(),
    }
    assert young.finished_at < newest.finished_at
    assert {k: v for k, (v, _) in host.arrived().items()} == pytest.approx(expected, abs=0.01)
    told = {(m["name"], m["dimensions"].get("Class")): m["value"] for m in document["metrics"]}
    assert told == pytest.approx(expected, abs=0.01)
    assert document["published"] is True
    assert {m["name"] for m in document["missing"]} == {name for name, _ in ALL} - {names.BACKUP_AGE_SECONDS}
    assert all(m["reason"] for m in document["missing"])


def test_dry_run_shows_and_sends_nothing(host: Publisher) -> None:
    host.full(60, "monthly")
    out, _ = host.run("--dry-run", status=1)
    assert re.match(r"would publish BackupAgeSeconds of class daily (59|6\d)\b", out), out
    assert host.json("--dry-run", status=1)["published"] is False
    assert host.cloudwatch.steps == []
    assert_nothing_arrived(host)


def test_an_empty_store_publishes_nothing(host: Publisher) -> None:
    out, err = host.run(status=1)
    assert out == "nothing to publish\n"
    assert "the store holds no full backup" in err
    assert host.cloudwatch.steps == []
    assert_nothing_arrived(host)


def test_without_the_section_the_command_says_what_is_missing(host: Publisher) -> None:
    host.configure(cloudwatch_url="")
    _, err = host.run("--dry-run", status=2)
    assert err == (
        f"steward: {host.site.config}: cloudwatch: is required to publish metrics; give it a region\n"
    )


def test_a_drill_of_any_host_counts_when_it_was_proven(host: Publisher) -> None:
    host.full(60, "monthly")
    host.drilled_elsewhere(900)
    host.drilled_elsewhere(30, "failed")
    host.drilled_elsewhere(20, environment="production")
    host.drilled_elsewhere(10, id="20261122T021000Z-zzzzzz")
    key = "evidence/20261122T021000Z-abcdef/evidence.json"
    host.site.s3().put_object(Bucket=host.site.bucket, Key=key, Body=b"{")

    def age() -> float:
        metrics = host.json("--dry-run", status=1)["metrics"]
        return next(float(m["value"]) for m in metrics if m["name"] == names.DRILL_AGE_SECONDS)

    assert 899 <= age() < 900 + DEADLINE_S
    host.drilled(age=400)
    assert 399 <= age() < 400 + DEADLINE_S
    # A host whose clock runs ahead: the store knows when its evidence came.
    host.drilled_elsewhere(-5000)
    assert 0 <= age() < DEADLINE_S


def test_a_stack_that_refuses_the_evidence_still_publishes_the_rest(
    host: Publisher, proxy: FaultProxy
) -> None:
    host.full(60, "monthly")
    proxy.rule = lambda step: "403" if "prefix=evidence" in step.query else "pass"
    _, err = host.run(status=1)
    assert "DrillAgeSeconds (no restore was compared and found equal, here or by a drill (" in err
    assert (names.BACKUP_AGE_SECONDS, "daily") in host.arrived()


def test_a_host_needs_the_right_to_put_metrics_and_no_other(host: Publisher) -> None:
    """With the policy of the hosts: the store's time can be asked for under it."""
    policy = store_documents.host_policy(
        bucket_arn=f"arn:aws:s3:::{host.site.bucket}",
        kms_key_arn="arn:aws:kms:us-east-1:123456789012:key/none",
        region="us-east-1",
        prefixes=host_prefixes(),
    )
    own = [s for s in policy["Statement"] if "cloudwatch:PutMetricData" not in s["Action"]]
    put = {
        "Effect": "Allow",
        "Action": "cloudwatch:PutMetricData",
        "Resource": "*",
        "Condition": {"StringEquals": {"cloudwatch:namespace": names.NAMESPACE}},
    }
    host.full(60, "monthly")
    aws = host.site.aws
    for statements in (own, [*own, put]):
        user = aws.new_user({"Version": "2012-10-17", "Statement": statements}, "host")
        host.configure(access_key_id=user.access_key_id, secret_access_key=user.secret_access_key)
        _, err = host.run(status=1)
        if statements is own:
            assert "access denied; this host's identity lacks cloudwatch:PutMetricData" in err
            assert_nothing_arrived(host)
    assert "not published: RecoverableLagSeconds" in err
    assert (names.BACKUP_AGE_SECONDS, "daily") in host.arrived()


def test_cloudwatch_that_is_down_is_one_line(host: Publisher) -> None:
    host.full(60, "monthly")
    url = f"http://127.0.0.1:{free_port()}"
    host.configure(cloudwatch_url=url)
    _, err = host.run(status=1)
    assert err.startswith(f"steward: CloudWatch at {url}: cannot be reached")
    assert_nothing_arrived(host)


@pytest.mark.parametrize(("failure", "samples"), [("503", 1.0), ("reset", 1.0), ("lose", 2.0)])
def test_one_failure_is_repeated_with_the_same_values(host: Publisher, failure: str, samples: float) -> None:
    host.full(60, "monthly")
    host.cloudwatch.rule = lambda _: failure if len(host.cloudwatch.steps) == 1 else "pass"
    document = host.json(status=1)
    assert len(host.cloudwatch.steps) == 2
    (value,) = [m["value"] for m in document["metrics"] if m["dimensions"].get("Class") == "daily"]
    greatest, count = host.arrived()[names.BACKUP_AGE_SECONDS, "daily"]
    assert greatest == pytest.approx(value)
    assert count == samples


def test_a_wrong_clock_publishes_nothing(host: Publisher, proxy: FaultProxy) -> None:
    host.full(60, "monthly")
    proxy.rule = lambda _: "shift"
    _, err = host.run(status=1)
    assert "ahead; nothing is published, check its time synchronisation" in err
    assert host.cloudwatch.steps == []
    assert_nothing_arrived(host)


def test_a_store_that_cannot_be_read_publishes_nothing(host: Publisher, proxy: FaultProxy) -> None:
    host.full(60, "monthly")
    proxy.rule = lambda step: "403" if step.name == "read" else "pass"
    host.run(status=1)
    proxy.rule = lambda _: "pass"
    key = "daily/20261122T000000Z-abcdef/manifest.json"
    host.site.s3().put_object(Bucket=host.site.bucket, Key=key, Body=b'{"schema": 1}')
    _, err = host.run(status=3)
    assert f"{key}: damaged manifest" in err
    assert host.cloudwatch.steps == []
    assert_nothing_arrived(host)


def test_status_ends_with_3_where_the_promise_is_not_met(site: Site, cloudwatch: FaultProxy) -> None:
    host = Publisher(site, cloudwatch)
    assert "limits: is required to judge the backups" in site.fails("status", status=2)
    with site.config.open("a") as file:
        file.write(
            "[limits]\nrecoverable_lag_seconds = 600\ndrill_age_seconds = 600\nverify_age_seconds = 600\n"
            "backup_age_seconds = { daily = 600, weekly = 600, monthly = 600 }\n"
        )
    assert site.json("status", status=3)["met"] is False
    site.run("full")
    site.insert(10)
    site.run("oplog")
    message = site.fails("status", status=3)
    assert "; VerifyAgeSeconds: this host has not verified" in message
    assert message.endswith("; DamagedObjects: this host has not verified the stored backups")
    site.run("verify", "--deep")
    message = site.fails("status", status=3)
    assert message.startswith("steward: the promise is not met: DrillAgeSeconds: no restore was compared")
    assert message.count(": ") == 3, "nothing else is wrong"
    host.drilled(age=605)
    assert "DrillAgeSeconds is 60" in site.fails("status", status=3)
    host.drilled(age=5)
    document = site.json("status")
    assert document["met"] is True
    assert {(f["name"], f.get("class")) for f in document["figures"]} == ALL
    assert "NOT MET" not in site.run("status").stdout
    assert host.cloudwatch.steps == [], "it only looks"


@pytest.mark.parametrize("where", ["store", "cloudwatch"])
def test_killed_anywhere_nothing_is_counted_and_the_next_run_is_whole(
    host: Publisher, proxy: FaultProxy, where: str
) -> None:
    host.full(60, "monthly")
    stalling = proxy if where == "store" else host.cloudwatch
    stalling.rule = lambda _: "stall"
    process = subprocess.Popen(
        [sys.executable, "-m", "steward.cli", *host.command()],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    try:
        assert stalling.stalled.wait(DEADLINE_S)
    finally:
        process.kill()
        process.communicate()
    assert_nothing_arrived(host)
    stalling.rule = lambda _: "pass"
    host.run(status=1)
    assert {count for _, count in host.arrived().values()} == {1.0}
    assert host.last_publish() is not None
