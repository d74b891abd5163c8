"""Policies of identities: what they say, that they lint, and what an evaluation makes of them."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from typing import Any

import pytest

from infra import names
from infra.documents import Document, archive, ci, identity, store
from infra.lifecycle import host_prefixes
from sandbox.aws_endpoint import conditions, policy
from steward.appfile import ENVIRONMENTS, Environment
from tests.infra.conftest import APP_NAMES

ACCOUNT, REGION = "123456789012", "eu-central-1"
KEY = f"arn:aws:kms:{REGION}:{ACCOUNT}:key/k"


def bucket_of(stack: str) -> str:
    return names.bucket_arn(names.bucket_name(f"{stack}-backups", ACCOUNT))


def documents(app: str, environment: Environment) -> dict[str, Document]:
    """Every identity policy of a stack."""
    stack = f"{app}-{environment}"
    bucket = bucket_of(stack)
    prefixes = host_prefixes()
    return {
        "host": store.host_policy(bucket_arn=bucket, kms_key_arn=KEY, region=REGION, prefixes=prefixes),
        "metrics": identity.publish_metrics(),
        "boundary": identity.boundary(stack=stack, account_id=ACCOUNT, region=REGION),
        "app-boundary": identity.app_boundary(stack=stack, account_id=ACCOUNT, region=REGION),
        "restore": identity.restore_policy(bucket_arn=bucket, kms_key_arn=KEY, region=REGION),
        "break-glass": identity.break_glass_policy(bucket_arns=[bucket]),
        "ci-preview": ci.preview_policy(),
        "ci-deploy": ci.deploy_policy(app=app, environment=environment, account_id=ACCOUNT),
    }


TRUSTS = {
    "account": identity.account_trust(ACCOUNT),
    "mfa": identity.mfa_trust(ACCOUNT, []),
    "ec2": identity.ec2_trust(),
    "roles-anywhere": identity.roles_anywhere_trust(
        trust_anchor_arn=f"arn:aws:rolesanywhere:{REGION}:{ACCOUNT}:trust-anchor/a", stack="a-local"
    ),
    "roles-anywhere-apps": identity.roles_anywhere_trust(
        trust_anchor_arn=f"arn:aws:rolesanywhere:{REGION}:{ACCOUNT}:trust-anchor/a",
        stack="a-local",
        app_hosts=True,
    ),
    "ci": ci.trust(account_id=ACCOUNT, subject="repo:o/r:pull_request"),
}


#: CI looks at what it did not make (a bucket of the same name, a key by its id) and makes keys, alarms
#: and health checks, whose ARNs AWS makes up; what it must never do is denied by name. And whoever
#: builds buckets can change their policy and lifecycle: see the module :mod:`infra.documents.ci`.
LINT_EXCEPTIONS = {
    ("ci-preview", "RESOURCE_STAR"),
    ("ci-deploy", "RESOURCE_STAR"),
    ("ci-deploy", "RESOURCE_POLICY_PRIVILEGE_ESCALATION"),
}


#: Parts of findings that are none (service authorization reference, "Amazon Route 53" and "AWS KMS").
#: parliament 1.6.4 knows hosted zones for the first action only; AWS names health checks as well. And an
#: alias needs a right on itself and one on its key, in a statement of its own since only keys bear tags.
EXCUSED = (
    "[{'action': 'route53:ChangeTagsForResource', 'required_format': 'arn:*:route53:::hostedzone/*'}]",
    "[{'action': 'kms:CreateAlias', 'required_format': 'arn:*:kms:*:*:key/*'}, ",
)

#: What the endpoint does not know, since no local stack has CI roles; its evaluator takes any key.
TAG_KEYS = {f"aws:{of}tag/{tag}" for of in ("request", "resource") for tag in ("app", "environment")}


@pytest.fixture
def tag_conditions(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let documents ask for tags."""
    monkeypatch.setattr(conditions, "KEYS", conditions.KEYS | TAG_KEYS)


@pytest.fixture(scope="session")
def lint() -> Any:
    """parliament's linter; importing it takes seconds."""
    return pytest.importorskip("parliament").analyze_policy_string


@pytest.mark.parametrize(("app", "environment"), list(itertools.product(APP_NAMES, ENVIRONMENTS)))
def test_identity_policies_lint(lint: Any, app: str, environment: Environment) -> None:
    for name, document in documents(app, environment).items():
        findings = [(f.issue, str(f)) for f in lint(json.dumps(document)).findings]
        found = {i: text for i, text in findings if not any(part in text for part in EXCUSED)}
        unexpected = {i: text[:300] for i, text in found.items() if (name, i) not in LINT_EXCEPTIONS}
        assert not unexpected, name


