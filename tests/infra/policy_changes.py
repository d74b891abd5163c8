"""Ways to spoil the example, and what the rules say to it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from typing import Any

from infra.policy.model import Resource
from infra.policy.rules import broken
from tests.infra.policy_example import good
from tests.infra.policy_parts import Properties


def changed(name: str, change: Callable[[Any], object]) -> list[Resource]:
    """The example with one resource's properties changed in place."""
    stack = good()
    (found,) = [r for r in stack if r.name == name]
    change(found.properties)
    return stack


def without(*gone: str) -> list[Resource]:
    """The example without some resources."""
    stack = good()
    assert set(gone) <= {r.name for r in stack}
    return [r for r in stack if r.name not in gone]


def plus(*more: Resource) -> list[Resource]:
    """The example with further resources."""
    return [*good(), *more]


def in_policy(change: Callable[[Any], object], path: str = "policy") -> Callable[[Any], object]:
    """A change of the statements of a document that stands as a string."""

    def apply(properties: Any) -> None:
        document = json.loads(properties[path])
        change(document["Statement"])
        properties[path] = json.dumps(document)

    return apply


def more_statements(*statements: Properties) -> Callable[[Any], object]:
    """A change that adds statements to the property ``policy``."""
    return in_policy(lambda found: found.extend(statements))


def of(stack: Iterable[Resource], name: str) -> Resource:
    """The resource of a name."""
    return next(r for r in stack if r.name == name)


def setting(path: str, value: Any) -> Any:
    """A change that sets a property at a dotted path; a number is an index of a list."""

    def change(properties: Any) -> None:
        *way, last = path.split(".")
        for part in way:
            properties = properties[int(part)] if part.isdigit() else properties[part]
        properties[int(last) if last.isdigit() else last] = value

    return change


def allow(**more: Any) -> dict[str, Any]:
    """A permission to read one object, with elements changed or added."""
    statement = {"Effect": "Allow", "Action": "s3:GetObject", "Resource": "arn:aws:s3:::store/daily/x"}
    return {k: v for k, v in {**statement, **more}.items() if v is not None}


def found(stack: Iterable[Resource]) -> set[tuple[str, str]]:
    """Rule and resource of every violation."""
    return {(rule.id, violation.resource.name) for rule, violation in broken(stack)}
