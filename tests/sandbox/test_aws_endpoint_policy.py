"""The policy evaluator: examples from AWS's rules, and properties that hold for any policy."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sandbox.aws_endpoint import glob, policy
from sandbox.aws_endpoint.policy import Document, MalformedPolicyError, Principal, Request, Result

ACCOUNT = "123456789012"
HOST = Principal((f"arn:aws:iam::{ACCOUNT}:user/host",), ACCOUNT)
OTHER = Principal((f"arn:aws:iam::{ACCOUNT}:user/other",), ACCOUNT)
KEY = "arn:aws:s3:::backups/daily/one"


def identity(*statements: dict[str, Any]) -> Document:
    return policy.parse(
        json.dumps({"Version": "2012-10-17", "Statement": list(statements)}), "identity", "own"
    )


def resource(*statements: dict[str, Any]) -> Document:
    return policy.parse(
        json.dumps({"Version": "2012-10-17", "Statement": list(statements)}), "resource", "bucket"
    )


def allow(action: str = "s3:GetObject", resource: str = "*", **more: Any) -> dict[str, Any]:
    return {"Effect": "Allow", "Action": action, "Resource": resource, **more}


def deny(action: str = "s3:*", resource: str = "*", **more: Any) -> dict[str, Any]:
    return {"Effect": "Deny", "Action": action, "Resource": resource, **more}


def holds(operator: str, key: str, value: Any, context: dict[str, list[str]]) -> bool:
    """Whether an Allow with this one condition allows."""
    document = identity(allow(Condition={operator: {key: value}}))
    return policy.evaluate(Request(HOST, "s3:GetObject", KEY, context), [document]).allowed


@pytest.mark.parametrize(
    ("operator", "key", "value", "context", "expected"),
    [
        ("Bool", "aws:SecureTransport", "false", {"aws:securetransport": ["false"]}, True),
        ("Bool", "aws:SecureTransport", False, {"aws:securetransport": ["true"]}, False),
        ("Bool", "aws:SecureTransport", "false", {}, False),
        ("BoolIfExists", "aws:SecureTransport", "false", {}, True),
        ("Null", "s3:object-lock-mode", "true", {}, True),
        ("Null", "s3:object-lock-mode", "true", {"s3:object-lock-mode": ["GOVERNANCE"]}, False),
        ("Null", "s3:object-lock-mode", "false", {"s3:object-lock-mode": ["GOVERNANCE"]}, True),
        ("StringEquals", "s3:prefix", ["a", "b"], {"s3:prefix": ["b"]}, True),
        ("StringEquals", "s3:prefix", "A", {"s3:prefix": ["a"]}, False),
        ("StringEqualsIgnoreCase", "s3:prefix", "A", {"s3:prefix": ["a"]}, True),
        ("StringNotEquals", "s3:prefix", ["a", "b"], {"s3:prefix": ["b"]}, False),
        ("StringNotEquals", "s3:prefix", ["a", "b"], {"s3:prefix": ["c"]}, True),
        ("StringNotEquals", "s3:prefix", "a", {}, True),
        ("StringNotEqualsIfExists", "s3:prefix", "a", {"s3:prefix": ["a"]}, False),
        ("StringLike", "s3:prefix", "daily/*", {"s3:prefix": ["daily/x"]}, True),
        (
            "StringLike",
            "s3:prefix",
            "${aws:username}/*",
            {"s3:prefix": ["host/x"], "aws:username": ["host"]},
            True,
        ),
        (
            "StringLike",
            "s3:prefix",
            "${aws:username}/*",
            {"s3:prefix": ["x/x"], "aws:username": ["*"]},
            False,
        ),
        ("StringNotLike", "s3:prefix", "daily/*", {"s3:prefix": ["daily/x"]}, False),
        ("NumericLessThan", "s3:TlsVersion", "1.2", {"s3:tlsversion": ["1.1"]}, True),
        ("NumericLessThan", "s3:TlsVersion", 1.2, {"s3:tlsversion": ["1.3"]}, False),
        ("NumericLessThan", "s3:TlsVersion", "1.2", {}, False),
        (
            "NumericGreaterThanEquals",
            "s3:object-lock-remaining-retention-days",
            "7",
            {"s3:object-lock-remaining-retention-days": ["10"]},
            True,
        ),
        ("NumericNotEquals", "s3:max-keys", "7", {"s3:max-keys": ["7.0"]}, False),
        (
            "DateGreaterThan",
            "aws:CurrentTime",
            "2026-01-01T00:00:00Z",
            {"aws:currenttime": ["2026-06-01T00:00:00Z"]},
            True,
        ),
        (
            "DateLessThan",
            "aws:CurrentTime",
            "2026-01-01T00:00:00Z",
            {"aws:currenttime": ["2026-06-01T00:00:00Z"]},
            False,
        ),
        ("IpAddress", "aws:SourceIp", "10.77.0.0/24", {"aws:sourceip": ["10.77.0.11"]}, True),
        ("NotIpAddress", "aws:SourceIp", ["10.77.0.0/24", "::1"], {"aws:sourceip": ["10.77.0.11"]}, False),
        (
            "ArnLike",
            "aws:PrincipalArn",
            "arn:aws:iam::*:user/h?st",
            {"aws:principalarn": list(HOST.arns)},
            True,
        ),
        (
            "ArnNotLike",
            "aws:PrincipalArn",
            "arn:aws:iam::*:role/*",
            {"aws:principalarn": list(HOST.arns)},
            True,
        ),
        (
            "ArnEquals",
            "aws:PrincipalArn",
            "arn:aws:*:123456789012:*:user/host",
            {"aws:principalarn": list(HOST.arns)},
            False,
        ),
        ("ForAnyValue:StringEquals", "aws:CalledVia", "a", {"aws:calledvia": ["b", "a"]}, True),
        ("ForAnyValue:StringEquals", "aws:CalledVia", "a", {}, False),
        ("ForAllValues:StringEquals", "aws:CalledVia", ["a", "b"], {"aws:calledvia": ["b", "c"]}, False),
        ("ForAllValues:StringEquals", "aws:CalledVia", ["a"], {}, True),
        ("ForAnyValue:StringNotEquals", "aws:CalledVia", "a", {"aws:calledvia": ["a", "b"]}, True),
    ],
)
def test_condition(
    operator: str, key: str, value: Any, context: dict[str, list[str]], expected: bool
) -> None:
    assert holds(operator, key, value, context) is expected


@pytest.mark.parametrize(
    ("statement", "word"),
    [
        (allow(Condition={"StringSounds": {"aws:username": "x"}}), "StringSounds"),
        (allow(Condition={"ForSomeValues:StringEquals": {"aws:username": "x"}}), "ForSomeValues"),
        (allow(Condition={"BinaryEquals": {"aws:username": "eA=="}}), "BinaryEquals"),
        (allow(Condition={"NullIfExists": {"aws:username": "true"}}), "NullIfExists"),
        (allow(Condition={"StringEquals": {"aws:PrincipalShoeSize": "x"}}), "aws:PrincipalShoeSize"),
        (allow(Condition={"NumericEquals": {"s3:max-keys": "many"}}), "many"),
        (allow(Condition={"DateLessThan": {"aws:CurrentTime": "tomorrow"}}), "tomorrow"),
        (allow(Condition={"IpAddress": {"aws:SourceIp": "10.77.0.0/99"}}), "10.77.0.0/99"),
        (allow(Condition={"ArnLike": {"aws:PrincipalArn": "arn:aws:*:user/host"}}), "arn:aws:*:user/host"),
        (allow(Condition={"Bool": {"aws:SecureTransport": "no"}}), "no"),
        (allow(Condition={"StringLike": {"s3:prefix": "${aws:PrincipalTag/x}"}}), "principaltag"),
        (allow(resource="arn:aws:s3:::${aws:nobody}/x"), "aws:nobody"),
        (allow(Sidd="x"), "Sidd"),
        (allow(Principal="*"), "Principal"),
        ({"Effect": "Maybe", "Action": "*", "Resource": "*"}, "Effect"),
        ({"Effect": "Allow", "Resource": "*"}, "Action"),
        ({"Effect": "Allow", "Action": "*", "NotAction": "*", "Resource": "*"}, "Action"),
        (allow(action="s3"), "action"),
        (allow(resource="backups/*"), "resource"),
    ],
)
def test_what_is_not_known_is_refused_by_name(statement: dict[str, Any], word: str) -> None:
    with pytest.raises(MalformedPolicyError) as caught:
        identity(statement)
    assert word.lower() in str(caught.value).lower()


def test_key_written_twice_is_refused() -> None:
    text = '{"Statement":[{"Effect":"Deny","Effect":"Allow","Action":"*","Resource":"*"}]}'
    with pytest.raises(MalformedPolicyError, match="twice"):
        policy.parse(text, "identity", "own")


def decide(principal: Principal, own: list[Document], bucket: Document | None, **kwargs: Any) -> Result:
    return policy.evaluate(Request(principal, "s3:GetObject", KEY), own, bucket, **kwargs).result


def test_principals() -> None:
    everyone = resource(allow(Principal="*"))
    host = resource(allow(Principal={"AWS": HOST.arns[0]}))
    account = resource(allow(Principal={"AWS": ACCOUNT}))
    assert decide(HOST, [], everyone) is Result.ALLOWED
    assert decide(HOST, [], host) is Result.ALLOWED
    assert decide(OTHER, [], host) is Result.NOT_ALLOWED
    # The account as principal lets the account decide; it gives nothing by itself ...
    assert decide(HOST, [], account) is Result.NOT_ALLOWED
    assert decide(HOST, [identity(allow())], account, resource_must_allow=True) is Result.ALLOWED
    assert decide(HOST, [identity(allow())], host, resource_must_allow=True) is Result.ALLOWED
    assert decide(OTHER, [identity(allow())], host, resource_must_allow=True) is Result.NOT_ALLOWED
    # ... but denied to the account is denied to all in it.
    assert decide(HOST, [identity(allow())], resource(deny(Principal={"AWS": ACCOUNT}))) is Result.DENIED
    assert (
        decide(HOST, [identity(allow())], resource(deny(Principal={"Service": "s3.amazonaws.com"})))
        is Result.ALLOWED
    )


def test_not_principal_exempts_who_is_listed_with_the_account() -> None:
    both = resource(deny(NotPrincipal={"AWS": [HOST.arns[0], ACCOUNT]}))
    del_resource = [identity(allow())]
    assert decide(HOST, del_resource, both) is Result.ALLOWED
    assert decide(OTHER, del_resource, both) is Result.DENIED


def test_not_action_and_not_resource() -> None:
    everything_but_get = identity({"Effect": "Allow", "NotAction": "s3:Get*", "Resource": "*"})
    assert decide(HOST, [everything_but_get], None) is Result.NOT_ALLOWED
    elsewhere = identity(
        {"Effect": "Allow", "Action": "S3:getobject", "NotResource": "arn:aws:s3:::backups/weekly/*"}
    )
    assert decide(HOST, [elsewhere], None) is Result.ALLOWED


# --- properties ---

ACTIONS = ["s3:GetObject", "s3:PutObject", "s3:DeleteObject", "s3:*", "s3:Get*", "*", "kms:Decrypt"]
RESOURCES = ["*", "arn:aws:s3:::backups/*", "arn:aws:s3:::backups/daily/*", "arn:aws:s3:::other/*", KEY]
CONTEXTS = [
    {},
    {"aws:securetransport": ["true"]},
    {"aws:securetransport": ["false"], "s3:prefix": ["daily/"]},
]
CONDITIONS = [
    None,
    {"Bool": {"aws:SecureTransport": "false"}},
    {"BoolIfExists": {"aws:SecureTransport": "true"}},
    {"StringNotLike": {"s3:prefix": "daily/*"}},
    {"Null": {"s3:prefix": "true"}},
]


@st.composite
def statements(draw: st.DrawFn, effect: str | None = None) -> dict[str, Any]:
    result: dict[str, Any] = {
        "Effect": effect or draw(st.sampled_from(["Allow", "Deny"])),
        draw(st.sampled_from(["Action", "NotAction"])): draw(st.sampled_from(ACTIONS)),
        draw(st.sampled_from(["Resource", "NotResource"])): draw(st.sampled_from(RESOURCES)),
    }
    condition = draw(st.sampled_from(CONDITIONS))
    return result | ({"Condition": condition} if condition else {})


requests = st.builds(
    Request,
    st.sampled_from([HOST, OTHER]),
    st.sampled_from(["s3:GetObject", "s3:PutObject", "s3:DeleteObject", "kms:Decrypt"]),
    st.sampled_from([KEY, "arn:aws:s3:::other/x", "*"]),
    st.sampled_from(CONTEXTS),
)
several = st.lists(statements(), max_size=5)
rank = {Result.DENIED: 0, Result.NOT_ALLOWED: 1, Result.ALLOWED: 2}


def result(request: Request, rules: list[dict[str, Any]]) -> Result:
    return policy.evaluate(request, [identity(*rules)] if rules else []).result


@given(requests, several, st.randoms(use_true_random=False))
@settings(max_examples=200, database=None)
def test_the_order_of_statements_and_documents_is_irrelevant(
    request: Request, rules: Any, random: Any
) -> None:
    shuffled = list(rules)
    random.shuffle(shuffled)
    assert result(request, rules) is result(request, shuffled)
    assert policy.evaluate(request, [identity(rule) for rule in shuffled]).result is result(request, rules)


@given(requests, several)
@settings(max_examples=200, database=None)
def test_an_applying_deny_always_wins(request: Request, rules: Any) -> None:
    assert result(request, [*rules, deny(action="*")]) is Result.DENIED


@given(requests, several, statements(effect="Allow"))
@settings(max_examples=200, database=None)
def test_another_allow_never_takes_anything_away_nor_lifts_a_deny(
    request: Request, rules: Any, more: Any
) -> None:
    before, after = result(request, rules), result(request, [*rules, more])
    assert rank[after] >= rank[before]
    assert (before is Result.DENIED) == (after is Result.DENIED)


@given(requests, several, statements(effect="Deny"))
@settings(max_examples=200, database=None)
def test_another_deny_never_gives_anything(request: Request, rules: Any, more: Any) -> None:
    assert rank[result(request, [*rules, more])] <= rank[result(request, rules)]


@given(requests)
@settings(database=None)
def test_without_policies_nothing_is_allowed(request: Request) -> None:
    assert result(request, []) is Result.NOT_ALLOWED


@given(st.text("ab*?", max_size=8), st.text("ab", max_size=8))
@settings(max_examples=300, database=None)
def test_wildcards_match_as_the_recursive_definition_says(pattern: str, text: str) -> None:
    def naive(p: str, t: str) -> bool:
        if not p:
            return not t
        if p[0] == "*":
            return naive(p[1:], t) or (bool(t) and naive(p, t[1:]))
        return bool(t) and p[0] in ("?", t[0]) and naive(p[1:], t[1:])

    assert glob.matches(glob.tokens(pattern, None) or [], text) is naive(pattern, text)
