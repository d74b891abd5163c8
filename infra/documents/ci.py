"""Policies of CI's two roles: one looks (``pulumi preview``), one builds (``pulumi up``).

Neither reads a backup or the value of a secret, and neither deletes a backup: those
refusals are written down as such, because building needs wide permissions otherwise.
Who may build can also change roles of this program, so what guards the stack is the
protection of the GitHub environment, not this policy. The roles of CI and of
break-glass are changed by a person only. The state's bucket is no part of a stack: its
own policy has to name both roles.
"""

from __future__ import annotations

from infra import names
from infra.documents import Document, Statement, allow, document, trust_policy
from infra.documents import ci_actions as actions

#: Host of GitHub's tokens (GitHub docs, "Configuring OpenID Connect in Amazon Web Services").
ISSUER = "token.actions.githubusercontent.com"
AUDIENCE = "sts.amazonaws.com"


def provider_arn(account_id: str) -> str:
    """The account's OIDC provider of GitHub.

    An account can have one provider of a URL only, so all stacks share it and none makes it. Once:
    ``aws iam create-open-id-connect-provider --url https://token.actions.githubusercontent.com
    --client-id-list sts.amazonaws.com``
    """
    return f"arn:aws:iam::{account_id}:oidc-provider/{ISSUER}"


def trust(*, account_id: str, subject: str) -> Document:
    """Workflows whose token has exactly this subject.

    Args:
        account_id: the account of the provider.
        subject: ``repo:<owner>/<name>:pull_request`` or ``repo:<owner>/<name>:environment:<environment>``
            (GitHub docs, "OpenID Connect reference", example subject claims).
    """
    return trust_policy(
        {"Federated": provider_arn(account_id)},
        ["sts:AssumeRoleWithWebIdentity"],
        {"StringEquals": {f"{ISSUER}:aud": AUDIENCE, f"{ISSUER}:sub": subject}},
    )


def _never() -> Statement:
    return {"Sid": "DataStaysOut", "Effect": "Deny", "Action": sorted(actions.NEVER), "Resource": "*"}


def _tagged(key: str, app: str, environment: str) -> dict[str, dict[str, str]]:
    """Condition: the request, or what it changes, bears the tags of the stack."""
    return {"StringEquals": {f"{key}/App": app, f"{key}/Environment": environment}}


def preview_policy() -> Document:
    """Looks at settings. What is asked belongs to the whole account where AWS names no resource."""
    return document([allow("Look", actions.LOOK_ACTIONS, "*"), _never()])


def deploy_policy(*, app: str, environment: str, account_id: str) -> Document:
    """Builds and changes a stack.

    Args:
        app: the backend.
        environment: of the stack.
        account_id: its account.
    """
    stack = f"{app}-{environment}"
    buckets = names.bucket_arn(names.bucket_name(f"{stack}-*", account_id))
    mine = [
        f"arn:aws:iam::{account_id}:{kind}{names.IAM_PATH}{stack}-*"
        for kind in ("instance-profile", "policy", "role", "user")
    ]
    guarded = [
        names.role_arn(account_id, name)
        for name in (
            names.break_glass_role(stack),
            names.ci_role(stack, "deploy"),
            names.ci_role(stack, "preview"),
        )
    ]
    return document(
        [
            allow("Look", actions.LOOK_ACTIONS, "*"),
            allow("Buckets", actions.BUILD_BUCKET_ACTIONS, buckets),
            allow("Identities", actions.IDENTITY_ACTIONS, mine),
            allow("MakeKeys", actions.MAKE_KEY_ACTIONS, "*", _tagged("aws:RequestTag", app, environment)),
            allow(
                "ChangeKeys", actions.CHANGE_KEY_ACTIONS, "*", _tagged("aws:ResourceTag", app, environment)
            ),
            allow("Aliases", actions.ALIAS_ACTIONS, f"arn:aws:kms:*:{account_id}:alias/{stack}-*"),
            allow(
                "Secrets",
                actions.SECRET_ACTIONS,
                f"arn:aws:secretsmanager:*:{account_id}:secret:{names.secret_prefix(app, environment)}*",
            ),
            allow("Topics", actions.TOPIC_ACTIONS, f"arn:aws:sns:*:{account_id}:{stack}-*"),
            allow("Rules", actions.RULE_ACTIONS, f"arn:aws:events:*:{account_id}:rule/{stack}-*"),
            allow("Budgets", actions.BUDGET_ACTIONS, f"arn:aws:budgets::{account_id}:budget/{stack}-*"),
            allow("Trails", actions.TRAIL_ACTIONS, f"arn:aws:cloudtrail:*:{account_id}:trail/{stack}-*"),
            allow("Alarms", actions.ALARM_ACTIONS, f"arn:aws:cloudwatch:*:{account_id}:alarm:{stack}-*"),
            allow(
                "Dashboards",
                actions.DASHBOARD_ACTIONS,
                f"arn:aws:cloudwatch::{account_id}:dashboard/{stack}*",
            ),
            allow(
                "LogGroups",
                actions.LOG_GROUP_ACTIONS,
                f"arn:aws:logs:*:{account_id}:log-group:/steward/{stack}-*",
            ),
            allow(
                "MakeAnchors", actions.MAKE_ANCHOR_ACTIONS, "*", _tagged("aws:RequestTag", app, environment)
            ),
            allow(
                "ChangeAnchors",
                actions.CHANGE_ANCHOR_ACTIONS,
                "*",
                _tagged("aws:ResourceTag", app, environment),
            ),
            allow("HealthChecks", actions.HEALTH_CHECK_ACTIONS, "arn:aws:route53:::healthcheck/*"),
            allow("WithoutResource", actions.WITHOUT_RESOURCE, "*"),
            _never(),
            {
                "Sid": "PeopleOnly",
                "Effect": "Deny",
                "NotAction": ["iam:Get*", "iam:List*"],
                "Resource": sorted(guarded),
            },
        ]
    )
