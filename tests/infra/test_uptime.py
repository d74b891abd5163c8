"""What the watch from outside registers, and UptimeRobot's provider as Pulumi runs it."""

from __future__ import annotations

import base64
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pulumi
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pulumi.dynamic.dynamic import PROVIDER_KEY, serialize_provider

from infra.components.uptime import FAILURE_THRESHOLD, REQUEST_INTERVAL_S, Uptime, UptimeArgs, alarm_minutes
from infra.components.uptimerobot import Provider, missing
from infra.config import REPOSITORY, StackConfig
from infra.estate import build
from infra.uptimerobot_api import KEY_VARIABLE, URL_VARIABLE, Monitor
from sandbox.aws_plugin import schema
from steward.appfile import ENVIRONMENTS, Environment
from steward.appfile import Uptime as Choice
from tests.infra.conftest import APP_NAMES, stack_config
from tests.infra.recording import ACCOUNT, CALLER, Registered, arn, record
from tests.support.uptimerobot import KEY, UptimeRobot, serve

# The SDK warns about its own old classes when it is imported.
pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning:pulumi_aws.*"),
    pytest.mark.usefixtures("mocked_pulumi"),
]

TOPIC = "arn:aws:sns:us-east-1:123456789012:shop-critical"


def choosing(choice: Choice, app: str = "bitesbay", environment: Environment = "production") -> StackConfig:
    """A stack whose app file asks for this watch."""
    stack = stack_config(app, environment)
    cloud = stack.app.cloud.model_copy(update={"uptime": dict.fromkeys(ENVIRONMENTS, choice)})
    return replace(stack, app=stack.app.model_copy(update={"cloud": cloud}), region="eu-central-1")


def register(stack: StackConfig) -> dict[str, Registered]:
    """Build the component; its resources by the last part of their name."""
    seen = record(stack, lambda: Uptime("u", UptimeArgs(stack, TOPIC)))
    return {r.name.removeprefix("u-"): r for r in seen}


@pytest.mark.parametrize("environment", ENVIRONMENTS)
@pytest.mark.parametrize("app", APP_NAMES)
def test_route_53_asks_for_what_only_a_healthy_backend_says(app: str, environment: Environment) -> None:
    stack = choosing("route53", app, environment)
    check = register(stack)["check"].inputs
    assert check["type"] == "HTTPS_STR_MATCH"
    assert (check["fqdn"], check["port"]) == (stack.app.domains[environment], 443)
    assert (check["resourcePath"], check["searchString"]) == ("/api/health", '"status":"ok"')
    assert (check["requestInterval"], check["failureThreshold"]) == (30, 3)
    assert check["enableSni"] is True
    assert check["measureLatency"] is True
    assert "regions" not in check, "all of Route 53's regions ask"
    assert check["tags"] == {**stack.tags, "Name": "u"}


def test_the_alarm_lives_where_the_metric_does_and_takes_silence_for_an_outage() -> None:
    resources = register(choosing("route53"))
    alarm = resources["down"].inputs
    assert alarm["region"] == "us-east-1"
    assert (alarm["namespace"], alarm["metricName"]) == ("AWS/Route53", "HealthCheckStatus")
    assert alarm["dimensions"] == {"HealthCheckId": "u-check-id"}
    assert (alarm["comparisonOperator"], alarm["threshold"], alarm["statistic"]) == (
        "LessThanThreshold",
        1,
        "Minimum",
    )
    assert (alarm["period"], alarm["evaluationPeriods"]) == (60, 3)
    assert alarm["treatMissingData"] == "breaching"
    assert alarm["alarmActions"] == alarm["okActions"] == [TOPIC]
    assert "https://api.bitesbay.example/api/health" in alarm["alarmDescription"]
    runbook, _, part = alarm["alarmDescription"].rpartition(" ")[2].partition("#")
    assert f"\n## {part}\n" in (REPOSITORY / runbook).read_text(encoding="utf-8")
    assert "u-check" in resources["down"].dependencies


@pytest.mark.parametrize("region", ["us-east-1", "eu-central-1"])
def test_the_alarm_notifies_a_topic_of_its_own_region(region: str) -> None:
    stack = replace(choosing("route53"), region=region)
    seen = record(stack, lambda: build(stack, ACCOUNT, CALLER))
    (alarm,) = [r.inputs for r in seen if r.name.endswith("-uptime-down")]
    made = {
        arn(r.type, r.inputs)
        for r in seen
        if r.type == "aws:sns/topic:Topic" and r.inputs["region"] == "us-east-1"
    }
    assert set(alarm["alarmActions"]) <= made
    assert alarm["alarmActions"][0].endswith("-critical")
    critical = [r.inputs["region"] for r in seen if r.name.endswith("-critical") and "sns/topic:" in r.type]
    assert sorted(critical) == sorted({region, "us-east-1"})


@given(st.integers(1, 60))
def test_an_outage_is_told_within_the_health_interval_where_that_can_be(interval: int) -> None:
    minutes = alarm_minutes(interval)
    assert 1 <= minutes <= 3
    if interval >= 3:
        assert REQUEST_INTERVAL_S * FAILURE_THRESHOLD + minutes * 60 <= interval * 60


@pytest.mark.parametrize("name", ["check", "down"])
def test_the_genuine_sdk_has_every_argument(name: str) -> None:
    resource = register(choosing("route53"))[name]
    assert not list(schema.check(schema.arguments_class(resource.type), resource.inputs))
    assert resource.parent == "u"


