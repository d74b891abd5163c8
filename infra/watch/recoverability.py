"""Whether the last second can be restored: limits of time, and the alarms on what hosts publish.

Limits follow from the app file: each is longer than the longest interval that a healthy stack
shows (every job starts on time and takes all of its timeout), and shorter than twice that.

What recoverability consists of (age of the daily full, lag, gaps, drill) warns one by one, and
pages once: through ``recoverability-at-risk``, which stands over these alarms. Damage pages by itself: an
old backup that cannot be mended stays damaged until it expires, and must not keep that alarm from
saying that something new went wrong.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from infra.config import StackConfig
from infra.watch import DAY, HOUR, MINUTE, Alarm, Composite, Metric
from steward import cloudwatch_names as host
from steward.appfile import Backup

FullClass = Literal["daily", "weekly", "monthly"]

FULL_CLASSES: tuple[FullClass, ...] = ("daily", "weekly", "monthly")

#: Hosts start the full up to this much later than the app file says
#: (``backup_full_jitter_seconds`` of the role ``backup``).
FULL_JITTER = 120

#: The daily verification is ended after these (``backup_verify_timeout_minutes`` of the role ``backup``).
VERIFY_TIMEOUT = 180 * MINUTE

#: The longest time between the beginnings of two fulls of a class; the first of an ISO week and of
#: a month each, and no month is longer than 31 days.
CLASS_PERIOD: Mapping[FullClass, int] = {"daily": DAY, "weekly": 7 * DAY, "monthly": 31 * DAY}

#: An alarm on what hosts publish waits for this many missed or bad values.
HOST_EVALUATIONS = 3

#: Stands for a value that is missing in the expression over several metrics; above every limit.
NEVER = 10**9


def _spare(interval: int, most: int) -> int:
    """What a limit adds to an interval; a part of it, so that short intervals stay short."""
    return min(most, interval // 4)


def longest_healthy_age(backup: Backup, full_class: FullClass) -> int:
    """The greatest age that a class reaches while every full starts on time and takes its timeout.

    The age may count from the beginning of a full: then the next one adds all of its time.
    """
    return CLASS_PERIOD[full_class] + FULL_JITTER + backup.full.timeout_minutes * MINUTE


def age_limit(backup: Backup, full_class: FullClass) -> int:
    """The age of a class that is wrong; weekly and monthly allow for one night that failed."""
    healthy = longest_healthy_age(backup, full_class)
    return healthy + (0 if full_class == "daily" else DAY) + _spare(healthy, HOUR)


def longest_healthy_lag(backup: Backup) -> int:
    """The greatest lag while every slice starts on time and takes its timeout."""
    return (backup.oplog.every_minutes + backup.oplog.timeout_minutes) * MINUTE


def lag_limit(backup: Backup) -> int:
    """The lag of the newest restorable moment that is wrong: a slice that failed is repeated once."""
    healthy = longest_healthy_lag(backup)
    return healthy + min(backup.oplog.every_minutes * MINUTE, healthy // 2) + _spare(healthy, HOUR)


def longest_healthy_drill_age(backup: Backup) -> int:
    """The greatest time between two proofs; a drill may take as long as the full it restores."""
    return backup.drill.every_days * DAY + backup.full.timeout_minutes * MINUTE


def drill_age_limit(backup: Backup) -> int:
    """The time without a proven restore that is wrong: a drill that failed is repeated next day."""
    healthy = longest_healthy_drill_age(backup)
    return healthy + min(DAY, healthy // 2) + _spare(healthy, HOUR)


def longest_healthy_verify_age() -> int:
    """The greatest time between two good verifications; the next one counts when it has ended.

    It runs every day. ``backup.verify.whole_every_days`` of the app file says how much each run reads, not
    how often one is due: what a run leaves unread or finds wrong keeps it from being a good one.
    """
    return DAY + VERIFY_TIMEOUT


def verify_age_limit() -> int:
    """The time without a good verification that is wrong: one that failed is repeated next day."""
    healthy = longest_healthy_verify_age()
    return healthy + DAY + _spare(healthy, HOUR)


def limits(backup: Backup) -> dict[str, object]:
    """Every limit, as hosts get it for ``steward backup status`` (``[limits]`` of their configuration)."""
    return {
        "backup_age_seconds": {c: age_limit(backup, c) for c in FULL_CLASSES},
        "recoverable_lag_seconds": lag_limit(backup),
        "drill_age_seconds": drill_age_limit(backup),
        "verify_age_seconds": verify_age_limit(),
    }


def _of_hosts(stack: StackConfig, name: str, **dimensions: str) -> Mapping[str, Metric]:
    own = host.dimensions(stack.app.name, stack.environment)
    period = host.PUBLISH_EVERY_MINUTES * MINUTE
    return {"m": Metric(host.NAMESPACE, name, {**own, **dimensions}, "Maximum", period)}


def _host_alarm(
    name: str, means: str, threshold: int, metrics: Mapping[str, Metric], section: str | None = None
) -> Alarm:
    return Alarm(name, "warning", means, threshold, metrics, HOST_EVALUATIONS, "breaching", section=section)


def age_alarms(stack: StackConfig) -> dict[FullClass, Alarm]:
    """One alarm a class of fulls."""
    backup = stack.app.backup
    return {
        full_class: _host_alarm(
            f"backup-age-{full_class}",
            f"{stack.name} has no {full_class} full backup that is new enough, or no host says so.",
            age_limit(backup, full_class),
            _of_hosts(stack, host.BACKUP_AGE_SECONDS, Class=full_class),
            section="backup-age",
        )
        for full_class in FULL_CLASSES
    }


def recoverability(stack: StackConfig, daily: Alarm) -> tuple[tuple[Alarm, ...], Alarm | Composite]:
    """What decides whether the last second can be restored, and the one alarm over all of it."""
    backup = stack.app.backup
    lag = _host_alarm(
        "recoverable-lag",
        f"The newest moment of {stack.name} that can be restored is too long ago, or no host says so.",
        lag_limit(backup),
        _of_hosts(stack, host.RECOVERABLE_LAG_SECONDS),
    )
    gaps = _host_alarm(
        "oplog-gaps",
        f"{stack.name} cannot be restored to every second since its newest full, or no host says so.",
        0,
        _of_hosts(stack, host.OPLOG_GAPS),
    )
    drill = _host_alarm(
        "drill-age",
        f"No restore of {stack.name} was proven for too long, or no host says so.",
        drill_age_limit(backup),
        _of_hosts(stack, host.DRILL_AGE_SECONDS),
    )
    over = (daily, lag, gaps, drill)
    name, means = (
        "recoverability-at-risk",
        f"{stack.name} may lose data: its backups are not what they must be.",
    )
    if "composite_alarms" in stack.settings.endpoint_lacks:
        return (lag, gaps, drill), _any_of(name, means, over)
    return (lag, gaps, drill), Composite(name, "critical", means, over)


def verification(stack: StackConfig) -> tuple[Alarm, Alarm]:
    """Whether what is stored was looked at, and what was found.

    That nothing is known of damage pages nobody: a host that is silent or new shows in the first of the two.
    """
    age = _host_alarm(
        "verify-age",
        f"The backups of {stack.name} were not verified as good for too long, or no host says so.",
        verify_age_limit(),
        _of_hosts(stack, host.VERIFY_AGE_SECONDS),
    )
    damage = Alarm(
        "stored-damage",
        "critical",
        f"Stored backups of {stack.name} are missing, damaged or not locked.",
        0,
        _of_hosts(stack, host.DAMAGED_OBJECTS),
        HOST_EVALUATIONS,
        "missing",
    )
    return age, damage


def _any_of(name: str, means: str, over: tuple[Alarm, ...]) -> Alarm:
    """The same as a composite alarm, as one expression over the metrics of all of them."""
    ids = {alarm.name.replace("-", "_"): alarm for alarm in over}
    breaches = [f"FILL({i}, {NEVER}) > {alarm.threshold:.0f}" for i, alarm in ids.items()]
    return Alarm(
        name,
        "critical",
        means,
        0,
        {i: alarm.metrics["m"] for i, alarm in ids.items()},
        HOST_EVALUATIONS,
        "breaching",
        expression=f"IF({' OR '.join(breaches)}, 1, 0)",
    )
