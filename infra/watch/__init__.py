"""What an alarm is. No Pulumi at run time in this package; units are seconds unless a name says otherwise."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from infra.severities import Severity

Statistic = Literal["Average", "Maximum", "Sum"]
Missing = Literal["breaching", "notBreaching", "missing"]

MINUTE, HOUR, DAY = 60, 3600, 86_400

RUNBOOK = "docs/runbooks/alerts.md"


@dataclass(frozen=True)
class Metric:
    """One time series of CloudWatch."""

    namespace: str
    name: str
    dimensions: Mapping[str, str]
    statistic: Statistic
    period: int


@dataclass(frozen=True)
class Alarm:
    """One alarm: breaching when the value is above the threshold."""

    name: str
    """Its name after the stack's."""
    severity: Severity
    means: str
    """What has happened, as a sentence."""
    threshold: float
    metrics: Mapping[str, Metric]
    """By id; exactly one without an expression."""
    evaluations: int
    missing: Missing
    expression: str | None = None
    """Metric math over the ids."""
    needed: int | None = None
    """How many of the evaluations must breach; all when absent."""
    region: str | None = None
    """Where its metrics are, when not in the stack's own region."""
    section: str | None = None
    """Of the runbook; its name when absent."""

    @property
    def description(self) -> str:
        """What it means and where it stands what to do; CloudWatch sends it along."""
        return f"{self.means} What to do: {RUNBOOK}#{self.section or self.name}"


@dataclass(frozen=True)
class Composite:
    """An alarm over other alarms of the same region: breaching when one of them is."""

    name: str
    severity: Severity
    means: str
    over: tuple[Alarm, ...]

    @property
    def description(self) -> str:
        """As of an alarm."""
        return f"{self.means} What to do: {RUNBOOK}#{self.name}"


@dataclass(frozen=True)
class Replica:
    """The second copy on S3 and the rule that makes it."""

    bucket: str
    region: str
    rule_id: str


@dataclass(frozen=True)
class Watched:
    """What the alarms of a stack look at, beside its hosts."""

    bucket: str
    """The store's name."""
    request_metrics: str | None = None
    """Id of the request metrics of the whole store; none where the endpoint lacks them."""
    replica: Replica | None = None
    denied_deletes: tuple[str, str] | None = None
    """Namespace and name of the metric of refused deletions; none without an audit trail."""
