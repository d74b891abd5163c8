"""``route53.HealthCheck``."""

from __future__ import annotations

import secrets
from typing import Any

from botocore.exceptions import ClientError
from typing_extensions import override

from sandbox.aws_plugin import tags
from sandbox.aws_plugin.errors import code
from sandbox.aws_plugin.resource import ResourceType
from sandbox.aws_plugin.settings import Aws
from sandbox.aws_plugin.values import Properties

GONE = "NoSuchHealthCheck"

#: Names on the wire of Pulumi -> names of the API.
_AT_CREATION = {
    "type": "Type",
    "requestInterval": "RequestInterval",
    "measureLatency": "MeasureLatency",
}
_ANY_TIME = {
    "fqdn": "FullyQualifiedDomainName",
    "port": "Port",
    "resourcePath": "ResourcePath",
    "searchString": "SearchString",
    "failureThreshold": "FailureThreshold",
    "enableSni": "EnableSNI",
}


class HealthCheck(ResourceType):
    """A check of an endpoint from outside; the service is global, so it has no region.

    The sandbox's endpoint keeps it, and asks nobody: no metric ever comes of it there.
    """

    type_name = "aws:route53/healthCheck:HealthCheck"
    carried = frozenset({*_AT_CREATION, *_ANY_TIME, "tags"})
    #: Route 53 API reference, UpdateHealthCheck: what it does not take.
    replaces = frozenset(_AT_CREATION)
    computed = frozenset({"enableSni"})
    made = frozenset({"arn", "tagsAll"})

    @override
    def create(self, aws: Aws, inputs: Properties) -> str:
        route53 = aws.client("route53")
        check = route53.create_health_check(
            CallerReference=secrets.token_hex(16),
            HealthCheckConfig=_given(inputs, {**_AT_CREATION, **_ANY_TIME}),
        )["HealthCheck"]
        check_id = str(check["Id"])
        _tag(route53, check_id, {}, aws.all_tags(inputs.get("tags")))
        return check_id

    @override
    def read(self, aws: Aws, resource_id: str, known: Properties) -> Properties | None:
        route53 = aws.client("route53")
        try:
            config = route53.get_health_check(HealthCheckId=resource_id)["HealthCheck"]["HealthCheckConfig"]
        except ClientError as error:
            if code(error) == GONE:
                return None
            raise
        answer = route53.list_tags_for_resource(ResourceType="healthcheck", ResourceId=resource_id)
        return {
            **{ours: config.get(theirs) for ours, theirs in {**_AT_CREATION, **_ANY_TIME}.items()},
            "arn": f"arn:aws:route53:::healthcheck/{resource_id}",
            **tags.outputs(aws, tags.mapping(answer["ResourceTagSet"]["Tags"])),
        }

    @override
    def update(self, aws: Aws, resource_id: str, state: Properties, inputs: Properties) -> None:
        route53 = aws.client("route53")
        route53.update_health_check(HealthCheckId=resource_id, **_given(inputs, _ANY_TIME))
        _tag(route53, resource_id, state.get("tagsAll") or {}, aws.all_tags(inputs.get("tags")))

    @override
    def delete(self, aws: Aws, resource_id: str, state: Properties) -> None:
        try:
            aws.client("route53").delete_health_check(HealthCheckId=resource_id)
        except ClientError as error:
            if code(error) != GONE:
                raise


def _given(inputs: Properties, names: dict[str, str]) -> dict[str, Any]:
    return {theirs: inputs[ours] for ours, theirs in names.items() if inputs.get(ours) is not None}


def _tag(route53: Any, check_id: str, old: dict[str, str], new: dict[str, str]) -> None:
    """Bring the tags from ``old`` to ``new`` in one request; an empty list would be refused."""
    changes: dict[str, Any] = {}
    if added := tags.pairs({key: value for key, value in new.items() if old.get(key) != value}):
        changes["AddTags"] = added
    if surplus := tags.surplus(old, new):
        changes["RemoveTagKeys"] = surplus
    if changes:
        route53.change_tags_for_resource(ResourceType="healthcheck", ResourceId=check_id, **changes)


ROUTE53_ROWS: tuple[ResourceType, ...] = (HealthCheck(),)
