"""``cloudwatch.EventRule`` and ``cloudwatch.EventTarget`` on the default event bus."""

from __future__ import annotations

from typing import Any

from botocore.exceptions import ClientError
from typing_extensions import override

from sandbox.aws_plugin import tags
from sandbox.aws_plugin.errors import StandInError, code
from sandbox.aws_plugin.resource import ResourceType
from sandbox.aws_plugin.settings import Aws
from sandbox.aws_plugin.values import Properties

GONE = "ResourceNotFoundException"

#: Arguments of a rule and of PutRule, ``name`` and ``tags`` left out.
_RULE = {
    "description": "Description",
    "eventPattern": "EventPattern",
    "scheduleExpression": "ScheduleExpression",
    "state": "State",
}


class EventRule(ResourceType):
    """A rule by pattern or schedule; the id is its name. moto matches patterns but calls no SNS target."""

    type_name = "aws:cloudwatch/eventRule:EventRule"
    carried = frozenset({"name", "tags", *_RULE})
    replaces = frozenset({"name"})
    computed = frozenset({"state"})
    made = frozenset({"arn", "tagsAll"})
    named_by = "name"

    @override
    def create(self, aws: Aws, inputs: Properties) -> str:
        self._put(aws, inputs, Tags=tags.pairs(aws.all_tags(inputs.get("tags"))))
        return str(inputs["name"])

    @override
    def read(self, aws: Aws, resource_id: str, known: Properties) -> Properties | None:
        region = self.region(aws, known)
        events = aws.client("events", region)
        try:
            rule = events.describe_rule(Name=resource_id)
            tag_list = events.list_tags_for_resource(ResourceARN=rule["Arn"])["Tags"]
        except ClientError as error:
            if code(error) == GONE:
                return None
            raise
        return {
            **{name: rule.get(parameter) for name, parameter in _RULE.items()},
            "name": rule["Name"],
            "arn": rule["Arn"],
            "region": region,
            **tags.outputs(aws, tags.mapping(tag_list)),
        }

    @override
    def update(self, aws: Aws, resource_id: str, state: Properties, inputs: Properties) -> None:
        self._put(aws, {**inputs, "region": state.get("region")})
        events = aws.client("events", self.region(aws, state))
        wanted = aws.all_tags(inputs.get("tags"))
        tags.change(events.untag_resource, events.tag_resource, state, wanted, ResourceARN=state["arn"])

    @override
    def delete(self, aws: Aws, resource_id: str, state: Properties) -> None:
        events = aws.client("events", self.region(aws, state))
        try:
            # moto would take the targets along, AWS refuses.
            if events.list_targets_by_rule(Rule=resource_id)["Targets"]:
                raise StandInError(f"rule {resource_id} still has targets")
            events.delete_rule(Name=resource_id)
        except ClientError as error:
            if code(error) != GONE:
                raise

    def _put(self, aws: Aws, inputs: Properties, **more: Any) -> None:
        """PutRule sets what is left out to nothing, so every argument goes along each time."""
        given = {p: inputs[name] for name, p in _RULE.items() if inputs.get(name) is not None}
        aws.client("events", self.region(aws, inputs)).put_rule(Name=inputs["name"], **given, **more)


class EventTarget(ResourceType):
    """Where a rule sends its events; the id is ``<rule>/<target id>``, as an import takes it."""

    type_name = "aws:cloudwatch/eventTarget:EventTarget"
    carried = frozenset({"arn", "input", "inputTransformer", "rule", "targetId"})
    replaces = frozenset({"rule", "targetId"})
    named_by = "targetId"

    @override
    def identify(self, aws: Aws, inputs: Properties) -> str:
        return f"{inputs['rule']}/{inputs['targetId']}"

    @override
    def create(self, aws: Aws, inputs: Properties) -> str:
        self._put(aws, inputs)
        return self.identify(aws, inputs)

    @override
    def read(self, aws: Aws, resource_id: str, known: Properties) -> Properties | None:
        region = self.region(aws, known)
        rule, _, target_id = resource_id.partition("/")
        try:
            targets = aws.client("events", region).list_targets_by_rule(Rule=rule)["Targets"]
        except ClientError as error:
            if code(error) == GONE:
                return None
            raise
        found = next((t for t in targets if t["Id"] == target_id), None)
        if found is None:
            return None
        transformer = found.get("InputTransformer")
        return {
            "rule": rule,
            "targetId": target_id,
            "arn": found["Arn"],
            "input": found.get("Input"),
            "inputTransformer": transformer
            and {
                "inputPaths": transformer.get("InputPathsMap"),
                "inputTemplate": transformer["InputTemplate"],
            },
            "region": region,
        }

    @override
    def update(self, aws: Aws, resource_id: str, state: Properties, inputs: Properties) -> None:
        self._put(aws, {**inputs, "region": state.get("region")})

    @override
    def delete(self, aws: Aws, resource_id: str, state: Properties) -> None:
        rule, _, target_id = resource_id.partition("/")
        try:
            aws.client("events", self.region(aws, state)).remove_targets(Rule=rule, Ids=[target_id])
        except ClientError as error:
            if code(error) != GONE:
                raise

    def _put(self, aws: Aws, inputs: Properties) -> None:
        target: dict[str, Any] = {"Id": inputs["targetId"], "Arn": inputs["arn"]}
        if inputs.get("input") is not None:
            target["Input"] = inputs["input"]
        if transformer := inputs.get("inputTransformer"):
            target["InputTransformer"] = {
                "InputPathsMap": transformer.get("inputPaths") or {},
                "InputTemplate": transformer["inputTemplate"],
            }
        answer = aws.client("events", self.region(aws, inputs)).put_targets(
            Rule=inputs["rule"], Targets=[target]
        )
        for failed in answer.get("FailedEntries", []):
            raise StandInError(
                f"rule {inputs['rule']} refused target {failed['TargetId']}: {failed.get('ErrorMessage', '')}"
            )


EVENT_ROWS: tuple[ResourceType, ...] = (EventRule(), EventTarget())
