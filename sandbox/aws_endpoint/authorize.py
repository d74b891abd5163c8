"""Which policies decide on a request, and the condition keys they see."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from sandbox.aws_endpoint import identity as identities
from sandbox.aws_endpoint import moto_backend, policy
from sandbox.aws_endpoint.conditions import MalformedPolicyError
from sandbox.aws_endpoint.errors import AwsError
from sandbox.aws_endpoint.http import HttpRequest
from sandbox.aws_endpoint.identity import Identity
from sandbox.aws_endpoint.moto_backend import ACCOUNT
from sandbox.aws_endpoint.signature import Signed

Context = Mapping[str, Sequence[str]]


def base_context(http: HttpRequest, signed: Signed, caller: Identity, now: datetime) -> dict[str, list[str]]:
    """The condition keys that every request has."""
    found = {
        "aws:currenttime": now.strftime("%Y-%m-%dT%H:%M:%SZ"),
        "aws:epochtime": str(int(now.timestamp())),
        "aws:principalaccount": ACCOUNT,
        # For a role session the key holds the role, not the session.
        "aws:principalarn": caller.principal.arns[-1],
        "aws:principalisawsservice": "false",
        "aws:principaltype": caller.kind,
        "aws:referer": http.headers.get("referer", ""),
        "aws:requestedregion": signed.region,
        "aws:resourceaccount": ACCOUNT,
        "aws:securetransport": "true" if http.scheme == "https" else "false",
        "aws:sourceip": http.remote,
        "aws:useragent": http.headers.get("user-agent", ""),
        "aws:userid": caller.user_id,
        "aws:username": caller.name if caller.kind == "User" else "",
        "aws:viaawsservice": "false",
        "kms:calleraccount": ACCOUNT,
        "s3:authtype": "REST-QUERY-STRING" if signed.presigned else "REST-HEADER",
        "s3:resourceaccount": ACCOUNT,
        "s3:signatureversion": "AWS4-HMAC-SHA256",
        "s3:tlsversion": http.tls_version,
    }
    if caller.kind != "User":  # on AWS absent for long-lived keys
        found["aws:multifactorauthpresent"] = "false"
    if signed.presigned:
        at = datetime.strptime(signed.timestamp, "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
        found["s3:signatureage"] = str(int((now - at).total_seconds() * 1000))
    return {key: [value] for key, value in found.items() if value}


@dataclass(frozen=True)
class Authorizer:
    """Decides for one caller and one request."""

    caller: Identity
    context: Context

    def _decide(
        self,
        action: str,
        resource: str,
        document: tuple[str | bytes, str] | None,
        extra: Context,
        must: bool = False,
    ) -> policy.Decision:
        request = policy.Request(self.caller.principal, action, resource, {**self.context, **extra})
        try:
            parsed = identities.parsed(document[0], "resource", document[1]) if document else None
            own, boundary = self._own()
        except MalformedPolicyError as error:
            return policy.Decision(policy.Result.DENIED, f"because a policy cannot be evaluated: {error}")
        if self.caller.admin:
            must = False
        return policy.evaluate(request, own, parsed, boundary=boundary, resource_must_allow=must)

    def _own(self) -> tuple[list[policy.Document], policy.Document | None]:
        """The caller's own policies and its permissions boundary.

        The administrator stands for an identity with every permission; only a Deny stops it.

        Raises:
            MalformedPolicyError: when one of them cannot be evaluated.
        """
        if self.caller.admin:
            return [_EVERYTHING], None
        return identities.policies(self.caller), identities.boundary(self.caller)

    def allows_s3(self, action: str, resource: str, extra: Context) -> policy.Decision:
        """The decision on an S3 action, with the policy of the bucket."""
        bucket = moto_backend.bucket(resource.removeprefix("arn:aws:s3:::").partition("/")[0])
        text = bucket.policy if bucket else None
        return self._decide(
            action, resource, (text, f"bucket policy of {bucket.name}") if text else None, extra
        )

    def require(self, decision: policy.Decision, action: str, resource: str) -> None:
        """Raise ``AccessDenied`` unless allowed."""
        if not decision.allowed:
            raise AwsError(
                "AccessDenied",
                f"User: {self.caller.arn} is not authorized to perform: {action} on resource: {resource}"
                f" {decision.reason}",
            )

    def require_service(self, action: str, resource: str, key: Any = None, secret: Any = None) -> None:
        """Check an action of another service; ``key`` or ``secret`` is what it is about."""
        if action == "sts:GetCallerIdentity":  # AWS allows it whatever the policies say
            return
        document = (_document(key.policy), f"key policy of {key.id}") if key else None
        if secret and secret.policy:
            document = (_document(secret.policy), f"policy of secret {secret.name}")
        # A Deny in a key policy would lock the administrator out of repairing it.
        if self.caller.admin:
            return
        self.require(self._decide(action, resource, document, {}, must=key is not None), action, resource)

    def require_key(self, action: str, key: Any, region: str, arn: str) -> None:
        """Check the use of a KMS key by S3 on behalf of the caller."""
        extra = {
            "kms:viaservice": [f"s3.{region}.amazonaws.com"],
            "kms:encryptioncontext:aws:s3:arn": [arn],
        }
        document = (_document(key.policy), f"key policy of {key.id}")
        if not self.caller.admin:
            self.require(self._decide(action, str(key.arn), document, extra, must=True), action, str(key.arn))

    def may_assume(self, role: Any, extra: Context) -> None:
        """Check ``sts:AssumeRole``: the caller's policies and the role's trust policy must both allow."""
        try:
            trust = identities.parsed(
                _document(role.assume_role_policy_document), "trust", f"trust policy of {role.name}"
            )
            own, boundary = self._own()
        except MalformedPolicyError as error:
            raise AwsError(
                "AccessDenied", f"A policy for assuming {role.name} cannot be evaluated: {error}"
            ) from error
        request = policy.Request(
            self.caller.principal, "sts:AssumeRole", str(role.arn), {**self.context, **extra}
        )
        decision = policy.evaluate(request, own, trust, boundary=boundary, resource_must_allow=True)
        self.require(decision, "sts:AssumeRole", str(role.arn))


def _document(document: Any) -> str:
    return identities.as_text(document)


_EVERYTHING = policy.parse(
    '{"Version":"2012-10-17","Statement":[{"Sid":"Everything","Effect":"Allow","Action":"*","Resource":"*"}]}',
    "identity",
    "administrator",
)
