"""What the identities register, by the app file's choice. A recording monitor instead of an engine."""

from __future__ import annotations

import json
from typing import Any, get_args

import pytest

from infra import names
from infra.components.backup_bucket import BackupBucket, BackupBucketArgs
from infra.components.host_identity import HostIdentity, HostIdentityArgs
from infra.components.log_archive import LogArchive, LogArchiveArgs
from infra.components.log_bucket import LogBucket, LogBucketArgs
from infra.components.people_roles import PeopleRoles, PeopleRolesArgs
from infra.config import StackConfig
from infra.documents import allow, document
from infra.estate import build
from sandbox.aws_plugin import schema
from steward.appfile import Environment
from steward.appfile import HostIdentity as Choice
from tests.infra.conftest import APP_NAMES, stack_config
from tests.infra.recording import ACCOUNT, Registered, record

# The SDK warns about its own old classes when it is imported.
pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning:pulumi_aws.*"),
    pytest.mark.usefixtures("mocked_pulumi"),
]

CALLER = f"arn:aws:iam::{ACCOUNT}:user/engineer"
CA = "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n"


def stack_with(
    choice: Choice, environment: Environment = "staging", app: str = "kampyn", **settings: object
) -> StackConfig:
    """A stack whose app file chooses this identity."""
    stack = stack_config(app, environment, roles_anywhere_ca=CA, **settings)
    cloud = stack.app.cloud.model_copy(
        update={"host_identity": {**stack.app.cloud.host_identity, environment: choice}}
    )
    changed = stack.app.model_copy(update={"cloud": cloud})
    return StackConfig(changed, environment, stack.region, stack.settings)


def register(stack: StackConfig, more: Any = ()) -> dict[str, Registered]:
    """The identities of a stack with the store they need; by the last part of their names."""

    def make() -> None:
        logs = LogBucket(f"{stack.name}-logs", LogBucketArgs(stack, ACCOUNT, CALLER, ()))
        store = BackupBucket(f"{stack.name}-backups", BackupBucketArgs(stack, ACCOUNT, CALLER, logs))
        hosts = HostIdentity(f"{stack.name}-host", HostIdentityArgs(stack, ACCOUNT, store, more))
        archive = LogArchive(f"{stack.name}-archive", LogArchiveArgs(stack, ACCOUNT, CALLER, logs))
        apps = HostIdentityArgs(stack, ACCOUNT, None, [("archive-logs", PUT_LOGS)], hosts.trust_anchor_arn)
        HostIdentity(f"{stack.name}-app-host", apps)
        PeopleRoles(f"{stack.name}-roles", PeopleRolesArgs(stack, ACCOUNT, store, archive))

    seen = {r.name.removeprefix(f"{stack.name}-"): r for r in record(stack, make)}
    for resource in seen.values():
        if resource.type.startswith("aws:"):
            problems = list(schema.check(schema.arguments_class(resource.type), resource.inputs))
            assert problems == [], f"{resource.name}: {problems}"
    return seen


def policies(seen: dict[str, Registered], kind: str) -> dict[str, str]:
    """Part of the name -> policy, of the inline policies of one kind of the hosts that take backups."""
    return {
        name.removeprefix("host-"): r.inputs["policy"]
        for name, r in seen.items()
        if r.type == kind and name.startswith("host-")
    }


PUT_LOGS = document([allow("PutLogs", ["s3:PutObject"], "arn:aws:s3:::kampyn-staging-archive-1/*")])
APP_BOUNDARY = f"arn:aws:iam::{ACCOUNT}:policy/steward/kampyn-staging-app-boundary"
BOUNDARY = f"arn:aws:iam::{ACCOUNT}:policy/steward/kampyn-staging-boundary"


def test_an_access_key_is_of_a_bounded_user() -> None:
    seen = register(stack_with("access_key"))
    user = seen["host-user"]
    assert user.inputs["name"] == names.writer_user("kampyn-staging")
    assert user.inputs["path"] == names.IAM_PATH
    assert user.inputs["permissionsBoundary"] == BOUNDARY
    assert user.inputs["forceDestroy"] is False
    assert register(stack_with("access_key", "local"))["host-user"].inputs["forceDestroy"] is True
    assert set(policies(seen, "aws:iam/userPolicy:UserPolicy")) == {"put-backups", "publish-metrics"}
    assert not [r.type for r in seen.values() if "accessKey" in r.type]
    assert "host-role" not in seen


