"""The alarms of a stack and their dashboard; what they say is in :mod:`infra.watch`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pulumi
import pulumi_aws as aws

from infra import names
from infra.components.component import Component
from infra.components.topics import Topics
from infra.config import StackConfig
from infra.watch import Alarm, Composite, Metric, Watched
from infra.watch.alarms import all_alarms
from infra.watch.dashboard import body

if TYPE_CHECKING:
    from pulumi_aws.cloudwatch import MetricAlarmMetricQueryArgsDict as Query


@dataclass(frozen=True)
class AlarmsArgs:
    """What the alarms depend on."""

    stack: StackConfig
    account_id: str
    watched: Watched
    topics: Mapping[str, Topics]
    """By region: an alarm notifies topics of its own region only."""


class Alarms(Component):
    """Every alarm, each with the topic of its severity, and one dashboard."""

    dashboard_url: str

    def __init__(self, name: str, args: AlarmsArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("steward:alerts:Alarms", name, opts)
        stack = args.stack
        alarms = all_alarms(stack, args.watched)
        made: dict[str, pulumi.Resource] = {}
        for alarm in alarms:
            if isinstance(alarm, Composite):
                # CloudWatch refuses a rule over an alarm that does not exist.
                over = [made[part.name] for part in alarm.over]
                made[alarm.name] = self._composite(alarm, args, over)
            else:
                made[alarm.name] = self._metric_alarm(alarm, args)
        aws.cloudwatch.Dashboard(
            f"{name}-dashboard",
            dashboard_name=stack.name,
            dashboard_body=pulumi.Output.json_dumps(
                body(
                    stack,
                    args.watched,
                    [
                        names.alarm_arn(args.account_id, _region(alarm, stack), f"{stack.name}-{alarm.name}")
                        for alarm in alarms
                    ],
                ),
                sort_keys=True,
            ),
            opts=self._child(),
        )
        self.dashboard_url = (
            f"https://{stack.region}.console.aws.amazon.com/cloudwatch/home"
            f"?region={stack.region}#dashboards/dashboard/{stack.name}"
        )
        self.register_outputs({"dashboardUrl": self.dashboard_url})

    def _metric_alarm(self, alarm: Alarm, args: AlarmsArgs) -> aws.cloudwatch.MetricAlarm:
        stack = args.stack
        topic = args.topics[_region(alarm, stack)].topics[alarm.severity]
        # An alarm is either on a metric or on queries; CloudWatch refuses arguments of both.
        metric = None if alarm.expression else alarm.metrics["m"]
        return aws.cloudwatch.MetricAlarm(
            f"{self._name}-{alarm.name}",
            name=f"{stack.name}-{alarm.name}",
            alarm_description=alarm.description,
            namespace=metric.namespace if metric else None,
            metric_name=metric.name if metric else None,
            dimensions=dict(metric.dimensions) if metric and metric.dimensions else None,
            statistic=metric.statistic if metric else None,
            period=metric.period if metric else None,
            metric_queries=_queries(alarm.expression, alarm.metrics) if alarm.expression else None,
            comparison_operator="GreaterThanThreshold",
            threshold=alarm.threshold,
            evaluation_periods=alarm.evaluations,
            datapoints_to_alarm=alarm.needed or alarm.evaluations,
            treat_missing_data=alarm.missing,
            actions_enabled=True,
            alarm_actions=[topic],
            ok_actions=[topic],
            region=alarm.region,
            tags=stack.tags,
            opts=self._child(),
        )

    def _composite(
        self, alarm: Composite, args: AlarmsArgs, over: list[pulumi.Resource]
    ) -> aws.cloudwatch.CompositeAlarm:
        stack = args.stack
        topic = args.topics[stack.region].topics[alarm.severity]
        return aws.cloudwatch.CompositeAlarm(
            f"{self._name}-{alarm.name}",
            alarm_name=f"{stack.name}-{alarm.name}",
            alarm_description=alarm.description,
            alarm_rule=" OR ".join(f'ALARM("{stack.name}-{part.name}")' for part in alarm.over),
            actions_enabled=True,
            alarm_actions=[topic],
            ok_actions=[topic],
            tags=stack.tags,
            opts=self._child(*over),
        )


def _region(alarm: Alarm | Composite, stack: StackConfig) -> str:
    return (alarm.region if isinstance(alarm, Alarm) else None) or stack.region


def _queries(expression: str, metrics: Mapping[str, Metric]) -> list[Query]:
    """The metrics by id, and the expression over them that counts."""
    queries: list[Query] = [
        {
            "id": query_id,
            "metric": {
                "namespace": metric.namespace,
                "metric_name": metric.name,
                "dimensions": dict(metric.dimensions),
                "period": metric.period,
                "stat": metric.statistic,
            },
        }
        for query_id, metric in metrics.items()
    ]
    return [*queries, {"id": "value", "expression": expression, "return_data": True}]
