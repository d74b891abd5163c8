"""Between Pulumi's policy SDK and the rules."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from pulumi_policy import (
    EnforcementLevel,
    Policy,
    PolicyResource,
    ReportViolation,
    ResourceValidationArgs,
    ResourceValidationPolicy,
    StackValidationArgs,
    StackValidationPolicy,
)
from pulumi_policy.proxy import UnknownValueError

from infra.policy.model import UNKNOWN, Resource, Rule, Stack
from infra.policy.rules import RULES


def policies() -> list[Policy]:
    """Every rule as a mandatory policy."""
    return [_of_resources(rule) if rule.of_inputs else _of_stack(rule) for rule in RULES]


def plain(value: Any) -> Any:
    """A value of the SDK as plain Python; what a preview does not know is :data:`UNKNOWN`.

    The SDK hands out proxies that raise at the first unknown value, which would end the whole rule.
    """
    if isinstance(value, Mapping):
        return {key: _item(value, key) for key in value}
    if isinstance(value, Sequence) and not isinstance(value, (str, bytes)):
        return [_item(value, index) for index in range(len(value))]
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _item(container: Any, key: Any) -> Any:
    try:
        return plain(container[key])
    except UnknownValueError:
        return UNKNOWN


def resource_of(given: PolicyResource) -> Resource:
    """A resource of the SDK as the rules see it."""
    return Resource(
        given.resource_type,
        given.name,
        plain(given.props),
        {
            name: frozenset(source.name for source in sources)
            for name, sources in given.property_dependencies.items()
        },
        bool(given.opts.protect),
        given.urn,
    )


def _message(rule: Rule, text: str) -> str:
    return f"{text}. {rule.why} To mend it: {rule.mend}."


def _of_stack(rule: Rule) -> StackValidationPolicy:
    def validate(args: StackValidationArgs, report: ReportViolation) -> None:
        _report(rule, (resource_of(r) for r in args.resources), report)

    return StackValidationPolicy(
        name=rule.id,
        description=rule.what,
        validate=validate,
        enforcement_level=EnforcementLevel.MANDATORY,
        remediation_steps=rule.mend,
    )


def _of_resources(rule: Rule) -> ResourceValidationPolicy:
    def validate(args: ResourceValidationArgs, report: ReportViolation) -> None:
        alone = Resource(args.resource_type, args.name, plain(args.props), urn=args.urn)
        _report(rule, [alone], report)

    return ResourceValidationPolicy(
        name=rule.id,
        description=rule.what,
        validate=validate,
        enforcement_level=EnforcementLevel.MANDATORY,
        remediation_steps=rule.mend,
    )


def _report(rule: Rule, resources: Iterable[Resource], report: ReportViolation) -> None:
    for violation in rule.violations(Stack(resources)):
        report(_message(rule, f"{violation.resource} {violation.text}"), violation.resource.urn)
