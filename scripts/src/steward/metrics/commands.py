"""``steward metrics ...``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from steward.errors import ConfigError, StewardError
from steward.invocation import Invocation
from steward.metrics import Metric, update
from steward.output import note, print_json

if TYPE_CHECKING:
    from datetime import datetime

    from steward.config import Config
    from steward.metrics.figures import Figure

app = typer.Typer(
    help="What is published about the backups.", no_args_is_help=True, pretty_exceptions_enable=False
)

AsJson = Annotated[bool, typer.Option("--json", help="Answer as JSON on stdout.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Show what would be sent; send nothing.")]

LAST_PUBLISH = Metric(
    "steward_metrics_last_publish_timestamp_seconds",
    "Unix time (the store's) for which metrics were last put to CloudWatch.",
)


@app.callback()
def _section() -> None:
    """A callback keeps the one verb a verb: typer would take it for the section itself."""


@app.command(epilog="Example: steward metrics publish --dry-run")
def publish(
    context: typer.Context,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show what would be sent; send nothing.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Answer as JSON on stdout.")] = False,
) -> None:
    """Put what alarms watch to CloudWatch: ages of backups, drill and verification, lag, holes, damage.

    What cannot be told is not sent, and its alarm takes that as breaching; the exit status is then 1.
    """
    # No lock: two runs at a time put the same truth twice.
    from steward.metrics import cloudwatch
    from steward.metrics.figures import read_figures

    invocation = Invocation.of(context)
    config = invocation.config()
    if config.cloudwatch is None:
        raise ConfigError(
            f"{invocation.config_path}: cloudwatch: is required to publish metrics; give it a region"
        )
    found, now = read_figures(config, invocation.store(config))
    sent = any(f.value is not None for f in found) and not dry_run
    if sent:
        cloudwatch.put(config, config.cloudwatch, found, now)
        _note_publish(config, now)
    if as_json:
        print_json(_document(config, found, now, published=sent))
    else:
        _show(found, dry_run=dry_run)
    if missing := [f"{f.label} ({f.reason})" for f in found if f.value is None]:
        raise StewardError(f"not published: {'; '.join(missing)}")


def _document(config: Config, found: list[Figure], now: datetime, *, published: bool) -> dict[str, Any]:
    """Keys ``app``, ``environment``, ``namespace``, ``at``, ``published``, and two lists with the keys
    ``name``, ``unit`` and ``dimensions``: ``metrics`` with ``value``, ``missing`` with ``reason``."""
    from steward.cloudwatch_names import NAMESPACE
    from steward.manifest import rfc3339

    return {
        "app": config.app,
        "environment": config.environment,
        "namespace": NAMESPACE,
        "at": rfc3339(now),
        "published": published,
        "metrics": [f.to_json(config.app, config.environment) for f in found if f.value is not None],
        "missing": [f.to_json(config.app, config.environment) for f in found if f.value is None],
    }


def _show(found: list[Figure], *, dry_run: bool) -> None:
    told = [f"{f.label} {f.value:.0f}" for f in found if f.value is not None]
    verb = "would publish" if dry_run else "published"
    print(f"{verb} {', '.join(told)}" if told else "nothing to publish")


def _note_publish(config: Config, now: datetime) -> None:
    """For an alert on this host; the figures themselves are in the textfiles of the jobs."""
    folder = config.metrics.textfile_dir
    if folder is None:
        return
    values: dict[tuple[Metric, tuple[str, ...]], float] = {(LAST_PUBLISH, (config.app,)): now.timestamp()}
    try:
        update(folder, f"steward_metrics_{config.app}", (LAST_PUBLISH,), values)
    except OSError as error:
        note(f"{folder}: metrics cannot be written, check metrics.textfile_dir: {error.strerror}")
