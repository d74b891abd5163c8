"""Checks on requests to the services around S3, and the one answer moto would get wrong."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any
from xml.sax.saxutils import escape

from sandbox.aws_endpoint import boundaries, mfa, moto_backend, policy
from sandbox.aws_endpoint.authorize import Authorizer
from sandbox.aws_endpoint.conditions import MalformedPolicyError
from sandbox.aws_endpoint.errors import AwsError
from sandbox.aws_endpoint.http import Response
from sandbox.aws_endpoint.identity import Identity
from sandbox.aws_endpoint.moto_backend import ACCOUNT
from sandbox.aws_endpoint.services import ServiceRequest

#: Longest session of a role that says nothing, in seconds (IAM API reference, CreateRole).
DEFAULT_SESSION_SECONDS = 3600

#: Action -> (parameter with a policy, kind); these are the policies this endpoint evaluates later.
_POLICY_PARAMETERS: Mapping[str, tuple[str, policy.Kind]] = {
    "iam:PutUserPolicy": ("PolicyDocument", "identity"),
    "iam:PutGroupPolicy": ("PolicyDocument", "identity"),
    "iam:PutRolePolicy": ("PolicyDocument", "identity"),
    "iam:CreatePolicy": ("PolicyDocument", "identity"),
    "iam:CreatePolicyVersion": ("PolicyDocument", "identity"),
    "iam:CreateRole": ("AssumeRolePolicyDocument", "trust"),
    "iam:UpdateAssumeRolePolicy": ("PolicyDocument", "trust"),
    "kms:CreateKey": ("Policy", "resource"),
    "kms:PutKeyPolicy": ("Policy", "resource"),
    "secretsmanager:PutResourcePolicy": ("ResourcePolicy", "resource"),
}


def check_policy(action: str, parameters: Mapping[str, Any]) -> None:
    """Refuse a policy document that this endpoint could not evaluate.

    Raises:
        AwsError: ``MalformedPolicy``, naming the operator, key or element.
    """
    parameter, kind = _POLICY_PARAMETERS.get(action, ("", "identity"))
    text = parameters.get(parameter)
    if parameter and isinstance(text, str):
        try:
            policy.parse(text, kind, parameter)
        except MalformedPolicyError as error:
            raise AwsError("MalformedPolicy", str(error), 400) from error


def check_service_request(asked: ServiceRequest, region: str, authorizer: Authorizer) -> None:
    """Authorize a request, and check the policies it carries.

    Raises:
        AwsError: ``AccessDenied`` or ``MalformedPolicy``.
    """
    key = secret = None
    if asked.service == "secretsmanager" and isinstance(asked.parameters.get("SecretId"), str):
        secret = moto_backend.secret(asked.parameters["SecretId"], region)
    if asked.service == "kms" and isinstance(asked.parameters.get("KeyId"), str):
        key = moto_backend.kms_key(asked.parameters["KeyId"], region)
    if asked.action == "sts:AssumeRole":
        arn = str(asked.parameters.get("RoleArn", ""))
        role = next((r for r in moto_backend.iam().roles.values() if r.arn == arn), None)
        if role is None:  # moto would hand out a session for a role that does not exist
            raise AwsError(
                "AccessDenied", f"User: {authorizer.caller.arn} is not authorized to perform: {asked.action}"
            )
        given = {"sts:externalid": "ExternalId", "sts:rolesessionname": "RoleSessionName"}
        found = {key: asked.parameters.get(name) for key, name in given.items()}
        if mfa.shown(authorizer.caller, asked.parameters):
            found |= {"aws:multifactorauthpresent": "true", "aws:multifactorauthage": 0}
        authorizer.may_assume(role, {key: [str(value)] for key, value in found.items() if value is not None})
        _check_duration(role, asked.parameters.get("DurationSeconds"))
    elif asked.action == "sts:GetSessionToken":
        raise AwsError(
            "AccessDenied", "This endpoint issues no session tokens; show the device to AssumeRole."
        )
    else:
        if asked.action == "cloudwatch:PutMetricData" and isinstance(asked.parameters.get("Namespace"), str):
            own = {"cloudwatch:namespace": [asked.parameters["Namespace"]]}
            authorizer = replace(authorizer, context={**authorizer.context, **own})
        authorizer.require_service(asked.action, asked.resource, key, secret)
    check_policy(asked.action, asked.parameters)
    boundaries.check(asked.action, asked.parameters)
    if asked.action == "iam:EnableMFADevice":
        mfa.check_enabling(asked.parameters)


def _check_duration(role: Any, asked: Any) -> None:
    """Refuse a session that would outlast what the role allows; moto hands out any."""
    longest = int(role.max_session_duration or DEFAULT_SESSION_SECONDS)
    if asked is not None and int(asked) > longest:
        raise AwsError(
            "ValidationError",
            "The requested DurationSeconds exceeds the MaxSessionDuration set for this role.",
            400,
        )


def local_answer(asked: ServiceRequest, caller: Identity, request_id: str) -> Response | None:
    """The answer to ``sts:GetCallerIdentity``; None for every other action."""
    if asked.action != "sts:GetCallerIdentity":
        return None
    body = (
        '<GetCallerIdentityResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><GetCallerIdentityResult>'
        f"<Arn>{escape(caller.arn)}</Arn><UserId>{escape(caller.user_id)}</UserId><Account>{ACCOUNT}</Account>"
        f"</GetCallerIdentityResult><ResponseMetadata><RequestId>{request_id}</RequestId></ResponseMetadata>"
        "</GetCallerIdentityResponse>"
    ).encode()
    return Response(200, [("Content-Type", "text/xml"), ("Content-Length", str(len(body)))], (body,))
