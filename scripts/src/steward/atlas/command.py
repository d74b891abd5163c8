"""``steward backup snapshot``."""

from __future__ import annotations

from typing import Annotated

import typer

from steward.errors import Interrupted, StewardError
from steward.invocation import Invocation
from steward.output import note, print_json, size_text


def snapshot(
    context: typer.Context,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Ask Atlas what is there, and take none.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Answer as JSON on stdout.")] = False,
) -> None:
    """Take an on-demand snapshot of the cluster at Atlas, and wait until it is complete.

    It is kept at Atlas as long as a daily full. One that an earlier run has begun is waited for instead. What
    `restore` and `drill` work with is stored by `backup full`; this is quicker, and stays at Atlas.
    """
    from steward.atlas.api import Atlas
    from steward.atlas.snapshot import atlas_of, take_snapshot
    from steward.backup.full import lock_name
    from steward.backup.report import Report
    from steward.locking import lock
    from steward.operations.job import job

    config = Invocation.of(context).config()
    settings, login = atlas_of(config)
    if dry_run:
        with Atlas(settings, login) as atlas:
            newest = atlas.snapshots()[:1]
        text = f"the newest is {newest[0].id} ({newest[0].status})" if newest else "there is none yet"
        days = config.backup.retention_days.daily
        if as_json:
            print_json({"dry_run": True, "cluster": settings.cluster, "days": days, "newest": text})
        else:
            print(f"would take a snapshot of {settings.cluster} and keep it for {days} days; {text}")
        return
    report = Report(config)
    with job(config, "snapshot") as run, lock(config.state_dir, lock_name(config, "snapshot")):
        run.begin()
        said = ""

        def progress(text: str) -> None:
            nonlocal said
            if text != said and not as_json:
                note(text)
            said = text

        try:
            with Atlas(settings, login) as atlas:
                taken = take_snapshot(config, atlas, progress)
        except (StewardError, Interrupted):
            report.failure("snapshot")
            report.write()
            raise
        run.summary = taken.snapshot.id
        report.success("snapshot", None)
        report.write()
    if as_json:
        print_json(taken.to_json())
        return
    size = f", {size_text(taken.snapshot.size)}" if taken.snapshot.size is not None else ""
    expires = taken.snapshot.expires_at
    until = f", kept until {expires:%Y-%m-%d %H:%M} UTC" if expires else ""
    begun = " (begun by an earlier run)" if taken.adopted else ""
    print(f"{taken.snapshot.id}: snapshot of {settings.cluster} complete{begun}{size}{until}")
