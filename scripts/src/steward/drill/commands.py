"""``steward drill run``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from steward.errors import ConfigError
from steward.invocation import Invocation
from steward.output import print_json, size_text

if TYPE_CHECKING:
    from steward.config import Config
    from steward.drill.run import Choice
    from steward.restore.plan import Plan

app = typer.Typer(
    help="Proves backups by restoring them.", no_args_is_help=True, pretty_exceptions_enable=False
)


@app.callback()
def _section() -> None:
    """A callback keeps the one verb a verb: typer would take it for the section itself."""


@app.command(epilog="Example: steward drill run --at 2026-11-22T14:03:07Z --keep")
def run(
    context: typer.Context,
    at: Annotated[
        str | None, typer.Option("--at", metavar="TIME", help="Restore this second, 2026-11-22T14:03:07Z.")
    ] = None,
    random: Annotated[
        bool,
        typer.Option("--random", help="Restore a second of a stored full, the same one all day (default)."),
    ] = False,
    latest: Annotated[
        bool, typer.Option("--latest", help="Restore the newest point that is stored.")
    ] = False,
    keep: Annotated[
        bool, typer.Option("--keep", help="Keep the restored data (the newest drill's only) and say where.")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would be restored; start and write nothing.")
    ] = False,
    json: Annotated[bool, typer.Option("--json", help="Print JSON: the evidence.")] = False,
) -> None:
    """Restore a point onto a scratch server of its own, compare, check, store the evidence, remove all.

    Exit status 3: a stored object is damaged, or the restored data are not what they must be. After a
    failure the scratch data are kept until the next one that keeps its own.
    """
    from steward.drill.run import plan_drill, run_drill
    from steward.operations.job import job
    from steward.restore.progress import progress

    choice = _choice(at, random=random, latest=latest)
    invocation = Invocation.of(context)
    config = invocation.config()
    store = invocation.store(config)
    if dry_run:
        _show_plan(config, choice, plan_drill(config, store, choice), json=json)
        return
    with job(config, "drill") as told:
        document, error = run_drill(
            config,
            store,
            choice,
            keep_data=keep,
            display=lambda text, total, unit: progress(text, total, unit, enabled=not json),
            begin=told.begin,
        )
        told.summary = f"restored {document['target_time']}"
        told.fault = str(error or "")
    if json:
        print_json(document)
    else:
        _show(document)
    if error is not None:
        raise error


def _choice(at: str | None, *, random: bool, latest: bool) -> Choice:
    from steward.drill.run import Choice

    if (at is not None) + random + latest > 1:
        raise ConfigError("--at, --random and --latest exclude each other")
    if at is not None:
        return Choice("at", at)
    return Choice("latest" if latest else "random")


def _show_plan(config: Config, choice: Choice, plan: Plan, *, json: bool) -> None:
    import shutil

    from steward.drill.run import drill_settings

    settings = drill_settings(config)
    if shutil.which(settings.server[0]) is None:
        raise ConfigError(f"drill.server: {settings.server[0]}: not found")
    document = {"choice": choice.kind, "server": settings.server, "plan": plan.to_json()}
    if json:
        print_json(document)
        return
    made = plan.to_json()
    print(
        f"would restore {made['target_time']} ({choice.kind}) from {made['base']['class']} full"
        f" {made['base']['id']}: {made['objects']} objects, {size_text(made['stored_bytes'])},"
        f" about {made['estimate_seconds']} s, then {len(settings.checks)} checks"
    )


def _show(document: dict[str, Any]) -> None:
    seconds = document["seconds"]
    print(f"Drill {document['id']}: {document['result']}")
    print(f"  restored  {document['target_time']} ({document['choice']})", end="")
    print(f" from {document['base_class']} full {document['base_id']}", end="")
    print(f" in {seconds['restore']:.1f} s" if "restore" in seconds else "")
    for check in document["checks"]:
        found = check["found"] or f"{check['wrong']} of {check['seen']} wrong"
        print(f"  {'holds' if check['good'] else 'FAILS':8}  {check['check']} ({found})")
    print(f"  total     {seconds['total']:.1f} s, {len(document['objects'])} objects read")
    if "kept" in document:
        print(f"  kept      {document['kept']}")
    if "evidence" in document:
        print(f"  evidence  {document['evidence']}")
