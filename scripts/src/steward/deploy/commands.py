"""``steward deploy results`` and ``preflight``."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from steward.errors import ConfigError, FaultError
from steward.output import print_json

if TYPE_CHECKING:
    from steward.deploy.checklist import Item

app = typer.Typer(
    help="The manual's checklist before a deployment, checked by machine.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)

AsJson = Annotated[bool, typer.Option("--json", help="Answer as JSON on stdout.")]


def _pairs(texts: list[str], what: str) -> dict[str, str]:
    """``NAME=VALUE`` arguments.

    Raises:
        ConfigError: one is none, or a name comes twice.
    """
    found: dict[str, str] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not (name and equals and value):
            raise ConfigError(f"{text}: write {what}")
        if name in found:
            raise ConfigError(f"{name} is given twice")
        found[name] = value
    return found


@app.command(
    epilog="Example: steward deploy results --commit $SHA unit=unit.xml e2e=e2e.xml --out results.json"
)
def results(
    suites: Annotated[list[str], typer.Argument(metavar="NAME=JUNIT.XML...", help="unit, integration, e2e.")],
    commit: Annotated[str, typer.Option(help="The commit that was tested.")],
    out: Annotated[Path, typer.Option(help="The document to write.")],
) -> None:
    """Make one document of the results of all tests of a commit, for the checklist."""
    from steward.deploy.evidence import TestResults
    from steward.deploy.junit import suite

    named = _pairs(suites, "NAME=FILE, as unit=unit.xml")
    found = {name: suite(Path(path)) for name, path in named.items()}
    document = TestResults(commit=commit, taken_at=datetime.now(UTC), suites=found)
    temporary = out.with_name(f".{out.name}.part")
    try:
        temporary.write_text(document.model_dump_json(indent=2) + "\n", encoding="utf-8")
        temporary.replace(out)
    except OSError as error:
        raise ConfigError(f"{out}: {error.strerror}") from error
    for name, one in found.items():
        print(f"{name}: {one.tests} tests, {one.failures + one.errors} failed, {one.skipped} skipped")


@app.command(
    epilog="Example: steward deploy preflight --app bitesbay --commit $SHA --results results.json"
    " --facts facts --archive backend-$SHA.tar.gz --waive parity='nginx is newer in staging' --by asha"
)
def preflight(
    app_name: Annotated[str, typer.Option("--app", help="The application.")],
    commit: Annotated[str, typer.Option(help="The commit that is to be released.")],
    facts: Annotated[Path, typer.Option(help="Folder that playbooks/facts.yml wrote.")],
    results_file: Annotated[Path | None, typer.Option("--results", help="Of steward deploy results.")] = None,
    archive: Annotated[Path | None, typer.Option(help="The archive of the release.")] = None,
    applied_file: Annotated[
        Path | None, typer.Option("--applied", help="Migrations that the database has, if not in --facts.")
    ] = None,
    backup_status: Annotated[
        Path | None, typer.Option(help="What steward backup status --json says of production.")
    ] = None,
    environment: Annotated[str, typer.Option(help="Where the release is to go.")] = "production",
    before: Annotated[str, typer.Option(help="The environment that has to match it.")] = "staging",
    region: Annotated[str, typer.Option(envvar="AWS_REGION", help="Where the alarms are.")] = "us-east-1",
    alarms: Annotated[bool, typer.Option(help="Ask CloudWatch for the alarms.")] = True,
    waived: Annotated[
        list[str] | None, typer.Option("--waive", metavar="ITEM=REASON", help="Let an item fail; needs --by.")
    ] = None,
    person: Annotated[str, typer.Option("--by", help="Who waives.")] = "",
    as_json: AsJson = False,
) -> None:
    """Check what the manual asks for before a deployment. Exit status 3: an item fails.

    What is not known fails: each item says what is missing.
    """
    from steward.backup.documents import StatusDocument
    from steward.deploy import checklist, evidence
    from steward.deploy.alarms import states

    waivers = _pairs(waived or [], "ITEM=REASON, as parity='nginx is newer in staging'")
    if waivers and not person:
        raise ConfigError("a waiver is somebody's: give --by NAME")
    now = datetime.now(UTC)
    production = evidence.facts(facts, app_name, environment)
    release = evidence.release(archive) if archive else None
    asked = evidence.applied(facts, app_name, environment)
    applied = evidence.read(applied_file, evidence.Applied) if applied_file else asked
    status = evidence.read(backup_status, StatusDocument) if backup_status else None
    for document, path in ((applied, applied_file), (status, backup_status)):
        if document and document.environment != environment:
            raise ConfigError(f"{path}: it is of {document.environment}, not of {environment}")
    tested = evidence.read(results_file, evidence.TestResults) if results_file else None
    migrations, pending = checklist.migrations(release, applied, now)
    seen, silent = states(f"{app_name}-{environment}", region) if alarms else (None, [])
    items = [
        checklist.tests(tested, commit),
        checklist.parity(evidence.facts(facts, app_name, before), production, now),
        migrations,
        checklist.rollback(production, release, pending, _restorable_age(status, now)),
        checklist.monitoring(seen, silent),
    ]
    if unknown := waivers.keys() - {item.name for item in items}:
        raise ConfigError(f"no item is called {min(unknown)}; there are: {', '.join(i.name for i in items)}")
    items = checklist.waive(items, waivers, person)
    if as_json:
        print_json(
            {
                "app": app_name,
                "environment": environment,
                "commit": commit,
                "at": now.isoformat(timespec="seconds"),
                "items": [item.to_json() for item in items],
                "pending_migrations": pending,
            }
        )
    else:
        print("\n".join(_lines(items, pending)))
    if failed := [item.name for item in items if item.state == "fail"]:
        raise FaultError(f"not ready for {environment}: {', '.join(failed)}")


def _restorable_age(status: object, now: datetime) -> float | None:
    """Seconds since the newest moment that can be restored; None when no recent status tells."""
    from steward.backup.documents import StatusDocument
    from steward.cloudwatch_names import RECOVERABLE_LAG_SECONDS

    if not isinstance(status, StatusDocument):
        return None
    lag = next((one.value for one in status.figures if one.name == RECOVERABLE_LAG_SECONDS), None)
    return None if lag is None else lag + abs((now - status.at).total_seconds())


def _lines(items: list[Item], pending: list[str]) -> list[str]:
    """For people."""
    lines = []
    for item in items:
        lines.append(
            f"[{'x' if item.state == 'pass' else '-' if item.state == 'waived' else ' '}] {item.title}"
        )
        lines += [f"      {finding}" for finding in item.findings]
        if item.waived_by:
            lines.append(f"      waived by {item.waived_by}: {item.reason}")
    if pending:
        lines.append(f"    pending with this release: {', '.join(pending)}")
    return lines
