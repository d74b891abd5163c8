"""Run a restore: check everything, then load, replay, build indexes, compare.

Nothing is written to the target before every stored byte has been checked and every
oplog entry gone through. From the first write to the end the target carries a mark
(see :mod:`steward.restore.target`).
"""

from __future__ import annotations

import contextlib
import secrets
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from steward.config import Config
from steward.errors import StewardError
from steward.mongo import address, connect, mongo_errors, tool_uri
from steward.restore.applier import Applier, Counts
from steward.restore.chain import utc
from steward.restore.compare import Difference, build_indexes, compare
from steward.restore.entries import MARK_DATABASE, NOT_RESTORED, EntryError, Ts
from steward.restore.expectation import Expectation
from steward.restore.load import load
from steward.restore.plan import Plan
from steward.restore.sink import MongoSink
from steward.restore.target import (
    Identity,
    Permission,
    Target,
    identify,
    patient_client,
    sees_mark,
    uri_addresses,
)
from steward.restore.verify import Verified, chain_entries, check_keys, read_object, verify

if TYPE_CHECKING:
    from pymongo import MongoClient

    from steward.storage import Store

Document = dict[str, Any]
#: Makes a progress display for a phase; its value takes the bytes done so far.
Display = Callable[[str], AbstractContextManager[Callable[[int], None]]]

#: Seconds the live server gets to answer before it counts as gone.
LIVE_TIMEOUT_S = 5.0


@dataclass(frozen=True)
class Request:
    """Onto which server, with which login, and what the user has allowed."""

    uri: str
    username: str | None
    password: str | None
    auth_source: str
    permission: Permission
    #: Check everything and write nothing.
    dry_run: bool = False


@dataclass
class Report:
    """What a run did. Times in seconds."""

    run: str
    plan: Plan
    target: str
    identity: str = ""
    dropped: list[str] = field(default_factory=list)
    verified: Verified | None = None
    documents_loaded: int = 0
    counts: Counts | None = None
    last_applied: Ts | None = None
    indexes_built: int = 0
    collections: int = 0
    documents: int = 0
    differences: list[Difference] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    seconds: dict[str, float] = field(default_factory=dict)
    dry_run: bool = False

    @property
    def result(self) -> str:
        """``restored``, ``checked`` (dry run) or ``differs``."""
        if self.differences:
            return "differs"
        return "checked" if self.dry_run else "restored"

    def to_json(self) -> dict[str, Any]:
        """The report for programs."""
        limit = self.plan.chain.limit
        last = self.last_applied
        return {
            "result": self.result,
            "run": self.run,
            "target": self.target,
            "target_identity": self.identity,
            "dropped_databases": self.dropped,
            "plan": self.plan.to_json(),
            "verified": {
                "objects": self.verified.objects,
                "stored_bytes": self.verified.stored_bytes,
                "raw_bytes": self.verified.raw_bytes,
                "operations": self.verified.operations,
            }
            if self.verified
            else None,
            "documents_loaded": self.documents_loaded,
            "replay": self.counts.to_json() if self.counts else None,
            "recovery_point": {
                "limit": str(limit) if limit else None,
                "last_applied": f"{last[0]}:{last[1]}" if last else None,
                "last_applied_time": utc(last[0]) if last else None,
            },
            "indexes_built": self.indexes_built,
            "compared": {"collections": self.collections, "documents": self.documents},
            "differences": [d.to_json() for d in self.differences],
            "warnings": self.warnings,
            "seconds": {name: round(value, 3) for name, value in self.seconds.items()},
        }


def run_restore(config: Config, store: Store, plan: Plan, request: Request, display: Display) -> Report:
    """Restore ``plan`` onto the target of ``request``.

    Raises:
        ConfigError: the private keys at hand do not open what is stored; nothing was written.
        StewardError: refused (nothing was written) or failed (the target keeps its mark).
        FaultError: a stored object or entry is damaged; nothing was written.
    """
    report = Report(run=secrets.token_hex(8), plan=plan, target=address(request.uri), dry_run=request.dry_run)
    begun = time.monotonic()
    check_keys(store, plan.chain)
    with mongo_errors(request.uri), contextlib.closing(_connect(request)) as client:
        target = Target(request.uri, client)
        with _live(config) as (live, live_client):
            report.identity = target.check_not_live(live, live_client is not None, request.permission)
            present = target.check_empty(plan.restored_databases, request.permission)
            with _phase(report, "verify"), display("checking") as show:
                report.verified = verify(store, plan.chain, plan.replay(), _sum(show))
            if request.dry_run:
                return report
            # The check took its time: look again before the first write.
            present = target.check_empty(plan.restored_databases, request.permission)
            _mark(target, report, live_client, request.permission, present)
        _restore(config, store, request, target, report, display)
        if report.differences:
            target.change_mark("finished, but differs")
        else:
            target.remove_mark()
    report.seconds["total"] = time.monotonic() - begun
    return report


