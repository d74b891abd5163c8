"""Alarms: no false one on a healthy stack, none too late, and every one reaches somebody."""

from __future__ import annotations

import ast
import json
import operator
import re
from collections.abc import Callable
from typing import Any

import pytest

from infra.components.alarms import Alarms, AlarmsArgs
from infra.components.topics import Topics, TopicsArgs
from infra.config import REPOSITORY, StackConfig
from infra.documents import alerts
from infra.severities import SEVERITIES
from infra.watch import DAY, HOUR, RUNBOOK, Alarm, Composite, Replica, Watched
from infra.watch.alarms import all_alarms, severities_elsewhere
from sandbox.aws_endpoint import policy
from sandbox.aws_endpoint.policy import Principal, Request, Result
from sandbox.aws_plugin import schema
from steward import cloudwatch_names as host
from steward.appfile import ENVIRONMENTS, Environment
from tests.infra.conftest import APP_NAMES, stack_config
from tests.infra.recording import ACCOUNT, Registered, record

# The SDK warns about its own old classes when it is imported.
pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning:pulumi_aws.*"),
    pytest.mark.usefixtures("mocked_pulumi"),
]

METRIC_ALARM = "aws:cloudwatch/metricAlarm:MetricAlarm"
COMPOSITE = "aws:cloudwatch/compositeAlarm:CompositeAlarm"
EVERYTHING = Watched(
    "store", "whole", Replica("copy", "eu-central-1", "rule"), ("Steward", "DeniedDeletes-x")
)
INSTANCES = {"app1": "i-0123456789abcdef0", "db1": "i-0123456789abcdef1"}


def full(app: str = "bitesbay", environment: Environment = "production", **settings: object) -> StackConfig:
    return stack_config(app, environment, ec2_instances=INSTANCES, **settings)


def plain(stack: StackConfig, watched: Watched = EVERYTHING) -> dict[str, Alarm]:
    return {a.name: a for a in all_alarms(stack, watched) if isinstance(a, Alarm)}


@pytest.mark.parametrize("environment", ENVIRONMENTS)
def test_every_period_is_one_cloudwatch_takes(environment: Environment) -> None:
    """Period times evaluations: a day below an hour, seven days else (PutMetricAlarm reference)."""
    for alarm in plain(full(environment=environment)).values():
        for metric in alarm.metrics.values():
            assert metric.period % 60 == 0
            assert metric.period * alarm.evaluations <= (DAY if metric.period < HOUR else 7 * DAY), alarm.name
        assert (alarm.needed or 1) <= alarm.evaluations


def test_what_hosts_publish_is_watched_whole_and_silence_is_an_alarm() -> None:
    found = {}
    for alarm in plain(full()).values():
        for metric in alarm.metrics.values():
            if metric.namespace == host.NAMESPACE and not alarm.expression and "App" in metric.dimensions:
                assert alarm.missing == ("missing" if alarm.name == "stored-damage" else "breaching")
                assert metric.period == host.PUBLISH_EVERY_MINUTES * 60
                assert alarm.evaluations == 3
                dimensions = dict(metric.dimensions)
                found[metric.name, dimensions.pop("Class", "")] = dimensions
    assert set(found) == {
        (host.BACKUP_AGE_SECONDS, "daily"),
        (host.BACKUP_AGE_SECONDS, "weekly"),
        (host.BACKUP_AGE_SECONDS, "monthly"),
        (host.RECOVERABLE_LAG_SECONDS, ""),
        (host.OPLOG_GAPS, ""),
        (host.DRILL_AGE_SECONDS, ""),
        (host.VERIFY_AGE_SECONDS, ""),
        (host.DAMAGED_OBJECTS, ""),
    }
    assert list(found.values()) == [host.dimensions("bitesbay", "production")] * 8


PARTS = ("backup-age-daily", "recoverable-lag", "oplog-gaps", "drill-age")


def test_recoverability_pages_once_and_its_parts_warn() -> None:
    alarms = {a.name: a for a in all_alarms(full(), EVERYTHING)}
    at_risk = alarms["recoverability-at-risk"]
    assert isinstance(at_risk, Composite)
    assert at_risk.severity == "critical"
    assert tuple(part.name for part in at_risk.over) == PARTS
    assert {alarms[name].severity for name in PARTS} == {"warning"}


def test_damage_pages_by_itself_and_a_host_that_is_silent_or_new_does_not() -> None:
    """An old backup that stays damaged for months must not hide that something new went wrong."""
    alarms = plain(full())
    assert (alarms["stored-damage"].severity, alarms["verify-age"].severity) == ("critical", "warning")
    assert (alarms["stored-damage"].threshold, alarms["stored-damage"].missing) == (0, "missing")
    assert alarms["verify-age"].missing == "breaching", "so that nobody looked is told"


