"""Events that mean somebody changes what the backups rest on: the store's settings and its key.

EventBridge gets them as calls that CloudTrail records, so a trail with management events has to
exist in the account and region (EventBridge user guide, "AWS service events via CloudTrail").
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from infra.watch import RUNBOOK

#: Ends of a key (CIS AWS Foundations Benchmark 7.0, 5.7).
KEY_EVENTS = ("DisableKey", "ScheduleKeyDeletion")

#: Changes of a bucket's access (CIS 5.8), and of what keeps its objects.
BUCKET_EVENTS = (
    "DeleteBucket",
    "DeleteBucketCors",
    "DeleteBucketLifecycle",
    "DeleteBucketPolicy",
    "DeleteBucketPublicAccessBlock",
    "DeleteBucketReplication",
    "PutBucketAcl",
    "PutBucketCors",
    "PutBucketLifecycle",
    "PutBucketObjectLockConfiguration",
    "PutBucketPolicy",
    "PutBucketPublicAccessBlock",
    "PutBucketReplication",
    "PutBucketVersioning",
)

#: Parts of an event that the message names. Keys must not begin with "AWS" (EventBridge reference).
INPUT_PATHS = {
    "error": "$.detail.errorCode",
    "event": "$.detail.eventName",
    "source": "$.detail.sourceIPAddress",
    "time": "$.time",
    "who": "$.detail.userIdentity.arn",
}


@dataclass(frozen=True)
class Rule:
    """One kind of event and the sentence about it."""

    name: str
    """After the stack's name; also the section of the runbook."""
    description: str
    subject: str
    """What is changed, in the message."""

    @property
    def template(self) -> str:
        """The message, with the names of :data:`INPUT_PATHS` in angle brackets.

        A JSON string: EventBridge takes the quotes along, so none may stand inside.
        """
        return (
            f'"<time>: <who> called <event> on {self.subject}, from <source>. Error, if refused: <error>.'
            f' What to do: {RUNBOOK}#{self.name}"'
        )


def key_rule(stack: str) -> Rule:
    """Somebody ends the store's key: what it encrypts cannot be read any more."""
    return Rule(
        "key-tampering",
        f"The key of the store of {stack} is disabled or will be deleted",
        f"the key of the backups of {stack}",
    )


def bucket_rule(stack: str) -> Rule:
    """Somebody changes who may reach the store, or how long it keeps objects."""
    return Rule(
        "store-tampering",
        f"Settings of the store of {stack} are changed",
        f"the store of {stack}",
    )


def key_pattern(key_arn: str) -> dict[str, Any]:
    """The events of :func:`key_rule`."""
    return _pattern("kms", KEY_EVENTS, {"resources": {"ARN": [key_arn]}})


def bucket_pattern(bucket: str) -> dict[str, Any]:
    """The events of :func:`bucket_rule`."""
    return _pattern("s3", BUCKET_EVENTS, {"requestParameters": {"bucketName": [bucket]}})


def _pattern(service: str, events: tuple[str, ...], about: dict[str, Any]) -> dict[str, Any]:
    return {
        "source": [f"aws.{service}"],
        "detail-type": ["AWS API Call via CloudTrail"],
        "detail": {"eventSource": [f"{service}.amazonaws.com"], "eventName": list(events), **about},
    }
