"""Who may do what: every policy document of the stack, whichever resource holds it."""

from __future__ import annotations

import re
from collections.abc import Iterator

from infra import names
from infra.policy.model import UNKNOWN, Resource, Rule, Stack, Violation
from infra.policy.statements import (
    BUCKET_POLICY,
    KEY_POLICIES,
    MANAGED_POLICY,
    OF_ONE_ACCOUNT,
    ROLE,
    ROLE_POLICY,
    TOPIC_POLICY,
    Statement,
    statements,
    statements_of,
)

USER = "aws:iam/user:User"
ATTACHMENT = "aws:iam/rolePolicyAttachment:RolePolicyAttachment"

#: Ends the name of the only role that may delete backups.
BREAK_GLASS = names.break_glass_role("")

#: Services whose every action no policy grants.
GUARDED = ("iam", "kms", "s3", "secretsmanager", "sts")

#: What only the break-glass role is granted. Tags are here because lifecycle rules can go by them.
DESTRUCTIVE = (
    "s3:BypassGovernanceRetention",
    "s3:DeleteObject",
    "s3:DeleteObjectTagging",
    "s3:DeleteObjectVersion",
    "s3:DeleteObjectVersionTagging",
)

#: Actions that read settings, and those among them that read what is kept.
LOOK = re.compile(r"[a-z0-9-]+:(Describe|Get|List|View)[A-Za-z]+\*?")
READS_DATA = (
    "s3:GetObject",
    "s3:GetObjectVersion",
    "secretsmanager:GetSecretValue",
    "ssm:GetParameter",
    "ssm:GetParameters",
    "ssm:GetParametersByPath",
    "logs:GetLogEvents",
)

#: Actions for which AWS knows no resource (service authorization reference).
WITHOUT_RESOURCE = frozenset(
    {"route53:CreateHealthCheck", "sns:SetSubscriptionAttributes", "sns:Unsubscribe"}
)

#: Services through which an instance or a host of our own takes its role.
OF_HOSTS = ("ec2.amazonaws.com", "rolesanywhere.amazonaws.com")

#: Services that say for nobody they act, so that a condition would refuse them for good: EC2 takes the
#: role of an instance profile, which needs iam:PassRole (IAM user guide, "The confused deputy problem");
#: EventBridge publishes to topics (EventBridge user guide, "Troubleshooting").
NOT_CONFUSED = frozenset({(ROLE, "ec2.amazonaws.com"), (TOPIC_POLICY, "events.amazonaws.com")})

#: Who vouches for workloads outside of AWS with an audience of its own.
_OIDC_PROVIDER = ":oidc-provider/"


def _wildcard_principals(stack: Stack) -> Iterator[Violation]:
    for statement in statements(stack):
        if not statement.allows:
            continue
        if "NotPrincipal" in statement.body:
            yield Violation(statement.resource, f"{statement.sid} allows everybody but a few")
        if statement.anybody and not statement.requires(*OF_ONE_ACCOUNT):
            yield Violation(statement.resource, f"{statement.sid} allows everybody, of any account")


def _wildcard_actions(stack: Stack) -> Iterator[Violation]:
    for statement in statements(stack):
        if not statement.allows:
            continue
        if "NotAction" in statement.body:
            yield Violation(statement.resource, f"{statement.sid} allows every action but a few")
        for action in statement.items("Action"):
            service, _, rest = action.partition(":")
            every = "*" in service or (service.lower() in GUARDED and set(rest) == {"*"})
            if every and not _administers_a_key(statement):
                yield Violation(statement.resource, f"{statement.sid} allows {action}")


def _administers_a_key(statement: Statement) -> bool:
    """Whether it is the statement with which a key's policy leaves all to the account's IAM."""
    owners = statement.principals("AWS")
    return (
        statement.resource.type in KEY_POLICIES
        and statement.items("Action") == ["kms:*"]
        and len(owners) == 1
        and owners[0].endswith(":root")
    )


def _wildcard_resources(stack: Stack) -> Iterator[Violation]:
    for statement in statements(stack):
        if not statement.allows or statement.trust or statement.resource.type in KEY_POLICIES:
            continue
        if "NotResource" in statement.body:
            yield Violation(statement.resource, f"{statement.sid} allows every resource but a few")
        unnamed = {"*", "arn:aws:s3:::*"} & set(statement.items("Resource"))
        excused = _publishes_metrics(statement) or _looks(statement) or _of_own_tags(statement)
        if unnamed and not excused and not WITHOUT_RESOURCE.issuperset(statement.items("Action")):
            yield Violation(statement.resource, f"{statement.sid} allows its actions on every resource")


def _publishes_metrics(statement: Statement) -> bool:
    """CloudWatch knows no resource for PutMetricData; the namespace takes its place."""
    return statement.items("Action") == ["cloudwatch:PutMetricData"] and statement.requires(
        "cloudwatch:namespace"
    )


def _looks(statement: Statement) -> bool:
    """Whether it only asks for settings, most of which AWS lists for the whole account or not at all."""
    return all(LOOK.fullmatch(action) for action in statement.items("Action")) and not any(
        statement.matches(action) for action in READS_DATA
    )


def _of_own_tags(statement: Statement) -> bool:
    """Whether only what carries an App and an Environment of ours is meant."""
    tags = ("app", "environment")
    return all(statement.requires(f"aws:resourcetag/{tag}", f"aws:requesttag/{tag}") for tag in tags)


