"""Action and resource of requests to the services other than S3 and KMS-through-S3."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qs

from sandbox.aws_endpoint import moto_backend
from sandbox.aws_endpoint.errors import AwsError
from sandbox.aws_endpoint.moto_backend import ACCOUNT

#: Signing name -> prefix of its IAM actions, where the two differ.
_PREFIXES = {"monitoring": "cloudwatch", "email": "ses", "tagging": "tag"}
#: Parameters that hold the ARN of the resource itself.
_ARN_PARAMETERS = (
    "ResourceArn",
    "ResourceARN",
    "TopicArn",
    "SubscriptionArn",
    "TargetArn",
    "RoleArn",
    "PolicyArn",
    "ARN",
    "StateMachineArn",
)
_IAM_PARAMETERS = (
    ("UserName", "user"),
    ("RoleName", "role"),
    ("GroupName", "group"),
    ("InstanceProfileName", "instance-profile"),
)


@dataclass(frozen=True)
class ServiceRequest:
    """A request to a service: what it does, to what, and its parameters."""

    service: str
    action: str
    resource: str
    parameters: Mapping[str, Any]


def _parameters(headers: Mapping[str, str], raw_query: str, body: bytes) -> dict[str, Any]:
    content_type = headers.get("content-type", "")
    if "json" in content_type:
        try:
            data = json.loads(body or b"{}")
        except ValueError:
            raise AwsError("SerializationException", "The body is not JSON.", 400) from None
        return data if isinstance(data, dict) else {}
    if content_type == "application/cbor":
        return _cbor(body)
    found = parse_qs(raw_query, keep_blank_values=True)
    if content_type.startswith("application/x-www-form-urlencoded"):
        form = parse_qs(body.decode("utf-8", "replace"), keep_blank_values=True)
        # One parameter in two places could be read differently here and in moto.
        if form.keys() & found.keys():
            raise AwsError(
                "InvalidParameterCombination", "A parameter is given in the query and in the body.", 400
            )
        found |= form
    if any(len(values) > 1 for name, values in found.items() if name in ("Action", "Version")):
        raise AwsError("InvalidParameterCombination", "Action is given twice.", 400)
    return {name: values[0] for name, values in found.items()}


def _cbor(body: bytes) -> dict[str, Any]:
    """A body of the protocol smithy-rpc-v2-cbor, read by botocore's own reader of answers."""
    from botocore.parsers import RpcV2CBORParser

    reader = RpcV2CBORParser()
    try:
        data = reader.parse_data_item(reader.get_peekable_stream_from_bytes(body)) if body else {}
    except Exception as error:  # the reader raises what struct, int and decode raise on damaged bytes
        raise AwsError("SerializationException", "The body is not CBOR.", 400) from error
    return data if isinstance(data, dict) else {}


def _routed_action(service: str, method: str, raw_path: str, raw_query: str) -> str:
    """Operation of a REST service, by moto's own router, as IAM names it."""
    from moto.core.request import Request
    from moto.core.routing import get_service_router

    request = Request.from_primitives(
        method, f"http://localhost{raw_path}" + (f"?{raw_query}" if raw_query else ""), {}
    )
    try:
        operation, _ = get_service_router(service).match(request)
    except (
        Exception
    ) as error:  # the router raises what werkzeug, botocore and moto raise; none of it is an action
        raise AwsError(
            "AccessDenied", f"The action of this {service} request is not known to this endpoint."
        ) from error
    return str(operation.name)


def parse(
    service: str,
    region: str,
    method: str,
    raw_path: str,
    raw_query: str,
    headers: Mapping[str, str],
    body: bytes,
) -> ServiceRequest:
    """Find action and resource; the resource is ``*`` where it cannot be told.

    Raises:
        AwsError: when the action cannot be told for certain.
    """
    target = headers.get("x-amz-target", "")
    parameters = _parameters(headers, raw_query, body)
    named = parameters.get("Action") if "json" not in headers.get("content-type", "") else None
    named = named or parse_qs(raw_query).get("Action", [None])[0]
    if target and named:
        raise AwsError("InvalidParameterCombination", "Both X-Amz-Target and Action are given.", 400)
    if target:
        action = target.rpartition(".")[2]
    elif named:
        action = str(named)
    elif headers.get("smithy-protocol"):
        action = raw_path.rpartition("/")[2]
    else:
        action = _routed_action(service, method, raw_path, raw_query)
    prefix = _PREFIXES.get(service, service)
    return ServiceRequest(
        service, f"{prefix}:{action}", _resource(service, region, action, parameters), parameters
    )


def _resource(service: str, region: str, action: str, parameters: Mapping[str, Any]) -> str:
    def value(name: str) -> str:
        found = parameters.get(name)
        return found if isinstance(found, str) else ""

    if service == "kms" and value("KeyId"):
        key = moto_backend.kms_key(value("KeyId"), region)
        return str(key.arn) if key else f"arn:aws:kms:{region}:{ACCOUNT}:key/{value('KeyId')}"
    if service == "secretsmanager" and (value("SecretId") or value("Name")):
        return _secret_arn(region, value("SecretId") or value("Name"))
    if service == "iam":
        for name, kind in _IAM_PARAMETERS:
            if value(name):
                return _iam_arn(kind, value(name))
    if service == "logs":
        group = value("logGroupName") or value("logGroupIdentifier")
        stream = value("logStreamName")
        if group and not group.startswith("arn:"):
            return f"arn:aws:logs:{region}:{ACCOUNT}:log-group:{group}" + (
                f":log-stream:{stream}" if stream else ":*"
            )
    if service == "ssm" and value("Name"):
        return f"arn:aws:ssm:{region}:{ACCOUNT}:parameter/{value('Name').lstrip('/')}"
    if service == "sns" and action == "CreateTopic":
        return f"arn:aws:sns:{region}:{ACCOUNT}:{value('Name')}"
    return next((value(name) for name in _ARN_PARAMETERS if value(name).startswith("arn:")), "*")


def _secret_arn(region: str, reference: str) -> str:
    if reference.startswith("arn:"):
        return reference
    secret = moto_backend.secret(reference, region)
    return (
        str(secret.arn) if secret else f"arn:aws:secretsmanager:{region}:{ACCOUNT}:secret:{reference}-??????"
    )


def _iam_arn(kind: str, name: str) -> str:
    iam = moto_backend.iam()
    holders = {"user": iam.users, "group": iam.groups}.get(kind)
    found = holders.get(name) if holders else next((r for r in iam.roles.values() if r.name == name), None)
    return str(found.arn) if found else f"arn:aws:iam::{ACCOUNT}:{kind}/{name}"