def test_the_linter_finds_what_is_wrong(lint: Any) -> None:
    wrong = {"Sid": "x", "Effect": "Allow", "Action": ["s3:GetObjekt"], "Resource": "arn:aws:s3:::b/*"}
    assert lint(json.dumps({"Version": "2012-10-17", "Statement": [wrong]})).findings


@pytest.mark.parametrize("name", sorted(TRUSTS))
def test_trust_policies_name_no_wildcard_and_no_resource(name: str) -> None:
    (statement,) = TRUSTS[name]["Statement"]
    assert "Resource" not in statement
    assert "*" not in json.dumps(statement["Principal"])
    assert all(action.startswith("sts:") for action in statement["Action"])


def statements(document: Document) -> Iterator[dict[str, Any]]:
    for statement in document["Statement"]:
        if statement["Effect"] == "Allow":
            yield statement


@pytest.mark.parametrize("name", ["host", "metrics", "boundary", "app-boundary", "restore", "break-glass"])
def test_what_no_document_of_hosts_and_people_allows(name: str) -> None:
    for statement in statements(documents("bitesbay", "production")[name]):
        for action in statement["Action"]:
            assert "*" not in action
            assert action.startswith(("s3:", "kms:", "cloudwatch:"))
            if name != "break-glass":
                assert "Delete" not in action
                assert "Bypass" not in action
            if name in ("restore", "break-glass"):
                assert "Put" not in action
                assert action != "kms:GenerateDataKey"


Ask = tuple[str, str, dict[str, list[str]]]


def allowed(documents: list[Document], ask: Ask, boundary: Document | None = None) -> bool:
    """What the endpoint would decide."""
    action, resource, context = ask
    request = policy.Request(
        policy.Principal((f"arn:aws:iam::{ACCOUNT}:user/u",), ACCOUNT), action, resource, context
    )
    parsed = [policy.parse(json.dumps(d), "identity", "d") for d in documents]
    bound = policy.parse(json.dumps(boundary), "identity", "b") if boundary else None
    return policy.evaluate(request, parsed, boundary=bound).allowed


EVERYTHING: Document = {
    "Version": "2012-10-17",
    "Statement": [{"Sid": "All", "Effect": "Allow", "Action": "*", "Resource": "*"}],
}


def asks(stack: str, region: str = REGION) -> list[Ask]:
    """What a host needs."""
    bucket = bucket_of(stack)
    through = {
        "kms:viaservice": [f"s3.{region}.amazonaws.com"],
        "kms:encryptioncontext:aws:s3:arn": [bucket],
    }
    return [
        ("s3:PutObject", f"{bucket}/daily/x", {}),
        ("s3:PutObjectRetention", f"{bucket}/oplog/x", {}),
        ("s3:GetObject", f"{bucket}/weekly/x", {}),
        ("s3:ListBucket", bucket, {"s3:prefix": ["monthly/"]}),
        ("s3:GetBucketObjectLockConfiguration", bucket, {}),
        ("kms:GenerateDataKey", KEY, through),
        ("kms:Decrypt", KEY, through),
        ("cloudwatch:PutMetricData", "*", {"cloudwatch:namespace": ["Steward"]}),
    ]


def test_hosts_can_do_their_work_within_the_boundary() -> None:
    made = documents("kampyn", "production")
    for ask in asks("kampyn-production"):
        assert allowed([made["host"], made["metrics"]], ask, made["boundary"]), ask


