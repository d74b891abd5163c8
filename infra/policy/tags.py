"""Tags, and what a stack may lose."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from functools import cache

from infra.policy.buckets import BUCKET
from infra.policy.model import UNKNOWN, Rule, Stack, Violation
from infra.policy.statements import KEY

TAGS = ("App", "Environment", "ManagedBy")


@cache
def can_carry_tags(token: str) -> bool:
    """Whether the genuine AWS SDK's class of a type, as ``aws:s3/bucket:Bucket``, has tags."""
    package, module, name = token.split(":")
    if package != "aws":
        return False
    path = f"pulumi_aws.{module.partition('/')[0]}"
    try:
        class_ = getattr(importlib.import_module(path), name, None)
    except ModuleNotFoundError:
        return False
    return isinstance(getattr(class_, "tags", None), property)


def _tagged(stack: Stack) -> Iterator[Violation]:
    for resource in stack.resources:
        if resource.get("tags") is UNKNOWN or not can_carry_tags(resource.type):
            continue
        if missing := [tag for tag in TAGS if not resource.get(f"tags.{tag}")]:
            yield Violation(resource, f"lacks {', '.join(missing)}")
        elif resource.get("tags.Environment") not in (stack.environment, UNKNOWN):
            yield Violation(
                resource, f"belongs to {resource.get('tags.Environment')}, not {stack.environment}"
            )


def _protected(stack: Stack) -> Iterator[Violation]:
    for resource in stack.of(BUCKET, KEY):
        if stack.environment == "production" and not resource.protect:
            yield Violation(resource, "is not protected")


def _kept(stack: Stack) -> Iterator[Violation]:
    for resource in stack.resources:
        if resource.get("forceDestroy") is True and stack.environment != "local":
            yield Violation(resource, "has forceDestroy set")


RULES = (
    Rule(
        "tagged",
        "Every resource that can carry tags carries App, Environment and ManagedBy.",
        "The budget, the bill and whoever cleans up go by them.",
        "pass tags=stack.tags",
        _tagged,
    ),
    Rule(
        "protected-in-production",
        "Pulumi refuses to delete buckets and keys of production.",
        "A key's end is the end of every backup encrypted with it.",
        "register with opts=self._child(protect=stack.protected)",
        _protected,
    ),
    Rule(
        "only-local-is-disposable",
        "Only a local stack may be destroyed with what it holds.",
        "pulumi destroy would take the backups along.",
        "pass force_destroy=stack.disposable",
        _kept,
    ),
)
