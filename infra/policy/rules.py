"""All rules, and how to run them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from infra.policy import alerting, buckets, identity, keys, locks, secret_values, tags
from infra.policy.model import Resource, Rule, Stack, Violation

RULES: tuple[Rule, ...] = (
    *buckets.RULES,
    *locks.RULES,
    *keys.RULES,
    *alerting.RULES,
    *identity.RULES,
    *tags.RULES,
    *secret_values.RULES,
)


def broken(resources: Iterable[Resource]) -> Iterator[tuple[Rule, Violation]]:
    """Every rule that a stack breaks, with the resource that breaks it."""
    stack = Stack(resources)
    for rule in RULES:
        for violation in rule.violations(stack):
            yield rule, violation