def _connect(request: Request) -> MongoClient[Document]:
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
def _live(config: Config) -> Iterator[tuple[Identity, MongoClient[Document] | None]]:
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


def _mark(
    target: Target,
    report: Report,
    live: MongoClient[Document] | None,
    permission: Permission,
    present: list[str],
) -> None:
    """Set the mark, prove by it that the target is not the live server, drop what may be dropped."""
    if MARK_DATABASE in present:
        target.remove_mark()
    plan = report.plan
    target.set_mark(report.run, {"base": plan.chain.base.id, "limit": str(plan.chain.limit or "none")})
    if live is not None and not permission.into_live and sees_mark(live, report.run):
        target.remove_mark()
        raise StewardError(
            f"the target {target.name} is the live server of the configuration (it shows the mark of this"
            " restore): nothing was changed; restore onto another server, or say --into-live"
        )
    report.dropped = [d for d in present if d != MARK_DATABASE]
    target.drop(report.dropped)


def _restore(
    config: Config, store: Store, request: Request, target: Target, report: Report, display: Display
) -> None:
    """The writing part: load, replay, indexes, comparison."""
    plan, base = report.plan, report.plan.chain.base
    wanted = [n for n in base.namespaces or [] if plan.selection.wants(f"{n.db}.{n.collection}")]
    expected = Expectation.of(wanted)
    uri = tool_uri(request.uri, request.username, request.password, request.auth_source)
    with _phase(report, "load"), display("loading") as show:
        archive = read_object(store, base.object, _sum(show))
        loaded = load(config.tools.mongorestore, uri, archive, plan.databases, sum(n.count for n in wanted))
        report.documents_loaded = loaded.documents
    target.change_mark("dump loaded")
    with _phase(report, "replay"), display("replaying") as show:
        _replay(store, target, report, expected, _sum(show))
    target.change_mark("oplog replayed")
    with _phase(report, "indexes"):
        report.indexes_built, failed = build_indexes(target.client, expected)
        report.differences += failed
    with _phase(report, "compare"):
        databases = {*plan.restored_databases, *(ns.partition(".")[0] for ns in expected.collections)}
        named = {d.namespace + d.what for d in failed}
        found = compare(target.client, expected, sorted(databases - set(NOT_RESTORED)))
        report.differences += [d for d in found if d.namespace + d.what not in named]
    report.collections = len(expected.collections)
    report.documents = sum(e.count for e in expected.collections.values())


def _replay(
    store: Store, target: Target, report: Report, expected: Expectation, show: Callable[[int], None]
) -> None:
    replay = report.plan.replay()
    if replay is None:
        return
    sink = MongoSink(target.client)
    applier = Applier(sink, expected, replay)
    try:
        counts = applier.run(chain_entries(store, report.plan.chain, show))
    except EntryError as error:
        raise StewardError(f"the replay failed, the target is incomplete: {error}") from error
    report.counts, report.last_applied = counts, applier.last_applied
    if counts.missing_after_dump:
        report.differences.append(
            Difference("oplog", "documents to update", "present", f"{counts.missing_after_dump} missing")
        )
    done = counts.applied + counts.missing + counts.missing_after_dump
    if report.verified and done != report.verified.operations:
        raise StewardError(
            f"{done} operations were replayed, {report.verified.operations} were checked before"
        )
    if sink.replaced_timestamps:
        report.warnings.append(
            f"{sink.replaced_timestamps} document(s) hold an empty timestamp, which this server replaced"
        )


@contextlib.contextmanager
def _phase(report: Report, name: str) -> Iterator[None]:
    begun = time.monotonic()
    try:
        yield
    finally:
        report.seconds[name] = time.monotonic() - begun


def _sum(show: Callable[[int], None]) -> Callable[[int], None]:
    """From bytes of each step to bytes so far."""
    total = 0

    def add(size: int) -> None:
        nonlocal total
        total += size
        show(total)

    return add
