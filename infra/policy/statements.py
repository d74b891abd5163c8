"""Policy documents as rules read them: which there are, and what a statement says.

Not an evaluator of IAM: it answers "does this document surely let this service do that",
and takes a condition it does not know for a refusal in an Allow and for nothing in a Deny.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from infra.policy.model import Resource, Stack, strings

KEY = "aws:kms/key:Key"
KEY_POLICIES = frozenset({KEY, "aws:kms/keyPolicy:KeyPolicy"})
BUCKET_POLICY = "aws:s3/bucketPolicy:BucketPolicy"
TOPIC_POLICY = "aws:sns/topicPolicy:TopicPolicy"
ROLE = "aws:iam/role:Role"
ROLE_POLICY = "aws:iam/rolePolicy:RolePolicy"
MANAGED_POLICY = "aws:iam/policy:Policy"

#: Operators that let through what they name, and nothing else.
POSITIVE = frozenset({"StringEquals", "StringLike", "ArnEquals", "ArnLike", "StringEqualsIgnoreCase"})

#: Condition keys that tie a request to an account or to one source.
OF_ONE_ACCOUNT = frozenset(
    {
        "aws:principalaccount",
        "aws:principalarn",
        "aws:principalorgid",
        "aws:sourceaccount",
        "aws:sourcearn",
        "aws:sourceorgid",
        "aws:sourceowner",
        "kms:calleraccount",
    }
)


@dataclass(frozen=True)
class Statement:
    """One statement, its lists always lists."""

    resource: Resource
    path: str
    """The property that holds the document."""
    body: Mapping[str, Any]

    @property
    def allows(self) -> bool:
        """Whether it is a permission."""
        return bool(self.body.get("Effect") == "Allow")

    @property
    def trust(self) -> bool:
        """Whether it says who may take a role."""
        return self.path == "assumeRolePolicy"

    @property
    def sid(self) -> str:
        """How to call it in a message."""
        return f"statement {self.body.get('Sid') or '(without Sid)'} of {self.path}"

    def items(self, element: str) -> list[str]:
        """The values of ``Action`` or ``Resource``."""
        return _list(self.body.get(element))

    def principals(self, kind: str) -> list[str]:
        """The principals of one kind, as ``AWS`` or ``Service``; ``"*"`` alone counts as each of them."""
        given = self.body.get("Principal")
        return _list(given.get(kind)) if isinstance(given, Mapping) else _list(given)

    @property
    def anybody(self) -> bool:
        """Whether a principal is ``*``."""
        given = self.body.get("Principal")
        return any("*" in _list(v) for v in (given.values() if isinstance(given, Mapping) else [given]))

    def conditions(self) -> Iterator[tuple[str, str, list[str]]]:
        """Operator, key in lower case, values."""
        for operator, tests in (self.body.get("Condition") or {}).items():
            for key, values in tests.items():
                yield (
                    operator,
                    key.lower(),
                    [str(v).lower() if v in (True, False) else v for v in _list(values)],
                )

    def requires(self, *keys: str, if_sent: bool = False) -> bool:
        """Whether one of these keys must have a value that is named and not just anything.

        With ``if_sent`` it is enough that the key is tested where the request has it.
        """
        wanted = POSITIVE | {f"{operator}IfExists" for operator in POSITIVE if if_sent}
        return any(
            operator in wanted and key in keys and not any(set(v) <= set("*") for v in values)
            for operator, key, values in self.conditions()
        )

    def matches(self, action: str) -> bool:
        """Whether the statement is about an action."""
        return any(like(pattern, action) for pattern in self.items("Action"))


def _list(value: Any) -> list[Any]:
    if value is None:
        return []
    return list(value) if isinstance(value, (list, tuple)) else [value]


def like(pattern: str, value: str) -> bool:
    """IAM's ``*`` and ``?``, without regard to case, as actions are compared."""
    expression = "".join({"*": ".*", "?": "."}.get(c, re.escape(c)) for c in pattern)
    return re.fullmatch(expression, value, re.IGNORECASE | re.DOTALL) is not None


def statements_of(resource: Resource) -> Iterator[Statement]:
    """The statements of every document that a resource holds."""
    for path, text in strings(resource.properties):
        if not text.lstrip().startswith("{") or '"Statement"' not in text:
            continue
        try:
            document = json.loads(text)
        except ValueError:
            continue
        for body in _list(document.get("Statement") if isinstance(document, dict) else None):
            if isinstance(body, Mapping):
                yield Statement(resource, path, body)


def statements(stack: Stack, *types: str) -> Iterator[Statement]:
    """The statements of the whole stack, or of some types."""
    for resource in stack.of(*types) if types else stack.resources:
        yield from statements_of(resource)


def lets_service(
    documents: list[Statement], service: str, action: str, resource: str | None, context: Mapping[str, object]
) -> bool:
    """Whether a service may surely do something.

    Args:
        documents: all statements of the policies of what the service uses.
        service: as ``cloudwatch.amazonaws.com``.
        action: as ``sns:Publish``.
        resource: ARN; ``None`` when it is not known yet.
        context: condition keys in lower case that the request has; an unknown value passes every test.
    """
    applying = [
        s
        for s in documents
        if s.matches(action)
        and (service in s.principals("Service") or s.anybody)
        and (resource is None or any(like(pattern, resource) for pattern in s.items("Resource")))
    ]
    if any(not s.allows and _holds(s, context) is True for s in applying):
        return False
    return any(s.allows and _holds(s, context) is True for s in applying)


def _holds(statement: Statement, context: Mapping[str, object]) -> bool | None:
    """Whether all conditions are true; ``None`` when one cannot be told."""
    answers = [_test(*condition, context) for condition in statement.conditions()]
    if False in answers:
        return False
    return None if None in answers else True


def _test(operator: str, key: str, values: list[Any], context: Mapping[str, object]) -> bool | None:
    given = context.get(key)
    if given is None:
        return None
    if not isinstance(given, str):
        return True
    if operator == "Null":
        return values == ["false"]
    if operator in ("StringEquals", "Bool"):
        return given in values
    if operator in ("StringLike", "ArnLike", "ArnEquals"):
        return any(like(str(pattern), given) for pattern in values)
    if operator in ("StringNotEquals", "ArnNotEquals", "ArnNotLike", "StringNotLike"):
        return not any(like(str(pattern), given) for pattern in values)
    return None
