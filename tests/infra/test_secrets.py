"""What the secrets and their reminder register, and what their policies refuse."""

from __future__ import annotations

import json

import pytest

from infra import names
from infra.components.secrets import RotationReminder, RotationReminderArgs, Secrets, SecretsArgs
from infra.config import StackConfig
from infra.documents import secrets as documents
from sandbox.aws_endpoint.policy import Result
from sandbox.aws_plugin import schema
from steward.appfile import HostIdentity
from tests.infra.conftest import APP_NAMES, stack_config
from tests.infra.decisions import EVERYTHING, decision
from tests.infra.recording import ACCOUNT, Registered, record
from tests.infra.test_identity import stack_with

# The SDK warns about its own old classes when it is imported.
pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning:pulumi_aws.*"),
    pytest.mark.usefixtures("mocked_pulumi"),
]

TOPIC = f"arn:aws:sns:us-east-1:{ACCOUNT}:bitesbay-local-warning"


def register(stack: StackConfig) -> dict[str, Registered]:
    """The components' resources by the last part of their name."""

    def make() -> None:
        Secrets("s", SecretsArgs(stack, ACCOUNT))
        RotationReminder("r", RotationReminderArgs(stack, TOPIC))

    seen = {r.name: r for r in record(stack, make)}
    for resource in seen.values():
        if resource.type.startswith("aws:"):
            problems = list(schema.check(schema.arguments_class(resource.type), resource.inputs))
            assert problems == [], f"{resource.name}: {problems}"
    return seen


def secret_names(seen: dict[str, Registered]) -> set[str]:
    return {r.inputs["name"] for r in seen.values() if r.type == "aws:secretsmanager/secret:Secret"}


@pytest.mark.parametrize("app", APP_NAMES)
def test_every_secret_has_its_place_and_no_value(app: str) -> None:
    seen = register(stack_config(app))
    own = {"jwt", "mongodb", "notify", "pings", "razorpay", "redis", "smtp"}
    assert secret_names(seen) == {
        f"steward/{app}/local/{name}" for name in own | {"aws-host-key", "aws-log-key"}
    }
    kinds = {r.type for r in seen.values()}
    assert "aws:secretsmanager/secretVersion:SecretVersion" not in kinds
    assert "aws:iam/accessKey:AccessKey" not in kinds
    key = f"arn:aws:kms:us-east-1:{ACCOUNT}:key/k"
    for resource in seen.values():
        if resource.type == "aws:secretsmanager/secret:Secret":
            assert resource.inputs["kmsKeyId"] == key
            assert resource.inputs["tags"]["RotateDays"] == "90"
            assert resource.inputs["recoveryWindowInDays"] == 0


@pytest.mark.parametrize("choice", ["instance_profile", "roles_anywhere"])
def test_hosts_without_an_access_key_have_no_place_for_one(choice: HostIdentity) -> None:
    seen = register(stack_with(choice))
    assert "steward/kampyn/staging/aws-host-key" not in secret_names(seen)
    assert seen["s-jwt"].inputs["recoveryWindowInDays"] == 30


def test_only_a_production_key_is_protected() -> None:
    assert register(stack_config(environment="production"))["s-key"].protect
    assert not register(stack_config(environment="staging"))["s-key"].protect
    assert register(stack_config())["s-key"].inputs["deletionWindowInDays"] == 7


def test_the_reminder_comes_as_often_as_the_app_file_says() -> None:
    stack = stack_config()
    seen = register(stack)
    rule, target = seen["r-rule"].inputs, seen["r-target"].inputs
    assert rule["scheduleExpression"] == "rate(90 days)"
    assert (target["rule"], target["arn"]) == (rule["name"], TOPIC)
    text = json.loads(target["input"])
    assert "BitesBay, local" in text
    assert "90 days" in text
    secrets = stack.app.secrets.model_copy(update={"rotate_days": 1})
    daily = StackConfig(
        stack.app.model_copy(update={"secrets": secrets}), "local", stack.region, stack.settings
    )
    assert register(daily)["r-rule"].inputs["scheduleExpression"] == "rate(1 day)"


def asked(document: dict[str, object], action: str, arn: str, **context: str) -> bool:
    """What the endpoint decides for somebody whose identity may do everything."""
    given = {"aws:principalarn": arn, "aws:principalaccount": ACCOUNT, "aws:principalisawsservice": "false"}
    keys = {**given, **context}
    found = decision(arn, action, "arn:aws:x:::y", keys, identity=EVERYTHING, of_resource=document)
    return found is Result.ALLOWED


def test_hosts_and_strangers_are_refused_secrets_whatever_they_are_given() -> None:
    hosts = names.host_arns(ACCOUNT, "bitesbay-local")
    document = documents.secret_policy(account_id=ACCOUNT, host_arns=hosts)
    person = f"arn:aws:iam::{ACCOUNT}:user/ada"
    read = "secretsmanager:GetSecretValue"
    assert asked(document, read, person)
    for host in hosts:
        assert not asked(document, read, host)
    assert not asked(document, read, person, **{"aws:principalaccount": "999999999999"})


def test_the_key_is_used_through_secrets_manager_only() -> None:
    document = documents.key_policy(account_id=ACCOUNT, region="us-east-1")
    person = f"arn:aws:iam::{ACCOUNT}:user/ada"
    through = {"kms:viaservice": "secretsmanager.us-east-1.amazonaws.com"}
    assert asked(document, "kms:Decrypt", person, **through)
    assert not asked(document, "kms:Decrypt", person)
    assert not asked(document, "kms:Decrypt", person, **{"kms:viaservice": "s3.us-east-1.amazonaws.com"})
    assert asked(document, "kms:PutKeyPolicy", person)
