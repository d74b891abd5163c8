"""Object Lock of the buckets that hold backups, and that it never outlives the lifecycle."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from infra.policy.buckets import BUCKET, LOCK, rules_of, sides
from infra.policy.model import UNKNOWN, Resource, Rule, Stack, Violation
from infra.policy.statements import BUCKET_POLICY, statements_of
from steward.appfile import BACKUP_CLASSES


def holds_backups(stack: Stack, bucket: Resource) -> bool:
    """Whether the lifecycle names the prefix of a backup class, or Object Lock is on."""
    prefixes = {f"{c}/" for c in BACKUP_CLASSES}
    named = {r.get("filter", {}).get("prefix") for r in rules_of(stack, bucket)}
    return bool(prefixes & named) or bucket.get("objectLockEnabled") is True


def _object_lock(stack: Stack) -> Iterator[Violation]:
    for bucket in stack.of(BUCKET):
        if not holds_backups(stack, bucket):
            continue
        if bucket.get("objectLockEnabled") is not True:
            yield Violation(bucket, "holds backups and has no Object Lock")
        default = [side.get("rule.defaultRetention") or {} for side in sides(stack, bucket, LOCK)]
        if not any(d is UNKNOWN or (_days(d) and d.get("mode")) for d in default):
            yield Violation(bucket, "holds backups that nothing locks from their first byte on")


def _days(retention: Mapping[str, Any]) -> int:
    """Days of a default retention; S3 counts a year as 365 days (API reference, DefaultRetention)."""
    return int(retention.get("days") or 0) or 365 * int(retention.get("years") or 0)


def _lock_within_lifecycle(stack: Stack) -> Iterator[Violation]:
    for bucket in stack.of(BUCKET):
        kept = [
            (
                int(r["expiration"]["days"]),
                int((r.get("noncurrentVersionExpiration") or {}).get("noncurrentDays") or 0),
            )
            for r in rules_of(stack, bucket)
            if (r.get("expiration") or {}).get("days")
        ]
        if not kept:
            continue
        shortest, longest = min(days for days, _ in kept), max(sum(both) for both in kept)
        modes = set()
        for side in sides(stack, bucket, LOCK):
            default = side.get("rule.defaultRetention") or {}
            if default is UNKNOWN:
                continue
            modes.add(default.get("mode"))
            if _days(default) > shortest:
                yield Violation(side, f"locks for {_days(default)} days what expires after {shortest}")
        for side in sides(stack, bucket, BUCKET_POLICY):
            for operator, key, values in _refused(side):
                too_long = (
                    operator == "NumericGreaterThan" and key == "s3:object-lock-remaining-retention-days"
                )
                if too_long and int(values[0]) > longest:
                    yield Violation(
                        side, f"lets hosts lock for {values[0]} days; all is gone after {longest}"
                    )
                asks = operator == "StringNotEquals" and key == "s3:object-lock-mode"
                if asks and modes and not set(values) & modes:
                    yield Violation(side, f"asks for lock mode {values[0]}, not for the bucket's own")


def _refused(policy: Resource) -> Iterator[tuple[str, str, list[str]]]:
    """The conditions of all refusals of a bucket's policy."""
    for statement in statements_of(policy):
        if not statement.allows:
            yield from statement.conditions()


RULES = (
    Rule(
        "bucket-object-lock",
        "Every bucket that holds backups has Object Lock with a default retention.",
        "A stolen administrator key must not be able to delete them.",
        "give SecureBucketArgs.lock",
        _object_lock,
    ),
    Rule(
        "bucket-lock-within-lifecycle",
        "No lock is longer than the lifecycle keeps an object, and its mode is the bucket's.",
        "A lock that is too long cannot be taken back in COMPLIANCE mode, and is paid for.",
        "take default_lock_days and longest_lock_days of infra/lifecycle.py",
        _lock_within_lifecycle,
    ),
)
