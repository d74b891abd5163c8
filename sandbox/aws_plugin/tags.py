"""Tags in the form that most services take."""

from __future__ import annotations


def pairs(tags: dict[str, str]) -> list[dict[str, str]]:
    """A list of keys and values, sorted."""
    return [{"Key": key, "Value": value} for key, value in sorted(tags.items())]