def test_stacks_built_when_the_user_belonged_to_the_bucket_keep_it() -> None:
    seen = register(stack_with("access_key"))
    assert seen["host-user"].aliases == ("kampyn-staging-backups-writer",)
    assert seen["host-put-backups"].aliases == ("kampyn-staging-backups-writer-policy",)


def test_instances_take_a_bounded_role() -> None:
    seen = register(stack_with("instance_profile"))
    role, profile = seen["host-role"], seen["host-profile"]
    assert role.inputs["name"] == names.host_role("kampyn-staging") == profile.inputs["role"]
    assert role.inputs["permissionsBoundary"] == BOUNDARY
    trust = json.loads(role.inputs["assumeRolePolicy"])
    assert trust["Statement"][0]["Principal"] == {"Service": "ec2.amazonaws.com"}
    assert set(policies(seen, "aws:iam/rolePolicy:RolePolicy")) == {"put-backups", "publish-metrics"}
    assert "host-user" not in seen


def test_hosts_outside_of_aws_show_a_certificate() -> None:
    seen = register(stack_with("roles_anywhere"))
    anchor, profile, role = seen["host-anchor"], seen["host-profile"], seen["host-role"]
    assert anchor.inputs["source"] == {
        "sourceType": "CERTIFICATE_BUNDLE",
        "sourceData": {"x509CertificateData": CA},
    }
    assert anchor.inputs["enabled"] is True
    assert profile.inputs["enabled"] is True
    assert profile.inputs["roleArns"] == [names.role_arn(ACCOUNT, "kampyn-staging-host")]
    (statement,) = json.loads(role.inputs["assumeRolePolicy"])["Statement"]
    assert statement["Condition"]["StringLike"] == {"aws:PrincipalTag/x509Subject/CN": "kampyn-staging-*"}
    assert "kampyn-staging-host-anchor" in role.dependencies
    assert role.inputs["permissionsBoundary"] == BOUNDARY


def test_every_choice_has_the_same_policies_and_further_ones_are_added() -> None:
    more = [("archive-logs", PUT_LOGS)]
    seen = register(stack_with("access_key"), more)
    user = policies(seen, "aws:iam/userPolicy:UserPolicy")
    user["archive-logs"] = seen["host-archive-logs"].inputs["policy"]
    attachment = seen["host-archive-logs-attachment"].inputs
    assert attachment["user"] == seen["host-user"].inputs["name"]
    assert attachment["policyArn"] == f"arn:aws:iam::{ACCOUNT}:policy/steward/kampyn-staging-archive-logs"
    role = policies(register(stack_with("instance_profile"), more), "aws:iam/rolePolicy:RolePolicy")
    anywhere = policies(register(stack_with("roles_anywhere"), more), "aws:iam/rolePolicy:RolePolicy")
    assert user == role == anywhere
    assert json.loads(user["archive-logs"]) == PUT_LOGS


@pytest.mark.parametrize("choice", ["access_key", "instance_profile", "roles_anywhere"])
def test_application_hosts_are_somebody_else_and_only_put_logs(choice: Choice) -> None:
    """Whoever takes over a host that the internet reaches must not get the backups."""
    seen = register(stack_with(choice))
    own = {name.removeprefix("app-host-"): r for name, r in seen.items() if name.startswith("app-host-")}
    who = own["user" if choice == "access_key" else "role"].inputs
    assert who["permissionsBoundary"] == APP_BOUNDARY
    expected = names.log_writer_user if choice == "access_key" else names.app_host_role
    assert who["name"] == expected("kampyn-staging")
    attached = [r.inputs["policy"] for n, r in own.items() if "policy" in r.inputs and n != "boundary"]
    assert [json.loads(text) for text in attached] == [PUT_LOGS]
    if choice == "roles_anywhere":
        assert "anchor" not in own, "one authority, one anchor"
        (statement,) = json.loads(who["assumeRolePolicy"])["Statement"]
        assert statement["Condition"]["StringLike"] == {
            "aws:PrincipalTag/x509Subject/CN": "kampyn-staging-app-*"
        }


@pytest.mark.parametrize("choice", ["access_key", "instance_profile", "roles_anywhere"])
def test_the_store_knows_its_hosts_whatever_they_are(choice: Choice) -> None:
    seen = register(stack_with(choice))
    made = seen.get("host-user") or seen["host-role"]
    kind = "user" if "host-user" in seen else "role"
    arn = f"arn:aws:iam::{ACCOUNT}:{kind}{made.inputs['path']}{made.inputs['name']}"
    assert arn in seen["backups-policy"].inputs["policy"]


