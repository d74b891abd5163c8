"""Everything of a restore that comes before its first write, and the mark that begins the writing."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from steward.config import Config
from steward.errors import ConfigError, StewardError
from steward.mongo import address, connect
from steward.restore.catalogue import from_extended_json
from steward.restore.ddl import creatable
from steward.restore.entries import MARK_DATABASE
from steward.restore.identity import Identity, identify, uri_addresses
from steward.restore.plan import Plan
from steward.restore.target import Permission, Target, patient_client, sees_mark
from steward.restore.verify import Verified

if TYPE_CHECKING:
    from pymongo import MongoClient

    from steward.restore.run import Report, Request

Document = dict[str, Any]

#: Seconds the live server gets to answer before it counts as gone.
LIVE_TIMEOUT_S = 5.0


def all_writes(plan: Plan, verified: Verified) -> list[str]:
    """What the restore writes, now that every entry has been seen.

    Raises:
        ConfigError: an option that is about nothing, or two collections of one name.
    """
    known = [*plan.held, *verified.names]
    if unused := plan.selection.unused(known):
        raise ConfigError(
            f"{unused[0]}: nothing that is restored has this name, in the full or in its oplog;"
            " 'steward restore plan' lists the names"
        )
    found = plan.writes(verified.names)
    if not found and not plan.selection.whole:
        raise ConfigError("nothing is left to restore: --exclude leaves out all of it")
    return found


def connect_target(request: Request) -> MongoClient[Document]:
    """A client for the target, which has been reached.

    Raises:
        StewardError: it cannot be reached, or refuses the login.
    """
    from pymongo.errors import OperationFailure, ServerSelectionTimeoutError

    where = f"the target {address(request.uri)}"
    try:
        connect(request.uri, request.username, request.password, request.auth_source).close()
        return patient_client(request.uri, request.username, request.password, request.auth_source)
    except StewardError as error:
        if isinstance(error.__cause__, OperationFailure):
            raise StewardError(
                f"{where} refused the login: check --target-username and STEWARD_TARGET_PASSWORD"
                f" or --target-secrets ({error.__cause__.details and error.__cause__.details.get('errmsg')})"
            ) from error
        if isinstance(error.__cause__, ServerSelectionTimeoutError):
            raise StewardError(
                f"{where} cannot be reached: check --target and that the server runs"
            ) from error
        raise


@contextlib.contextmanager
def live_server(config: Config) -> Iterator[tuple[Identity, MongoClient[Document] | None]]:
    """The live server's identity and a connection to it, or None when it does not answer."""
    settings, login = config.mongodb, config.mongodb.login
    try:
        client = connect(
            settings.uri,
            login.username if login else None,
            login.password.get_secret_value() if login else None,
            settings.auth_source,
            LIVE_TIMEOUT_S,
        )
    except StewardError:
        yield Identity(uri_addresses(settings.uri)), None
        return
    with contextlib.closing(client):
        yield identify(client), client


def begin(
    target: Target,
    report: Report,
    live: MongoClient[Document] | None,
    permission: Permission,
    present: list[str],
) -> None:
    """The first writes: set the mark, prove by it that the target is not the live server, make room.

    Raises:
        StewardError: refused; what the target held is as it was, unless it was to be dropped.
    """
    # A mark that nobody has seen yet is that of a restore which runs; it must not be replaced.
    old = target.mark() if MARK_DATABASE in present else None
    if old is not None:
        target.check_remains(old, report.writes)
    base, limit = report.plan.chain.base.id, str(report.plan.chain.limit or "none")
    target.set_mark(report.run, {"base": base, "limit": limit, "writes": report.writes}, old)
    if live is not None and not permission.into_live and sees_mark(live, report.run):
        target.unmark(old)
        raise StewardError(
            f"the target {target.name} is the live server of the configuration (it shows the mark of this"
            " restore): nothing was changed; restore onto another server, or say --into-live"
        )
    report.dropped = [d for d in present if d != MARK_DATABASE]
    target.drop(report.dropped)
    if report.plan.selection.whole:
        return
    try:
        target.claim(claims(report.plan))
    except StewardError:
        if not report.dropped:
            target.unmark(old)
        raise


def claims(plan: Plan) -> dict[str, dict[str, Any]]:
    """Collections that a restore of a part makes by itself, so that it writes into no other's."""
    return {
        plan.selection.target(f"{n.db}.{n.collection}"): creatable(from_extended_json(n.options))
        for n in plan.wanted
        if n.type == "collection" and not n.collection.startswith("system.")
    }
