"""How the hosts of one backend in one environment reach AWS, as the app file chooses.

``access_key``
    an IAM user. Its access key is made and rotated outside of Pulumi, so that no secret
    enters the state.
``instance_profile``
    a role that EC2 hands to its instances; the hosts hold no credentials at all.
``roles_anywhere``
    a role for hosts outside of AWS, which show a certificate of a CA of the team's.

All of them have the same policies and the same permissions boundary. A stack has two: hosts that take
backups may read what they wrote, and application hosts, which the internet reaches, only put their logs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pulumi
import pulumi_aws as aws

from infra import names
from infra.components.backup_bucket import BackupBucket
from infra.components.component import Component
from infra.config import StackConfig
from infra.documents import Document, identity, store
from infra.lifecycle import host_prefixes

#: Seconds that the credentials of a certificate are good for; hosts get new ones by themselves.
ROLES_ANYWHERE_SESSION_SECONDS = 3600


#: The name and what it allows.
NamedPolicy = tuple[str, pulumi.Input[Document]]


@dataclass(frozen=True)
class HostIdentityArgs:
    """What an identity of hosts depends on."""

    stack: StackConfig
    account_id: str
    store: BackupBucket | None
    """Where hosts put and read backups; ``None`` for application hosts, which take none."""
    more: Sequence[NamedPolicy] = ()
    """Further policies, as for the log archive; the boundary still holds."""
    trust_anchor_arn: pulumi.Input[str] | None = None
    """Of the other identity of the stack, whose certificates come from the same authority."""


class HostIdentity(Component):
    """A user or a role with its policies; see the module. What the choice does not make is ``None``."""

    user: pulumi.Output[str] | None = None
    role_arn: pulumi.Output[str] | None = None
    instance_profile: pulumi.Output[str] | None = None
    trust_anchor_arn: pulumi.Output[str] | None = None
    roles_anywhere_profile_arn: pulumi.Output[str] | None = None

    def __init__(self, name: str, args: HostIdentityArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("steward:identity:HostIdentity", name, opts)
        self._args = args
        stack = args.stack
        self._apps = args.store is None
        whose = "application hosts" if self._apps else "hosts"
        limit = identity.app_boundary if self._apps else identity.boundary
        boundary = aws.iam.Policy(
            f"{name}-boundary",
            name=(names.app_boundary_policy if self._apps else names.boundary_policy)(stack.name),
            path=names.IAM_PATH,
            description=f"The most that {whose} of {stack.name} can do",
            policy=pulumi.Output.json_dumps(
                limit(stack=stack.name, account_id=args.account_id, region=stack.region), sort_keys=True
            ),
            tags=stack.tags,
            opts=self._child(),
        )
        if stack.host_identity == "access_key":
            self._access_key(boundary)
        elif stack.host_identity == "instance_profile":
            self._instance_profile(boundary)
        else:
            self._roles_anywhere(boundary)
        self.register_outputs(
            {
                "user": self.user,
                "roleArn": self.role_arn,
                "instanceProfile": self.instance_profile,
                "trustAnchorArn": self.trust_anchor_arn,
                "rolesAnywhereProfileArn": self.roles_anywhere_profile_arn,
            }
        )

    @property
    def _role_name(self) -> str:
        stack = self._args.stack.name
        return names.app_host_role(stack) if self._apps else names.host_role(stack)

    def _policies(self) -> list[NamedPolicy]:
        """What every host that takes backups may do."""
        region, target = self._args.stack.region, self._args.store
        if target is None:
            return []
        put = pulumi.Output.all(target.arn, target.kms_key_arn).apply(
            lambda arns: store.host_policy(
                bucket_arn=arns[0],
                kms_key_arn=arns[1],
                region=region,
                prefixes=host_prefixes(),
            )
        )
        return [("put-backups", put), ("publish-metrics", identity.publish_metrics())]

    def _access_key(self, boundary: aws.iam.Policy) -> None:
        stack, formerly = self._args.stack, self._args.store
        user = aws.iam.User(
            f"{self._name}-user",
            name=(names.log_writer_user if self._apps else names.writer_user)(stack.name),
            path=names.IAM_PATH,
            permissions_boundary=boundary.arn,
            # Its access keys are made elsewhere; only a disposable stack may take them along.
            force_destroy=stack.disposable,
            tags=stack.tags,
            opts=self._moved(formerly, "writer"),
        )
        for name, policy in self._policies():
            aws.iam.UserPolicy(
                f"{self._name}-{name}",
                name=name,
                user=user.name,
                policy=pulumi.Output.json_dumps(policy, sort_keys=True),
                opts=self._moved(formerly if name == "put-backups" else None, "writer-policy"),
            )
        # A user's own policies may have 2,048 characters together, which these would exceed; a managed
        # one has room for 6,144 (IAM user guide, "IAM and AWS STS quotas").
        for name, policy in self._args.more:
            managed = aws.iam.Policy(
                f"{self._name}-{name}",
                name=f"{stack.name}-{'app-' if self._apps else ''}{name}",
                path=names.IAM_PATH,
                policy=pulumi.Output.json_dumps(policy, sort_keys=True),
                tags=stack.tags,
                opts=self._child(),
            )
            aws.iam.UserPolicyAttachment(
                f"{self._name}-{name}-attachment",
                user=user.name,
                policy_arn=managed.arn,
                opts=self._child(),
            )
        self.user = user.name

    def _moved(self, formerly: BackupBucket | None, part: str) -> pulumi.ResourceOptions:
        """Options of a child that used to belong to the store: stacks built then keep the resource."""
        if formerly is None:
            return self._child()
        alias = pulumi.Alias(name=f"{self._args.stack.name}-backups-{part}", parent=formerly)
        return pulumi.ResourceOptions.merge(self._child(), pulumi.ResourceOptions(aliases=[alias]))

    def _instance_profile(self, boundary: aws.iam.Policy) -> None:
        stack = self._args.stack
        role = self._role(boundary, identity.ec2_trust())
        self.instance_profile = aws.iam.InstanceProfile(
            f"{self._name}-profile",
            name=self._role_name,
            path=names.IAM_PATH,
            role=role.name,
            tags=stack.tags,
            opts=self._child(),
        ).name

    def _roles_anywhere(self, boundary: aws.iam.Policy) -> None:
        stack = self._args.stack
        anchor = self._args.trust_anchor_arn or self._anchor()
        trust = pulumi.Output.from_input(anchor).apply(
            lambda arn: identity.roles_anywhere_trust(
                trust_anchor_arn=arn, stack=stack.name, app_hosts=self._apps
            )
        )
        role = self._role(boundary, trust)
        profile = aws.rolesanywhere.Profile(
            f"{self._name}-profile",
            name=self._role_name,
            enabled=True,
            role_arns=[role.arn],
            duration_seconds=ROLES_ANYWHERE_SESSION_SECONDS,
            tags=stack.tags,
            opts=self._child(),
        )
        self.trust_anchor_arn = pulumi.Output.from_input(anchor)
        self.roles_anywhere_profile_arn = profile.arn

    def _anchor(self) -> pulumi.Output[str]:
        """Trusts certificates of the team's authority."""
        stack = self._args.stack
        return aws.rolesanywhere.TrustAnchor(
            f"{self._name}-anchor",
            name=self._role_name,
            enabled=True,
            source={
                "source_type": "CERTIFICATE_BUNDLE",
                "source_data": {"x509_certificate_data": stack.settings.roles_anywhere_ca},
            },
            tags=stack.tags,
            opts=self._child(),
        ).arn

    def _role(self, boundary: aws.iam.Policy, trust: pulumi.Input[Document]) -> aws.iam.Role:
        """The hosts' role with its policies."""
        stack = self._args.stack
        role = aws.iam.Role(
            f"{self._name}-role",
            name=self._role_name,
            path=names.IAM_PATH,
            description=f"Hosts of {stack.app.title}, {stack.environment}",
            assume_role_policy=pulumi.Output.json_dumps(trust, sort_keys=True),
            permissions_boundary=boundary.arn,
            tags=stack.tags,
            opts=self._child(),
        )
        for name, policy in [*self._policies(), *self._args.more]:
            aws.iam.RolePolicy(
                f"{self._name}-{name}",
                name=name,
                role=role.name,
                policy=pulumi.Output.json_dumps(policy, sort_keys=True),
                opts=self._child(),
            )
        self.role_arn = role.arn
        return role
