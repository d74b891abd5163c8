"""What the evaluator of IAM's rules decides by documents as the program makes them."""

from __future__ import annotations

import json
from collections.abc import Mapping

from infra.documents import Document
from sandbox.aws_endpoint import policy
from sandbox.aws_endpoint.policy import Principal, Request, Result
from tests.infra.recording import ACCOUNT

#: The rights of an administrator.
EVERYTHING: Document = {
    "Version": "2012-10-17",
    "Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}],
}

#: Condition keys of every request to S3 over good transport.
TLS = {"aws:securetransport": "true", "s3:tlsversion": "1.3"}

#: Value of a condition key that the request does not have.
ABSENT = "absent"


def decision(
    caller: str,
    action: str,
    resource: str,
    context: Mapping[str, str],
    *,
    account: str = ACCOUNT,
    identity: Document | None = None,
    of_resource: Document | None = None,
    resource_must_allow: bool = False,
) -> Result:
    """The decision on a request.

    Args:
        caller: who asks, as :class:`Principal` has it.
        action: what for.
        resource: on what.
        context: exactly these condition keys.
        account: the caller's.
        identity: the caller's own policy; services have none.
        of_resource: the policy of bucket, key, topic or secret.
        resource_must_allow: as with keys, and for callers without a policy of their own.
    """
    values = {key: [value] for key, value in context.items() if value != ABSENT}
    own = [policy.parse(json.dumps(identity), "identity", "identity")] if identity else []
    other = policy.parse(json.dumps(of_resource), "resource", "resource") if of_resource else None
    request = Request(Principal((caller,), account), action, resource, values)
    return policy.evaluate(request, own, other, resource_must_allow=resource_must_allow).result


def assert_well_formed(found: Document) -> None:
    """What holds for every document, whatever it says."""
    assert found["Version"] == "2012-10-17"
    sids = [s["Sid"] for s in found["Statement"]]
    assert len(set(sids)) == len(sids), sids
    for statement in found["Statement"]:
        actions = statement["Action"]
        # AWS hands lists back in an order of its own; sorted ones cannot drift.
        assert isinstance(actions, str) or actions == sorted(actions), statement
        if statement["Effect"] == "Allow":
            assert statement.get("Principal") != "*", statement