def expression_value(alarm: Alarm, values: dict[str, float | None]) -> float | None:
    """Metric math of the one form the fallback has: ``IF(FILL(id, n) > limit OR ..., 1, 0)``."""
    assert alarm.expression is not None
    match = re.fullmatch(r"IF\((.+), 1, 0\)", alarm.expression)
    assert match
    truth = []
    for term in match[1].split(" OR "):
        parts = re.fullmatch(r"FILL\(([a-z][a-zA-Z0-9_]*), (\d+)\) > (\d+)", term)
        assert parts, term
        value = values[parts[1]]
        truth.append((float(parts[2]) if value is None else value) > float(parts[3]))
    if all(value is None for value in values.values()):
        return None  # CloudWatch has nothing to fill
    return 1 if any(truth) else 0


def test_without_composite_alarms_one_expression_says_the_same() -> None:
    stack = full(endpoint_lacks=["composite_alarms"])
    alarms = all_alarms(stack, EVERYTHING)
    assert not [a for a in alarms if isinstance(a, Composite)]
    by_name = plain(stack)
    at_risk = by_name["recoverability-at-risk"]
    assert at_risk.severity == "critical"
    assert at_risk.missing == "breaching"
    ids = {name.replace("-", "_"): by_name[name] for name in PARTS}
    assert dict(at_risk.metrics) == {i: a.metrics["m"] for i, a in ids.items()}
    good: dict[str, float | None] = {i: a.threshold for i, a in ids.items()}
    assert expression_value(at_risk, good) == 0
    for i, alarm in ids.items():
        assert expression_value(at_risk, {**good, i: alarm.threshold + 1}) == 1
        assert expression_value(at_risk, {**good, i: None}) == 1


def metric_math(expression: str, today: float, yesterday: float) -> float:
    """The value of an expression over ``m`` for the last of two days."""

    def value(node: ast.AST) -> float:
        match node:
            case ast.Expression(body=inner):
                return value(inner)
            case ast.Constant(value=int(number)):
                return number
            case ast.Name(id="m"):
                return today
            case ast.Call(func=ast.Name(id="DIFF"), args=[ast.Name(id="m")]):
                return today - yesterday
            case ast.Call(func=ast.Name(id="ABS"), args=[inner]):
                return abs(value(inner))
            case ast.BinOp(left=left, op=op, right=right):
                return OPERATORS[type(op)](value(left), value(right))
        raise AssertionError(f"not metric math: {ast.dump(node)}")

    return value(ast.parse(expression, mode="eval"))


OPERATORS: dict[type[ast.operator], Callable[[float, float], float]] = {
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
}


@pytest.mark.parametrize(
    ("yesterday", "today", "alarming"),
    [(100, 149, False), (100, 151, True), (100, 51, False), (100, 49, True), (100, 100, False)],
)
def test_a_jump_of_the_size_in_either_direction(yesterday: float, today: float, alarming: bool) -> None:
    alarm = plain(full())["size-jump"]
    assert alarm.expression is not None
    assert (metric_math(alarm.expression, today, yesterday) > alarm.threshold) is alarming


def test_replication_is_watched_where_its_metrics_are() -> None:
    alarms = plain(full())
    failed, late = alarms["replication-failed"], alarms["replication-late"]
    rule = {"SourceBucket": "store", "DestinationBucket": "copy", "RuleId": "rule"}
    assert (failed.region, late.region) == (None, "eu-central-1")
    assert dict(failed.metrics["m"].dimensions) == dict(late.metrics["m"].dimensions) == rule
    assert late.threshold > 15 * 60


def test_another_region_gets_the_topics_its_alarms_need_and_no_more() -> None:
    assert severities_elsewhere(full(), EVERYTHING) == {"eu-central-1": ("warning",)}
    assert severities_elsewhere(full(), Watched("store")) == {}


def test_what_is_not_there_is_not_watched() -> None:
    few = set(plain(stack_config(environment="staging"), Watched("store")))
    own = {"backup-age-weekly", "backup-age-monthly", "verify-age", "stored-damage", "size-jump"}
    assert few == {*PARTS, *own}


def test_every_alarm_says_what_it_means_and_its_section_of_the_runbook_exists() -> None:
    sections = re.findall(r"^## (\S+)$", (REPOSITORY / RUNBOOK).read_text(encoding="utf-8"), re.MULTILINE)
    for alarm in all_alarms(full(), EVERYTHING):
        assert "bitesbay-production" in alarm.description
        assert len(alarm.description) <= 1024  # PutMetricAlarm reference
        assert alarm.description.rpartition("#")[2] in sections, alarm.name


