"""``steward backup ...``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from steward.atlas.command import snapshot
from steward.backup.verify_command import verify
from steward.errors import ConfigError, FaultError, Interrupted, StewardError
from steward.invocation import Invocation
from steward.output import byte_progress, note, print_json, size_text

if TYPE_CHECKING:
    from steward.backup.report import Report
    from steward.backup.slices import SliceResult
    from steward.config import Config
    from steward.manifest import Manifest
    from steward.storage import Store

app = typer.Typer(
    help="Full backups and oplog slices of MongoDB in the backup store.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)

AsJson = Annotated[bool, typer.Option("--json", help="Answer as JSON on stdout.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Check everything and say what would be done.")]


@app.command(epilog="Example: steward backup full --dry-run")
def full(context: typer.Context, dry_run: DryRun = False, as_json: AsJson = False) -> None:
    """Dump the database into the store.

    The class follows from what is stored: the first full of a month is monthly, of an ISO week weekly,
    every other daily. It counts only when its manifest is stored, which happens last.
    """
    from steward.backup import full as full_backup
    from steward.backup.report import Report

    invocation = Invocation.of(context)
    config = invocation.config()
    store = invocation.store(config)
    if dry_run:
        plan = full_backup.dry_run(config, store)
        if as_json:
            print_json(plan.to_json())
        else:
            left_out = f", left out: {', '.join(sorted(plan.left_out))}" if plan.left_out else ""
            for pattern in plan.idle:
                note(f"mongodb.{pattern}: no collection is called so")
            print(
                f"would dump {', '.join(plan.choice.databases) or 'the whole server'}"
                f" ({len(plan.collections)} collections{left_out})"
                f" to {config.storage.bucket}/{plan.backup_class}/,"
                f" kept until {plan.retain_until:%Y-%m-%d %H:%M} UTC"
            )
        return
    manifest = _take_full(config, store, Report(config), show=not as_json)
    if as_json:
        print_json(manifest.to_json())
    else:
        print(_full_line(manifest))


@app.command(epilog="Example: steward backup oplog --json")
def oplog(
    context: typer.Context,
    auto_full: Annotated[
        bool,
        typer.Option(help="Take a full backup when slices have none to continue, or the chain is broken."),
    ] = True,
    dry_run: DryRun = False,
    as_json: AsJson = False,
) -> None:
    """Store what the oplog holds since the last slice.

    A slice begins with the last stored entry, which proves that nothing is missing between. If that
    entry has left the oplog there is a gap: nothing is appended, a new full backup is taken, and the
    exit status is 3. Without any full backup yet, one is taken first.
    """
    from steward.backup.report import Report
    from steward.backup.slices import run_slice

    invocation = Invocation.of(context)
    config = invocation.config()
    store = invocation.store(config)
    report = Report(config)
    manifest = None
    if dry_run:
        result = run_slice(config, store, dry_run=True)
    else:
        result = _take_slice(config, store, report, show=not as_json)
        if result.needs_full and auto_full:
            note(f"{result.gap or 'there is no full backup to continue'}; taking a full backup")
            manifest = _take_full(config, store, report, show=not as_json, new_chain=result.gap is not None)
    if as_json:
        print_json({**result.to_json(), "full": manifest.to_json() if manifest else None})
    else:
        print(_slice_line(result, manifest, dry_run=dry_run))
    if result.gap is not None:
        done = "a new full backup was taken" if manifest else "run `steward backup full`"
        if not result.needs_full:
            done = "slices continue from the newest full backup"
        raise FaultError(f"gap in the oplog: {result.gap}; {done}")
    if result.needs_full and not auto_full:
        raise StewardError("there is no full backup that slices could continue; run `steward backup full`")


@app.command("list", epilog="Example: steward backup list --json")
def list_backups(context: typer.Context, as_json: AsJson = False) -> None:
    """Show every backup, why and how long it is kept, and the times that can be restored."""
    from steward.backup import listing
    from steward.backup.catalog import read_catalog

    invocation = Invocation.of(context)
    config = invocation.config()
    unreadable: list[str] = []
    catalog = read_catalog(config, invocation.store(config), unreadable.append)
    if as_json:
        print_json(listing.to_json(config, catalog))
    else:
        listing.show(config, catalog)
    if unreadable:
        raise FaultError("; ".join(unreadable))


@app.command(epilog="Example: steward backup show latest")
def show(
    context: typer.Context,
    backup_id: Annotated[
        str, typer.Argument(metavar="ID|latest", help="An id of `backup list`, its beginning, or latest.")
    ],
    as_json: AsJson = False,
) -> None:
    """Show one backup: its manifest, why and how long it is kept, and whether its data are there."""
    from steward.backup import listing
    from steward.backup.catalog import read_catalog

    invocation = Invocation.of(context)
    config = invocation.config()
    catalog = read_catalog(config, invocation.store(config), note)
    found = [m for m in catalog.scan.manifests if m.id.startswith(backup_id)]
    if backup_id == "latest":
        found = catalog.scan.manifests[-1:]
    if len(found) != 1:
        problem = "no backup" if not found else f"{len(found)} backups"
        raise ConfigError(f"{problem} with the id {backup_id!r}; see `steward backup list`")
    document = listing.one_to_json(catalog, found[0])
    if as_json:
        print_json(document)
    else:
        listing.show_one(document)


@app.command(epilog="Example: steward backup status --json")
def status(context: typer.Context, as_json: AsJson = False) -> None:
    """Tell whether backups are as young, whole and proven as the app file promises; if not, exit 3.

    The figures are those of `metrics publish`, the limits those of the alarms in AWS. What cannot be told
    is not met.
    """
    from steward.backup.status import judge, text
    from steward.manifest import rfc3339
    from steward.metrics.figures import read_figures

    invocation = Invocation.of(context)
    config = invocation.config()
    if config.limits is None:
        raise ConfigError(
            f"{invocation.config_path}: limits: is required to judge the backups; run `pulumi up` for this"
            " stack, then the playbook"
        )
    found, now = read_figures(config, invocation.store(config))
    judged = judge(found, config.limits)
    broken = [one.problem for one in judged if not one.met]
    if as_json:
        print_json(
            {
                "app": config.app,
                "environment": config.environment,
                "at": rfc3339(now),
                "met": not broken,
                "figures": [one.to_json() for one in judged],
            }
        )
    else:
        print(text(judged))
    if broken:
        raise FaultError(f"the promise is not met: {'; '.join(broken)}")


@app.command(epilog="Example: steward backup compliance --json")
def compliance(context: typer.Context, as_json: AsJson = False) -> None:
    """Prove from the store that the promised daily, weekly and monthly points exist; if not, exit 3.

    A point counts when its full and what it needs are there. A young system owes only the periods since its
    first backup. Also told: when a drill last restored a full of each class.
    """
    from steward.backup.catalog import read_catalog
    from steward.backup.compliance import judge
    from steward.drill.evidence import read_all
    from steward.manifest import rfc3339

    invocation = Invocation.of(context)
    config = invocation.config()
    if config.backup.points is None:
        raise ConfigError(
            f"{invocation.config_path}: backup.points: is required to judge the points; run the playbook"
        )
    store = invocation.store(config)
    catalog = read_catalog(config, store)
    now = store.server_time()
    judged = judge(catalog, read_all(config, store), config.backup.points, now)
    if as_json:
        print_json(
            {
                "app": config.app,
                "environment": config.environment,
                "at": rfc3339(now),
                "met": all(one.met for one in judged),
                "classes": [one.to_json() for one in judged],
            }
        )
    else:
        print("\n".join(one.text for one in judged))
    if broken := [one.problem for one in judged if not one.met]:
        raise FaultError(f"points are missing: {'; '.join(broken)}")


app.command("verify", epilog="Example: steward backup verify --deep --json")(verify)
app.command("snapshot", epilog="Example: steward backup snapshot")(snapshot)


def _take_slice(config: Config, store: Store, report: Report, *, show: bool) -> SliceResult:
    """A slice with its metrics; its hooks, pings and messages are done before a full that may follow."""
    from steward.backup.slices import run_slice
    from steward.operations.job import job

    with job(config, "oplog") as run:
        try:
            with byte_progress("oplog", enabled=show) as progress:
                result = run_slice(config, store, progress=progress, begin=run.begin)
        except (StewardError, Interrupted):
            report.failure("oplog")
            report.write()
            raise
        _report_slice(config, store, report, result)
        run.backup_id = result.manifest.id if result.manifest else ""
        run.fault = f"gap in the oplog: {result.gap}" if result.gap else ""
    return result


def _take_full(
    config: Config, store: Store, report: Report, *, show: bool, new_chain: bool = False
) -> Manifest:
    """A full backup with its metrics."""
    from steward.backup.catalog import read_catalog
    from steward.backup.full import run_full
    from steward.operations.job import job

    with job(config, "full") as run:
        try:
            with byte_progress("full backup", enabled=show) as progress:
                manifest = run_full(config, store, new_chain=new_chain, progress=progress, begin=run.begin)
        except (StewardError, Interrupted):
            report.failure("full")
            report.write()
            raise
        run.backup_id = manifest.id
        report.success("full", manifest)
        report.coverage(read_catalog(config, store, lambda _: None).coverage())
        report.write()
    return manifest


def _report_slice(config: Config, store: Store, report: Report, result: SliceResult) -> None:
    """The metrics of a run for a slice; written before a full that may follow."""
    from steward.backup.catalog import read_catalog

    if result.gap is None and not result.needs_full:
        report.success("oplog", result.manifest)
        report.gap(False)
        report.coverage(read_catalog(config, store, lambda _: None).coverage(), result.covered_to)
    elif result.gap is not None:
        report.failure("oplog")
        report.gap(True)
    report.write()


def _full_line(manifest: Manifest) -> str:
    seconds = (manifest.finished_at - manifest.started_at).total_seconds()
    documents = sum(n.count for n in manifest.namespaces or [])
    left_out = manifest.left_out.namespaces if manifest.left_out else []
    without = f" ({len(left_out)} left out)" if left_out else ""
    chain = "" if manifest.oplog else "; the server keeps no oplog, so no point in time in between"
    return (
        f"{manifest.id}: {manifest.class_} full backup, {documents} documents in"
        f" {len(manifest.namespaces or [])} collections{without}, {size_text(manifest.object.raw_size)} as"
        f" {size_text(manifest.object.size)}, {seconds:.1f} s, kept until"
        f" {manifest.retain_until:%Y-%m-%d %H:%M} UTC{chain}"
    )


def _slice_line(result: SliceResult, full_backup: Manifest | None, *, dry_run: bool) -> str:
    if full_backup is not None:
        return _full_line(full_backup)
    if result.manifest is not None and result.manifest.oplog is not None:
        span = result.manifest.oplog
        return (
            f"{result.manifest.id}: {span.count} oplog entries from {span.start} to {span.end},"
            f" {size_text(result.manifest.object.size)}"
        )
    if result.needs_full:
        return "no slice stored"
    if dry_run:
        return f"the oplog continues the last stored entry; would store what came up to {result.covered_to}"
    return f"nothing new in the oplog up to {result.covered_to}; no slice stored"
