"""Every rule passes a good stack and catches each way to break it, and names the resource that does."""

from __future__ import annotations

import fnmatch
import random
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from infra.policy.model import UNKNOWN, Resource, Stack
from infra.policy.rules import RULES
from infra.policy.statements import like
from tests.infra import test_policy_access, test_policy_storage
from tests.infra.policy_changes import (
    allow,
    changed,
    found,
    in_policy,
    more_statements,
    of,
    plus,
    setting,
    without,
)
from tests.infra.policy_example import good, trust
from tests.infra.policy_parts import ACCOUNT, REGION, TAGS, key_arn, policy

# The SDK warns about its own old classes when it is imported.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:pulumi_aws.*")


def test_the_good_stack_keeps_every_rule() -> None:
    assert not found(good())


@given(st.integers())
def test_the_order_of_resources_means_nothing(seed: int) -> None:
    for stack in (good(), without("store-versioning", "topic-policy", "store-logging")):
        shuffled = list(stack)
        random.Random(seed).shuffle(shuffled)  # noqa: S311 - nothing secret
        assert found(shuffled) == found(stack)


@pytest.mark.parametrize(
    ("rule", "gone", "reported"),
    [
        ("bucket-versioned", "store-versioning", "store"),
        ("bucket-closed-to-the-public", "logs-public", "logs"),
        ("bucket-encrypted", "store-encryption", "store"),
        ("bucket-owner-enforced", "store-ownership", "store"),
        ("bucket-lifecycle", "logs-lifecycle", "logs"),
        ("bucket-transport", "logs-policy", "logs"),
        ("bucket-access-log", "store-logging", "store"),
        ("bucket-access-log", "store-logging", "logs"),
        ("bucket-encrypted", "store-logging", "logs-encryption"),
        ("bucket-object-lock", "store-lock", "store"),
        ("topic-subscribed", "mail", "topic"),
        ("topic-lets-its-senders-publish", "topic-policy", "topic"),
        ("alarm-leads-to-a-topic", "topic", "alarm"),
        ("topic-encrypted", "topic-key", "topic"),
    ],
)
def test_a_missing_resource_is_caught(rule: str, gone: str, reported: str) -> None:
    assert (rule, reported) in found(without(gone))


@pytest.mark.parametrize(
    "part", ["versioning", "public", "encryption", "lifecycle", "ownership", "policy", "logging", "lock"]
)
def test_a_second_side_resource_is_caught(part: str) -> None:
    twin = replace(of(good(), f"store-{part}"), name="twin")
    assert ("bucket-one-side-resource", "twin") in found(plus(twin))


def test_a_secret_or_a_key_of_several_regions_is_caught_by_its_type() -> None:
    access_key = Resource("aws:iam/accessKey:AccessKey", "access", {"user": "shop-writer"})
    replica = Resource(
        "aws:kms/replicaKey:ReplicaKey", "replica", {"primaryKeyArn": key_arn("key"), "tags": TAGS}
    )
    assert found(plus(access_key, replica)) == {
        ("no-secret-values", "access"),
        ("key-of-one-region", "replica"),
    }


@pytest.mark.parametrize("name", ["store", "logs", "key", "topic-key"])
def test_production_protects_buckets_and_keys(name: str) -> None:
    stack = [replace(r, protect=False) if r.name == name else r for r in good()]
    assert found(stack) == {("protected-in-production", name)}


def test_a_local_stack_may_be_destroyed() -> None:
    tags = {**TAGS, "Environment": "local"}
    stack = [
        replace(
            r,
            protect=False,
            properties={
                **r.properties,
                **({"tags": tags} if "tags" in r.properties else {}),
                **({"forceDestroy": True} if r.name in ("store", "user") else {}),
                **({"deletionWindowInDays": 7} if r.type == "aws:kms/key:Key" else {}),
            },
        )
        for r in good()
    ]
    assert not found(stack)


def test_a_bucket_of_a_region_without_a_log_target_need_not_log() -> None:
    stack = [
        replace(r, properties={**r.properties, "region": "eu-west-1"}) if r.name == "store" else r
        for r in without("store-logging")
    ]
    other = [
        replace(r, name=f"other-{r.name}", properties={**r.properties, "bucket": "other"})
        for r in good()
        if r.name.startswith("store") and r.name != "store"
    ]
    bucket = of(good(), "store")
    arn = "arn:aws:s3:::other"
    more = [
        replace(bucket, name="other", properties={**bucket.properties, "bucket": "other", "arn": arn}),
        *other,
    ]
    assert ("bucket-access-log", "store") not in found([*stack, *more])
    assert ("bucket-access-log", "other") not in found([*stack, *more])
    assert ("bucket-access-log", "other") in found(
        [*stack, *(r for r in more if r.name != "other-store-logging"), of(good(), "store-logging")]
    )


def test_an_alarm_and_its_topic_may_both_be_in_another_region() -> None:
    moved = [
        replace(r, properties={k: _moved(v) for k, v in r.properties.items()})
        if r.name in ("alarm", "event", "event-target", "budget", "topic", "topic-policy", "mail")
        else r
        for r in good()
    ]
    assert not found(moved)


def _moved(value: Any) -> Any:
    if isinstance(value, list):
        return [_moved(item) for item in value]
    if isinstance(value, dict):
        return {k: _moved(v) for k, v in value.items()}
    return (
        value.replace(f":{REGION}:{ACCOUNT}", f":eu-west-1:{ACCOUNT}")
        if isinstance(value, str) and ":kms:" not in value
        else value
    )


