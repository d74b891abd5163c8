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
from steward.mongo import address, mongo_errors, tool_uri
from steward.restore.applier import Applier, Counts
from steward.restore.chain import utc
from steward.restore.compare import Difference, build_indexes, compare
from steward.restore.entries import NOT_RESTORED, EntryError, Ts
from steward.restore.expectation import Expectation
from steward.restore.load import load, namespace_options
from steward.restore.plan import Plan
from steward.restore.prepare import all_writes, begin, claims, connect_target, live_server
from steward.restore.renaming import RenamingSink
from steward.restore.sink import MongoSink
from steward.restore.target import Permission, Target
from steward.restore.verify import Verified, chain_entries, check_keys, read_object, verify

if TYPE_CHECKING:
    from steward.storage import Store

Document = dict[str, Any]
#: Makes a progress display for a phase from its name, how much there is to do, and the
#: unit (``bytes``, ``entries``); its value takes how much is done so far.
Display = Callable[[str, int, str], AbstractContextManager[Callable[[int], None]]]

#: The progress of a replay is shown after so many entries.
SHOWN_EVERY = 100


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
    #: What is written: databases, or ``database.collection`` for a part.
    writes: list[str] = field(default_factory=list)
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
            "writes": self.writes,
            "dropped": self.dropped,
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
    with mongo_errors(request.uri), contextlib.closing(connect_target(request)) as client:
        target = Target(request.uri, client)
        with live_server(config) as (identity, live_client):
            report.identity = target.check_not_live(identity, live_client is not None, request.permission)
            target.check_empty(plan.writes(), request.permission)
            stored = sum(data.size for data in plan.chain.objects)
            with _phase(report, "verify"), display("checking", stored, "bytes") as show:
                report.verified = verify(store, plan.chain, plan.replay(), _sum(show))
            report.writes = all_writes(plan, report.verified)
            # The check took its time, and knows what the oplog makes: look again before the first write.
            present = target.check_empty(report.writes, request.permission)
            if request.dry_run:
                return report
            begin(target, report, live_client, request.permission, present)
        _restore(config, store, request, target, report, display)
        if report.differences:
            target.change_mark("finished, but differs")
        else:
            target.remove_mark()
    report.seconds["total"] = time.monotonic() - begun
    return report


def _restore(
    config: Config, store: Store, request: Request, target: Target, report: Report, display: Display
) -> None:
    """The writing part: load, replay, indexes, comparison."""
    plan, base = report.plan, report.plan.chain.base
    expected = Expectation.of(plan.wanted)
    with _phase(report, "load"), display("loading", base.object.size, "bytes") as show:
        if plan.wanted:
            _load(config, read_object(store, base.object, _sum(show)), request, target, report)
    target.change_mark("dump loaded")
    with _phase(report, "replay"), display("replaying", plan.entries, "entries") as show:
        _replay(store, target, report, expected, show)
    target.change_mark("oplog replayed")
    # Up to here everything has its old name, on the target it has the new one.
    expected = expected.renamed(plan.selection.target)
    with _phase(report, "indexes"):
        report.indexes_built, failed = build_indexes(target.client, expected)
        report.differences += failed
    with _phase(report, "compare"):
        databases = {item.partition(".")[0] for item in (*report.writes, *expected.collections)}
        named = {d.namespace + d.what for d in failed}
        among = None if plan.selection.whole else set(report.writes)
        found = compare(target.client, expected, sorted(databases - set(NOT_RESTORED)), among)
        report.differences += [d for d in found if d.namespace + d.what not in named]
    report.collections = len(expected.collections)
    report.documents = sum(e.count for e in expected.collections.values())


def _load(config: Config, archive: Iterator[bytes], request: Request, target: Target, report: Report) -> None:
    plan = report.plan
    if not plan.selection.whole:
        target.check_absent(set(report.writes) - set(claims(plan)))
    uri = tool_uri(request.uri, request.username, request.password, request.auth_source)
    options = namespace_options(plan.selection, plan.held)
    documents = sum(n.count for n in plan.wanted)
    report.documents_loaded = load(config.tools.mongorestore, uri, archive, options, documents).documents


def _replay(
    store: Store, target: Target, report: Report, expected: Expectation, show: Callable[[int], None]
) -> None:
    replay = report.plan.replay()
    if replay is None:
        return
    if not report.plan.selection.whole:
        loaded = report.plan.selection.targets(report.plan.held).values()
        target.check_absent(set(report.writes) - set(loaded))
    sink = MongoSink(target.client)
    applier = Applier(RenamingSink(sink, report.plan.selection), expected, replay)
    try:
        counts = applier.run(_counted(chain_entries(store, report.plan.chain), show))
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


def _counted(entries: Iterator[bytes], show: Callable[[int], None]) -> Iterator[bytes]:
    for number, entry in enumerate(entries, 1):
        if not number % SHOWN_EVERY:
            show(number)
        yield entry


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
