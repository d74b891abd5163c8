"""``steward backup verify``."""

from __future__ import annotations

from contextlib import ExitStack, nullcontext
from typing import TYPE_CHECKING, Annotated

import typer

from steward.errors import ConfigError, FaultError, StewardError
from steward.invocation import Invocation
from steward.output import byte_progress, print_json

if TYPE_CHECKING:
    from steward.backup.verification import Verification
    from steward.backup.verify import Progress, Verifier
    from steward.config import Config
    from steward.operations.job import Job


def verify(
    context: typer.Context,
    deep: Annotated[
        bool, typer.Option("--deep", help="Read every stored byte, and go through every document and entry.")
    ] = False,
    every: Annotated[
        int | None,
        typer.Option(
            metavar="DAYS",
            min=1,
            max=366,
            help="With --deep: read only what is due, so that runs once a day read everything once in DAYS.",
        ),
    ] = None,
    backup_ids: Annotated[
        list[str] | None,
        typer.Option("--id", metavar="ID", help="Only this backup, or the beginning of its id; repeatable."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Answer as JSON on stdout.")] = False,
) -> None:
    """Check that what is stored can be restored: there, whole, locked, and without a hole.

    Each fault is told with the seconds that cannot be restored any more. Exit status: 3 something is
    wrong; 1 the store did not answer for something, the rest was checked.
    """
    from steward.operations.job import job

    ids = backup_ids or []
    if every is not None and (not deep or ids):
        raise ConfigError("--every needs --deep, and does not go with --id")
    invocation = Invocation.of(context)
    config = invocation.config()
    # What cron runs is a job that a dead man's switch waits for; a look at one backup is none.
    with job(config, "verify") if deep and not ids else nullcontext() as run:
        found = _verify(invocation, config, ids, run, deep=deep, every=every, show=not as_json)
        if as_json:
            print_json(found.document(config).to_json())
        else:
            print(found.text())
        if found.findings:
            raise FaultError(found.problem)
        if found.unknown:
            raise StewardError(found.problem)


def _verify(
    invocation: Invocation,
    config: Config,
    ids: list[str],
    run: Job | None,
    *,
    deep: bool,
    every: int | None,
    show: bool,
) -> Verification:
    """Look at everything, and read what is asked for; with its metrics."""
    from steward.backup.verify import Verifier

    verifier = Verifier(config, invocation.store(config))
    with ExitStack() as stack:
        if every is not None:
            from steward.backup.full import lock_name
            from steward.locking import lock

            # For the file that says what was read; backups go on meanwhile.
            stack.enter_context(lock(config.state_dir, lock_name(config, "verify")))
        if run:
            run.begin()
        found = verifier.look(ids)
        for wanted in ids:
            if not any(i.startswith(wanted) for i in _ids(found)):
                raise ConfigError(f"no backup with the id {wanted!r}; see `steward backup list`")
        if deep:
            progress = stack.enter_context(byte_progress("verify", enabled=show))
            _read(config, verifier, found, ids, every, progress)
    if deep and not ids:
        from steward.backup import verify_metrics

        verify_metrics.write(config, found)
    if run:
        run.summary = f"{len(found.read)} backups read"
    return found


def _ids(found: Verification) -> set[str]:
    told = {f.backup for f in found.findings} | {u.backup for u in found.unknown}
    return told | {m.id for m in found.scan.manifests}


def _read(
    config: Config,
    verifier: Verifier,
    found: Verification,
    ids: list[str],
    every: int | None,
    progress: Progress,
) -> None:
    """Read all backups, or those with these ids, or those that are due and note at once which were good."""
    from steward.backup.due import ReadLog

    kept = [m for m in found.scan.manifests if m.retain_until > found.now]
    manifests = {m.id: m for m in kept if m.id.startswith(tuple(ids) or "")}
    if every is None:
        for manifest in manifests.values():
            verifier.read(found, manifest, progress)
        return
    log = ReadLog(config.state_dir / f"verify-{config.app}-{config.environment}.json")
    today = found.now.date()
    for backup_id in log.due(manifests, today, every):
        verifier.read(found, manifests[backup_id], progress)
        if backup_id in found.read:
            log.good(backup_id, today)
