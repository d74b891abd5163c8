"""Where alerts of a stack go: one topic a severity, encrypted, with the contacts of the app file.

An alarm can only notify topics of its own region, so a stack has this component once for each
region with alarms. A subscription by email has to be confirmed by its owner once.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import pulumi
import pulumi_aws as aws

from infra.components.component import Component
from infra.config import StackConfig
from infra.documents import alerts
from infra.severities import SEVERITIES, Severity

#: Days between ``destroy`` and the key's end, the least KMS allows: it encrypts messages on their
#: way and nothing that is kept (KMS API reference, ScheduleKeyDeletion).
KEY_DELETION_DAYS = 7

#: SHA-256 instead of SHA-1 in the signature of messages (SNS API reference, SetTopicAttributes).
SIGNATURE_VERSION = 2


@dataclass(frozen=True)
class TopicsArgs:
    """What the topics depend on."""

    stack: StackConfig
    account_id: str
    region: str
    """Of the topics, their key and every alarm that uses them."""
    severities: tuple[Severity, ...] = SEVERITIES
    """Which topics there are; in another region than the stack's only those that are used."""


class Topics(Component):
    """Three topics and their key; see the module."""

    topics: dict[Severity, pulumi.Output[str]]
    """ARN by severity; known once the topic lets services publish."""

    def __init__(self, name: str, args: TopicsArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("steward:alerts:Topics", name, opts)
        key = self._key(args)
        self.topics = {severity: self._topic(severity, args, key) for severity in args.severities}
        self.register_outputs({f"{severity}Arn": arn for severity, arn in self.topics.items()})

    def _key(self, args: TopicsArgs) -> aws.kms.Key:
        stack = args.stack
        return self._kms_key(
            stack,
            f"Alerts of {stack.app.title}, {stack.environment}",
            alerts.key_policy(account_id=args.account_id),
            deletion_days=KEY_DELETION_DAYS,
            region=args.region,
        )

    def _topic(self, severity: Severity, args: TopicsArgs, key: aws.kms.Key) -> pulumi.Output[str]:
        stack = args.stack
        topic = aws.sns.Topic(
            f"{self._name}-{severity}",
            name=f"{stack.name}-{severity}",
            display_name=f"{stack.app.title} {stack.environment}: {severity}",
            kms_master_key_id=key.arn,
            signature_version=SIGNATURE_VERSION,
            region=args.region,
            tags=stack.tags,
            opts=self._child(),
        )
        policy = aws.sns.TopicPolicy(
            f"{self._name}-{severity}-policy",
            arn=topic.arn,
            policy=pulumi.Output.json_dumps(
                topic.arn.apply(lambda arn: alerts.topic_policy(topic_arn=arn, account_id=args.account_id)),
                sort_keys=True,
            ),
            region=args.region,
            opts=self._child(),
        )
        contacts: list[str] = getattr(stack.app.contacts, severity)
        for contact in dict.fromkeys(contacts):
            aws.sns.TopicSubscription(
                f"{self._name}-{severity}-{_short(contact)}",
                topic=topic.arn,
                protocol="https" if contact.startswith("https://") else "email",
                endpoint=contact,
                region=args.region,
                opts=self._child(),
            )
        return policy.arn


def _short(contact: str) -> str:
    """A name that stays when contacts before it are removed, so that nobody confirms twice."""
    return hashlib.sha256(contact.encode()).hexdigest()[:8]
