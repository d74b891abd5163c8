"""Evaluation of IAM policies: documents in, a decision out. No state, no moto.

Logic: https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_evaluation-logic.html
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Literal

from sandbox.aws_endpoint import conditions, glob
from sandbox.aws_endpoint.conditions import MalformedPolicyError

__all__ = [
    "Decision",
    "Document",
    "MalformedPolicyError",
    "Principal",
    "Request",
    "Result",
    "evaluate",
    "parse",
]

Kind = Literal["identity", "resource", "trust"]
_ELEMENTS = {
    "Sid",
    "Effect",
    "Principal",
    "NotPrincipal",
    "Action",
    "NotAction",
    "Resource",
    "NotResource",
    "Condition",
}


class Result(Enum):
    """Outcome of an evaluation."""

    ALLOWED = "allowed"
    DENIED = "denied by a statement"
    NOT_ALLOWED = "allowed by no statement"


@dataclass(frozen=True)
class Principal:
    """Who makes a request. ``arns`` are all names policies may call it by (a role session has two)."""

    arns: tuple[str, ...]
    account: str


@dataclass(frozen=True)
class Request:
    """One action on one resource; ``context`` has lower-case condition keys."""

    principal: Principal
    action: str
    resource: str
    context: Mapping[str, Sequence[str]] = field(default_factory=dict)


@dataclass(frozen=True)
class Decision:
    """The result and the statement that caused it."""

    result: Result
    reason: str

    @property
    def allowed(self) -> bool:
        return self.result is Result.ALLOWED


class _Match(Enum):
    NO = 0
    #: The statement names the whole account: it permits the account to permit.
    ACCOUNT = 1
    #: By a role, of which the caller is a session, or as anybody.
    YES = 2
    #: By the very user or session that asks.
    ITSELF = 3


@dataclass(frozen=True)
class Statement:
    """One parsed statement."""

    name: str
    allow: bool
    actions: tuple[str, ...]
    not_actions: bool
    resources: tuple[str, ...]
    not_resources: bool
    conditions: tuple[conditions.Condition, ...]
    principals: tuple[str, ...] | None
    not_principals: bool
    variables: bool

    def applies(self, request: Request) -> bool:
        """Whether action, resource and conditions fit (the principal is looked at elsewhere)."""
        action = request.action.lower()
        if any(glob.matches(_wild(a.lower()), action) for a in self.actions) == self.not_actions:
            return False

        def lookup(name: str) -> str | None:
            found = request.context.get(name, ())
            return found[0] if len(found) == 1 else None

        patterns = (glob.tokens(r, lookup if self.variables else None) for r in self.resources)
        if any(p is not None and glob.matches(p, request.resource) for p in patterns) == self.not_resources:
            return False
        return all(condition.holds(request.context) for condition in self.conditions)

    def principal(self, principal: Principal) -> _Match:
        """How the statement's Principal or NotPrincipal takes in the caller."""
        if self.principals is None:
            return _Match.YES
        whole = {principal.account, f"arn:aws:iam::{principal.account}:root"}
        named = any(p == "*" or p in principal.arns for p in self.principals)
        account = any(p in whole for p in self.principals)
        if not self.not_principals:
            if named:
                return _Match.ITSELF if principal.arns[0] in self.principals else _Match.YES
            return _Match.ACCOUNT if account else _Match.NO
        # AWS: an exempted caller's account must be listed beside the caller itself.
        exempt = named and (account or "*" in self.principals) if not self.allow else named or account
        return _Match.NO if exempt else _Match.YES


@dataclass(frozen=True)
class Document:
    """A parsed policy."""

    name: str
    statements: tuple[Statement, ...]


def _wild(text: str) -> Sequence[object]:
    return glob.tokens(text, None) or []


def _texts(statement: Mapping[str, object], element: str) -> tuple[str, ...]:
    raw = statement[element]
    items = raw if isinstance(raw, list) else [raw]
    if not items or not all(isinstance(item, str) and item for item in items):
        raise MalformedPolicyError(f"{element} must be a text or a list of texts")
    return tuple(str(item) for item in items)


def _principals(raw: object) -> tuple[str, ...]:
    if raw == "*":
        return ("*",)
    if not isinstance(raw, dict) or not raw:
        raise MalformedPolicyError('Principal must be "*" or an object such as {"AWS": "arn:..."}')
    found: list[str] = []
    for kind, value in raw.items():
        items = value if isinstance(value, list) else [value]
        if kind not in ("AWS", "Service", "Federated") or not all(isinstance(i, str) for i in items):
            raise MalformedPolicyError(f"Principal of kind {kind} is not known to this endpoint")
        for item in items:
            if kind == "AWS" and not re.fullmatch(
                r"\*|\d{12}|arn:aws:(iam|sts)::\d{12}:[^*?]+|A[A-Z0-9]{15,}", item
            ):
                raise MalformedPolicyError(f"Invalid principal in policy: {item}")
            found.append(item if kind == "AWS" else f"{kind}:{item}")
    return tuple(found)


