"""KMS keys."""

from __future__ import annotations

from collections.abc import Iterator

from infra.policy.alerting import KEY_ALIAS, TOPIC
from infra.policy.model import UNKNOWN, Resource, Rule, Stack, Violation, strings
from infra.policy.statements import KEY, KEY_POLICIES

REPLICA_KEYS = ("aws:kms/replicaKey:ReplicaKey", "aws:kms/replicaExternalKey:ReplicaExternalKey")

#: Days in which a deleted key can be rescued: the most KMS allows, and the least
#: (KMS API reference, ScheduleKeyDeletion).
MOST_DELETION_DAYS = 30
LEAST_DELETION_DAYS = 7

#: What refers to a key without keeping anything that it encrypted: a topic's messages are on their way.
_KEEPS_NOTHING = frozenset({KEY, KEY_ALIAS, TOPIC, *KEY_POLICIES})


def _rotated(stack: Stack) -> Iterator[Violation]:
    for key in stack.of(KEY):
        if key.get("enableKeyRotation") not in (True, UNKNOWN):
            yield Violation(key, "does not rotate")


def _of_one_region(stack: Stack) -> Iterator[Violation]:
    for key in stack.of(KEY, *REPLICA_KEYS):
        if key.type in REPLICA_KEYS or key.get("multiRegion") is True:
            yield Violation(key, "exists in several regions")


def _recoverable(stack: Stack) -> Iterator[Violation]:
    for key in stack.of(KEY):
        disposable = stack.environment == "local" or not _encrypts_what_is_kept(stack, key)
        least = LEAST_DELETION_DAYS if disposable else MOST_DELETION_DAYS
        days = key.get("deletionWindowInDays")
        # Not given means AWS's default, which is the most there is.
        if isinstance(days, int | float) and days < least:
            yield Violation(key, f"can be rescued for {days:g} days only, not {least}")
        if key.get("bypassPolicyLockoutSafetyCheck") is True:
            yield Violation(key, "may be given a policy that locks everybody out")


def _encrypts_what_is_kept(stack: Stack, key: Resource) -> bool:
    """Whether anything but a topic names the key; nobody at all counts as yes."""
    users = [r for r in stack.resources if r is not key and _names(r, key)]
    return not any(r.type == TOPIC for r in users) or any(r.type not in _KEEPS_NOTHING for r in users)


def _names(resource: Resource, key: Resource) -> bool:
    """Whether a property is made of the key, or holds its ARN where Pulumi keeps no dependencies."""
    sources = resource.property_dependencies.values()
    if any(sources):
        return any(key.name in names for names in sources)
    return any(text == key.get("arn") for _, text in strings(resource.properties))


RULES = (
    Rule(
        "key-rotated",
        "Every key rotates by itself each year.",
        "A key that leaked once would open everything ever after.",
        "set enable_key_rotation=True",
        _rotated,
    ),
    Rule(
        "key-of-one-region",
        "No key exists in several regions.",
        "Whoever takes over one region would read the copies in the other.",
        "make a key of its own in the other region, as OffsiteReplica does",
        _of_one_region,
    ),
    Rule(
        "key-recoverable",
        "A deleted key can be rescued as long as KMS allows, unless all it encrypts may be lost.",
        "With the key every backup it encrypted is gone.",
        "set deletion_window_in_days=30",
        _recoverable,
    ),
)
