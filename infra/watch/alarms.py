"""Every alarm of a stack: on recoverability, on the store and its copy, on EC2 hosts."""

from __future__ import annotations

from infra.config import StackConfig
from infra.severities import SEVERITIES, Severity
from infra.watch import DAY, HOUR, MINUTE, Alarm, Composite, Metric, Replica, Watched
from infra.watch.recoverability import age_alarms, recoverability, verification

#: CPU of an EC2 host, in percent over a quarter of an hour.
CPU_PERCENT = 90

#: Replication Time Control promises 15 minutes (Amazon S3 user guide); twice that is late.
REPLICATION_LATE = 30 * MINUTE

#: Refused or malformed requests in an hour: far above what retries and look-ups of absent keys make.
REFUSED_AN_HOUR = 100

#: Storage metrics come once a day (Amazon S3 user guide, "Metrics and dimensions").
STORAGE_TYPE = "StandardStorage"


def all_alarms(stack: StackConfig, watched: Watched) -> list[Alarm | Composite]:
    """Every alarm of a stack; those that a composite stands over come before it."""
    ages = age_alarms(stack)
    parts, at_risk = recoverability(stack, ages["daily"])
    return [
        *ages.values(),
        *parts,
        at_risk,
        *verification(stack),
        *store_alarms(stack, watched),
        *instance_alarms(stack),
    ]


def severities_elsewhere(stack: StackConfig, watched: Watched) -> dict[str, tuple[Severity, ...]]:
    """The topics that alarms need in other regions than the stack's, by region."""
    found: dict[str, set[Severity]] = {}
    for alarm in all_alarms(stack, watched):
        if isinstance(alarm, Alarm) and alarm.region and alarm.region != stack.region:
            found.setdefault(alarm.region, set()).add(alarm.severity)
    return {region: tuple(s for s in SEVERITIES if s in used) for region, used in sorted(found.items())}


def store_alarms(stack: StackConfig, watched: Watched) -> list[Alarm]:
    """Alarms on the store itself and on its copy."""
    percent = stack.app.backup.size_jump_percent
    size = {"BucketName": watched.bucket, "StorageType": STORAGE_TYPE}
    alarms = [
        # CloudWatch has no shift in time for alarms; DIFF is the change against the value before, so
        # ``m - DIFF(m)`` is that value. Two days are looked at, because the value of a day comes late.
        Alarm(
            "size-jump",
            "warning",
            f"The store of {stack.name} grew or shrank by more than {percent} % within a day.",
            percent,
            {"m": Metric("AWS/S3", "BucketSizeBytes", size, "Average", DAY)},
            2,
            "notBreaching",
            expression="100 * ABS(DIFF(m)) / (m - DIFF(m))",
            needed=1,
        )
    ]
    if watched.request_metrics:
        requests = {"BucketName": watched.bucket, "FilterId": watched.request_metrics}
        alarms.append(
            Alarm(
                "refused-requests",
                "warning",
                f"The store of {stack.name} refused more than {REFUSED_AN_HOUR} requests within an hour.",
                REFUSED_AN_HOUR,
                {"m": Metric("AWS/S3", "4xxErrors", requests, "Sum", HOUR)},
                1,
                "notBreaching",
            )
        )
    if watched.denied_deletes:
        namespace, metric = watched.denied_deletes
        alarms.append(
            Alarm(
                "denied-deletes",
                "critical",
                f"Somebody tried to delete backups of {stack.name} and was refused.",
                0,
                {"m": Metric(namespace, metric, {}, "Sum", 5 * MINUTE)},
                1,
                "notBreaching",
            )
        )
    return alarms + (_replication_alarms(stack, watched.bucket, watched.replica) if watched.replica else [])


def _replication_alarms(stack: StackConfig, bucket: str, replica: Replica) -> list[Alarm]:
    """Failures are counted in the region of the store, lateness in that of the copy.

    Source: Amazon S3 user guide, "Using S3 Replication metrics".
    """
    rule = {"SourceBucket": bucket, "DestinationBucket": replica.bucket, "RuleId": replica.rule_id}
    failed = Metric("AWS/S3", "OperationsFailedReplication", rule, "Sum", 5 * MINUTE)
    late = Metric("AWS/S3", "ReplicationLatency", rule, "Maximum", 5 * MINUTE)
    return [
        Alarm(
            "replication-failed",
            "critical",
            f"Backups of {stack.name} were not copied to {replica.bucket}, and S3 does not try again.",
            0,
            {"m": failed},
            1,
            "notBreaching",  # nothing is published while nothing fails
        ),
        Alarm(
            "replication-late",
            "warning",
            f"The copy of {stack.name} in {replica.region} is more than"
            f" {REPLICATION_LATE // MINUTE} minutes behind.",
            REPLICATION_LATE,
            {"m": late},
            3,
            "notBreaching",
            region=replica.region,
        ),
    ]


def instance_alarms(stack: StackConfig) -> list[Alarm]:
    """Alarms on the hosts that are EC2 instances."""
    alarms = []
    for name, instance in sorted(stack.settings.ec2_instances.items()):
        dimensions = {"InstanceId": instance}
        alarms += [
            Alarm(
                f"cpu-{name}",
                "warning",
                f"{name} of {stack.name} was busier than {CPU_PERCENT} % for a quarter of an hour.",
                CPU_PERCENT,
                {"m": Metric("AWS/EC2", "CPUUtilization", dimensions, "Average", 5 * MINUTE)},
                3,
                "notBreaching",  # a stopped host is what the other alarm is for
                section="cpu",
            ),
            Alarm(
                f"status-{name}",
                "critical",
                f"{name} of {stack.name} fails its status checks, or does not run.",
                0,
                {"m": Metric("AWS/EC2", "StatusCheckFailed", dimensions, "Maximum", MINUTE)},
                3,
                "breaching",
                section="status",
            ),
        ]
    return alarms
