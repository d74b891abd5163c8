"""Whether the promise of the app file is met: every figure that alarms watch, beside its limit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from steward import cloudwatch_names as names
from steward.config import LimitSettings
from steward.metrics.figures import Figure


@dataclass(frozen=True)
class Judged:
    """A figure and the greatest value that it may have."""

    figure: Figure
    limit: float

    @property
    def met(self) -> bool:
        """What cannot be told is not met."""
        return self.figure.value is not None and self.figure.value <= self.limit

    @property
    def problem(self) -> str:
        """Why it is not met."""
        if self.figure.value is None:
            return f"{self.figure.label}: {self.figure.reason}"
        return f"{self.figure.label} is {self.figure.value:.0f}, more than {self.limit:.0f}"

    def to_json(self) -> dict[str, Any]:
        """Keys ``name``, ``unit``, ``class`` (of ages), ``value`` or ``reason``, ``limit`` and ``met``."""
        figure = self.figure
        return {
            "name": figure.name,
            "unit": figure.unit,
            **({"class": figure.backup_class} if figure.backup_class else {}),
            **({"reason": figure.reason} if figure.value is None else {"value": figure.value}),
            "limit": self.limit,
            "met": self.met,
        }


def judge(figures: Sequence[Figure], limits: LimitSettings) -> list[Judged]:
    """Every figure beside its limit, in the same order."""
    ages = limits.backup_age_seconds
    allowed: dict[tuple[str, str | None], float] = {
        (names.BACKUP_AGE_SECONDS, "daily"): ages.daily,
        (names.BACKUP_AGE_SECONDS, "weekly"): ages.weekly,
        (names.BACKUP_AGE_SECONDS, "monthly"): ages.monthly,
        (names.RECOVERABLE_LAG_SECONDS, None): limits.recoverable_lag_seconds,
        (names.OPLOG_GAPS, None): 0,
        (names.DRILL_AGE_SECONDS, None): limits.drill_age_seconds,
        (names.VERIFY_AGE_SECONDS, None): limits.verify_age_seconds,
        (names.DAMAGED_OBJECTS, None): 0,
    }
    return [Judged(figure, allowed[figure.name, figure.backup_class]) for figure in figures]


def text(judged: Sequence[Judged]) -> str:
    """One line a figure."""
    rows = []
    for one in judged:
        unit = " s" if one.figure.unit == "Seconds" else ""
        value = "not known" if one.figure.value is None else f"{one.figure.value:.0f}{unit}"
        verdict = "ok" if one.met else "NOT MET"
        rows.append(f"{one.figure.label:34} {value:>14}   limit {one.limit:.0f}{unit}   {verdict}")
    return "\n".join(rows)
