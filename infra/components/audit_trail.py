"""The record of who changed what: a trail with the store's writes, and the count of refused deletions.

It is also what the rules of :mod:`infra.components.tampering` get their events from: EventBridge
sees calls only where a trail records them. Cost: the first copy of management events in an account
is free, a second trail in the same account pays for its own; data events are paid by their number.
"""

from __future__ import annotations

from dataclasses import dataclass

import pulumi
import pulumi_aws as aws

from infra import names
from infra.components.component import KEY_DELETION_DAYS
from infra.components.secure_bucket import SecureBucket, SecureBucketArgs, deleter_arns
from infra.config import StackConfig
from infra.documents import trail
from infra.lifecycle import trail_rules
from steward.cloudwatch_names import NAMESPACE

#: Days of ``retention_in_days`` that CloudWatch Logs knows up to a year (PutRetentionPolicy reference).
RETENTION_DAYS = (1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365)


def denied_deletes_metric(stack: StackConfig) -> tuple[str, str]:
    """Namespace and name of the count; the name holds the stack, for such a metric has no dimension."""
    return NAMESPACE, f"DeniedDeletes-{stack.name}"


def log_days(keep_days: int) -> int:
    """The shortest retention of a log group that is not shorter than asked for."""
    return next((days for days in RETENTION_DAYS if days >= keep_days), RETENTION_DAYS[-1])


@dataclass(frozen=True)
class AuditTrailArgs:
    """What the trail depends on."""

    stack: StackConfig
    account_id: str
    caller_arn: str
    """Who runs the program; see :func:`infra.components.secure_bucket.deleter_arns`."""
    store: str
    """Name of the bucket whose writes are recorded."""
    log_bucket: SecureBucket
    """Gets the access log: who read the trail (CIS AWS Foundations, logging of the trail's bucket)."""


class AuditTrail(SecureBucket):
    """The trail's bucket, its key, log group, role, the trail and the filter."""

    def __init__(self, name: str, args: AuditTrailArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("steward:audit:AuditTrail", name, opts)
        stack, account, region = args.stack, args.account_id, args.stack.region
        bucket = names.bucket_name(name, account)
        self._trail_arn = f"arn:aws:cloudtrail:{region}:{account}:trail/{name}"
        self._group_name = f"/steward/{name}"
        self._group_arn = f"arn:aws:logs:{region}:{account}:log-group:{self._group_name}"
        self._build(
            SecureBucketArgs(
                stack=stack,
                bucket=bucket,
                rules=trail_rules(stack.app.logs),
                policy=trail.bucket_policy(
                    bucket_arn=names.bucket_arn(bucket),
                    account_id=account,
                    trail_arn=self._trail_arn,
                    host_arns=names.host_arns(account, stack.name),
                    deleter_arns=deleter_arns(stack, account, args.caller_arn),
                ),
                log_bucket=args.log_bucket,
            )
        )
        key = self._trail_key(args)
        group = aws.cloudwatch.LogGroup(
            f"{name}-logs",
            name=self._group_name,
            retention_in_days=log_days(stack.app.logs.keep_days),
            kms_key_id=key.arn,
            tags=stack.tags,
            opts=self._child(),
        )
        role, policy = self._role(args)
        aws.cloudtrail.Trail(
            f"{name}-trail",
            name=name,
            s3_bucket_name=self.bucket,
            kms_key_id=key.arn,
            cloud_watch_logs_group_arn=group.arn.apply(lambda arn: f"{arn}:*"),
            cloud_watch_logs_role_arn=role.arn,
            enable_log_file_validation=True,
            advanced_event_selectors=trail.selectors(names.bucket_arn(args.store)),
            tags=stack.tags,
            # CloudTrail tries bucket, key and role when it is made.
            opts=self._child(self.closed, policy),
        )
        namespace, metric = denied_deletes_metric(stack)
        aws.cloudwatch.LogMetricFilter(
            f"{name}-denied-deletes",
            name="denied-deletes",
            log_group_name=group.name,
            pattern=trail.denied_deletes(args.store),
            metric_transformation={"namespace": namespace, "name": metric, "value": "1"},
            opts=self._child(),
        )
        self.register_outputs({"bucket": self.bucket, "arn": self.arn})

    def _trail_key(self, args: AuditTrailArgs) -> aws.kms.Key:
        stack = args.stack
        return self._kms_key(
            stack,
            f"Audit trail of {stack.app.title}, {stack.environment}",
            trail.key_policy(
                account_id=args.account_id,
                region=stack.region,
                trail_arn=self._trail_arn,
                log_group_arn=self._group_arn,
            ),
            deletion_days=KEY_DELETION_DAYS,
        )

    def _role(self, args: AuditTrailArgs) -> tuple[aws.iam.Role, aws.iam.RolePolicy]:
        stack = args.stack
        return self._iam_role(
            stack,
            "role",
            name=f"{self._name}-logs",
            description=f"CloudTrail writes the log group of {stack.name} with it",
            trust=trail.trust(trail_arn=self._trail_arn),
            policy_name="write-logs",
            policy=trail.role_policy(
                account_id=args.account_id, region=stack.region, log_group_arn=self._group_arn
            ),
        )
