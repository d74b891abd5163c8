"""A monitor of UptimeRobot as a Pulumi resource.

There is no Pulumi package of UptimeRobot, and of its Terraform modules only the vendor's
speaks the API v3. So this is a dynamic provider: Pulumi pickles the provider into the state
and runs it in a process of its own (pulumi.dynamic). Two things follow.

* The pickle names this module instead of holding its code, so that process has to find
  the package ``infra``: ``PYTHONPATH`` must hold the repository. :func:`missing` tells.
* The provider has no attributes, hence nothing of it that could be secret enters the state.
  The key comes from the environment whenever the API is asked.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pulumi
from pulumi.dynamic import CreateResult, DiffResult, ReadResult, Resource, ResourceProvider, UpdateResult
from typing_extensions import override

from infra.uptimerobot_api import KEY_VARIABLE, Monitor, from_environment

REPOSITORY = Path(__file__).resolve().parent.parent.parent


def missing(environ: Mapping[str, str]) -> str | None:
    """What the environment lacks for these resources, as one line; ``None`` when it is fit."""
    if not environ.get(KEY_VARIABLE):
        return f"{KEY_VARIABLE} is not set; cloud.uptime is uptimerobot"
    folders = [Path(p).resolve() for p in environ.get("PYTHONPATH", "").split(os.pathsep) if p]
    if REPOSITORY not in folders:
        return f"PYTHONPATH must hold {REPOSITORY} for UptimeRobot's provider: export PYTHONPATH={REPOSITORY}"
    return None


class Provider(ResourceProvider):
    """Create, read, update and delete of one monitor."""

    #: The pickle holds no secret, and a readable one shows that.
    serialize_as_secret_always = False

    @override
    def create(self, props: dict[str, Any]) -> CreateResult:
        """Make the monitor."""
        monitor = _monitor(props)
        return CreateResult(from_environment().create(monitor), _properties(monitor))

    @override
    def read(self, id_: str, props: dict[str, Any]) -> ReadResult:
        """The monitor as UptimeRobot has it; without an id when it is gone."""
        found = from_environment().read(id_)
        if found is None:
            return ReadResult("", {})
        properties = _properties(found)
        return ReadResult(id_, properties, dict(properties))

    @override
    def diff(self, _id: str, _olds: dict[str, Any], _news: dict[str, Any]) -> DiffResult:
        """Any difference is an update; a monitor is never replaced, so its history stays."""
        return DiffResult(changes=_monitor(_olds) != _monitor(_news), replaces=[])

    @override
    def update(self, _id: str, _olds: dict[str, Any], _news: dict[str, Any]) -> UpdateResult:
        """Bring the monitor to its new properties."""
        monitor = _monitor(_news)
        from_environment().update(_id, monitor)
        return UpdateResult(_properties(monitor))

    @override
    def delete(self, _id: str, _props: dict[str, Any]) -> None:
        """Remove the monitor."""
        from_environment().delete(_id)


class UptimeRobotMonitor(Resource, module="steward", name="UptimeRobotMonitor"):
    """One keyword monitor."""

    def __init__(self, name: str, monitor: Monitor, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__(Provider(), name, _properties(monitor), opts)


def _properties(monitor: Monitor) -> dict[str, Any]:
    """Plain values for the state; contacts in one order."""
    return {**asdict(monitor), "contacts": sorted(monitor.contacts)}


def _monitor(properties: Mapping[str, Any]) -> Monitor:
    """The other way round; numbers travel as floats."""
    return Monitor(
        name=properties["name"],
        url=properties["url"],
        keyword=properties["keyword"],
        interval_s=int(properties["interval_s"]),
        contacts=tuple(sorted(c.casefold() for c in properties["contacts"])),
        paused=bool(properties.get("paused")),
    )
