"""``steward restore plan``, ``run`` and ``export``."""

from __future__ import annotations

import os
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from steward.errors import EXIT_FAULT, ConfigError
from steward.invocation import Invocation
from steward.output import note, print_json, size_text
from steward.restore.show import show_plan, show_report

if TYPE_CHECKING:
    from steward.config import Config
    from steward.restore.plan import Plan
    from steward.restore.run import Request
    from steward.restore.target import Permission
    from steward.storage import Store

app = typer.Typer(
    help="Restores a backup to a chosen second, onto another server.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)

PASSWORD_VARIABLE = "STEWARD_TARGET_PASSWORD"  # noqa: S105 - the name of a variable

At = Annotated[
    str,
    typer.Option(
        "--at", metavar="TIME", help="2026-11-22T14:03:07Z (that whole second included) or 'latest'."
    ),
]
Base = Annotated[
    str | None, typer.Option("--base", metavar="ID", help="Start from this full backup, not the newest one.")
]
Identities = Annotated[
    list[Path] | None,
    typer.Option(
        "--identity",
        metavar="FILE",
        help="Private key that opens encrypted backups, mode 0600; may be given several times.",
    ),
]
Only = Annotated[
    list[str] | None,
    typer.Option("--only", metavar="NS", help="Only this: shop.orders, shop.order*, or shop.* (repeatable)."),
]
Exclude = Annotated[
    list[str] | None,
    typer.Option("--exclude", metavar="NS", help="Not this, whatever --only says (repeatable)."),
]
Rename = Annotated[
    list[str] | None,
    typer.Option(
        "--rename",
        metavar="FROM=TO",
        help="Under another name: shop.orders=shop.orders_restored, shop.*=old.* (repeatable; the first that"
        " fits counts).",
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@app.command(epilog="Example: steward restore plan --at 2026-11-22T14:03:07Z")
def plan(
    context: typer.Context,
    at: At = "latest",
    base: Base = None,
    identity: Identities = None,
    only: Only = None,
    exclude: Exclude = None,
    rename: Rename = None,
    json: Json = False,
) -> None:
    """Show what a restore would read, to which point it leads, and how long it takes. Writes nothing."""
    from steward.encryption import NoKeyError
    from steward.restore.verify import check_keys

    invocation = Invocation.of(context)
    config = invocation.config()
    store = invocation.store(config, identity or ())
    made = _plan(config, store, at, base, only, exclude, rename)
    try:
        check_keys(store, made.chain)
    except NoKeyError as error:
        made = replace(made, key_problem=str(error))
    if json:
        print_json(made.to_json())
    else:
        show_plan(made)


@app.command(
    epilog="Example: steward restore run --at 2026-11-22T14:03:07Z --target mongodb://scratch:27017/"
    " --target-username restorer    (password in STEWARD_TARGET_PASSWORD)"
)
def run(
    context: typer.Context,
    at: At,
    target: Annotated[
        str,
        typer.Option("--target", metavar="URI", help="mongodb://host:port/?options, without credentials."),
    ],
    target_username: Annotated[
        str | None, typer.Option(help=f"Login on the target; its password comes from {PASSWORD_VARIABLE}.")
    ] = None,
    target_secrets: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Or the login from a secrets file (section mongodb), mode 0600."),
    ] = None,
    base: Base = None,
    identity: Identities = None,
    only: Only = None,
    exclude: Exclude = None,
    rename: Rename = None,
    drop_existing: Annotated[
        bool,
        typer.Option(
            "--drop-existing",
            help="Drop what is to be restored if the target has it: databases; collections for a part.",
        ),
    ] = False,
    into_live: Annotated[
        bool, typer.Option("--into-live", help="Allow the live server of the configuration as the target.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Check the target and every stored object; write nothing.")
    ] = False,
    json: Json = False,
) -> None:
    """Restore onto a server: check everything, load, replay, build the indexes, compare.

    Exit status 3: an object of the store is damaged (nothing was written), or the
    result differs from what it must be (the report says in what).
    """
    from steward.restore import rates, textfile
    from steward.restore.progress import progress
    from steward.restore.run import run_restore
    from steward.restore.target import Permission

    invocation = Invocation.of(context)
    permission = Permission(drop_existing=drop_existing, into_live=into_live)
    request = _request(target, target_username, target_secrets, permission, dry_run)
    config = invocation.config()
    store = invocation.store(config, identity or ())
    made = _plan(config, store, at, base, only, exclude, rename)
    if (drop_existing or into_live) and not dry_run:
        _confirm(request, made, yes)
    report = run_restore(
        config,
        store,
        made,
        request,
        lambda text, total, unit: progress(text, total, unit, enabled=not json),
    )
    if json:
        print_json(report.to_json())
    else:
        show_report(report)
    if report.differences:
        raise typer.Exit(EXIT_FAULT)
    # A part says nothing about how long a whole restore takes, nor that one works.
    if made.selection.whole and not dry_run:
        found = rates.of_phases(
            report.seconds,
            raw_bytes=sum(data.raw_size for data in made.chain.objects),
            archive_bytes=made.chain.base.object.raw_size,
            documents=report.documents_loaded,
            entries=report.counts.entries if report.counts else 0,
        )
        textfile.write(config, report.seconds["total"], found)


@app.command(epilog="Example: steward restore export --at 2026-11-22T14:03:07Z --out /srv/export-1403")
def export(
    context: typer.Context,
    at: At,
    out: Annotated[
        Path, typer.Option("--out", metavar="DIR", help="A folder that does not exist, or is empty.")
    ],
    base: Base = None,
    identity: Identities = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Check the place and the space; write nothing.")
    ] = False,
    json: Json = False,
) -> None:
    """Write a folder for stock mongorestore: dump, oplog up to the second, checksums, commands.

    It is complete when it is there: until then it has another name.
    """
    from steward.restore.export import export as write_export
    from steward.restore.progress import progress
    from steward.restore.verify import check_keys

    invocation = Invocation.of(context)
    config = invocation.config()
    store = invocation.store(config, identity or ())
    made = _plan(config, store, at, base)
    check_keys(store, made.chain)
    result = write_export(
        store,
        made,
        out,
        lambda text, total, unit: progress(text, total, unit, enabled=not json),
        dry_run=dry_run,
    )
    if json:
        print_json(result.to_json())
    elif dry_run:
        print(f"{result.folder} can be written: at most {size_text(result.needed_bytes)}")
    else:
        print(
            f"Exported {result.documents} documents and {result.operations} oplog operations to"
            f" {result.folder}; its README.md says how to restore it"
        )


def _plan(
    config: Config,
    store: Store,
    at: str,
    base: str | None,
    only: list[str] | None = None,
    exclude: list[str] | None = None,
    rename: list[str] | None = None,
) -> Plan:
    from steward.backup.catalog import read_catalog
    from steward.restore import rates, textfile
    from steward.restore.chain import choose, parse_time
    from steward.restore.plan import make_plan

    second = parse_time(at)
    # A point that was asked for is reached exactly or not at all; only the latest may be in what is damaged.
    scan = read_catalog(config, store, note if second is not None else None).scan
    return make_plan(
        choose(scan.manifests, second, base),
        config.mongodb.databases,
        scan,
        only=only or (),
        exclude=exclude or (),
        rename=rename or (),
        rates=rates.measured(config, textfile.FILE),
    )


def _request(
    uri: str, username: str | None, secrets: Path | None, permission: Permission, dry_run: bool
) -> Request:
    from urllib.parse import parse_qs, urlsplit

    from steward.config import load_secrets
    from steward.restore.run import Request

    parts = urlsplit(uri)
    if "@" in parts.netloc:
        raise ConfigError(
            f"--target must not hold credentials: use --target-username and {PASSWORD_VARIABLE}"
        )
    if parts.scheme not in ("mongodb", "mongodb+srv") or not parts.netloc or parts.path not in ("", "/"):
        raise ConfigError(f"--target {uri!r} must look like mongodb://host:port/?options, without a database")
    password = os.environ.get(PASSWORD_VARIABLE)
    if secrets is not None:
        login = load_secrets(secrets).mongodb
        if login is None:
            raise ConfigError(f"{secrets}: mongodb: is required, with username and password")
        username = username or login.username
        password = login.password.get_secret_value()
    if username is not None and not password:
        raise ConfigError(f"--target-username {username}: its password is missing; set {PASSWORD_VARIABLE}")
    auth_source = parse_qs(parts.query).get("authSource", ["admin"])[0]
    return Request(
        uri, username, password if username is not None else None, auth_source, permission, dry_run
    )


def _confirm(request: Request, made: Plan, yes: bool) -> None:
    if yes:
        return
    from steward.mongo import address

    if not sys.stdin.isatty():
        raise ConfigError(
            "--drop-existing and --into-live ask for confirmation; without a terminal add --yes"
        )
    names = ", ".join(made.writes()) or "all databases"
    verb = "Drop and restore" if request.permission.drop_existing else "Restore"
    typer.confirm(f"{verb} {names} on {address(request.uri)}?", abort=True, err=True)
