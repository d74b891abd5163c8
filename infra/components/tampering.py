"""Rules that tell when the store's settings or its key change; see :mod:`infra.watch.tampering`."""

from __future__ import annotations

from dataclasses import dataclass

import pulumi
import pulumi_aws as aws

from infra.components.component import Component
from infra.config import StackConfig
from infra.watch.tampering import INPUT_PATHS, Rule, bucket_pattern, bucket_rule, key_pattern, key_rule


@dataclass(frozen=True)
class TamperingArgs:
    """What the rules depend on."""

    stack: StackConfig
    bucket: str
    """The store's name."""
    kms_key_arn: pulumi.Input[str]
    topic_arn: pulumi.Input[str]
    """A topic in the region of the store."""


class Tampering(Component):
    """One rule for the store, one for its key."""

    def __init__(self, name: str, args: TamperingArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("steward:alerts:Tampering", name, opts)
        stack = args.stack.name
        self._rule(bucket_rule(stack), args, bucket_pattern(args.bucket))
        self._rule(key_rule(stack), args, pulumi.Output.from_input(args.kms_key_arn).apply(key_pattern))
        self.register_outputs({})

    def _rule(self, rule: Rule, args: TamperingArgs, pattern: pulumi.Input[object]) -> None:
        stack = args.stack
        made = aws.cloudwatch.EventRule(
            f"{self._name}-{rule.name}",
            name=f"{stack.name}-{rule.name}",
            description=rule.description,
            event_pattern=pulumi.Output.json_dumps(pattern, sort_keys=True),
            state="ENABLED",
            tags=stack.tags,
            opts=self._child(),
        )
        aws.cloudwatch.EventTarget(
            f"{self._name}-{rule.name}-target",
            rule=made.name,
            target_id="topic",
            arn=args.topic_arn,
            input_transformer={"input_paths": INPUT_PATHS, "input_template": rule.template},
            opts=self._child(),
        )