def test_what_cannot_be_built_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ValueError, match="us-east-1"):
        record(choosing("route53"), lambda: Uptime("u", UptimeArgs(choosing("route53"))))
    with pytest.raises(ValueError, match="none"):
        register(choosing("none"))


@pytest.fixture
def account(monkeypatch: pytest.MonkeyPatch) -> Iterator[UptimeRobot]:
    """An UptimeRobot account, with an environment that leads to it."""
    with serve() as running:
        monkeypatch.setenv(KEY_VARIABLE, KEY)
        monkeypatch.setenv(URL_VARIABLE, running.url)
        monkeypatch.setenv("PYTHONPATH", str(REPOSITORY))
        running.contacts[21] = ("oncall@bitesbay.example", "Active")
        yield running


def test_uptimerobot_asks_for_the_same_and_tells_the_critical_contacts(account: UptimeRobot) -> None:
    resources = register(choosing("uptimerobot"))
    monitor = resources["monitor"]
    assert monitor.type == "pulumi-python:dynamic/steward:UptimeRobotMonitor"
    assert monitor.parent == "u"
    inputs = {key: value for key, value in monitor.inputs.items() if key != PROVIDER_KEY}
    assert inputs == {
        "name": "u",
        "url": "https://api.bitesbay.example/api/health",
        "keyword": '"status":"ok"',
        "interval_s": 300,
        "contacts": ["oncall@bitesbay.example"],
        "paused": False,
    }
    assert [r.type for r in resources.values() if r.type.startswith("aws:")] == []
    assert account.requests == [], "a preview asks nothing"


def test_the_key_does_not_enter_the_state(account: UptimeRobot) -> None:
    inputs = register(choosing("uptimerobot"))["monitor"].inputs
    pickled = base64.b64decode(inputs[PROVIDER_KEY])
    assert b"infra.components.uptimerobot" in pickled
    for part in (pickled, repr(inputs).encode()):
        assert KEY.encode() not in part


def test_the_pickle_is_the_same_every_time() -> None:
    assert serialize_provider(Provider()) == serialize_provider(Provider())


def props(**changes: Any) -> dict[str, Any]:
    """Properties as Pulumi hands them to a provider: numbers as floats, and the pickle beside them."""
    monitor = Monitor("n", "https://a.example/api/health", "fine", 300, ("oncall@shop.example",))
    return {
        **asdict(monitor),
        "contacts": ["OnCall@shop.example"],
        "interval_s": 300.0,
        PROVIDER_KEY: "x",
    } | (changes)


def test_the_provider_does_what_pulumi_asks_of_it(account: UptimeRobot) -> None:
    provider = Provider()
    made = provider.create(props())
    assert provider.diff(made.id, {**(made.outs or {}), PROVIDER_KEY: "y"}, props()).changes is False
    read = provider.read(made.id, props())
    assert read.outs == read.inputs
    assert provider.diff(made.id, read.outs or {}, props()).changes is False

    account.monitors[int(made.id)]["status"] = "PAUSED"
    drifted = provider.read(made.id, props()).outs or {}
    assert drifted["paused"] is True
    changed = provider.diff(made.id, drifted, props())
    assert (changed.changes, changed.replaces) == (True, [])
    provider.update(made.id, drifted, props())
    assert account.monitors[int(made.id)]["status"] == "STARTED"

    for name, value in [
        ("keyword", "x"),
        ("interval_s", 60.0),
        ("url", "https://b.example"),
        ("contacts", []),
    ]:
        assert provider.diff(made.id, props(), props(**{name: value})).changes is True, name

    provider.delete(made.id, props())
    gone = provider.read(made.id, props())
    assert (gone.id, gone.outs) == ("", {})


def test_the_pickle_works_in_a_process_of_its_own(account: UptimeRobot, tmp_path: Path) -> None:
    """As Pulumi's provider process does it: another folder, the environment, and the pickle."""
    program = (
        "import base64, dill, json, sys;"
        "p = dill.loads(base64.b64decode(sys.argv[1]));"
        "print(p.create(json.loads(sys.argv[2])).id)"
    )
    wanted = '{"name": "n", "url": "https://a.example", "keyword": "k", "interval_s": 300.0, "contacts": []}'
    command = [sys.executable, "-c", program, serialize_provider(Provider()), wanted]
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    done = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=60, check=True
    )
    assert list(account.monitors) == [int(done.stdout)]

    alone = {key: value for key, value in environment.items() if key != "PYTHONPATH"}
    lost = subprocess.run(
        command, cwd=tmp_path, env=alone, capture_output=True, text=True, timeout=60, check=False
    )
    assert "No module named 'infra'" in lost.stderr, "why PYTHONPATH is asked for"


def test_a_missing_key_or_path_is_told_before_anything_is_registered(
    account: UptimeRobot, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert missing({}) == "UPTIMEROBOT_API_KEY is not set; cloud.uptime is uptimerobot"
    assert "PYTHONPATH must hold" in str(missing({KEY_VARIABLE: "k", "PYTHONPATH": "/elsewhere"}))
    assert missing({KEY_VARIABLE: "k", "PYTHONPATH": f"/elsewhere{os.pathsep}{REPOSITORY}/"}) is None
    monkeypatch.delenv(KEY_VARIABLE)
    with pytest.raises(pulumi.RunError, match="is not set"):
        register(choosing("uptimerobot"))
