"""The roles that people and CI take: restore, break-glass, and CI's preview and deploy.

Restore reads every version of every backup and writes nothing: for drills and restores
from elsewhere than the hosts. Break-glass alone removes backups before their time; it
is taken with an MFA device, for an hour at most, and who took it stands in CloudTrail.
"""

from __future__ import annotations

from dataclasses import dataclass

import pulumi
import pulumi_aws as aws

from infra import names
from infra.components.backup_bucket import BackupBucket
from infra.components.component import Component
from infra.components.offsite_replica import OffsiteReplica
from infra.components.secure_bucket import SecureBucket
from infra.config import StackConfig
from infra.documents import Document, ci, identity

#: Seconds that a session of these roles lasts at most; IAM allows no less (IAM API reference, CreateRole).
SESSION_SECONDS = 3600
#: A restore may take longer; IAM allows no more than 12 hours.
RESTORE_SESSION_SECONDS = 12 * 3600


@dataclass(frozen=True)
class PeopleRolesArgs:
    """What the roles depend on."""

    stack: StackConfig
    account_id: str
    store: BackupBucket
    archive: SecureBucket
    """Cold storage of logs, which may hold what has to be erased."""
    replica: OffsiteReplica | None = None
    """The second copy, which a restore reads when the store's region or account is lost."""


def _own_buckets(args: PeopleRolesArgs) -> list[SecureBucket]:
    """Where something may have to be removed; a copy in another account is that account's business."""
    copies = [args.replica] if args.replica and not args.stack.settings.replica_role_arn else []
    return [args.store, args.archive, *copies]


class PeopleRoles(Component):
    """The roles; see the module. Those of CI are ``None`` without ``steward:ciRepository``."""

    restore_arn: pulumi.Output[str]
    break_glass_arn: pulumi.Output[str]
    ci_preview_arn: pulumi.Output[str] | None = None
    ci_deploy_arn: pulumi.Output[str] | None = None

    def __init__(self, name: str, args: PeopleRolesArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("steward:identity:PeopleRoles", name, opts)
        self._stack = stack = args.stack
        account, region, backups = args.account_id, args.stack.region, args.store
        self.restore_arn = self._role(
            "restore",
            names.restore_role(stack.name),
            f"Reads the backups of {stack.app.title}, {stack.environment}",
            identity.account_trust(account),
            pulumi.Output.all(backups.arn, backups.kms_key_arn).apply(
                lambda arns: identity.restore_policy(bucket_arn=arns[0], kms_key_arn=arns[1], region=region)
            ),
            RESTORE_SESSION_SECONDS,
        )
        if args.replica:
            self._restore_from(args.replica)
        self.break_glass_arn = self._role(
            "break-glass",
            names.break_glass_role(stack.name),
            f"Removes backups of {stack.app.title}, {stack.environment}, before their time; needs MFA",
            identity.mfa_trust(account, stack.settings.break_glass_principals),
            pulumi.Output.all(*(bucket.arn for bucket in _own_buckets(args))).apply(
                lambda arns: identity.break_glass_policy(bucket_arns=arns)
            ),
            SESSION_SECONDS,
        )
        if stack.settings.ci_repository:
            self._continuous_integration(account, stack.settings.ci_repository)
        self.register_outputs(
            {
                "restoreArn": self.restore_arn,
                "breakGlassArn": self.break_glass_arn,
                "ciPreviewArn": self.ci_preview_arn,
                "ciDeployArn": self.ci_deploy_arn,
            }
        )

    def _restore_from(self, replica: OffsiteReplica) -> None:
        """Let the restore role read the second copy as well."""
        policy = pulumi.Output.all(replica.arn, replica.kms_key_arn).apply(
            lambda arns: identity.restore_policy(
                bucket_arn=arns[0], kms_key_arn=arns[1], region=replica.region
            )
        )
        aws.iam.RolePolicy(
            f"{self._name}-restore-replica-policy",
            name="restore-replica",
            role=self.restore_arn.apply(lambda arn: arn.rpartition("/")[2]),
            policy=pulumi.Output.json_dumps(policy, sort_keys=True),
            opts=self._child(),
        )

    def _continuous_integration(self, account: str, repository: str) -> None:
        """One role for pull requests, one for the GitHub environment of this stack's environment."""
        stack = self._stack
        self.ci_preview_arn = self._role(
            "ci-preview",
            names.ci_role(stack.name, "preview"),
            f"pulumi preview of {stack.name} for pull requests of {repository}",
            ci.trust(account_id=account, subject=f"repo:{repository}:pull_request"),
            ci.preview_policy(),
            SESSION_SECONDS,
        )
        self.ci_deploy_arn = self._role(
            "ci-deploy",
            names.ci_role(stack.name, "deploy"),
            f"pulumi up of {stack.name} for the environment {stack.environment} of {repository}",
            ci.trust(account_id=account, subject=f"repo:{repository}:environment:{stack.environment}"),
            ci.deploy_policy(app=stack.app.name, environment=stack.environment, account_id=account),
            SESSION_SECONDS,
        )

    def _role(
        self,
        part: str,
        name: str,
        description: str,
        trust: Document,
        policy: pulumi.Input[Document],
        session_seconds: int,
    ) -> pulumi.Output[str]:
        """A role with one inline policy; its ARN."""
        role, _ = self._iam_role(
            self._stack,
            part,
            name=name,
            description=description,
            trust=trust,
            policy_name=part,
            policy=policy,
            session_seconds=session_seconds,
        )
        return role.arn
