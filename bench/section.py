"""What a part of the bench gives back."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

MIB = 1024 * 1024
Say = Callable[[str], None]


@dataclass
class Section:
    """What a part found: a section of the page, and the same for a machine."""

    title: str
    text: str
    figures: dict[str, Any] = field(default_factory=dict)
