"""``steward logs archive`` and ``usage``."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from steward.errors import ConfigError, FaultError, StewardError
from steward.invocation import Invocation
from steward.output import byte_progress, print_json

if TYPE_CHECKING:
    from steward.logs.settings import LogsConfig

app = typer.Typer(
    help="Old logs into cold storage, and how much of the disks logs take.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)

Config = Annotated[
    Path,
    typer.Option("--logs-config", envvar="STEWARD_LOGS_CONFIG", help="The file that names the logs."),
]
AsJson = Annotated[bool, typer.Option("--json", help="Answer as JSON on stdout.")]

#: Days beyond the limit after which a file that is still there is overdue: a run a day, and one that failed.
GRACE_DAYS = 2


@app.command(epilog="Example: steward logs archive --dry-run")
def archive(
    context: typer.Context,
    config_file: Config = Path("/etc/steward/logs.toml"),
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be archived.")] = False,
    as_json: AsJson = False,
) -> None:
    """Put rotated logs that are old enough into the log archive, then remove them from the disk.

    A file is removed once the archive has confirmed its checksum. One that is still written to, or changes
    meanwhile, stays for another day. Exit status 1: some files could not be archived, the others were.
    """
    from steward.locking import lock
    from steward.logs import textfile
    from steward.logs.archive import archive as archive_logs
    from steward.logs.store import LogStore
    from steward.operations.job import job

    config = _config(context, config_file)
    storage = config.storage
    if config.archive is None or storage is None:
        raise ConfigError(f"{config_file}: archive: is required; run `pulumi up`, then the playbook")
    name = f"logs-{config.app}-{config.environment}"
    # A look at what would be done is no run that anybody waits for.
    with nullcontext() if dry_run else job(config, "logs") as run, lock(config.state_dir, name):
        if run:
            run.begin()
        with byte_progress("archive", enabled=not as_json) as progress:
            report = archive_logs(
                config, config.archive, LogStore(storage), dry_run=dry_run, progress=progress
            )
        if run:
            run.summary = report.summary
            textfile.archived(config, report)
        if as_json:
            print_json(report.to_json())
        else:
            print(report.text())
        if report.failed:
            path, reason = next(iter(report.failed.items()))
            more = f" (and {len(report.failed) - 1} more)" if len(report.failed) > 1 else ""
            raise StewardError(f"{path}: not archived: {reason}{more}")


@app.command(epilog="Example: steward logs usage --json")
def usage(
    context: typer.Context, config_file: Config = Path("/etc/steward/logs.toml"), as_json: AsJson = False
) -> None:
    """Show what logs take of the disks, by program, how fast the disks fill, and when they will be full.

    Exit status 3: a disk is fuller than allowed, or will soon be. The growth is known after a day of runs.
    """
    from steward.logs import textfile
    from steward.logs.usage import measure
    from steward.operations.job import job

    config = _config(context, config_file)
    with job(config, "logs-usage") as run:
        found = measure(config, _overdue(config))
        textfile.measured(config, found)
        run.summary = found.state
        if as_json:
            print_json(found.to_json())
        else:
            print(found.text())
        if found.problems:
            raise FaultError(f"{found.state}: {'; '.join(found.problems)}")


def _config(context: typer.Context, path: Path) -> LogsConfig:
    from steward.logs.settings import load

    return load(path, Invocation.of(context).secrets_path)


def _overdue(config: LogsConfig) -> dict[str, int]:
    """Files by source that should be in the archive by now; none where there is no archive."""
    from collections import Counter
    from datetime import UTC, datetime

    from steward.logs.archive import old_files

    if config.archive is None:
        return {}
    days = config.archive.older_than_days + GRACE_DAYS
    return Counter(log.source for log in old_files(config, days, datetime.now(UTC).date()))
