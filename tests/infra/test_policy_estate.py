"""The rules over the stacks as they are, and the pack that hands them to an official CLI."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast, get_args

import grpc
import pytest
from google.protobuf.empty_pb2 import Empty
from pulumi.provider.experimental.property_value import PropertyValue
from pulumi.runtime.proto.analyzer_pb2 import (
    AnalyzerPropertyDependencies,
    AnalyzerResource,
    AnalyzerResourceOptions,
    AnalyzeStackRequest,
    EnforcementLevel,
)
from pulumi.runtime.proto.analyzer_pb2_grpc import AnalyzerStub
from pulumi_policy import (
    PolicyResource,
    ResourceValidationArgs,
    ResourceValidationPolicy,
    StackValidationArgs,
    StackValidationPolicy,
)
from pulumi_policy.proxy import UNKNOWN_STRING_VALUE, unknown_checking_proxy

from infra.config import REPOSITORY
from infra.policy.model import UNKNOWN, Resource
from infra.policy.pack import plain, policies
from infra.policy.rules import RULES, broken
from infra.policy.tags import can_carry_tags
from sandbox.aws_plugin.values import from_properties
from steward.appfile import ENVIRONMENTS, Environment, HostIdentity, Offsite
from tests.infra.conftest import APP_NAMES, stack_config
from tests.infra.recording import ACCOUNT, Registered, arn, record_estate

# The SDK warns about its own old classes when it is imported.
pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning:pulumi_aws.*"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning:pulumi_gcp.*"),
    pytest.mark.usefixtures("mocked_pulumi"),
]

#: Settings that make an estate register what the stack files alone do not.
EVERYTHING: dict[str, object] = {
    "break_glass_principals": [f"arn:aws:iam::{ACCOUNT}:user/admin"],
    "ci_repository": "team/steward",
    "ec2_instances": {"app1": "i-0123456789abcdef0"},
    "object_lock_mode": "COMPLIANCE",
    "roles_anywhere_ca": "-----BEGIN CERTIFICATE-----\n",
}


def estate(app: str, environment: Environment, **settings: object) -> list[Resource]:
    """A whole stack as the rules see it."""
    stack = stack_config(app, environment, **settings)
    return [as_resource(r) for r in record_estate(stack)]


def as_resource(seen: Registered) -> Resource:
    """A recorded resource with the outputs that the recording answers."""
    outputs = {"arn": arn(seen.type, seen.inputs), "keyId": "k"} if seen.type.startswith("aws:") else {}
    # An ARN among the arguments is one of another resource, as of the topic of a topic's policy.
    properties = {"id": f"{seen.name}-id", **outputs, **seen.inputs}
    return Resource(seen.type, seen.name, properties, seen.property_dependencies, seen.protect, seen.name)


def violations(resources: list[Resource]) -> list[str]:
    """What is broken, one line each."""
    return [f"{rule.id}: {v.resource} {v.text}" for rule, v in broken(resources)]


@pytest.mark.parametrize("settings", [{}, EVERYTHING], ids=["plain", "everything"])
@pytest.mark.parametrize("environment", ENVIRONMENTS)
@pytest.mark.parametrize("app", APP_NAMES)
def test_every_stack_keeps_every_rule(
    app: str, environment: Environment, settings: dict[str, object]
) -> None:
    assert violations(estate(app, environment, **settings)) == []


@pytest.mark.parametrize("identity", get_args(HostIdentity))
@pytest.mark.parametrize("offsite", get_args(Offsite))
def test_every_choice_of_an_app_file_keeps_every_rule(offsite: Offsite, identity: HostIdentity) -> None:
    stack = stack_config("bitesbay", "production", gcs_project="p", gcs_location="EU", **EVERYTHING)
    cloud = stack.app.cloud.model_copy(
        update={"offsite": {"production": offsite}, "host_identity": {"production": identity}}
    )
    stack = replace(stack, app=stack.app.model_copy(update={"cloud": cloud}))
    seen = record_estate(stack)
    assert violations([as_resource(r) for r in seen]) == []


def policy_resources(stack: list[Resource]) -> list[PolicyResource]:
    """Resources as the policy SDK hands them to a policy."""
    made = {
        r.name: PolicyResource(
            r.type,
            unknown_checking_proxy(dict(r.properties)),
            f"urn::{r.name}",
            r.name,
            cast("Any", SimpleNamespace(protect=r.protect)),
            None,
            None,
            [],
            {},
        )
        for r in stack
    }
    for r in stack:
        made[r.name].property_dependencies = {
            name: [made[source] for source in sources if source in made]
            for name, sources in r.property_dependencies.items()
        }
    return list(made.values())


def reports(stack: list[Resource]) -> set[tuple[str, str | None]]:
    """Rule and URN of everything that the pack reports about a stack."""
    given = policy_resources(stack)
    found: set[tuple[str, str | None]] = set()
    for policy in policies():

        def report(_: str, urn: str | None = None, name: str = policy.name) -> None:
            found.add((name, urn))

        if isinstance(policy, StackValidationPolicy):
            policy.validate(StackValidationArgs(given), report)
        elif isinstance(policy, ResourceValidationPolicy):
            for r in given:
                options = cast("Any", r.opts)
                alone = ResourceValidationArgs(r.resource_type, r.props, r.urn, r.name, options, None)
                policy.validate(alone, report)
    return found


def test_the_pack_reports_what_the_rules_find() -> None:
    stack = estate("bitesbay", "production")
    broken_by_hand = [
        r if not r.type.endswith(":BucketVersioning") else Resource(r.type, r.name, {"bucket": "another"})
        for r in stack
    ]
    leaked = Resource("aws:ssm/parameter:Parameter", "leak", {"value": "AKIA" + "A" * 16})
    for resources in (stack, [*broken_by_hand, leaked]):
        expected = {(rule.id, f"urn::{v.resource.name}") for rule, v in broken(resources)}
        assert reports(resources) == expected
    assert {"bucket-versioned", "no-secret-values"} <= {name for name, _ in expected}


def test_the_pack_names_every_rule_once_and_makes_it_mandatory() -> None:
    made = policies()
    assert [p.name for p in made] == [rule.id for rule in RULES]
    assert len({p.name for p in made}) == len(made)
    for policy in made:
        assert policy.enforcement_level is not None
        assert policy.enforcement_level.value == "mandatory"
        assert policy.remediation_steps


def unknown_outputs(resource: Resource) -> Resource:
    """The resource as a preview of a new stack knows it: nothing that AWS would make up."""
    made_of_outputs = {name for name, sources in resource.property_dependencies.items() if sources}
    hidden = {*made_of_outputs, "arn", "keyId", "id"} - {"bucket"}
    properties = {k: UNKNOWN_STRING_VALUE if k in hidden else v for k, v in resource.properties.items()}
    return replace(resource, properties=properties)


@pytest.mark.parametrize("environment", ENVIRONMENTS)
def test_a_preview_of_a_new_stack_breaks_no_rule_that_the_stack_keeps(environment: Environment) -> None:
    stack = estate("bitesbay", environment)
    found = reports([unknown_outputs(r) for r in stack])
    assert found <= {(rule.id, f"urn::{v.resource.name}") for rule, v in broken(stack)}


def test_unknown_values_do_not_end_a_rule() -> None:
    proxy = unknown_checking_proxy({"a": [{"b": UNKNOWN_STRING_VALUE, "c": 7.0}], "d": UNKNOWN_STRING_VALUE})
    assert plain(proxy) == {"a": [{"b": UNKNOWN, "c": 7}], "d": UNKNOWN}


@pytest.mark.parametrize(
    ("token", "expected"),
    [
        ("aws:s3/bucket:Bucket", True),
        ("aws:kms/key:Key", True),
        ("aws:iam/role:Role", True),
        ("aws:iam/rolePolicy:RolePolicy", False),
        ("aws:s3/bucketPolicy:BucketPolicy", False),
        ("aws:nothing/thing:Thing", False),
        ("pulumi:pulumi:Stack", False),
    ],
)
def test_the_sdk_says_what_can_carry_tags(token: str, expected: bool) -> None:
    assert can_carry_tags(token) is expected


def analyzed(stack: list[Resource]) -> AnalyzeStackRequest:
    """A stack as the engine sends it to a pack."""
    urns = {r.name: f"urn:pulumi:bitesbay-production::steward::{r.type}::{r.name}" for r in stack}
    return AnalyzeStackRequest(
        resources=[
            AnalyzerResource(
                type=r.type,
                name=r.name,
                urn=urns[r.name],
                properties=PropertyValue.marshal_map(from_properties(dict(r.properties))),
                options=AnalyzerResourceOptions(protect=r.protect),
                propertyDependencies={
                    name: AnalyzerPropertyDependencies(urns=[urns[s] for s in sources if s in urns])
                    for name, sources in r.property_dependencies.items()
                },
            )
            for r in stack
        ]
    )


def test_the_pack_s_process_answers_the_engine_s_questions(tmp_path: Path) -> None:
    """Started and asked as the official CLI does: the folder as program, its port on stdout, then by gRPC."""
    process = subprocess.Popen(
        [sys.executable, str(REPOSITORY / "infra" / "policy")],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        text=True,
        # Else Python would write the port at once, whatever the pack does.
        env={k: v for k, v in os.environ.items() if k != "PYTHONUNBUFFERED"},
    )
    try:
        assert process.stdout is not None
        channel = grpc.insecure_channel(f"127.0.0.1:{int(process.stdout.readline())}")
        pack = AnalyzerStub(channel)
        about = pack.GetAnalyzerInfo(Empty(), timeout=30)
        assert about.name == "steward"
        assert {p.name for p in about.policies} == {rule.id for rule in RULES}

        stack = estate("bitesbay", "production")
        spoiled = [r for r in stack if not r.type.endswith(":BucketVersioning")]
        for resources in (stack, spoiled):
            answer = pack.AnalyzeStack(analyzed(resources), timeout=60)
            told = {(d.policyName, d.urn.rpartition("::")[2]) for d in answer.diagnostics}
            assert told == {(rule.id, v.resource.name) for rule, v in broken(resources)}
            assert all(d.enforcementLevel == EnforcementLevel.Value("MANDATORY") for d in answer.diagnostics)
        assert "bucket-versioned" in {name for name, _ in told}
        assert process.poll() is None
    finally:
        process.kill()
        process.communicate()
