"""Messages to people: that a job failed and why, and that it works again."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Message:
    """One message, the same for every channel."""

    app: str
    environment: str
    host: str
    job: str
    state: Literal["failed", "recovered"]
    text: str

    @property
    def subject(self) -> str:
        """One line, as a mail's subject."""
        return f"[{self.app} {self.environment}] backup {self.job} {self.state} on {self.host}"
