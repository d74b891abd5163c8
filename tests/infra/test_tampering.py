"""Rules on changes of the store and its key: what they match, what they say, where it goes."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from infra.components.tampering import Tampering, TamperingArgs
from infra.config import REPOSITORY
from infra.watch import RUNBOOK, tampering
from sandbox.aws_plugin import schema
from tests.infra.conftest import stack_config
from tests.infra.recording import ACCOUNT, Registered, record

# The SDK warns about its own old classes when it is imported.
pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning:pulumi_aws.*"),
    pytest.mark.usefixtures("mocked_pulumi"),
]

KEY = f"arn:aws:kms:us-east-1:{ACCOUNT}:key/k"
TOPIC = f"arn:aws:sns:us-east-1:{ACCOUNT}:t"


def call(service: str, name: str, **detail: Any) -> dict[str, Any]:
    """An event as CloudTrail sends it through EventBridge."""
    return {
        "source": f"aws.{service}",
        "detail-type": "AWS API Call via CloudTrail",
        "time": "2026-01-01T00:00:00Z",
        "detail": {
            "eventSource": f"{service}.amazonaws.com",
            "eventName": name,
            "userIdentity": {"arn": "arn:aws:iam::1:user/eve"},
            "sourceIPAddress": "192.0.2.1",
            **detail,
        },
    }


def key_call(name: str, arn: str = KEY) -> dict[str, Any]:
    return call("kms", name, resources=[{"ARN": arn, "accountId": ACCOUNT}])


def bucket_call(name: str, bucket: str = "store") -> dict[str, Any]:
    return call("s3", name, requestParameters={"bucketName": bucket, "Host": "s3.amazonaws.com"})


def matches(pattern: dict[str, Any], event: Any) -> bool:
    """EventBridge's rule: every field of the pattern has one of its values; of a list one item does."""
    if isinstance(event, list):
        return any(matches(pattern, item) for item in event)
    return isinstance(event, dict) and all(
        key in event and (matches(value, event[key]) if isinstance(value, dict) else event[key] in value)
        for key, value in pattern.items()
    )


@pytest.mark.parametrize(
    ("event", "expected"),
    [
        (key_call("DisableKey"), True),
        (key_call("ScheduleKeyDeletion"), True),
        (key_call("EnableKey"), False),
        (key_call("DisableKey", f"{KEY}2"), False),
        (bucket_call("DisableKey"), False),
    ],
)
def test_what_ends_the_key(event: dict[str, Any], expected: bool) -> None:
    assert matches(tampering.key_pattern(KEY), event) is expected


# CIS AWS Foundations Benchmark, "bucket policy changes", written out apart from the program.
CIS = (
    "PutBucketAcl",
    "PutBucketPolicy",
    "PutBucketCors",
    "PutBucketLifecycle",
    "PutBucketReplication",
    "DeleteBucketPolicy",
    "DeleteBucketCors",
    "DeleteBucketLifecycle",
    "DeleteBucketReplication",
)


@pytest.mark.parametrize("name", [*CIS, "PutBucketVersioning", "PutBucketObjectLockConfiguration"])
def test_what_changes_the_store(name: str) -> None:
    pattern = tampering.bucket_pattern("store")
    assert matches(pattern, bucket_call(name))
    assert not matches(pattern, bucket_call(name, "other"))
    assert not matches(pattern, bucket_call("PutObject"))


def register() -> list[Registered]:
    stack = stack_config()
    return record(stack, lambda: Tampering("x", TamperingArgs(stack, "store", KEY, TOPIC)))


def test_both_rules_go_to_the_topic_in_words() -> None:
    seen = register()
    rules = {r.inputs["name"]: r for r in seen if r.type.endswith(":EventRule")}
    targets = [r for r in seen if r.type.endswith(":EventTarget")]
    assert set(rules) == {"bitesbay-local-key-tampering", "bitesbay-local-store-tampering"}
    assert json.loads(rules["bitesbay-local-key-tampering"].inputs["eventPattern"]) == (
        tampering.key_pattern(KEY)
    )
    assert {t.inputs["rule"] for t in targets} == set(rules)
    sections = re.findall(r"^## (\S+)$", (REPOSITORY / RUNBOOK).read_text(encoding="utf-8"), re.MULTILINE)
    for target in targets:
        assert target.inputs["arn"] == TOPIC
        transformer = target.inputs["inputTransformer"]
        text = transformer["inputTemplate"]
        # Every placeholder has its path and every path is used; the whole is one JSON string.
        assert set(re.findall(r"<(\w+)>", text)) == set(transformer["inputPaths"])
        assert isinstance(json.loads(text), str)
        assert text.strip('"').rpartition("#")[2] in sections
        assert len(text) <= 8192  # EventBridge API reference, InputTransformer
        assert not [k for k in transformer["inputPaths"] if k.upper().startswith("AWS")]


def test_every_path_of_a_message_is_in_an_event() -> None:
    event = key_call("DisableKey")
    for name, path in tampering.INPUT_PATHS.items():
        at: Any = event
        for part in path.removeprefix("$.").split("."):
            # An event has an error code only when the call was refused.
            at = at.get(part, "" if name == "error" else None)
        assert at is not None, path


def test_every_argument_is_one_of_the_sdk() -> None:
    for resource in register():
        if resource.type.startswith("aws:"):
            assert not list(schema.check(schema.arguments_class(resource.type), resource.inputs))
            assert resource.parent == "x"