def test_restore_reads_and_break_glass_removes() -> None:
    seen = register(stack_with("access_key"))
    restore, glass = seen["roles-restore"].inputs, seen["roles-break-glass"].inputs
    assert (restore["name"], glass["name"]) == ("kampyn-staging-restore", "kampyn-staging-break-glass")
    assert (restore["maxSessionDuration"], glass["maxSessionDuration"]) == (43200, 3600)
    bucket = f"arn:aws:s3:::kampyn-staging-backups-{ACCOUNT}"
    reads = json.loads(seen["roles-restore-policy"].inputs["policy"])
    assert {r for s in reads["Statement"] for r in [s["Resource"]]} == {
        bucket,
        f"{bucket}/*",
        f"arn:aws:kms:us-east-1:{ACCOUNT}:key/k",
    }
    removes = json.loads(seen["roles-break-glass-policy"].inputs["policy"])
    archive = f"arn:aws:s3:::kampyn-staging-archive-{ACCOUNT}"
    assert removes["Statement"][1]["Resource"] == [f"{archive}/*", f"{bucket}/*"]
    # The bucket refuses removals to all but the very role that is made here.
    arn = f"arn:aws:iam::{ACCOUNT}:role{glass['path']}{glass['name']}"
    assert arn in seen["backups-policy"].inputs["policy"]


def test_break_glass_is_for_the_people_of_the_settings() -> None:
    person = f"arn:aws:iam::{ACCOUNT}:user/ada"

    def who(*people: str) -> Any:
        seen = register(stack_with("access_key", break_glass_principals=list(people)))
        (statement,) = json.loads(seen["roles-break-glass"].inputs["assumeRolePolicy"])["Statement"]
        assert statement["Condition"]["Bool"] == {"aws:MultiFactorAuthPresent": "true"}
        return statement["Principal"]["AWS"]

    assert who() == [f"arn:aws:iam::{ACCOUNT}:root"]
    assert who(person) == [person]


def test_ci_has_roles_where_a_repository_is_named() -> None:
    assert not [name for name in register(stack_with("access_key")) if "ci" in name]
    seen = register(stack_with("access_key", ci_repository="team/steward"))

    def subject(part: str) -> str:
        (statement,) = json.loads(seen[f"roles-ci-{part}"].inputs["assumeRolePolicy"])["Statement"]
        return str(statement["Condition"]["StringEquals"]["token.actions.githubusercontent.com:sub"])

    assert subject("preview") == "repo:team/steward:pull_request"
    assert subject("deploy") == "repo:team/steward:environment:staging"
    assert seen["roles-ci-deploy"].inputs["name"] == "kampyn-staging-ci-deploy"
    assert {"roles-ci-preview-policy", "roles-ci-deploy-policy"} <= set(seen)


#: Most characters, white space left out, of all inline policies of a user and of a role together, and
#: of one managed policy (IAM user guide, "IAM and AWS STS quotas").
QUOTAS = {"user": 2048, "role": 10_240, "managed": 6144}


@pytest.mark.parametrize("app", APP_NAMES)
@pytest.mark.parametrize("choice", get_args(Choice))
def test_policies_fit_into_what_iam_allows(app: str, choice: Choice) -> None:
    stack = stack_with(choice, "production", app, ci_repository="team/steward")
    sizes: dict[tuple[str, str], int] = {}
    for resource in record(stack, lambda: build(stack, ACCOUNT, CALLER)):
        kind = resource.type.split(":")[-1]
        # A key's id has 36 characters, the recorder's one.
        text = "".join(resource.inputs.get("policy", "").split()).replace(':key/k"', f':key/{"k" * 36}"')
        if kind in ("UserPolicy", "RolePolicy"):
            holder = "user" if kind == "UserPolicy" else "role"
            key = (holder, resource.inputs[holder])
            sizes[key] = sizes.get(key, 0) + len(text)
        elif kind == "Policy":
            sizes["managed", resource.name] = len(text)
    assert {holder for holder, _ in sizes} >= {"managed", "role"}
    too_large = {key: size for key, size in sizes.items() if size > QUOTAS[key[0]]}
    assert not too_large
