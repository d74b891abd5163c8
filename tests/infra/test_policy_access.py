"""Rules of alerting and identity: each way to break one is caught at its resource."""

from __future__ import annotations

from typing import Any

import pytest

from tests.infra.policy_changes import allow, changed, found, in_policy, more_statements, setting
from tests.infra.policy_example import trust
from tests.infra.policy_parts import ACCOUNT, TOPIC_ARN

# The SDK warns about its own old classes when it is imported.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:pulumi_aws.*")

FOREIGN = "arn:aws:sns:us-east-1:123456789012:foreign"
STS = {"Effect": "Allow", "Action": "sts:AssumeRole"}

#: The rule, the resource that is changed and reported, the change.
CHANGES: list[tuple[str, str, Any]] = [
    ("alarm-acts", "alarm", lambda p: p.pop("alarmActions")),
    ("alarm-acts", "alarm", setting("alarmActions", [])),
    ("alarm-acts", "alarm", setting("actionsEnabled", False)),
    ("alarm-leads-to-a-topic", "alarm", setting("alarmActions", [TOPIC_ARN, FOREIGN])),
    ("alarm-leads-to-a-topic", "alarm", setting("okActions", [FOREIGN])),
    (
        "alarm-leads-to-a-topic",
        "alarm",
        setting("arn", f"arn:aws:cloudwatch:eu-west-1:{ACCOUNT}:alarm:alarm"),
    ),
    ("alarm-leads-to-a-topic", "event-target", setting("arn", FOREIGN)),
    (
        "alarm-leads-to-a-topic",
        "budget",
        setting("notifications.0.subscriberSnsTopicArns", [TOPIC_ARN, FOREIGN]),
    ),
    (
        "topic-lets-its-senders-publish",
        "topic-policy",
        in_policy(lambda s: s[0]["Principal"]["Service"].pop(0)),
    ),
    (
        "topic-lets-its-senders-publish",
        "topic-policy",
        in_policy(lambda s: s[0]["Principal"]["Service"].pop(1)),
    ),
    (
        "topic-lets-its-senders-publish",
        "topic-policy",
        in_policy(lambda s: s.pop(1)),
    ),
    (
        "topic-lets-its-senders-publish",
        "topic-policy",
        in_policy(lambda s: s[0].update(Action="sns:Subscribe")),
    ),
    ("topic-lets-its-senders-publish", "topic-policy", in_policy(lambda s: s[0].update(Resource=FOREIGN))),
    (
        "topic-lets-its-senders-publish",
        "topic-policy",
        in_policy(lambda s: s[0]["Condition"]["StringEquals"].update({"aws:SourceAccount": "9" * 12})),
    ),
    (
        "topic-lets-its-senders-publish",
        "topic-policy",
        in_policy(lambda s: s[0].update(Condition={"ArnLike": {"aws:SourceArn": "arn:aws:s3:::*"}})),
    ),
    (
        "topic-lets-its-senders-publish",
        "topic-policy",
        in_policy(lambda s: s[0]["Condition"].update(IpAddress={"aws:SourceIp": "10.0.0.0/8"})),
    ),
    ("topic-lets-its-senders-publish", "topic-policy", in_policy(lambda s: s[2].pop("Condition"))),
    (
        "topic-lets-its-senders-publish",
        "topic-policy",
        in_policy(lambda s: s[2].update(Condition={"Bool": {"aws:PrincipalIsAWSService": "true"}})),
    ),
    (
        "topic-lets-its-senders-publish",
        "topic-policy",
        in_policy(lambda s: s[1].update(Condition=s[0]["Condition"])),
    ),
    ("topic-key-lets-its-senders-in", "topic-key", in_policy(lambda s: s.pop(1))),
    ("topic-key-lets-its-senders-in", "topic-key", in_policy(lambda s: s.pop(2))),
    ("topic-key-lets-its-senders-in", "topic-key", in_policy(lambda s: s[1]["Action"].pop(0))),
    ("topic-key-lets-its-senders-in", "topic-key", in_policy(lambda s: s[1]["Action"].pop(1))),
    ("topic-encrypted", "topic", setting("kmsMasterKeyId", "alias/aws/sns")),
    ("topic-encrypted", "topic", lambda p: p.pop("kmsMasterKeyId")),
    ("no-wildcard-principal", "topic-policy", in_policy(lambda s: s[0].update(Principal="*", Condition={}))),
    (
        "no-wildcard-principal",
        "topic-policy",
        in_policy(
            lambda s: s[0].update(
                Principal={"AWS": ["*"]}, Condition={"StringLike": {"aws:SourceAccount": "*"}}
            )
        ),
    ),
    (
        "no-wildcard-principal",
        "topic-policy",
        in_policy(
            lambda s: s[0].update(Principal="*", Condition={"StringNotEquals": {"aws:SourceAccount": "1"}})
        ),
    ),
    (
        "no-wildcard-principal",
        "store-policy",
        more_statements(allow(NotPrincipal={"AWS": "arn:aws:iam::1:root"})),
    ),
    ("no-wildcard-action", "user-policy", more_statements(allow(Action="*"))),
    ("no-wildcard-action", "user-policy", more_statements(allow(Action=["S3:*"]))),
    ("no-wildcard-action", "user-policy", more_statements(allow(Action="kms:*"))),
    ("no-wildcard-action", "user-policy", more_statements(allow(Action=None, NotAction="iam:*"))),
    (
        "no-wildcard-action",
        "key",
        in_policy(lambda s: s[0].update(Principal={"AWS": [f"arn:aws:iam::{ACCOUNT}:user/a"]})),
    ),
    ("no-wildcard-resource", "user-policy", more_statements(allow(Resource="*"))),
    ("no-wildcard-resource", "user-policy", more_statements(allow(Resource=["arn:aws:s3:::*"]))),
    (
        "no-wildcard-resource",
        "user-policy",
        more_statements(allow(Resource=None, NotResource="arn:aws:s3:::x")),
    ),
    ("no-wildcard-resource", "user-policy", in_policy(lambda s: s[1].pop("Condition"))),
    (
        "no-wildcard-resource",
        "user-policy",
        in_policy(lambda s: s[1]["Action"].append("cloudwatch:PutDashboard")),
    ),
    ("no-wildcard-resource", "user-policy", more_statements(allow(Action="s3:Get*", Resource="*"))),
    ("no-wildcard-resource", "user-policy", more_statements(allow(Action="iam:CreateUser", Resource="*"))),
    (
        "no-wildcard-resource",
        "user-policy",
        more_statements(
            allow(
                Action="kms:PutKeyPolicy",
                Resource="*",
                Condition={"StringEquals": {"aws:ResourceTag/App": "shop"}},
            )
        ),
    ),
    ("no-deletion", "user-policy", more_statements(allow(Action="s3:DeleteObject"))),
    ("no-deletion", "user-policy", more_statements(allow(Action="s3:Delete*"))),
    ("no-deletion", "user-policy", more_statements(allow(Action="s3:bypassgovernanceretention"))),
    (
        "no-deletion",
        "store-policy",
        more_statements(
            allow(Action="s3:DeleteObjectVersion", Principal={"AWS": f"arn:aws:iam::{ACCOUNT}:root"})
        ),
    ),
    ("no-deletion", "glass-policy", setting("role", "shop-ci")),
    (
        "no-confused-deputy",
        "replication",
        setting("assumeRolePolicy", trust({"Service": "s3.amazonaws.com"}, {})),
    ),
    (
        "no-confused-deputy",
        "host",
        setting(
            "assumeRolePolicy",
            trust(
                {"Service": "rolesanywhere.amazonaws.com"},
                {"StringLike": {"aws:PrincipalTag/x509Subject/CN": "h*"}},
            ),
        ),
    ),
    (
        "no-confused-deputy",
        "logs-policy",
        more_statements(allow(Action="s3:PutObject", Principal={"Service": "logging.s3.amazonaws.com"})),
    ),
    (
        "federation-names-its-subject",
        "ci",
        in_policy(lambda s: s[0]["Condition"]["StringEquals"].popitem(), "assumeRolePolicy"),
    ),
    (
        "federation-names-its-subject",
        "ci",
        setting("assumeRolePolicy", trust({"Federated": "accounts.google.com"}, {})),
    ),
    (
        "federation-names-its-subject",
        "ci",
        in_policy(
            lambda s: s[0].update(Condition={"StringNotEquals": s[0]["Condition"]["StringEquals"]}),
            "assumeRolePolicy",
        ),
    ),
    ("boundary", "user", lambda p: p.pop("permissionsBoundary")),
    ("boundary", "host", lambda p: p.pop("permissionsBoundary")),
    ("boundary", "ec2-host", lambda p: p.pop("permissionsBoundary")),
    ("break-glass-needs-mfa", "glass", in_policy(lambda s: s[0].pop("Condition"), "assumeRolePolicy")),
    (
        "break-glass-needs-mfa",
        "glass",
        in_policy(
            lambda s: s.append({**STS, "Principal": {"AWS": "arn:aws:iam::1:root"}}), "assumeRolePolicy"
        ),
    ),
]


@pytest.mark.parametrize(("rule", "name", "change"), CHANGES)
def test_a_change_is_caught(rule: str, name: str, change: Any) -> None:
    assert (rule, name) in found(changed(name, change))
