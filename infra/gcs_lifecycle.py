"""How Cloud Storage keeps and forgets the second copy, from an app file's retention. No Pulumi at run time.

Three rules work together (Cloud Storage documentation, "Bucket Lock", "Object Lifecycle
Management", "Soft delete"):

1. The bucket's retention policy keeps every object for as long as the shortest class: it is
   one period a bucket, and longer ones would keep the daily backups from being removed.
   It refuses replacing as well as deleting, so object versions are not needed beside it;
   for long Cloud Storage did not even allow both.
2. Lifecycle removes the objects of a class by their age. Age counts from the copying, which
   is up to a transfer's interval after the original was written.
3. Whatever is removed, by lifecycle or by a thief, can be brought back for a week. That is
   what protects the longer classes between the retention policy's end and their own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from infra.lifecycle import ABORT_UPLOAD_DAYS, default_lock_days, kept_days
from steward.appfile import Retention

if TYPE_CHECKING:  # the SDK's own types, so that mypy finds a misspelled key
    from pulumi_gcp.storage import BucketLifecycleRuleArgsDict as Rule

SECONDS_A_DAY = 86_400

#: Days a removed object can be brought back; the least there is (Cloud Storage JSON API,
#: Buckets, softDeletePolicy). More would be paid for each daily backup again and again.
SOFT_DELETE_DAYS = 7

#: Bucket locations that are multi-regions -> the location of a key that may encrypt there
#: (Cloud KMS documentation, "Cloud KMS locations"); all others have one name for both.
_KEY_LOCATIONS = {"asia": "asia", "eu": "europe", "us": "us"}


def key_location(bucket_location: str) -> str:
    """Where a key has to be to encrypt a bucket's objects."""
    location = bucket_location.lower()
    return _KEY_LOCATIONS.get(location, location)


def lifecycle_rules(retention: Retention) -> list[Rule]:
    """The rules of the whole bucket, in the order of ``kept_days``: a copy is kept as in the store."""
    rules: list[Rule] = [
        {"action": {"type": "Delete"}, "condition": {"age": age, "matches_prefixes": [copied]}}
        for copied, age in kept_days(retention).items()
    ]
    rules.append(
        {"action": {"type": "AbortIncompleteMultipartUpload"}, "condition": {"age": ABORT_UPLOAD_DAYS}}
    )
    return rules


def copied_for_seconds(retention: Retention) -> int:
    """How long after an object was written it is still copied, in seconds: half the shortest retention.

    A copy is removed by its age while S3 keeps the original until midnight and longer; without
    this bound the next transfer would bring it back, to be kept all over again. The other half
    is what transfers may be late.
    """
    return default_lock_days(retention) * SECONDS_A_DAY // 2
