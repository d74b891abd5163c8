"""Wildcard patterns of IAM policies: ``*``, ``?`` and policy variables.

Patterns are token lists, not regular expressions: matching takes time in
proportion to pattern times text, and a value put in for a variable is always
literal, as AWS has it.
Variables: https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_variables.html
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

_VARIABLE = re.compile(r"\$\{([^}]*)\}")

#: Tokens: a literal character, or one of these.
ANY, ONE = object(), object()


def variables(text: str) -> list[str]:
    """Names of the policy variables in ``text``, lower-case; ``${*}`` and the like are not variables."""
    names = (match.partition(",")[0].strip() for match in _VARIABLE.findall(text))
    return [name.lower() for name in names if name not in ("*", "?", "$")]


def tokens(text: str, lookup: Callable[[str], str | None] | None) -> list[object] | None:
    """``text`` as tokens, variables filled by ``lookup``; None when one has no value and no default.

    ``lookup`` None leaves variables as they stand (policy version 2008-10-17 has none).
    """
    result: list[object] = []
    position = 0
    for match in _VARIABLE.finditer(text) if lookup else ():
        result += _wild(text[position : match.start()])
        name, comma, default = match[1].partition(",")
        name = name.strip()
        if name in ("*", "?", "$"):
            value: str | None = name
        else:
            value = lookup(name.lower()) if lookup else None
            if value is None and comma:
                value = default.strip().strip("'")
        if value is None:
            return None
        result += value
        position = match.end()
    return result + _wild(text[position:])


def _wild(text: str) -> list[object]:
    return [ANY if c == "*" else ONE if c == "?" else c for c in text]


def matches(pattern: Sequence[object], text: str) -> bool:
    """Whether the whole ``text`` fits ``pattern``."""
    p = t = 0
    star, mark = -1, 0
    while t < len(text):
        if p < len(pattern) and (pattern[p] is ONE or pattern[p] == text[t]):
            p, t = p + 1, t + 1
        elif p < len(pattern) and pattern[p] is ANY:
            star, mark, p = p, t, p + 1
        elif star >= 0:
            mark += 1
            p, t = star + 1, mark
        else:
            return False
    return all(token is ANY for token in pattern[p:])


def split(pattern: Sequence[object], separator: str, parts: int) -> list[Sequence[object]]:
    """``pattern`` cut at the first ``parts - 1`` literal separators."""
    result: list[Sequence[object]] = []
    rest = list(pattern)
    while len(result) < parts - 1 and separator in rest:
        index = rest.index(separator)
        result.append(rest[:index])
        rest = rest[index + 1 :]
    return [*result, rest]
