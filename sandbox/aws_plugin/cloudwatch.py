"""``cloudwatch.MetricAlarm`` and ``cloudwatch.Dashboard``. moto evaluates no alarm."""

from __future__ import annotations

from typing import Any

from botocore.exceptions import ClientError
from typing_extensions import override

from sandbox.aws_plugin import tags
from sandbox.aws_plugin.errors import code
from sandbox.aws_plugin.resource import ResourceType
from sandbox.aws_plugin.settings import Aws
from sandbox.aws_plugin.values import Plain, Properties

#: The API reference has the second for GetDashboard, moto the first.
NO_DASHBOARD = ("ResourceNotFound", "ResourceNotFoundException", "DashboardNotFoundError")

#: Arguments of an alarm that PutMetricAlarm takes as they are.
_PLAIN = {
    "actionsEnabled": "ActionsEnabled",
    "alarmActions": "AlarmActions",
    "alarmDescription": "AlarmDescription",
    "comparisonOperator": "ComparisonOperator",
    "datapointsToAlarm": "DatapointsToAlarm",
    "evaluationPeriods": "EvaluationPeriods",
    "metricName": "MetricName",
    "name": "AlarmName",
    "namespace": "Namespace",
    "okActions": "OKActions",
    "period": "Period",
    "statistic": "Statistic",
    "threshold": "Threshold",
    "treatMissingData": "TreatMissingData",
}


class MetricAlarm(ResourceType):
    """An alarm on one metric or on a metric math expression; the id is its name."""

    type_name = "aws:cloudwatch/metricAlarm:MetricAlarm"
    carried = frozenset({"dimensions", "metricQueries", "tags", *_PLAIN})
    replaces = frozenset({"name"})
    computed = frozenset({"actionsEnabled", "treatMissingData"})
    made = frozenset({"arn", "tagsAll"})
    named_by = "name"

    @override
    def create(self, aws: Aws, inputs: Properties) -> str:
        self._put(aws, inputs, Tags=tags.pairs(aws.all_tags(inputs.get("tags"))))
        return str(inputs["name"])

    @override
    def read(self, aws: Aws, resource_id: str, known: Properties) -> Properties | None:
        region = self.region(aws, known)
        client = aws.client("cloudwatch", region)
        answer = client.describe_alarms(AlarmNames=[resource_id], AlarmTypes=["MetricAlarm"])
        if not answer["MetricAlarms"]:
            return None
        alarm = answer["MetricAlarms"][0]
        tag_list = client.list_tags_for_resource(ResourceARN=alarm["AlarmArn"])["Tags"]
        return {
            **{name: alarm.get(parameter) for name, parameter in _PLAIN.items()},
            "dimensions": _mapping(alarm.get("Dimensions")),
            "metricQueries": [_read_query(query) for query in alarm.get("Metrics", [])],
            "arn": alarm["AlarmArn"],
            "region": region,
            **tags.outputs(aws, tags.mapping(tag_list)),
        }

    @override
    def update(self, aws: Aws, resource_id: str, state: Properties, inputs: Properties) -> None:
        # PutMetricAlarm replaces the whole alarm but looks at tags only when it makes one.
        self._put(aws, {**inputs, "region": state.get("region")})
        client = aws.client("cloudwatch", self.region(aws, state))
        wanted = aws.all_tags(inputs.get("tags"))
        tags.change(client.untag_resource, client.tag_resource, state, wanted, ResourceARN=state["arn"])

    @override
    def delete(self, aws: Aws, resource_id: str, state: Properties) -> None:
        aws.client("cloudwatch", self.region(aws, state)).delete_alarms(AlarmNames=[resource_id])

    def _put(self, aws: Aws, inputs: Properties, **more: Any) -> None:
        given = {p: inputs[name] for name, p in _PLAIN.items() if inputs.get(name) is not None}
        if inputs.get("dimensions"):
            given["Dimensions"] = _dimensions(inputs["dimensions"])
        if inputs.get("metricQueries"):
            given["Metrics"] = [_write_query(query) for query in inputs["metricQueries"]]
        aws.client("cloudwatch", self.region(aws, inputs)).put_metric_alarm(**given, **more)


class Dashboard(ResourceType):
    """A dashboard; the id is its name."""

    type_name = "aws:cloudwatch/dashboard:Dashboard"
    carried = frozenset({"dashboardBody", "dashboardName"})
    replaces = frozenset({"dashboardName"})
    made = frozenset({"dashboardArn"})
    named_by = "dashboardName"

    @override
    def create(self, aws: Aws, inputs: Properties) -> str:
        self._put(aws, inputs)
        return str(inputs["dashboardName"])

    @override
    def read(self, aws: Aws, resource_id: str, known: Properties) -> Properties | None:
        region = self.region(aws, known)
        try:
            found = aws.client("cloudwatch", region).get_dashboard(DashboardName=resource_id)
        except ClientError as error:
            if code(error) in NO_DASHBOARD:
                return None
            raise
        return {
            "dashboardName": resource_id,
            "dashboardBody": found["DashboardBody"],
            "dashboardArn": found["DashboardArn"],
            "region": region,
        }

    @override
    def update(self, aws: Aws, resource_id: str, state: Properties, inputs: Properties) -> None:
        self._put(aws, {**inputs, "region": state.get("region")})

    @override
    def delete(self, aws: Aws, resource_id: str, state: Properties) -> None:
        try:
            aws.client("cloudwatch", self.region(aws, state)).delete_dashboards(DashboardNames=[resource_id])
        except ClientError as error:
            if code(error) not in NO_DASHBOARD:
                raise

    def _put(self, aws: Aws, inputs: Properties) -> None:
        aws.client("cloudwatch", self.region(aws, inputs)).put_dashboard(
            DashboardName=inputs["dashboardName"], DashboardBody=inputs["dashboardBody"]
        )


def _write_query(query: Plain) -> dict[str, Any]:
    """One entry of ``metricQueries`` as PutMetricAlarm takes it."""
    found: dict[str, Any] = {"Id": query["id"], "ReturnData": bool(query.get("returnData"))}
    for name, parameter in (("expression", "Expression"), ("label", "Label"), ("period", "Period")):
        if query.get(name) is not None:
            found[parameter] = query[name]
    if metric := query.get("metric"):
        found["MetricStat"] = {
            "Metric": {
                "Namespace": metric["namespace"],
                "MetricName": metric["metricName"],
                "Dimensions": _dimensions(metric.get("dimensions") or {}),
            },
            "Period": metric["period"],
            "Stat": metric["stat"],
        }
    return found


def _read_query(found: dict[str, Any]) -> Properties:
    query: Properties = {"id": found["Id"], "returnData": found.get("ReturnData")}
    for name, parameter in (("expression", "Expression"), ("label", "Label"), ("period", "Period")):
        query[name] = found.get(parameter)
    if stat := found.get("MetricStat"):
        query["metric"] = {
            "namespace": stat["Metric"]["Namespace"],
            "metricName": stat["Metric"]["MetricName"],
            "dimensions": _mapping(stat["Metric"].get("Dimensions")),
            "period": stat["Period"],
            "stat": stat["Stat"],
        }
    return query


def _dimensions(values: dict[str, str]) -> list[dict[str, str]]:
    return [{"Name": name, "Value": value} for name, value in sorted(values.items())]


def _mapping(dimensions: list[dict[str, str]] | None) -> dict[str, str]:
    return {d["Name"]: d["Value"] for d in dimensions or []}


CLOUDWATCH_ROWS: tuple[ResourceType, ...] = (MetricAlarm(), Dashboard())
