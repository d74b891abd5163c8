"""KMS keys."""

from __future__ import annotations

from collections.abc import Iterator

from infra.policy.model import UNKNOWN, Rule, Stack, Violation
from infra.policy.statements import KEY

REPLICA_KEYS = ("aws:kms/replicaKey:ReplicaKey", "aws:kms/replicaExternalKey:ReplicaExternalKey")

#: Days in which a deleted key can be rescued: the most KMS allows, and the least for what is disposable
#: (KMS API reference, ScheduleKeyDeletion).
DELETION_DAYS = 30
DELETION_DAYS_DISPOSABLE = 7


def _rotated(stack: Stack) -> Iterator[Violation]:
    for key in stack.of(KEY):
        if key.get("enableKeyRotation") not in (True, UNKNOWN):
            yield Violation(key, "does not rotate")


def _of_one_region(stack: Stack) -> Iterator[Violation]:
    for key in stack.of(KEY, *REPLICA_KEYS):
        if key.type in REPLICA_KEYS or key.get("multiRegion") is True:
            yield Violation(key, "exists in several regions")


def _recoverable(stack: Stack) -> Iterator[Violation]:
    least = DELETION_DAYS_DISPOSABLE if stack.environment == "local" else DELETION_DAYS
    for key in stack.of(KEY):
        days = key.get("deletionWindowInDays")
        # Not given means AWS's default, which is the most there is.
        if isinstance(days, int | float) and days < least:
            yield Violation(key, f"can be rescued for {days:g} days only, not {least}")
        if key.get("bypassPolicyLockoutSafetyCheck") is True:
            yield Violation(key, "may be given a policy that locks everybody out")


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
        "A deleted key can be rescued as long as KMS allows; in a local stack for the least time.",
        "With the key every backup it encrypted is gone.",
        "set deletion_window_in_days=30",
        _recoverable,
    ),
)
