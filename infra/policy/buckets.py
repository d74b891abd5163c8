"""Every bucket with its side resources, joined by the bucket's name."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from infra.policy.model import UNKNOWN, Resource, Rule, Stack, Violation
from infra.policy.statements import BUCKET_POLICY, Statement, statements_of

BUCKET = "aws:s3/bucket:Bucket"
VERSIONING = "aws:s3/bucketVersioning:BucketVersioning"
PUBLIC_ACCESS = "aws:s3/bucketPublicAccessBlock:BucketPublicAccessBlock"
ENCRYPTION = "aws:s3/bucketServerSideEncryptionConfiguration:BucketServerSideEncryptionConfiguration"
LIFECYCLE = "aws:s3/bucketLifecycleConfiguration:BucketLifecycleConfiguration"
OWNERSHIP = "aws:s3/bucketOwnershipControls:BucketOwnershipControls"
LOGGING = "aws:s3/bucketLogging:BucketLogging"
LOCK = "aws:s3/bucketObjectLockConfiguration:BucketObjectLockConfiguration"
NOTIFICATION = "aws:s3/bucketNotification:BucketNotification"
REPLICATION = "aws:s3/bucketReplicationConfig:BucketReplicationConfig"
TRAIL = "aws:cloudtrail/trail:Trail"

#: S3 keeps one of each a bucket, so a second resource overwrites the first at every update.
ONE_A_BUCKET = (
    VERSIONING,
    PUBLIC_ACCESS,
    ENCRYPTION,
    LIFECYCLE,
    OWNERSHIP,
    BUCKET_POLICY,
    LOGGING,
    LOCK,
    NOTIFICATION,
    REPLICATION,
)

#: Arguments of the bucket itself that fight with side resources (pulumi-aws 7 deprecates them).
INLINE = (
    "accelerationStatus",
    "acl",
    "corsRules",
    "grants",
    "lifecycleRules",
    "logging",
    "objectLockConfiguration",
    "policy",
    "replicationConfiguration",
    "requestPayer",
    "serverSideEncryptionConfiguration",
    "versioning",
    "website",
)

BLOCKED = ("blockPublicAcls", "blockPublicPolicy", "ignorePublicAcls", "restrictPublicBuckets")


def sides(stack: Stack, bucket: Resource, type_: str) -> list[Resource]:
    """The side resources of a type that belong to a bucket."""
    return [s for s in stack.of(type_) if bucket in stack.referred(s, "bucket", [BUCKET], "bucket", "id")]


def log_targets(stack: Stack) -> list[Resource]:
    """Buckets that S3 writes access logs into: another bucket names them in its logging."""
    found = (stack.referred(s, "targetBucket", [BUCKET], "bucket", "id") for s in stack.of(LOGGING))
    return [bucket for targets in found for bucket in targets]


def trail_targets(stack: Stack) -> list[Resource]:
    """Buckets of trails that encrypt each file with a key of their own, whatever the bucket's default is."""
    trails = [t for t in stack.of(TRAIL) if t.get("kmsKeyId")]
    found = (stack.referred(t, "s3BucketName", [BUCKET], "bucket", "id") for t in trails)
    return [bucket for targets in found for bucket in targets]


def rules_of(stack: Stack, bucket: Resource) -> list[Mapping[str, Any]]:
    """The enabled lifecycle rules of a bucket."""
    found = [rule for side in sides(stack, bucket, LIFECYCLE) for rule in side.values("rules")]
    return [r for r in found if r is not UNKNOWN and r.get("status") == "Enabled"]


def _each(
    type_: str, wrong: Callable[[Stack, Resource, Resource], str | None]
) -> Callable[[Stack], Iterator[Violation]]:
    """A check of the one side resource of a type that every bucket must have."""

    def check(stack: Stack) -> Iterator[Violation]:
        for bucket in stack.of(BUCKET):
            found = sides(stack, bucket, type_)
            if not found:
                yield Violation(bucket, f"has no {type_.rpartition(':')[2]}")
            for side in found:
                if text := wrong(stack, bucket, side):
                    yield Violation(side, text)

    return check


def _versioning(_: Stack, _bucket: Resource, side: Resource) -> str | None:
    status = side.get("versioningConfiguration.status")
    return None if status in ("Enabled", UNKNOWN) else f"status is {status!r}"


def _public_access(_: Stack, _bucket: Resource, side: Resource) -> str | None:
    open_ = [name for name in BLOCKED if side.get(name) not in (True, UNKNOWN)]
    return f"does not set {', '.join(open_)}" if open_ else None


def _encryption(stack: Stack, bucket: Resource, side: Resource) -> str | None:
    for rule in side.values("rules"):
        if rule is UNKNOWN:
            return None
        default = rule.get("applyServerSideEncryptionByDefault") or {}
        if default.get("sseAlgorithm") == "aws:kms" and default.get("kmsMasterKeyId"):
            return None if rule.get("bucketKeyEnabled") else "encrypts without a bucket key"
        others = [*log_targets(stack), *trail_targets(stack)]
        if default.get("sseAlgorithm") == "AES256" and bucket in others:
            return None
    return "does not encrypt with a KMS key of our own"


def _ownership(_: Stack, _bucket: Resource, side: Resource) -> str | None:
    owner = side.get("rule.objectOwnership")
    return None if owner in ("BucketOwnerEnforced", UNKNOWN) else f"object ownership is {owner!r}"


def _whole(rule: Mapping[str, Any]) -> bool:
    """Whether a lifecycle rule is about every object of the bucket."""
    filter_ = {k: v for k, v in (rule.get("filter") or {}).items() if v}
    return not filter_ and not rule.get("prefix")


