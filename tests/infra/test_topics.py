"""What the topics register: encrypted, signed, subscribed, open to services of the account only."""

from __future__ import annotations

import json

import pytest

from infra.components.topics import Topics, TopicsArgs
from infra.config import StackConfig
from infra.severities import SEVERITIES
from sandbox.aws_plugin import schema
from steward.appfile import ENVIRONMENTS, Contacts, Environment
from tests.infra.conftest import APP_NAMES, stack_config
from tests.infra.recording import ACCOUNT, Registered, record

# The SDK warns about its own old classes when it is imported.
pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning:pulumi_aws.*"),
    pytest.mark.usefixtures("mocked_pulumi"),
]

TOPIC = "aws:sns/topic:Topic"
SUBSCRIPTION = "aws:sns/topicSubscription:TopicSubscription"


def register(stack: StackConfig, region: str = "us-east-1") -> list[Registered]:
    return record(stack, lambda: Topics("t", TopicsArgs(stack, ACCOUNT, region)))


def of_type(seen: list[Registered], type_name: str) -> list[Registered]:
    return [r for r in seen if r.type == type_name]


@pytest.mark.parametrize("app", APP_NAMES)
def test_one_encrypted_topic_a_severity(app: str) -> None:
    topics = {r.inputs["name"]: r for r in of_type(register(stack_config(app)), TOPIC)}
    assert set(topics) == {f"{app}-local-{severity}" for severity in SEVERITIES}
    for topic in topics.values():
        assert topic.inputs["kmsMasterKeyId"] == f"arn:aws:kms:us-east-1:{ACCOUNT}:key/k"
        assert topic.inputs["signatureVersion"] == 2
        assert topic.inputs["tags"]["App"] == app


def test_every_topic_has_its_own_policy() -> None:
    seen = register(stack_config())
    policies = of_type(seen, "aws:sns/topicPolicy:TopicPolicy")
    assert len(policies) == len(SEVERITIES)
    for policy in policies:
        resources = {s["Resource"] for s in json.loads(policy.inputs["policy"])["Statement"]}
        assert resources == {policy.inputs["arn"]}


@pytest.mark.parametrize("app", APP_NAMES)
def test_the_contacts_of_a_severity_are_subscribed_to_its_topic(app: str) -> None:
    stack = stack_config(app)
    found = {
        (r.inputs["topic"].rpartition("-")[2], r.inputs["protocol"], r.inputs["endpoint"])
        for r in of_type(register(stack), SUBSCRIPTION)
    }
    contacts = stack.app.contacts
    assert found == {(s, "email", contact) for s in SEVERITIES for contact in getattr(contacts, s)}


def test_a_contact_can_be_a_url_and_counts_once() -> None:
    contacts = Contacts(
        critical=["https://pager.example/in", "a@b.example", "a@b.example"],
        warning=["a@b.example"],
        info=["a@b.example"],
    )
    stack = stack_config()
    stack = StackConfig(
        stack.app.model_copy(update={"contacts": contacts}), "local", stack.region, stack.settings
    )
    critical = [r for r in of_type(register(stack), SUBSCRIPTION) if "critical" in r.name]
    assert [(r.inputs["protocol"], r.inputs["endpoint"]) for r in critical] == [
        ("https", "https://pager.example/in"),
        ("email", "a@b.example"),
    ]


def test_a_removed_contact_renames_no_other_subscription() -> None:
    def names(*critical: str) -> dict[str, str]:
        contacts = Contacts(critical=list(critical), warning=["x@b.example"], info=["x@b.example"])
        stack = stack_config()
        stack = StackConfig(
            stack.app.model_copy(update={"contacts": contacts}), "local", stack.region, stack.settings
        )
        return {
            r.inputs["endpoint"]: r.name
            for r in of_type(register(stack), SUBSCRIPTION)
            if "critical" in r.name
        }

    assert names("a@b.example", "c@b.example")["c@b.example"] == names("c@b.example")["c@b.example"]


def test_topics_of_another_region_lie_there_with_everything_they_need() -> None:
    seen = register(stack_config(), "eu-central-1")
    assert {r.inputs.get("region") for r in seen if r.type.startswith("aws:")} == {"eu-central-1"}


@pytest.mark.parametrize("environment", ENVIRONMENTS)
def test_the_key_is_rotated_and_kept_in_production(environment: Environment) -> None:
    (key,) = of_type(register(stack_config(environment=environment)), "aws:kms/key:Key")
    assert key.inputs["enableKeyRotation"] is True
    assert key.protect is (environment == "production")


def test_every_argument_is_one_of_the_sdk() -> None:
    for resource in register(stack_config()):
        if resource.type.startswith("aws:"):
            found = list(schema.check(schema.arguments_class(resource.type), resource.inputs))
            assert not found, resource.name
