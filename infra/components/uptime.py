"""Whether the backend answers, asked from outside: by Route 53's health checkers or by UptimeRobot.

Route 53 publishes what its checkers find in us-east-1 and nowhere else, and an alarm
notifies topics of its own region only (Route 53 developer guide, "Monitoring health checks
using CloudWatch"). So alarm and topic live there, whatever the stack's region is.
"""

from __future__ import annotations

import os
from dataclasses import dataclass

import pulumi
import pulumi_aws as aws

from infra.components.component import Component
from infra.components.uptimerobot import UptimeRobotMonitor, missing
from infra.config import StackConfig
from infra.uptimerobot_api import Monitor
from infra.watch import RUNBOOK

#: The one region of Route 53's metrics.
METRICS_REGION = "us-east-1"

#: Seconds between two questions of one checker; the other choice, 10, is an extra that costs.
REQUEST_INTERVAL_S = 30
#: Answers in a row that must differ before a checker changes its mind: 90 s at 30 s each.
FAILURE_THRESHOLD = 3
#: Most minutes the alarm waits on top of the checkers, so that a late data point is no outage.
MOST_ALARM_MINUTES = 3


def alarm_minutes(health_interval_minutes: int) -> int:
    """Minutes that the status must be down; where it can be, an outage is told within the health interval."""
    until_unhealthy = -(-REQUEST_INTERVAL_S * FAILURE_THRESHOLD // 60)
    return max(1, min(MOST_ALARM_MINUTES, health_interval_minutes - until_unhealthy))


@dataclass(frozen=True)
class UptimeArgs:
    """What the watch from outside depends on."""

    stack: StackConfig
    topic_arn: pulumi.Input[str] | None = None
    """Topic for critical alarms in :data:`METRICS_REGION`; needed for ``route53``."""


class Uptime(Component):
    """One check of the health endpoint and, with Route 53, its alarm."""

    check_id: pulumi.Output[str]

    def __init__(self, name: str, args: UptimeArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("steward:watch:Uptime", name, opts)
        if args.stack.uptime == "route53":
            self.check_id = self._route53(args)
        elif args.stack.uptime == "uptimerobot":
            self.check_id = self._uptimerobot(args.stack)
        else:
            raise ValueError("cloud.uptime is none: there is nothing to build")
        self.register_outputs({"checkId": self.check_id})

    def _route53(self, args: UptimeArgs) -> pulumi.Output[str]:
        stack = args.stack
        if args.topic_arn is None:
            raise ValueError("route53 needs a topic in us-east-1")
        health = stack.app.health
        check = aws.route53.HealthCheck(
            f"{self._name}-check",
            type="HTTPS_STR_MATCH",
            fqdn=stack.app.domains[stack.environment],
            port=443,
            resource_path=health.path,
            search_string=health.healthy_text,
            request_interval=REQUEST_INTERVAL_S,
            failure_threshold=FAILURE_THRESHOLD,
            measure_latency=True,  # cannot be switched on later without a new check
            enable_sni=True,
            tags={**stack.tags, "Name": self._name},  # the console shows this tag as the check's name
            opts=self._child(),
        )
        minutes = alarm_minutes(health.interval_minutes)
        aws.cloudwatch.MetricAlarm(
            f"{self._name}-down",
            name=f"{self._name}-down",
            alarm_description=(
                f"{stack.app.title} ({stack.environment}) does not answer as healthy from outside, at"
                f" https://{stack.app.domains[stack.environment]}{health.path}, or Route 53 does not say."
                f" What to do: {RUNBOOK}#uptime-down"
            ),
            namespace="AWS/Route53",
            metric_name="HealthCheckStatus",
            dimensions={"HealthCheckId": check.id},
            statistic="Minimum",
            period=60,
            evaluation_periods=minutes,
            comparison_operator="LessThanThreshold",
            threshold=1,
            treat_missing_data="breaching",
            alarm_actions=[args.topic_arn],
            ok_actions=[args.topic_arn],
            region=METRICS_REGION,
            tags=stack.tags,
            opts=self._child(),
        )
        return check.id

    def _uptimerobot(self, stack: StackConfig) -> pulumi.Output[str]:
        if problem := missing(os.environ):
            raise pulumi.RunError(problem)  # printed as one line
        health = stack.app.health
        monitor = UptimeRobotMonitor(
            f"{self._name}-monitor",
            Monitor(
                name=self._name,
                url=f"https://{stack.app.domains[stack.environment]}{health.path}",
                keyword=health.healthy_text,
                interval_s=health.interval_minutes * 60,
                contacts=tuple(stack.app.contacts.critical),
            ),
            self._child(),
        )
        return monitor.id
