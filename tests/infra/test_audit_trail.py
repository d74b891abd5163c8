"""The audit trail: what it records, who may write and remove records, what counts as a refused deletion."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from infra.components.audit_trail import AuditTrail, AuditTrailArgs, denied_deletes_metric, log_days
from infra.components.log_bucket import LogBucket, LogBucketArgs
from infra.documents import Document, trail
from infra.estate import build
from sandbox.aws_endpoint import policy
from sandbox.aws_endpoint.policy import Principal, Request, Result
from sandbox.aws_plugin import schema
from tests.infra.conftest import stack_config
from tests.infra.recording import ACCOUNT, CALLER, Registered, record

# The SDK warns about its own old classes when it is imported.
pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning:pulumi_aws.*"),
    pytest.mark.usefixtures("mocked_pulumi"),
]

NAME = "x"
TRAIL = f"arn:aws:cloudtrail:us-east-1:{ACCOUNT}:trail/{NAME}"
OTHER_TRAIL = f"arn:aws:cloudtrail:us-east-1:{ACCOUNT}:trail/other"
BUCKET = f"arn:aws:s3:::{NAME}-{ACCOUNT}"


def register() -> dict[str, Registered]:
    stack = stack_config(environment="production")

    def make() -> None:
        logs = LogBucket("l", LogBucketArgs(stack, ACCOUNT, CALLER, ()))
        AuditTrail(NAME, AuditTrailArgs(stack, ACCOUNT, CALLER, "store", logs))

    return {r.name.removeprefix(f"{NAME}-"): r for r in record(stack, make) if not r.name.startswith("l")}


def may(document: Document, action: str, resource: str, **context: str) -> Result:
    """The decision on a call of CloudTrail."""
    values = {
        "aws:securetransport": ["true"],
        "s3:tlsversion": ["1.3"],
        "aws:principalisawsservice": ["true"],
    }
    values |= {key.replace("__", ":").replace("_", "-"): [value] for key, value in context.items()}
    request = Request(Principal(("Service:cloudtrail.amazonaws.com",), ""), action, resource, values)
    parsed = policy.parse(json.dumps(document), "resource", "document")
    return policy.evaluate(request, [], parsed, resource_must_allow=True).result


def test_only_this_trail_writes_into_the_bucket() -> None:
    document = json.loads(register()["policy"].inputs["policy"])
    key = f"{BUCKET}/AWSLogs/{ACCOUNT}/CloudTrail/us-east-1/2026/01/01/x.json.gz"
    acl = {"s3__x_amz_acl": "bucket-owner-full-control"}
    assert may(document, "s3:PutObject", key, aws__sourcearn=TRAIL, **acl) is Result.ALLOWED
    assert may(document, "s3:GetBucketAcl", BUCKET, aws__sourcearn=TRAIL) is Result.ALLOWED
    assert may(document, "s3:PutObject", key, aws__sourcearn=OTHER_TRAIL, **acl) is Result.NOT_ALLOWED
    assert may(document, "s3:PutObject", f"{BUCKET}/x", aws__sourcearn=TRAIL, **acl) is Result.NOT_ALLOWED
    assert may(document, "s3:GetObject", key, aws__sourcearn=TRAIL) is Result.NOT_ALLOWED


def test_nobody_but_break_glass_removes_records() -> None:
    document = json.loads(register()["policy"].inputs["policy"])
    everything: Document = {
        "Version": "2012-10-17",
        "Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}],
    }
    for who, expected in (
        (f"arn:aws:iam::{ACCOUNT}:user/admin", Result.DENIED),
        (f"arn:aws:iam::{ACCOUNT}:role/steward/bitesbay-production-break-glass", Result.ALLOWED),
    ):
        context = {"aws:securetransport": ["true"], "s3:tlsversion": ["1.3"], "aws:principalarn": [who]}
        request = Request(Principal((who,), ACCOUNT), "s3:DeleteObject", f"{BUCKET}/AWSLogs/x", context)
        own = policy.parse(json.dumps(everything), "identity", "identity")
        bucket = policy.parse(json.dumps(document), "resource", "bucket")
        assert policy.evaluate(request, [own], bucket).result is expected, who


def test_trail_and_log_group_use_one_key_that_lets_both_in() -> None:
    resources = register()
    key = f"arn:aws:kms:us-east-1:{ACCOUNT}:key/k"
    assert resources["trail"].inputs["kmsKeyId"] == resources["logs"].inputs["kmsKeyId"] == key
    document = json.loads(resources["key"].inputs["policy"])
    by_sid = {s["Sid"]: s for s in document["Statement"]}
    group = resources["logs"].inputs["name"]
    assert by_sid["LogGroupEncrypts"]["Principal"] == {"Service": "logs.us-east-1.amazonaws.com"}
    assert by_sid["LogGroupEncrypts"]["Condition"]["ArnEquals"] == {
        "kms:EncryptionContext:aws:logs:arn": f"arn:aws:logs:us-east-1:{ACCOUNT}:log-group:{group}"
    }
    for sid in ("TrailEncrypts", "TrailLooks"):
        assert by_sid[sid]["Condition"]["StringEquals"] == {"aws:SourceArn": TRAIL}


def test_the_role_writes_the_log_group_and_nothing_else() -> None:
    resources = register()
    (trusted,) = json.loads(resources["role"].inputs["assumeRolePolicy"])["Statement"]
    assert "Resource" not in trusted
    assert trusted["Principal"] == {"Service": "cloudtrail.amazonaws.com"}
    assert trusted["Condition"] == {"StringEquals": {"aws:SourceArn": TRAIL}}
    (allowed,) = json.loads(resources["role-policy"].inputs["policy"])["Statement"]
    assert allowed["Action"] == ["logs:CreateLogStream", "logs:PutLogEvents"]
    assert f":log-group:{resources['logs'].inputs['name']}:log-stream:{ACCOUNT}_" in allowed["Resource"]


def test_what_is_recorded() -> None:
    inputs = register()["trail"].inputs
    assert inputs["enableLogFileValidation"] is True
    assert inputs["name"] == NAME
    fields = [
        {f["field"]: f.get("equals") or f.get("startsWiths") for f in s["fieldSelectors"]}
        for s in inputs["advancedEventSelectors"]
    ]
    assert fields == [
        {"eventCategory": ["Management"], "readOnly": ["false"]},
        {
            "eventCategory": ["Data"],
            "resources.type": ["AWS::S3::Object"],
            "readOnly": ["false"],
            "resources.ARN": ["arn:aws:s3:::store/"],
        },
    ]


def filtered(pattern: str, event: dict[str, Any]) -> bool:
    """CloudWatch Logs' rule for a pattern of equal terms joined by ``&&``; ``*`` at an end is any text."""
    terms = re.findall(r'\(\$\.([\w.]+) = "([^"]+)"\)', pattern)
    assert pattern == "{ " + " && ".join(f'($.{path} = "{text}")' for path, text in terms) + " }"
    for path, text in terms:
        value: Any = event
        for part in path.split("."):
            value = value.get(part) if isinstance(value, dict) else None
        if not (isinstance(value, str) and re.fullmatch(re.escape(text).replace(r"\*", ".*"), value)):
            return False
    return True


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, True),
        ({"eventName": "DeleteObjects"}, True),
        ({"errorCode": None}, False),
        ({"errorCode": "NoSuchKey"}, False),
        ({"eventName": "PutObject"}, False),
        ({"requestParameters": {"bucketName": "other"}}, False),
    ],
)
def test_what_counts_as_a_refused_deletion(changes: dict[str, Any], expected: bool) -> None:
    event = {
        "eventSource": "s3.amazonaws.com",
        "eventName": "DeleteObject",
        "errorCode": "AccessDenied",
        "requestParameters": {"bucketName": "store", "key": "daily/x"},
        **changes,
    }
    assert filtered(trail.denied_deletes("store"), event) is expected


def test_the_alarm_watches_what_the_filter_counts() -> None:
    stack = stack_config(environment="production")
    seen = record(stack, lambda: build(stack, ACCOUNT, CALLER))
    by_name = {r.name: r for r in seen}
    counted = by_name["bitesbay-production-audit-denied-deletes"].inputs["metricTransformation"]
    alarm = by_name["bitesbay-production-alarms-denied-deletes"].inputs
    assert (alarm["namespace"], alarm["metricName"]) == (counted["namespace"], counted["name"])
    assert (counted["namespace"], counted["name"]) == denied_deletes_metric(stack)
    assert alarm["alarmActions"] == [f"arn:aws:sns:us-east-1:{ACCOUNT}:bitesbay-production-critical"]


@pytest.mark.parametrize(("asked", "kept"), [(1, 1), (2, 3), (30, 30), (31, 60), (365, 365), (3650, 365)])
def test_the_log_group_is_kept_for_days_that_cloudwatch_knows(asked: int, kept: int) -> None:
    assert log_days(asked) == kept


def test_every_argument_is_one_of_the_sdk() -> None:
    for resource in register().values():
        if resource.type.startswith("aws:"):
            found = list(schema.check(schema.arguments_class(resource.type), resource.inputs))
            assert not found, resource.name