def _deletions(stack: Stack) -> Iterator[Violation]:
    for statement in statements(stack):
        destroys = statement.allows and any(statement.matches(action) for action in DESTRUCTIVE)
        if destroys and not _of_break_glass(stack, statement.resource):
            yield Violation(
                statement.resource, f"{statement.sid} allows to delete backups or to pass their lock"
            )


def _of_break_glass(stack: Stack, holder: Resource) -> bool:
    """Whether a policy belongs to the break-glass role and to nobody else."""
    if holder.type == ROLE:
        roles = [holder]
    elif holder.type == ROLE_POLICY:
        roles = stack.referred(holder, "role", [ROLE], "name", "id", "arn")
    elif holder.type == MANAGED_POLICY:
        attached = [
            a
            for a in stack.of(ATTACHMENT)
            if holder in stack.referred(a, "policyArn", [MANAGED_POLICY], "arn")
        ]
        roles = [r for a in attached for r in stack.referred(a, "role", [ROLE], "name", "id", "arn")]
    else:
        return False
    return bool(roles) and all(str(role.get("name")).endswith(BREAK_GLASS) for role in roles)


def _confused_deputies(stack: Stack) -> Iterator[Violation]:
    for statement in statements(stack, ROLE, BUCKET_POLICY, TOPIC_POLICY):
        if not statement.allows or (statement.resource.type == ROLE and not statement.trust):
            continue
        type_ = statement.resource.type
        services = [s for s in statement.principals("Service") if (type_, s) not in NOT_CONFUSED]
        # "If sent" is all that can be asked of a service whose documentation does not say what it sends.
        if services and not statement.anybody and not statement.requires(*OF_ONE_ACCOUNT, if_sent=True):
            yield Violation(
                statement.resource, f"{statement.sid} trusts {', '.join(services)} on behalf of any account"
            )


def _federated(stack: Stack) -> Iterator[Violation]:
    for statement in (s for s in statements(stack, ROLE) if s.trust and s.allows):
        for provider in statement.principals("Federated"):
            needed = [":sub", ":aud"] if _OIDC_PROVIDER in provider else [":sub"]
            tested = [key for _, key, _ in statement.conditions() if statement.requires(key)]
            if missing := [n for n in needed if not any(key.endswith(n) for key in tested)]:
                yield Violation(
                    statement.resource, f"{statement.sid} trusts {provider} without {', '.join(missing)}"
                )


def _boundaries(stack: Stack) -> Iterator[Violation]:
    hosts = [r for r in stack.of(ROLE) if any(_trusts_hosts(s) for s in statements_of(r))]
    for identity in [*stack.of(USER), *hosts]:
        if not identity.get("permissionsBoundary"):
            yield Violation(identity, "has no permissions boundary")


def _trusts_hosts(statement: Statement) -> bool:
    return statement.trust and any(service in OF_HOSTS for service in statement.principals("Service"))


def _break_glass_needs_mfa(stack: Stack) -> Iterator[Violation]:
    for role in stack.of(ROLE):
        if role.get("name") is UNKNOWN or not str(role.get("name")).endswith(BREAK_GLASS):
            continue
        for statement in statements_of(role):
            mfa = ("Bool", "aws:multifactorauthpresent", ["true"])
            if statement.trust and statement.allows and mfa not in list(statement.conditions()):
                yield Violation(role, f"{statement.sid} does not ask for MFA")


RULES = (
    Rule(
        "no-wildcard-principal",
        "No permission is everybody's, unless a condition names the account or the source.",
        "A principal of * is the whole world.",
        "name the principal, or add aws:SourceAccount, aws:SourceArn or aws:PrincipalAccount",
        _wildcard_principals,
    ),
    Rule(
        "no-wildcard-action",
        f"No permission is for every action, nor for all of {', '.join(GUARDED)}.",
        "What AWS adds to the service later would be granted as well.",
        "list the actions that are used",
        _wildcard_actions,
    ),
    Rule(
        "no-wildcard-resource",
        "No permission is for every resource, but in key policies, for metrics, and to see settings.",
        "It would reach other backends of the same account.",
        "name the ARN, see infra/names.py, or ask for the tags App and Environment",
        _wildcard_resources,
    ),
    Rule(
        "no-deletion",
        "Only the break-glass role may delete objects or pass a lock.",
        "Whoever steals a host must not be able to destroy its backups.",
        "leave deletion to the bucket's lifecycle",
        _deletions,
    ),
    Rule(
        "no-confused-deputy",
        "A service is trusted on behalf of this account or of one resource only.",
        "Another account could let the same service act here for it.",
        "add aws:SourceAccount, and aws:SourceArn where the resource is known",
        _confused_deputies,
    ),
    Rule(
        "federation-names-its-subject",
        "A role trusts an identity provider for named subjects only, and an OIDC one for its audience.",
        "Every workflow of every customer of the provider could take the role.",
        "add conditions on <provider>:sub and <provider>:aud",
        _federated,
    ),
    Rule(
        "boundary",
        "Every IAM user and every role of hosts has a permissions boundary.",
        "A policy attached by mistake later must not give a host more than it may ever have.",
        "set permissions_boundary, see infra/components/identity.py",
        _boundaries,
    ),
    Rule(
        "break-glass-needs-mfa",
        "The break-glass role is taken with MFA only.",
        "It is the one identity that may delete backups.",
        "add Bool aws:MultiFactorAuthPresent true to its trust policy",
        _break_glass_needs_mfa,
    ),
)