def test_a_key_of_topics_alone_may_go_soon() -> None:
    assert not found(changed("topic-key", setting("deletionWindowInDays", 7)))
    parameter = Resource("aws:ssm/parameter:Parameter", "p", {"keyId": key_arn("topic-key"), "tags": TAGS})
    stack = [*changed("topic-key", setting("deletionWindowInDays", 7)), parameter]
    assert found(stack) == {("key-recoverable", "topic-key")}


def test_a_service_may_be_held_to_what_it_sends_but_the_world_may_not() -> None:
    sent = {"StringEqualsIfExists": {"aws:SourceAccount": ACCOUNT}}
    assert not found(
        changed("replication", setting("assumeRolePolicy", trust({"Service": "s3.amazonaws.com"}, sent)))
    )
    stack = changed("topic-policy", in_policy(lambda s: s[0].update(Principal="*", Condition=sent)))
    assert ("no-wildcard-principal", "topic-policy") in found(stack)


def test_settings_may_be_looked_at_and_own_keys_changed_without_naming_them() -> None:
    tags = {"StringEquals": {"aws:ResourceTag/App": "shop", "aws:ResourceTag/Environment": "production"}}
    more = more_statements(
        allow(Action=["s3:GetBucket*", "kms:DescribeKey", "iam:ListRolePolicies"], Resource="*"),
        allow(Action="kms:PutKeyPolicy", Resource="*", Condition=tags),
    )
    assert not found(changed("user-policy", more))


def test_a_bucket_of_a_trail_with_a_key_needs_none_of_its_own() -> None:
    plain = setting("rules.0.applyServerSideEncryptionByDefault", {"sseAlgorithm": "AES256"})
    trail = {"s3BucketName": "store", "tags": TAGS}
    token = "aws:cloudtrail/trail:Trail"
    stack = changed("store-encryption", plain)
    assert found([*stack, Resource(token, "trail", {**trail, "kmsKeyId": key_arn("key")})]) == set()
    assert found([*stack, Resource(token, "trail", trail)]) == {("bucket-encrypted", "store-encryption")}


def test_an_event_may_go_elsewhere_than_to_a_topic() -> None:
    logs = f"arn:aws:logs:{REGION}:{ACCOUNT}:log-group:/events"
    assert not found(changed("event-target", setting("arn", logs)))


def test_a_topic_s_key_may_be_named_by_its_alias() -> None:
    alias = Resource("aws:kms/alias:Alias", "alias", {"name": "alias/topics", "targetKeyId": "topic-key"})
    stack = [*changed("topic", setting("kmsMasterKeyId", "alias/topics")), alias]
    assert not found(stack)


def test_a_managed_policy_may_delete_when_only_break_glass_has_it() -> None:
    arn = f"arn:aws:iam::{ACCOUNT}:policy/delete"
    document = policy(allow(Action="s3:DeleteObject"))
    managed = Resource("aws:iam/policy:Policy", "managed", {"arn": arn, "policy": document, "tags": TAGS})

    def attached(role: str) -> Resource:
        return Resource(
            "aws:iam/rolePolicyAttachment:RolePolicyAttachment",
            f"to-{role}",
            {"role": role, "policyArn": arn},
        )

    assert ("no-deletion", "managed") in found(plus(managed))
    assert not found(plus(managed, attached("shop-break-glass")))
    assert ("no-deletion", "managed") in found(
        plus(managed, attached("shop-break-glass"), attached("shop-ci"))
    )


def test_a_preview_joins_unknown_values_by_their_dependencies() -> None:
    arn_free = [
        replace(r, properties={**r.properties, "arn": UNKNOWN}) if r.name == "topic" else r for r in good()
    ]
    joined = {
        "alarm": "alarmActions",
        "topic-policy": "arn",
        "mail": "topic",
        "event-target": "arn",
        "budget": "notifications",
    }
    stack = [
        replace(
            r,
            properties={
                **{k: v for k, v in r.properties.items() if k != "okActions"},
                joined[r.name]: [UNKNOWN] if r.name in ("alarm", "budget") else UNKNOWN,
            },
            property_dependencies={joined[r.name]: frozenset({"topic"})},
        )
        if r.name in joined
        else r
        for r in arn_free
    ]
    assert not found(stack)
    nobody = [replace(r, property_dependencies={}) for r in stack]
    assert {("alarm-leads-to-a-topic", "alarm"), ("topic-subscribed", "topic")} <= found(nobody)


def test_dependencies_choose_between_resources_that_share_a_value() -> None:
    first, second = (Resource("aws:kms/key:Key", n, {"arn": "same"}) for n in ("first", "second"))
    topic = Resource("aws:sns/topic:Topic", "t", {"key": "same"}, {"key": frozenset({"second"})})
    stack = Stack([first, second, topic])
    assert stack.referred(topic, "key", ["aws:kms/key:Key"], "arn") == [second]
    assert stack.referred(replace(topic, property_dependencies={}), "key", ["aws:kms/key:Key"], "arn") == [
        first,
        second,
    ]


@given(st.text(alphabet="abAB*?:/.", max_size=12), st.text(alphabet="abAB:/.", max_size=12))
def test_patterns_match_as_iam_s_do(pattern: str, value: str) -> None:
    assert like(pattern, value) is fnmatch.fnmatchcase(value.lower(), pattern.lower())


def test_every_rule_has_a_test_that_it_catches_and_words_that_help() -> None:
    caught = {rule for table in (test_policy_access, test_policy_storage) for rule, _, _ in table.CHANGES}
    others = {"bucket-access-log", "bucket-one-side-resource", "topic-subscribed", "protected-in-production"}
    assert caught | others == {rule.id for rule in RULES}
    for rule in RULES:
        assert rule.what.endswith("."), rule.id
        assert rule.why.endswith("."), rule.id
        assert not rule.mend.endswith("."), rule.id
