"""A small production stack that keeps every rule; tests spoil it one thing at a time."""

from __future__ import annotations

import copy

from infra import names
from infra.policy.model import Resource
from tests.infra.policy_parts import (
    ACCOUNT,
    REGION,
    TAGS,
    TOPIC_ARN,
    Properties,
    bucket,
    key,
    key_arn,
    policy,
    publishers,
)


def alerting() -> list[tuple[str, str, Properties]]:
    """An alarm, an event rule and a budget that reach a topic with a subscription."""
    transport = {
        "Effect": "Deny",
        "Principal": "*",
        "Action": "sns:Publish",
        "Resource": TOPIC_ARN,
        "Condition": {"Bool": {"aws:SecureTransport": "false"}},
    }
    return [
        key("topic-key", *publishers(["kms:Decrypt", "kms:GenerateDataKey*"], "*")),
        (
            "aws:sns/topic:Topic",
            "topic",
            {"arn": TOPIC_ARN, "kmsMasterKeyId": key_arn("topic-key"), "tags": TAGS},
        ),
        (
            "aws:sns/topicPolicy:TopicPolicy",
            "topic-policy",
            {"arn": TOPIC_ARN, "policy": policy(*publishers(["sns:Publish"], TOPIC_ARN), transport)},
        ),
        (
            "aws:sns/topicSubscription:TopicSubscription",
            "mail",
            {"topic": TOPIC_ARN, "protocol": "email", "endpoint": "ops@example.com"},
        ),
        (
            "aws:cloudwatch/metricAlarm:MetricAlarm",
            "alarm",
            {
                "arn": f"arn:aws:cloudwatch:{REGION}:{ACCOUNT}:alarm:alarm",
                "alarmActions": [TOPIC_ARN],
                "okActions": [TOPIC_ARN],
                "tags": TAGS,
            },
        ),
        (
            "aws:cloudwatch/eventRule:EventRule",
            "event",
            {"name": "event", "arn": f"arn:aws:events:{REGION}:{ACCOUNT}:rule/event", "tags": TAGS},
        ),
        ("aws:cloudwatch/eventTarget:EventTarget", "event-target", {"rule": "event", "arn": TOPIC_ARN}),
        (
            "aws:budgets/budget:Budget",
            "budget",
            {"name": "shop", "tags": TAGS, "notifications": [{"subscriberSnsTopicArns": [TOPIC_ARN]}]},
        ),
    ]


def trust(principal: Properties, condition: Properties) -> str:
    """A role's trust policy."""
    return policy(
        {"Effect": "Allow", "Principal": principal, "Action": "sts:AssumeRole", "Condition": condition}
    )


def identities() -> list[tuple[str, str, Properties]]:
    """A host's user and role, a service's role, CI's and the break-glass role, each with what it may do."""
    provider = "token.actions.githubusercontent.com"
    oidc = f"arn:aws:iam::{ACCOUNT}:oidc-provider/{provider}"
    bound = {"permissionsBoundary": names.policy_arn(ACCOUNT, "shop-boundary"), "tags": TAGS}
    of_account = {"StringEquals": {"aws:SourceAccount": ACCOUNT}}
    subject = {
        "StringEquals": {f"{provider}:aud": "sts.amazonaws.com", f"{provider}:sub": "repo:o/r:environment:p"}
    }
    put = {"Effect": "Allow", "Action": ["s3:PutObject"], "Resource": f"{names.bucket_arn('store')}/daily/*"}
    publish = {
        "Effect": "Allow",
        "Action": ["cloudwatch:PutMetricData"],
        "Resource": "*",
        "Condition": {"StringEquals": {"cloudwatch:namespace": "Steward"}},
    }
    delete = {
        "Effect": "Allow",
        "Action": ["s3:DeleteObjectVersion", "s3:BypassGovernanceRetention"],
        "Resource": f"{names.bucket_arn('store')}/*",
    }
    mfa = {"Bool": {"aws:MultiFactorAuthPresent": "true"}}
    return [
        ("aws:iam/user:User", "user", {"name": "shop-writer", **bound}),
        (
            "aws:iam/userPolicy:UserPolicy",
            "user-policy",
            {"user": "shop-writer", "policy": policy(put, publish)},
        ),
        (
            "aws:iam/role:Role",
            "host",
            {
                "name": "shop-host",
                "assumeRolePolicy": trust({"Service": "rolesanywhere.amazonaws.com"}, of_account),
                **bound,
            },
        ),
        (
            "aws:iam/role:Role",
            "ec2-host",
            {"name": "shop-ec2", "assumeRolePolicy": trust({"Service": "ec2.amazonaws.com"}, {}), **bound},
        ),
        (
            "aws:iam/role:Role",
            "replication",
            {
                "name": "shop-replication",
                "tags": TAGS,
                "assumeRolePolicy": trust({"Service": "s3.amazonaws.com"}, of_account),
            },
        ),
        (
            "aws:iam/role:Role",
            "ci",
            {"name": "shop-ci", "tags": TAGS, "assumeRolePolicy": trust({"Federated": oidc}, subject)},
        ),
        (
            "aws:iam/role:Role",
            "glass",
            {
                "name": names.break_glass_role("shop"),
                "tags": TAGS,
                "assumeRolePolicy": trust({"AWS": f"arn:aws:iam::{ACCOUNT}:root"}, mfa),
            },
        ),
        (
            "aws:iam/rolePolicy:RolePolicy",
            "glass-policy",
            {"role": names.break_glass_role("shop"), "policy": policy(delete)},
        ),
    ]


def good() -> list[Resource]:
    """The whole example."""
    made = [
        key("key"),
        *bucket("store", logs_to="logs", lock=True),
        *bucket("logs", logs_to=None, kms=False),
        *alerting(),
        *identities(),
    ]
    kept = ("aws:s3/bucket:Bucket", "aws:kms/key:Key")
    return [
        Resource(type_, name, copy.deepcopy(properties), protect=type_ in kept)
        for type_, name, properties in made
    ]
