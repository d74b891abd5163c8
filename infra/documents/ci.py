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
from infra.documents import Document, Statement, allow, document

#: Host of GitHub's tokens (GitHub docs, "Configuring OpenID Connect in Amazon Web Services").
ISSUER = "token.actions.githubusercontent.com"
AUDIENCE = "sts.amazonaws.com"

#: Reads the settings of what this program builds; no object, no value of a secret.
LOOK_ACTIONS = (
    "budgets:ListTagsForResource",
    "budgets:ViewBudget",
    "cloudwatch:DescribeAlarms",
    "cloudwatch:GetDashboard",
    "cloudwatch:ListTagsForResource",
    "events:DescribeRule",
    "events:ListTagsForResource",
    "events:ListTargetsByRule",
    "iam:GetInstanceProfile",
    "iam:GetPolicy",
    "iam:GetPolicyVersion",
    "iam:GetRole",
    "iam:GetRolePolicy",
    "iam:GetUser",
    "iam:GetUserPolicy",
    "iam:ListAttachedRolePolicies",
    "iam:ListInstanceProfileTags",
    "iam:ListPolicyVersions",
    "iam:ListRolePolicies",
    "kms:DescribeKey",
    "kms:GetKeyPolicy",
    "kms:GetKeyRotationStatus",
    "kms:ListAliases",
    "kms:ListResourceTags",
    "rolesanywhere:GetProfile",
    "rolesanywhere:GetTrustAnchor",
    "rolesanywhere:ListTagsForResource",
    "route53:GetHealthCheck",
    "route53:ListTagsForResource",
    "s3:GetAccelerateConfiguration",
    "s3:GetBucket*",
    "s3:GetEncryptionConfiguration",
    "s3:GetInventoryConfiguration",
    "s3:GetLifecycleConfiguration",
    "s3:GetMetricsConfiguration",
    "s3:GetReplicationConfiguration",
    "s3:ListBucket",
    "s3:ListTagsForResource",
    "secretsmanager:DescribeSecret",
    "secretsmanager:GetResourcePolicy",
    "sns:GetSubscriptionAttributes",
    "sns:GetTopicAttributes",
    "sns:ListTagsForResource",
)

#: Makes buckets and changes their settings.
BUILD_BUCKET_ACTIONS = (
    "s3:CreateBucket",
    "s3:DeleteBucket",
    "s3:DeleteBucketPolicy",
    "s3:PutBucketLogging",
    "s3:PutBucketNotification",
    "s3:PutBucketObjectLockConfiguration",
    "s3:PutBucketOwnershipControls",
    "s3:PutBucketPolicy",
    "s3:PutBucketPublicAccessBlock",
    "s3:PutBucketTagging",
    "s3:PutBucketVersioning",
    "s3:PutEncryptionConfiguration",
    "s3:PutInventoryConfiguration",
    "s3:PutLifecycleConfiguration",
    "s3:PutMetricsConfiguration",
    "s3:PutReplicationConfiguration",
)

#: Makes and changes users, roles, policies and instance profiles; makes no access key.
IDENTITY_ACTIONS = (
    "iam:AddRoleToInstanceProfile",
    "iam:CreateInstanceProfile",
    "iam:CreatePolicy",
    "iam:CreatePolicyVersion",
    "iam:CreateRole",
    "iam:CreateUser",
    "iam:DeleteInstanceProfile",
    "iam:DeletePolicy",
    "iam:DeletePolicyVersion",
    "iam:DeleteRole",
    "iam:DeleteRolePermissionsBoundary",
    "iam:DeleteRolePolicy",
    "iam:DeleteUser",
    "iam:DeleteUserPermissionsBoundary",
    "iam:DeleteUserPolicy",
    "iam:ListGroupsForUser",
    "iam:ListInstanceProfilesForRole",
    "iam:PassRole",
    "iam:PutRolePermissionsBoundary",
    "iam:PutRolePolicy",
    "iam:PutUserPermissionsBoundary",
    "iam:PutUserPolicy",
    "iam:RemoveRoleFromInstanceProfile",
    "iam:TagInstanceProfile",
    "iam:TagPolicy",
    "iam:TagRole",
    "iam:TagUser",
    "iam:UntagInstanceProfile",
    "iam:UntagPolicy",
    "iam:UntagRole",
    "iam:UntagUser",
    "iam:UpdateAssumeRolePolicy",
    "iam:UpdateRole",
    "iam:UpdateUser",
)

