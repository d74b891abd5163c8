"""The Condition element of IAM policies: operators and keys, without state.

What is not known is refused when the policy is read: a condition that would be
skipped silently could turn a Deny into nothing.
Operators: https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_elements_condition_operators.html
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from sandbox.aws_endpoint import glob


class MalformedPolicyError(ValueError):
    """A policy document that cannot be evaluated; the message says why."""


#: Condition keys (lower-case) that the endpoint fills from a request, or knows to be absent from every
#: request it serves (organisations, VPCs, calls made by AWS services).
KEYS = frozenset(
    """
    aws:calledvia aws:calledviafirst aws:calledvialast aws:currenttime aws:epochtime aws:multifactorauthage
    aws:multifactorauthpresent aws:principalaccount aws:principalarn aws:principalisawsservice
    aws:principalorgid aws:principalorgpaths aws:principalservicename aws:principalservicenameslist
    aws:principaltype aws:referer aws:requestedregion aws:resourceaccount aws:resourceorgid
    aws:securetransport aws:sourceaccount aws:sourcearn aws:sourceip aws:sourceorgid aws:sourcevpc
    aws:sourcevpce aws:useragent aws:userid aws:username aws:viaawsservice aws:vpcsourceip
    cloudwatch:namespace
    kms:calleraccount kms:encryptioncontext:aws:s3:arn kms:grantisforawsresource kms:viaservice s3:authtype
    s3:delimiter s3:if-match s3:if-none-match s3:max-keys s3:object-lock-legal-hold s3:object-lock-mode
    s3:object-lock-remaining-retention-days s3:object-lock-retain-until-date s3:prefix s3:resourceaccount
    s3:signatureage s3:signatureversion s3:tlsversion s3:versionid s3:x-amz-acl s3:x-amz-content-sha256
    s3:x-amz-copy-source s3:x-amz-metadata-directive s3:x-amz-object-ownership
    s3:x-amz-server-side-encryption s3:x-amz-server-side-encryption-aws-kms-key-id
    s3:x-amz-server-side-encryption-customer-algorithm s3:x-amz-storage-class sts:externalid
    sts:rolesessionname
    """.split()  # noqa: SIM905 - a list of quoted names would be three times as long
)

Lookup = Callable[[str], str | None]
#: (value of the request, value of the policy, lookup of policy variables) -> fits
_Test = Callable[[str, str, Lookup], bool]


def _date(text: str) -> datetime:
    if re.fullmatch(r"\d+(\.\d+)?", text):
        return datetime.fromtimestamp(float(text), UTC)
    value = datetime.fromisoformat(text)
    return value if value.tzinfo else value.replace(tzinfo=UTC)


def _literal(text: str, lookup: Lookup) -> str | None:
    filled = glob.tokens(text, lookup)
    if filled is None:
        return None
    return "".join("*" if t is glob.ANY else "?" if t is glob.ONE else str(t) for t in filled)


def _equal_ignoring_case(value: str, policy: str, lookup: Lookup) -> bool:
    wanted = _literal(policy, lookup)
    return wanted is not None and value.lower() == wanted.lower()


def _like(value: str, pattern: str, lookup: Lookup) -> bool:
    filled = glob.tokens(pattern, lookup)
    return filled is not None and glob.matches(filled, value)


def _arn(value: str, pattern: str, lookup: Lookup) -> bool:
    filled = glob.tokens(pattern, lookup)
    if filled is None:
        return False
    parts = glob.split(filled, ":", 6)
    fields = value.split(":", 5)
    if len(parts) != 6:  # "*" stands for every part; nothing else shorter passes _arn_pattern
        return glob.matches(filled, value)
    return len(fields) == 6 and all(glob.matches(p, f) for p, f in zip(parts, fields, strict=True))


def _ordered(convert: Callable[[str], float | datetime], test: Callable[[int], bool]) -> _Test:
    def compare(value: str, policy: str, _lookup: Lookup) -> bool:
        try:
            left, right = convert(value), convert(policy)
        except ValueError:
            return False  # the policy's value was checked when it was read: the request's is no such value
        return test((left > right) - (left < right))  # type: ignore[operator]

    return compare


def _in_network(value: str, policy: str, _lookup: Lookup) -> bool:
    try:
        return ipaddress.ip_address(value) in ipaddress.ip_network(policy, strict=False)
    except ValueError:
        return False


def _number(text: str) -> float:
    if not re.fullmatch(r"[+-]?\d+(\.\d+)?", text):
        raise ValueError(text)
    return float(text)


def _boolean(text: str) -> str:
    if text.lower() not in ("true", "false"):
        raise ValueError(text)
    return text.lower()


def _arn_pattern(text: str) -> str:
    # A shorter pattern would never match and turn a Deny into nothing.
    if text != "*" and re.sub(r"\$\{[^}]*\}", "", text).count(":") < 5:
        raise ValueError(text)
    return text


def _network(text: str) -> object:
    return ipaddress.ip_network(text, strict=False)


_ORDER: dict[str, Callable[[int], bool]] = {
    "Equals": lambda c: c == 0,
    "LessThan": lambda c: c < 0,
    "LessThanEquals": lambda c: c <= 0,
    "GreaterThan": lambda c: c > 0,
    "GreaterThanEquals": lambda c: c >= 0,
}


@dataclass(frozen=True)
class _Operator:
    test: _Test
    negated: bool = False
    #: Checks a value of the policy; raises ValueError.
    check: Callable[[str], object] = str


def _operators() -> dict[str, _Operator]:
    table: dict[str, _Operator] = {}

    def add(name: str, test: _Test, negated_name: str = "", check: Callable[[str], object] = str) -> None:
        table[name.lower()] = _Operator(test, False, check)
        if negated_name:
            table[negated_name.lower()] = _Operator(test, True, check)

    add("StringEquals", lambda v, p, look: v == _literal(p, look), "StringNotEquals")
    add("StringEqualsIgnoreCase", _equal_ignoring_case, "StringNotEqualsIgnoreCase")
    add("StringLike", _like, "StringNotLike")
    add("ArnEquals", _arn, "ArnNotEquals", _arn_pattern)
    add("ArnLike", _arn, "ArnNotLike", _arn_pattern)
    add("Bool", lambda v, p, _look: v.lower() == p.lower(), check=_boolean)
    add("IpAddress", _in_network, "NotIpAddress", _network)
    for prefix, convert in (("Numeric", _number), ("Date", _date)):
        for suffix, test in _ORDER.items():
            negated = f"{prefix}NotEquals" if suffix == "Equals" else ""
            add(prefix + suffix, _ordered(convert, test), negated, convert)
    return table


_OPERATORS = _operators()


@dataclass(frozen=True)
class Condition:
    """One operator with one key and its values."""

    name: str
    operator: _Operator | None  # None is Null
    quantifier: str  # "", "forallvalues" or "foranyvalue"
    if_exists: bool
    key: str
    values: tuple[str, ...]

    def holds(self, context: Mapping[str, Sequence[str]]) -> bool:
        """Whether the condition is true for a request with these keys (lower-case)."""
        actual = context.get(self.key, ())
        if self.operator is None:
            return all((not actual) == (value.lower() == "true") for value in self.values[:1])
        if not actual:
            return (
                self.if_exists
                or self.quantifier == "forallvalues"
                or (self.operator.negated and self.quantifier != "foranyvalue")
            )

        def lookup(name: str) -> str | None:
            found = context.get(name, ())
            return found[0] if len(found) == 1 else None

        operator = self.operator
        fits = [any(operator.test(value, wanted, lookup) for wanted in self.values) for value in actual]
        if operator.negated:
            fits = [not fit for fit in fits]
        if self.quantifier == "forallvalues" or (not self.quantifier and operator.negated):
            return all(fits)
        return any(fits)


def parse(element: object) -> tuple[Condition, ...]:
    """The conditions of one statement.

    Raises:
        MalformedPolicyError: names the operator, key or value that cannot be evaluated.
    """
    if not isinstance(element, dict):
        raise MalformedPolicyError("Condition must be an object of operators")
    result = []
    for name, keys in element.items():
        quantifier, colon, base = name.lower().rpartition(":")
        if colon and quantifier not in ("forallvalues", "foranyvalue"):
            raise MalformedPolicyError(f"condition operator {name} is not known")
        if_exists = base.endswith("ifexists")
        base = base.removesuffix("ifexists")
        operator = _OPERATORS.get(base)
        if operator is None and (base != "null" or if_exists or quantifier):
            raise MalformedPolicyError(f"condition operator {name} is not known to this endpoint")
        if not isinstance(keys, dict) or not keys:
            raise MalformedPolicyError(f"condition operator {name} has no keys")
        for key, raw in keys.items():
            values = _values(name, key, raw)
            for value in values:
                _check(name, key, value, operator)
            result.append(Condition(name, operator, quantifier, if_exists, key.lower(), values))
    return tuple(result)


def _values(name: str, key: str, raw: object) -> tuple[str, ...]:
    if key.lower() not in KEYS:
        raise MalformedPolicyError(f"condition key {key} is not known to this endpoint")
    items = raw if isinstance(raw, list) else [raw]
    if not items or not all(isinstance(item, str | bool | int | float) for item in items):
        raise MalformedPolicyError(f"condition {name} {key} must have a text value or a list of them")
    return tuple(str(item).lower() if isinstance(item, bool) else str(item) for item in items)


def _check(name: str, key: str, value: str, operator: _Operator | None) -> None:
    for variable in glob.variables(value):
        if variable not in KEYS:
            raise MalformedPolicyError(f"policy variable ${{{variable}}} is not known to this endpoint")
    try:
        (_boolean if operator is None else operator.check)(value)
    except ValueError:
        raise MalformedPolicyError(f"condition {name} {key} has the unusable value {value!r}") from None