def test_the_boundary_stops_everything_else_whatever_is_attached() -> None:
    boundary = documents("kampyn", "production")["boundary"]
    bucket = bucket_of("kampyn-production")
    direct = {"kms:encryptioncontext:aws:s3:arn": [bucket]}
    foreign = {
        "kms:viaservice": [f"s3.{REGION}.amazonaws.com"],
        "kms:encryptioncontext:aws:s3:arn": [bucket_of("bitesbay-production")],
    }
    refused: list[Ask] = [
        ("s3:DeleteObject", f"{bucket}/daily/x", {}),
        ("s3:DeleteObjectVersion", f"{bucket}/daily/x", {}),
        ("s3:BypassGovernanceRetention", f"{bucket}/daily/x", {}),
        ("s3:PutBucketPolicy", bucket, {}),
        ("iam:CreateAccessKey", f"arn:aws:iam::{ACCOUNT}:user/u", {}),
        ("sts:AssumeRole", names.role_arn(ACCOUNT, "kampyn-production-break-glass"), {}),
        ("secretsmanager:GetSecretValue", f"arn:aws:secretsmanager:{REGION}:{ACCOUNT}:secret:s", {}),
        ("cloudwatch:PutMetricData", "*", {"cloudwatch:namespace": ["AWS/S3"]}),
        ("kms:Decrypt", KEY, direct),
        ("kms:Decrypt", KEY, foreign),
        *[ask for ask in asks("bitesbay-production") if ask[0].startswith("s3:")],
        *[ask for ask in asks("kampyn-staging") if ask[0].startswith("s3:")],
    ]
    for ask in refused:
        assert allowed([EVERYTHING], ask), f"{ask} must be refused by the boundary and nothing else"
        assert not allowed([EVERYTHING], ask, boundary), ask


def test_application_hosts_put_their_logs_and_open_nothing_whatever_is_attached() -> None:
    """The internet reaches them."""
    stack = "kampyn-production"
    boundary = documents("kampyn", "production")["app-boundary"]
    archived = names.bucket_arn(names.bucket_name(f"{stack}-archive", ACCOUNT))
    own = archive.host_archive_policy(bucket_arn=archived, kms_key_arn=KEY, region=REGION)
    through = {
        "kms:viaservice": [f"s3.{REGION}.amazonaws.com"],
        "kms:encryptioncontext:aws:s3:arn": [archived],
    }
    needed: list[Ask] = [
        ("s3:PutObject", f"{archived}/logs/app1/x", {}),
        ("s3:AbortMultipartUpload", f"{archived}/logs/app1/x", {}),
        ("s3:ListBucket", archived, {"s3:prefix": ["logs/app1/"]}),
        ("kms:GenerateDataKey", KEY, through),
        ("kms:Decrypt", KEY, through),
    ]
    for ask in needed:
        assert allowed([own], ask, boundary), ask
    refused: list[Ask] = [
        ("s3:GetObject", f"{archived}/logs/app1/x", {}),
        ("s3:DeleteObject", f"{archived}/logs/app1/x", {}),
        ("s3:PutObject", f"{archived}/other/x", {}),
        *[ask for ask in asks(stack) if ask[0].startswith(("s3:", "kms:", "cloudwatch:"))],
    ]
    for ask in refused:
        assert allowed([EVERYTHING], ask), f"{ask} must be refused by the boundary and nothing else"
        assert not allowed([EVERYTHING], ask, boundary), ask


def test_break_glass_needs_a_device_shown_a_short_while_ago() -> None:
    def takes(context: dict[str, list[str]], trust: Document = TRUSTS["mfa"]) -> bool:
        arn = f"arn:aws:iam::{ACCOUNT}:user/person"
        request = policy.Request(policy.Principal((arn,), ACCOUNT), "sts:AssumeRole", "r", context)
        own = [policy.parse(json.dumps(EVERYTHING), "identity", "e")]
        parsed = policy.parse(json.dumps(trust), "trust", "t")
        return policy.evaluate(request, own, parsed, resource_must_allow=True).allowed

    shown = {"aws:multifactorauthpresent": ["true"], "aws:multifactorauthage": ["60"]}
    assert takes(shown)
    assert not takes({})
    assert not takes({**shown, "aws:multifactorauthpresent": ["false"]})
    assert not takes({**shown, "aws:multifactorauthage": [str(identity.MFA_AGE_SECONDS)]})
    others = identity.mfa_trust(ACCOUNT, [f"arn:aws:iam::{ACCOUNT}:user/b", f"arn:aws:iam::{ACCOUNT}:user/a"])
    assert not takes(shown, others)
    assert others["Statement"][0]["Principal"]["AWS"] == [
        f"arn:aws:iam::{ACCOUNT}:user/a",
        f"arn:aws:iam::{ACCOUNT}:user/b",
    ]


def test_certificates_of_this_stack_from_this_anchor_only() -> None:
    (statement,) = TRUSTS["roles-anywhere"]["Statement"]
    assert statement["Principal"] == {"Service": "rolesanywhere.amazonaws.com"}
    assert statement["Condition"] == {
        "ArnEquals": {"aws:SourceArn": f"arn:aws:rolesanywhere:{REGION}:{ACCOUNT}:trust-anchor/a"},
        "StringLike": {"aws:PrincipalTag/x509Subject/CN": "a-local-*"},
        "StringNotLike": {"aws:PrincipalTag/x509Subject/CN": "a-local-app-*"},
    }