TOPIC_ACTIONS = (
    "sns:CreateTopic",
    "sns:DeleteTopic",
    "sns:SetTopicAttributes",
    "sns:Subscribe",
    "sns:TagResource",
    "sns:UntagResource",
)

RULE_ACTIONS = (
    "events:DeleteRule",
    "events:PutRule",
    "events:PutTargets",
    "events:RemoveTargets",
    "events:TagResource",
    "events:UntagResource",
)

#: Makes and changes keys, whose ARNs nobody can know before; uses none of them.
KEY_ACTIONS = (
    "kms:CreateAlias",
    "kms:CreateKey",
    "kms:DeleteAlias",
    "kms:EnableKeyRotation",
    "kms:PutKeyPolicy",
    "kms:ScheduleKeyDeletion",
    "kms:TagResource",
    "kms:UntagResource",
    "kms:UpdateAlias",
    "kms:UpdateKeyDescription",
)

#: Makes and changes secrets, without their values.
SECRET_ACTIONS = (
    "secretsmanager:CreateSecret",
    "secretsmanager:DeleteResourcePolicy",
    "secretsmanager:DeleteSecret",
    "secretsmanager:PutResourcePolicy",
    "secretsmanager:TagResource",
    "secretsmanager:UntagResource",
    "secretsmanager:UpdateSecret",
)

#: Changes what AWS names by an id of its own, or by no name that holds the stack's.
UNNAMED_ACTIONS = (
    "budgets:ModifyBudget",
    "budgets:TagResource",
    "budgets:UntagResource",
    "cloudwatch:DeleteAlarms",
    "cloudwatch:DeleteDashboards",
    "cloudwatch:PutCompositeAlarm",
    "cloudwatch:PutDashboard",
    "cloudwatch:PutMetricAlarm",
    "cloudwatch:TagResource",
    "cloudwatch:UntagResource",
    "rolesanywhere:CreateProfile",
    "rolesanywhere:CreateTrustAnchor",
    "rolesanywhere:DeleteProfile",
    "rolesanywhere:DeleteTrustAnchor",
    "rolesanywhere:TagResource",
    "rolesanywhere:UntagResource",
    "rolesanywhere:UpdateProfile",
    "rolesanywhere:UpdateTrustAnchor",
    "route53:ChangeTagsForResource",
    "route53:CreateHealthCheck",
    "route53:DeleteHealthCheck",
    "route53:UpdateHealthCheck",
    "sns:SetSubscriptionAttributes",
    "sns:Unsubscribe",
)

#: Actions that no role of CI has, whatever else allows them.
NEVER = (
    "kms:Decrypt",
    "s3:BypassGovernanceRetention",
    "s3:DeleteObject",
    "s3:DeleteObjectVersion",
    "s3:GetObject",
    "s3:GetObjectVersion",
    "secretsmanager:GetSecretValue",
)


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
    statement = allow(
        "Trust",
        ["sts:AssumeRoleWithWebIdentity"],
        "*",
        {"StringEquals": {f"{ISSUER}:aud": AUDIENCE, f"{ISSUER}:sub": subject}},
        principal={"Federated": provider_arn(account_id)},
    )
    del statement["Resource"]
    return document([statement])


def _never() -> Statement:
    return {"Sid": "DataStaysOut", "Effect": "Deny", "Action": sorted(NEVER), "Resource": "*"}


def preview_policy() -> Document:
    """Looks at settings. What is asked belongs to the whole account where AWS names no resource."""
    return document([allow("Look", LOOK_ACTIONS, "*"), _never()])


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
            allow("Look", LOOK_ACTIONS, "*"),
            allow("Buckets", BUILD_BUCKET_ACTIONS, buckets),
            allow("Identities", IDENTITY_ACTIONS, mine),
            allow("Keys", KEY_ACTIONS, "*"),
            allow(
                "Secrets",
                SECRET_ACTIONS,
                f"arn:aws:secretsmanager:*:{account_id}:secret:{names.secret_prefix(app, environment)}*",
            ),
            allow("Topics", TOPIC_ACTIONS, f"arn:aws:sns:*:{account_id}:{stack}-*"),
            allow("Rules", RULE_ACTIONS, f"arn:aws:events:*:{account_id}:rule/{stack}-*"),
            allow("WithoutNames", UNNAMED_ACTIONS, "*"),
            _never(),
            {
                "Sid": "PeopleOnly",
                "Effect": "Deny",
                "NotAction": ["iam:Get*", "iam:List*"],
                "Resource": sorted(guarded),
            },
        ]
    )