def register(stack: StackConfig) -> list[Registered]:
    """Alarms of everything there can be, with topics in both regions."""

    def make() -> None:
        regions = {stack.region: SEVERITIES, **severities_elsewhere(stack, EVERYTHING)}
        topics = {r: Topics(f"t-{r}", TopicsArgs(stack, ACCOUNT, r, s)) for r, s in regions.items()}
        Alarms("a", AlarmsArgs(stack, ACCOUNT, EVERYTHING, topics))

    return record(stack, make)


def may(document: str, action: str, resource: str) -> bool:
    """Whether CloudWatch, for an alarm of this account, may do something by a resource's policy."""
    context = {"aws:sourceaccount": [ACCOUNT], "aws:securetransport": ["true"]}
    request = Request(Principal((f"Service:{alerts.CLOUDWATCH}",), ""), action, resource, context)
    parsed = policy.parse(document, "resource", "document")
    return policy.evaluate(request, [], parsed, resource_must_allow=True).result is Result.ALLOWED


def arns(seen: list[Registered], kind: str) -> dict[str, Registered]:
    """Resources by the ARN that the recording gives them."""
    found = {}
    for resource in seen:
        if resource.type.endswith(f":{kind}"):
            region = resource.inputs.get("region") or "us-east-1"
            name = "key/k" if kind == "Key" else resource.inputs["name"]
            found[f"arn:aws:{'kms' if kind == 'Key' else 'sns'}:{region}:{ACCOUNT}:{name}"] = resource
    return found


@pytest.mark.parametrize("lacks", [[], ["composite_alarms"]])
@pytest.mark.parametrize("app", APP_NAMES)
def test_every_action_of_every_alarm_reaches_somebody(app: str, lacks: list[str]) -> None:
    seen = register(full(app, endpoint_lacks=lacks))
    topics, keys = arns(seen, "Topic"), arns(seen, "Key")
    policies = {r.inputs["arn"]: r.inputs["policy"] for r in seen if r.type.endswith(":TopicPolicy")}
    subscribed = {r.inputs["topic"] for r in seen if r.type.endswith(":TopicSubscription")}
    checked = 0
    for alarm in (r for r in seen if r.type in (METRIC_ALARM, COMPOSITE)):
        assert alarm.inputs["actionsEnabled"] is True
        assert alarm.inputs["alarmActions"] == alarm.inputs["okActions"]
        for arn in alarm.inputs["alarmActions"]:
            topic = topics[arn]
            assert arn.split(":")[3] == (alarm.inputs.get("region") or "us-east-1"), alarm.name
            assert arn in subscribed
            assert may(policies[arn], "sns:Publish", arn), alarm.name
            key_arn = topic.inputs["kmsMasterKeyId"]
            assert key_arn.split(":")[3] == arn.split(":")[3]
            for action in ("kms:Decrypt", "kms:GenerateDataKey"):
                assert may(keys[key_arn].inputs["policy"], action, key_arn), alarm.name
            checked += 1
    assert checked == len(all_alarms(full(app, endpoint_lacks=lacks), EVERYTHING))


def test_a_composite_comes_after_the_alarms_it_names() -> None:
    seen = register(full())
    (composite,) = [r for r in seen if r.type == COMPOSITE]
    named = re.findall(r'ALARM\("bitesbay-production-([a-z-]+)"\)', composite.inputs["alarmRule"])
    assert tuple(named) == PARTS
    assert {f"a-{name}" for name in named} <= composite.dependencies


@pytest.mark.parametrize("lacks", [[], ["composite_alarms"]])
def test_every_argument_is_one_of_the_sdk_and_belongs_together(lacks: list[str]) -> None:
    for resource in register(full(endpoint_lacks=lacks)):
        if not resource.type.startswith("aws:"):
            continue
        assert not list(schema.check(schema.arguments_class(resource.type), resource.inputs)), resource.name
        if resource.type == METRIC_ALARM:
            # CloudWatch takes a metric or queries, never parts of both.
            single = {"namespace", "metricName", "dimensions", "statistic", "period"} & set(resource.inputs)
            queries: list[dict[str, Any]] = resource.inputs.get("metricQueries") or []
            assert bool(single) != bool(queries), resource.name
            assert not queries or [q for q in queries if q.get("returnData")] == queries[-1:]
            assert resource.inputs["tags"]["Environment"] == "production"


def test_the_dashboard_shows_every_alarm() -> None:
    seen = register(full())
    (dashboard,) = [r for r in seen if r.type.endswith(":Dashboard")]
    shown = json.loads(dashboard.inputs["dashboardBody"])["widgets"][0]["properties"]["alarms"]
    made = {
        f"arn:aws:cloudwatch:{r.inputs.get('region') or 'us-east-1'}:{ACCOUNT}:alarm:"
        + str(r.inputs.get("name") or r.inputs["alarmName"])
        for r in seen
        if r.type in (METRIC_ALARM, COMPOSITE)
    }
    assert set(shown) == made