def test_certificate_of_an_application_host_is_none_of_a_host_that_reads_backups() -> None:
    """Each of the two conditions is the other's opposite: no name passes both."""
    name = "aws:PrincipalTag/x509Subject/CN"
    (hosts,), (apps,) = (TRUSTS[trust]["Statement"] for trust in ("roles-anywhere", "roles-anywhere-apps"))
    assert hosts["Condition"]["StringNotLike"] == apps["Condition"]["StringLike"] == {name: "a-local-app-*"}
    assert apps["Condition"]["ArnEquals"] == hosts["Condition"]["ArnEquals"]


def test_ci_is_bound_to_one_repository_and_purpose() -> None:
    (statement,) = TRUSTS["ci"]["Statement"]
    assert statement["Condition"] == {
        "StringEquals": {
            "token.actions.githubusercontent.com:aud": "sts.amazonaws.com",
            "token.actions.githubusercontent.com:sub": "repo:o/r:pull_request",
        }
    }
    assert statement["Principal"]["Federated"].endswith("oidc-provider/token.actions.githubusercontent.com")


def tags(of: str, environment: str = "staging") -> dict[str, list[str]]:
    """The tags of bitesbay's stack on a request or a resource."""
    return {f"aws:{of}tag/app": ["bitesbay"], f"aws:{of}tag/environment": [environment]}


@pytest.mark.usefixtures("tag_conditions")
@pytest.mark.parametrize("name", ["ci-preview", "ci-deploy"])
def test_ci_neither_reads_nor_removes_data(name: str) -> None:
    document = documents("bitesbay", "staging")[name]
    bucket, secret = bucket_of("bitesbay-staging"), f"arn:aws:secretsmanager:{REGION}:{ACCOUNT}:secret:s"
    for action, resource in [
        ("s3:GetObject", f"{bucket}/daily/x"),
        ("s3:GetObjectVersion", f"{bucket}/daily/x"),
        ("s3:DeleteObjectVersion", f"{bucket}/daily/x"),
        ("s3:BypassGovernanceRetention", f"{bucket}/daily/x"),
        ("secretsmanager:GetSecretValue", secret),
        ("kms:Decrypt", KEY),
    ]:
        assert not allowed([document, EVERYTHING], (action, resource, {})), action
    for action, role in [
        ("iam:UpdateAssumeRolePolicy", "bitesbay-staging-break-glass"),
        ("iam:PutRolePolicy", "bitesbay-staging-ci-deploy"),
        ("iam:PutRolePolicy", "bitesbay-production-host"),
    ]:
        assert not allowed([document], (action, names.role_arn(ACCOUNT, role), {})), role
    looks: list[Ask] = [
        ("s3:GetBucketPolicy", bucket, {}),
        ("iam:GetRole", names.role_arn(ACCOUNT, "bitesbay-staging-break-glass"), {}),
    ]
    assert all(allowed([document], ask) for ask in looks)
    builds: list[Ask] = [
        ("s3:PutBucketPolicy", bucket, {}),
        ("iam:PutUserPolicy", names.user_arn(ACCOUNT, names.writer_user("bitesbay-staging")), {}),
        ("kms:CreateKey", "*", tags("request")),
        ("kms:PutKeyPolicy", KEY, tags("resource")),
        (
            "cloudwatch:PutMetricAlarm",
            f"arn:aws:cloudwatch:{REGION}:{ACCOUNT}:alarm:bitesbay-staging-lag",
            {},
        ),
    ]
    assert all(allowed([document], ask) is (name == "ci-deploy") for ask in builds)
    of_others: list[Ask] = [
        ("kms:CreateKey", "*", {}),
        ("kms:CreateKey", "*", tags("request", "production")),
        ("kms:PutKeyPolicy", KEY, {}),
        ("kms:ScheduleKeyDeletion", KEY, tags("resource", "production")),
        (
            "cloudwatch:DeleteAlarms",
            f"arn:aws:cloudwatch:{REGION}:{ACCOUNT}:alarm:bitesbay-production-lag",
            {},
        ),
        ("cloudtrail:StopLogging", f"arn:aws:cloudtrail:{REGION}:{ACCOUNT}:trail/bitesbay-staging-audit", {}),
    ]
    assert not [ask for ask in of_others if allowed([document], ask)]
    assert not allowed([document], ("s3:PutBucketPolicy", bucket_of("bitesbay-production"), {}))