def _lifecycle(stack: Stack, bucket: Resource, side: Resource) -> str | None:
    rules = rules_of(stack, bucket)
    if side.get("rules") is UNKNOWN:
        return None
    if any(not isinstance(rule.get("filter"), Mapping) for rule in rules):
        return "a rule has no filter"
    whole = [rule for rule in rules if _whole(rule)]
    if not any((r.get("abortIncompleteMultipartUpload") or {}).get("daysAfterInitiation") for r in whole):
        return "no rule for the whole bucket aborts unfinished uploads"
    if not any((r.get("expiration") or {}).get("expiredObjectDeleteMarker") for r in whole):
        return "no rule for the whole bucket removes delete markers"
    everywhere = any((r.get("noncurrentVersionExpiration") or {}).get("noncurrentDays") for r in whole)
    for rule in rules:
        expiration = rule.get("expiration") or {}
        if expiration.get("days") and expiration.get("expiredObjectDeleteMarker"):
            return f"rule {rule.get('id')} has days and delete markers in one; S3 refuses that"
        own = (rule.get("noncurrentVersionExpiration") or {}).get("noncurrentDays")
        if expiration.get("days") and not own and not everywhere:
            return f"rule {rule.get('id')} hides versions and never removes them"
    return None


def _transport(_: Stack, bucket: Resource, side: Resource) -> str | None:
    if side.get("policy") is UNKNOWN:
        return None
    arn = bucket.get("arn")
    found = list(statements_of(side))
    for what, operator, key, value in (
        ("plain HTTP", "Bool", "aws:securetransport", "false"),
        ("TLS below 1.2", "NumericLessThan", "s3:tlsversion", "1.2"),
    ):
        if not any(_refuses(s, arn, operator, key, value) for s in found):
            return f"does not refuse {what} to everybody"
    return None


def _refuses(statement: Statement, arn: Any, operator: str, key: str, value: str) -> bool:
    """Whether a statement refuses everything under one condition, and that condition alone."""
    covered = arn is UNKNOWN or {arn, f"{arn}/*"} <= set(statement.items("Resource"))
    return (
        not statement.allows
        and statement.anybody
        and {"s3:*", "*"} & set(statement.items("Action")) != set()
        and covered
        and [(o, k, [str(v) for v in vs]) for o, k, vs in statement.conditions()]
        == [(operator, key, [value])]
    )


def _logging(stack: Stack) -> Iterator[Violation]:
    targets = log_targets(stack)
    regions = {target.region for target in targets}
    for bucket in stack.of(BUCKET):
        # S3 writes logs within a region only; a region without a target has nowhere to put them.
        elsewhere = bool(regions) and bucket.region not in regions
        if bucket not in targets and not elsewhere and not sides(stack, bucket, LOGGING):
            yield Violation(bucket, "writes no access log")


def _one_a_bucket(stack: Stack) -> Iterator[Violation]:
    for bucket in stack.of(BUCKET):
        for type_ in ONE_A_BUCKET:
            for surplus in sides(stack, bucket, type_)[1:]:
                yield Violation(surplus, f"is not the only one of bucket {bucket.name}")


def _inline(stack: Stack) -> Iterator[Violation]:
    for bucket in stack.of(BUCKET):
        if given := [name for name in INLINE if bucket.get(name)]:
            yield Violation(bucket, f"sets {', '.join(given)} inside the bucket")


_BASE = "extend SecureBucket (infra/components/secure_bucket.py), which registers it"

RULES = (
    Rule(
        "bucket-versioned",
        "Every bucket keeps versions.",
        "Without versions an overwrite is a loss, and Object Lock and replication do not work.",
        _BASE,
        _each(VERSIONING, _versioning),
    ),
    Rule(
        "bucket-closed-to-the-public",
        "Every bucket sets all four public access blocks.",
        "One wrong policy or ACL would publish backups.",
        _BASE,
        _each(PUBLIC_ACCESS, _public_access),
    ),
    Rule(
        "bucket-encrypted",
        "Every bucket encrypts with a KMS key and a bucket key; targets of access logs and trails may not.",
        "A key of our own can be refused to a stolen identity. S3 delivers access logs to SSE-S3 only, and a "
        "trail brings its key along.",
        _BASE,
        _each(ENCRYPTION, _encryption),
    ),
    Rule(
        "bucket-owner-enforced",
        "Every bucket owns all its objects and has no ACLs.",
        "An object of another account's could not be read or deleted by us.",
        _BASE,
        _each(OWNERSHIP, _ownership),
    ),
    Rule(
        "bucket-lifecycle",
        "Every lifecycle aborts unfinished uploads and removes hidden versions and delete markers.",
        "What is neither listed nor removed is paid for without end.",
        "add the rule, see infra/lifecycle.py; give every rule a filter",
        _each(LIFECYCLE, _lifecycle),
    ),
    Rule(
        "bucket-transport",
        "Every bucket refuses plain HTTP and TLS below 1.2 to everybody.",
        "Credentials and backups would travel readable.",
        "put infra.documents.transport_rules into the bucket's policy",
        _each(BUCKET_POLICY, _transport),
    ),
    Rule(
        "bucket-access-log",
        "Every bucket but the logs' own target writes an access log.",
        "After an incident nobody could say which objects were read.",
        _BASE,
        _logging,
    ),
    Rule(
        "bucket-one-side-resource",
        "A bucket has one side resource of each kind.",
        "The second overwrites the first, and each update undoes the other.",
        "put both settings into one resource",
        _one_a_bucket,
    ),
    Rule(
        "bucket-no-inline-settings",
        "A bucket holds no settings that are resources of their own.",
        "Inline arguments and side resources delete each other's settings.",
        _BASE,
        _inline,
        of_inputs=True,
    ),
)