def _statement(raw: object, index: int, kind: Kind, variables: bool) -> Statement:
    if not isinstance(raw, dict):
        raise MalformedPolicyError("each Statement must be an object")
    for element in raw:
        if element not in _ELEMENTS:
            raise MalformedPolicyError(f"element {element} is not known to this endpoint")
    if raw.get("Effect") not in ("Allow", "Deny"):
        raise MalformedPolicyError("Effect must be Allow or Deny")
    wanted = [("Action", True)]
    wanted += [("Resource", kind != "trust"), ("Principal", kind != "identity")]
    for element, needed in wanted:
        given = [e for e in (element, f"Not{element}") if e in raw]
        if len(given) != (1 if needed else 0) and not (element == "Resource" and kind == "trust"):
            rule = "exactly one of" if needed else "none of"
            raise MalformedPolicyError(
                f"a statement of this policy must have {rule} {element} and Not{element}"
            )
    actions = _texts(raw, "Action" if "Action" in raw else "NotAction")
    for action in actions:
        if not re.fullmatch(r"\*|[A-Za-z0-9-]+:[A-Za-z0-9*?]+", action):
            raise MalformedPolicyError(f"Policy has invalid action {action}")
    element = "NotResource" if "NotResource" in raw else "Resource"
    resources = _texts(raw, element) if element in raw else ("*",)
    for resource in resources:
        if not re.fullmatch(r"\*|arn:[^:]*:[^:]*:[^:]*:[^:]*:.+", resource, re.DOTALL):
            raise MalformedPolicyError(f"Policy has invalid resource {resource}")
        for variable in glob.variables(resource) if variables else ():
            if variable not in conditions.KEYS:
                raise MalformedPolicyError(f"policy variable ${{{variable}}} is not known to this endpoint")
    principals = None
    if kind != "identity":
        principals = _principals(raw["Principal"] if "Principal" in raw else raw["NotPrincipal"])
    return Statement(
        name=str(raw.get("Sid") or f"statement {index + 1}"),
        allow=raw["Effect"] == "Allow",
        actions=actions,
        not_actions="NotAction" in raw,
        resources=resources,
        not_resources="NotResource" in raw,
        conditions=conditions.parse(raw["Condition"]) if "Condition" in raw else (),
        principals=principals,
        not_principals="NotPrincipal" in raw,
        variables=variables,
    )


def _unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
    keys = [key for key, _ in pairs]
    for key in keys:
        if keys.count(key) > 1:
            raise MalformedPolicyError(f"key {key} is written twice")
    return dict(pairs)


def parse(text: str | bytes, kind: Kind, name: str) -> Document:
    """Read a policy.

    Args:
        text: the JSON document.
        kind: ``identity`` (no Principal), ``resource`` (with Principal) or ``trust`` (no Resource needed).
        name: what to call it in decisions and errors.

    Raises:
        MalformedPolicyError: when any part cannot be evaluated; nothing is skipped.
    """
    try:
        data = json.loads(text, object_pairs_hook=_unique)
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise MalformedPolicyError(f"the policy is not JSON: {error}") from None
    if not isinstance(data, dict):
        raise MalformedPolicyError("the policy must be an object")
    for element in data:
        if element not in ("Version", "Id", "Statement"):
            raise MalformedPolicyError(f"element {element} is not known to this endpoint")
    version = data.get("Version", "2008-10-17")
    if version not in ("2008-10-17", "2012-10-17"):
        raise MalformedPolicyError(f"Version {version} is not a policy version")
    raw = data.get("Statement")
    statements = raw if isinstance(raw, list) else [raw]
    if raw is None or not statements:
        raise MalformedPolicyError("the policy has no Statement")
    return Document(
        name, tuple(_statement(s, i, kind, version == "2012-10-17") for i, s in enumerate(statements))
    )


def _applying(request: Request, documents: Iterable[Document], allow: bool) -> Iterable[tuple[str, _Match]]:
    for document in documents:
        for statement in document.statements:
            if statement.allow == allow:
                match = statement.principal(request.principal)
                if match is not _Match.NO and statement.applies(request):
                    yield f"{document.name}, {statement.name}", match


def evaluate(
    request: Request,
    identity: Sequence[Document],
    resource: Document | None = None,
    *,
    boundary: Document | None = None,
    resource_must_allow: bool = False,
) -> Decision:
    """Decide on a request from inside the account that owns the resource.

    Args:
        request: what is asked.
        identity: policies of the caller: inline, attached, of groups.
        resource: policy of the resource.
        boundary: permissions boundary of the caller: what it does not allow is refused, unless the
            resource's policy names the very user or session
            (https://docs.aws.amazon.com/IAM/latest/UserGuide/access_policies_boundaries.html).
        resource_must_allow: the resource's policy must at least let the account decide, as for KMS keys.
    """
    all_of_them = [*identity, *(document for document in (resource, boundary) if document)]
    for name, _ in _applying(request, all_of_them, allow=False):
        return Decision(Result.DENIED, f"with an explicit deny in {name}")
    allowing = list(_applying(request, [resource] if resource else [], allow=True))
    for name, match in allowing:
        if match is _Match.ITSELF:
            return Decision(Result.ALLOWED, name)
    if boundary and not any(_applying(request, [boundary], allow=True)):
        return Decision(Result.NOT_ALLOWED, f"because no statement of {boundary.name} allows it")
    for name, match in allowing:
        if match is _Match.YES:
            return Decision(Result.ALLOWED, name)
    if allowing or not resource_must_allow:
        for name, _ in _applying(request, identity, allow=True):
            return Decision(Result.ALLOWED, name)
        return Decision(Result.NOT_ALLOWED, "because no identity-based policy allows it")
    return Decision(Result.NOT_ALLOWED, "because the resource's policy does not let the account decide")
