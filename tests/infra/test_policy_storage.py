"""Rules of buckets, locks, keys, tags and secrets: each way to break one is caught at its resource."""

from __future__ import annotations

from typing import Any

import pytest

from tests.infra.policy_changes import changed, found, in_policy, setting
from tests.infra.policy_parts import TAGS

# The SDK warns about its own old classes when it is imported.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:pulumi_aws.*")

#: The rule, the resource that is changed and reported, the change.
CHANGES: list[tuple[str, str, Any]] = [
    ("bucket-versioned", "store-versioning", setting("versioningConfiguration.status", "Suspended")),
    ("bucket-closed-to-the-public", "store-public", setting("blockPublicAcls", False)),
    ("bucket-closed-to-the-public", "logs-public", lambda p: p.pop("restrictPublicBuckets")),
    ("bucket-encrypted", "store-encryption", setting("rules.0.bucketKeyEnabled", False)),
    (
        "bucket-encrypted",
        "store-encryption",
        setting("rules.0.applyServerSideEncryptionByDefault", {"sseAlgorithm": "AES256"}),
    ),
    (
        "bucket-encrypted",
        "store-encryption",
        setting("rules.0.applyServerSideEncryptionByDefault", {"sseAlgorithm": "aws:kms"}),
    ),
    ("bucket-owner-enforced", "store-ownership", setting("rule.objectOwnership", "ObjectWriter")),
    ("bucket-lifecycle", "store-lifecycle", setting("rules.1.status", "Disabled")),
    ("bucket-lifecycle", "store-lifecycle", setting("rules.1.filter", {"prefix": "daily/"})),
    ("bucket-lifecycle", "store-lifecycle", lambda p: p["rules"][0]["expiration"].clear()),
    ("bucket-lifecycle", "store-lifecycle", lambda p: p["rules"][2].pop("noncurrentVersionExpiration")),
    ("bucket-lifecycle", "store-lifecycle", setting("rules.2.expiration.expiredObjectDeleteMarker", True)),
    ("bucket-lifecycle", "store-lifecycle", lambda p: p["rules"][2].pop("filter")),
    ("bucket-transport", "store-policy", in_policy(lambda s: s.pop(0))),
    ("bucket-transport", "store-policy", in_policy(lambda s: s.pop(1))),
    ("bucket-transport", "store-policy", in_policy(lambda s: s[0].update(Resource="arn:aws:s3:::store"))),
    ("bucket-transport", "store-policy", in_policy(lambda s: s[0].update(Action="s3:GetObject"))),
    (
        "bucket-transport",
        "store-policy",
        in_policy(lambda s: s[0].update(Principal={"AWS": "arn:aws:iam::1:root"})),
    ),
    (
        "bucket-transport",
        "store-policy",
        in_policy(lambda s: s[0]["Condition"].update(StringEquals={"aws:username": "x"})),
    ),
    (
        "bucket-transport",
        "store-policy",
        in_policy(lambda s: s[1]["Condition"].update(NumericLessThan={"s3:TlsVersion": "1.1"})),
    ),
    ("bucket-object-lock", "store", setting("objectLockEnabled", False)),
    ("bucket-lock-within-lifecycle", "store-lock", setting("rule.defaultRetention.days", 8)),
    (
        "bucket-lock-within-lifecycle",
        "store-lock",
        setting("rule.defaultRetention", {"mode": "GOVERNANCE", "years": 1}),
    ),
    (
        "bucket-lock-within-lifecycle",
        "store-policy",
        in_policy(
            lambda s: s[2]["Condition"].update(
                NumericGreaterThan={"s3:object-lock-remaining-retention-days": "188"}
            )
        ),
    ),
    (
        "bucket-lock-within-lifecycle",
        "store-policy",
        in_policy(lambda s: s[3]["Condition"].update(StringNotEquals={"s3:object-lock-mode": "COMPLIANCE"})),
    ),
    ("bucket-no-inline-settings", "store", setting("versioning", {"enabled": True})),
    ("bucket-no-inline-settings", "store", setting("lifecycleRules", [{"enabled": True}])),
    ("key-rotated", "key", setting("enableKeyRotation", False)),
    ("key-rotated", "topic-key", lambda p: p.pop("enableKeyRotation")),
    ("key-of-one-region", "key", setting("multiRegion", True)),
    ("key-recoverable", "key", setting("deletionWindowInDays", 7)),
    ("key-recoverable", "key", setting("bypassPolicyLockoutSafetyCheck", True)),
    ("tagged", "store", setting("tags", {"App": "shop", "Environment": "production"})),
    ("tagged", "alarm", lambda p: p.pop("tags")),
    ("tagged", "host", setting("tags", {**TAGS, "Environment": "staging"})),
    ("only-local-is-disposable", "store", setting("forceDestroy", True)),
    ("only-local-is-disposable", "user", setting("forceDestroy", True)),
    ("no-secret-values", "user", setting("password", "x")),
    ("no-secret-values", "alarm", setting("alarmDescription", f"use AKIA{'A' * 16}")),
    ("no-secret-values", "alarm", setting("nested", [{"secretString": "x"}])),
    ("no-secret-values", "mail", setting("endpoint", "https://u:p@example.com/hook")),
    ("no-secret-values", "alarm", setting("alarmDescription", "-----BEGIN RSA PRIVATE " + "KEY-----")),
]


@pytest.mark.parametrize(("rule", "name", "change"), CHANGES)
def test_a_change_is_caught(rule: str, name: str, change: Any) -> None:
    assert (rule, name) in found(changed(name, change))
