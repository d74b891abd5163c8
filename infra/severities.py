"""The severities of alerts: the same words in contacts, topics, alarms and incidents."""

from __future__ import annotations

from typing import Literal

Severity = Literal["critical", "warning", "info"]

SEVERITIES: tuple[Severity, ...] = ("critical", "warning", "info")
