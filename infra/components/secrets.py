"""The places of a backend's secrets in Secrets Manager, and the reminder to change them.

Values never pass through Pulumi, so that none is in a state: a secret is made empty and
an engineer (on one machine the sandbox) puts the value. That is why there is no
``SecretVersion``, not even with the write-only ``secret_string_wo``: it would need the
value in the hands of whoever runs the program, CI included.

There is no ``SecretRotation`` either: it needs a Lambda function that knows each server,
while a new value and the playbook ``site.yml`` change both sides together. What AWS can
do is to remind: every ``secrets.rotate_days`` of the app file.
"""

from __future__ import annotations

import json
from dataclasses import dataclass

import pulumi
import pulumi_aws as aws

from infra import names
from infra.components.component import Component, key_deletion_days
from infra.config import StackConfig
from infra.documents import secrets

#: Name -> what it is for; the names are those that the playbooks look up.
SECRETS = {
    "jwt": "Signs the tokens of the backend's users",
    "mongodb": "Passwords of MongoDB's users",
    "notify": "Who is told of failures: webhook, login for mail; may stay empty",
    "pings": "URLs of a dead man's switch, by job; may stay empty",
    "razorpay": "Keys of the payment provider and the secret of its webhooks",
    "redis": "Password of Redis",
    "smtp": "Login at the mail server",
}
#: Only where hosts have an access key.
HOST_KEYS = {
    "aws-host-key": "Access key of the IAM user of the hosts that take backups",
    "aws-log-key": "Access key of the application hosts' IAM user",
}

#: Days in which a deleted secret can be brought back, the most Secrets Manager allows
#: (Secrets Manager API reference, DeleteSecret); 0 is at once.
RECOVERY_DAYS = 30


@dataclass(frozen=True)
class SecretsArgs:
    """What the secrets depend on."""

    stack: StackConfig
    account_id: str


class Secrets(Component):
    """Empty secrets with a key of their own; see the module."""

    kms_key_arn: pulumi.Output[str]

    def __init__(self, name: str, args: SecretsArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("steward:secrets:Secrets", name, opts)
        stack = args.stack
        key = self._key(args)
        wanted = SECRETS | (HOST_KEYS if stack.host_identity == "access_key" else {})
        policy = secrets.secret_policy(
            account_id=args.account_id, host_arns=names.host_arns(args.account_id, stack.name)
        )
        for secret, purpose in wanted.items():
            aws.secretsmanager.Secret(
                f"{name}-{secret}",
                name=names.secret_prefix(stack.app.name, stack.environment) + secret,
                description=purpose,
                kms_key_id=key.arn,
                policy=json.dumps(policy, sort_keys=True),
                recovery_window_in_days=0 if stack.disposable else RECOVERY_DAYS,
                tags={**stack.tags, "RotateDays": str(stack.app.secrets.rotate_days)},
                opts=self._child(),
            )
        self.kms_key_arn = key.arn
        self.register_outputs({"kmsKeyArn": self.kms_key_arn})

    def _key(self, args: SecretsArgs) -> aws.kms.Key:
        stack = args.stack
        return self._kms_key(
            stack,
            f"Secrets of {stack.app.title}, {stack.environment}",
            secrets.key_policy(account_id=args.account_id, region=stack.region),
            deletion_days=key_deletion_days(stack),
        )


@dataclass(frozen=True)
class RotationReminderArgs:
    """What the reminder depends on."""

    stack: StackConfig
    topic_arn: pulumi.Input[str]
    """Gets the reminder; its policy must let EventBridge publish."""


class RotationReminder(Component):
    """A message whenever the secrets have become as old as the app file allows.

    It is a calendar and knows no secret's age: counted from the day the rule was made. The age itself
    is in Secrets Manager (``LastChangedDate``), which CloudWatch does not see.
    """

    def __init__(
        self, name: str, args: RotationReminderArgs, opts: pulumi.ResourceOptions | None = None
    ) -> None:
        super().__init__("steward:secrets:RotationReminder", name, opts)
        stack = args.stack
        days = stack.app.secrets.rotate_days
        rule = aws.cloudwatch.EventRule(
            f"{name}-rule",
            name=f"{stack.name}-rotate-secrets",
            description=f"Time to change the secrets of {stack.app.title}, {stack.environment}",
            # A rate of one needs the singular (EventBridge user guide, "Rate expressions").
            schedule_expression=f"rate({days} {'day' if days == 1 else 'days'})",
            tags=stack.tags,
            opts=self._child(),
        )
        text = (
            f"Rotate the secrets of {stack.app.title}, {stack.environment}: {days} days have passed."
            f" Put new values into Secrets Manager, then run playbooks/site.yml."
        )
        aws.cloudwatch.EventTarget(
            f"{name}-target",
            rule=rule.name,
            target_id="topic",
            arn=args.topic_arn,
            input=json.dumps(text),
            opts=self._child(),
        )
        self.register_outputs({})
