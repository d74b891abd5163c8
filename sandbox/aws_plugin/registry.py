"""The resource types and functions that the stand-in has."""

from __future__ import annotations

from collections.abc import Callable

from sandbox.aws_plugin import schema
from sandbox.aws_plugin.budgets import BUDGET_ROWS
from sandbox.aws_plugin.cloudwatch import CLOUDWATCH_ROWS
from sandbox.aws_plugin.errors import StandInError
from sandbox.aws_plugin.events import EVENT_ROWS
from sandbox.aws_plugin.iam import User
from sandbox.aws_plugin.iam_inline import RolePolicy, UserPolicy
from sandbox.aws_plugin.iam_policy import Policy, UserPolicyAttachment
from sandbox.aws_plugin.iam_role import Role
from sandbox.aws_plugin.kms import Alias, Key
from sandbox.aws_plugin.resource import ResourceType
from sandbox.aws_plugin.route53 import ROUTE53_ROWS
from sandbox.aws_plugin.s3_bucket import Bucket
from sandbox.aws_plugin.s3_inventory import Inventory
from sandbox.aws_plugin.s3_replication import REPLICATION_ROWS
from sandbox.aws_plugin.s3_settings import SETTINGS
from sandbox.aws_plugin.secretsmanager import SECRET_ROWS
from sandbox.aws_plugin.settings import Aws
from sandbox.aws_plugin.sns import SNS_ROWS
from sandbox.aws_plugin.values import Properties

RESOURCES: dict[str, ResourceType] = {
    resource.type_name: resource
    for resource in (
        *(Bucket(), *SETTINGS, Inventory(), *REPLICATION_ROWS),
        *(Key(), Alias()),
        *(User(), UserPolicy(), Role(), RolePolicy(), Policy(), UserPolicyAttachment()),
        *SNS_ROWS,
        *SECRET_ROWS,
        *EVENT_ROWS,
        *CLOUDWATCH_ROWS,
        *BUDGET_ROWS,
        *ROUTE53_ROWS,
    )
}

FUNCTIONS: dict[str, Callable[[Aws, Properties], Properties]] = {
    "aws:index/getCallerIdentity:getCallerIdentity": lambda aws, _: {"id": "caller", **aws.identity()},
}


def resource_type(token: str) -> ResourceType:
    """The row of a type token.

    Raises:
        StandInError: when there is none; a type that the SDK lacks is named as such.
    """
    if token in RESOURCES:
        return RESOURCES[token]
    schema.resource_class(token)
    raise StandInError(f"the stand-in does not do {token}; add a row in sandbox/aws_plugin/registry.py")


def function(token: str) -> Callable[[Aws, Properties], Properties]:
    """The function of a token.

    Raises:
        StandInError: when there is none.
    """
    if token not in FUNCTIONS:
        raise StandInError(f"the stand-in does not do the function {token}")
    return FUNCTIONS[token]
