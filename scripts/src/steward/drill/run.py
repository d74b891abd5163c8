"""A drill: choose a point, restore it onto a scratch server, look at what is there, store the evidence.

What fails on the way is a result as well, and becomes evidence; only what keeps a drill from beginning
(no room, no backup, no configuration) does not. Nothing counts as proven before its evidence is stored.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from steward import __version__
from steward.appchecks import first_unseen
from steward.backup.catalog import host_name, read_catalog
from steward.config import Config, DrillSettings
from steward.drill import textfile
from steward.drill.check import Finding
from steward.drill.evidence import SCHEMA, store_evidence
from steward.drill.inspect import collections, run_checks
from steward.drill.point import random_second
from steward.drill.scratch import Scratch, check_space, folder_for, keep, sweep
from steward.errors import ConfigError, FaultError, StewardError
from steward.locking import lock
from steward.manifest import new_id, rfc3339
from steward.mongo import mongo_errors, server_info
from steward.output import note
from steward.process import tool_version
from steward.restore import textfile as restore_textfile
from steward.restore.chain import choose, parse_time
from steward.restore.plan import Plan, make_plan
from steward.restore.run import Display, Report, Request, run_restore
from steward.restore.target import Permission, patient_client

if TYPE_CHECKING:
    from steward.storage import Store

Kind = Literal["random", "latest", "at"]


@dataclass(frozen=True)
class Choice:
    """Which point: a random one of the day, the latest, or that of ``at`` (RFC 3339)."""

    kind: Kind
    at: str = ""


@dataclass
class Outcome:
    """What a drill found. Times in seconds."""

    report: Report | None = None
    findings: list[Finding] = field(default_factory=list)
    collections: list[dict[str, Any]] = field(default_factory=list)
    server_version: str = ""
    seconds: dict[str, float] = field(default_factory=dict)
    #: Why it failed; None: proven.
    error: StewardError | None = None


def plan_drill(config: Config, store: Store, choice: Choice) -> Plan:
    """What a drill would restore.

    Raises:
        ConfigError: no ``[drill]``, or checks without the one database they are about.
        StewardError: the point cannot be restored, or there is too little room.
    """
    settings = drill_settings(config)
    scan = read_catalog(config, store, note if choice.kind == "random" else None).scan
    if choice.kind == "random":
        # The day is the store's: a host whose clock is wrong drills what others would.
        at: int | None = random_second(scan.manifests, store.server_time().date(), config.app)
    else:
        at = parse_time(choice.at if choice.kind == "at" else "latest")
    plan = make_plan(choose(scan.manifests, at), config.mongodb.databases, scan)
    if not config.state_dir.is_dir():
        raise StewardError(f"{config.state_dir}: is no folder, check state_dir")
    raw = sum(data.raw_size for data in plan.chain.objects)
    check_space(config.state_dir, raw, settings.min_free_mb)
    return plan


def drill_settings(config: Config) -> DrillSettings:
    """``[drill]``.

    Raises:
        ConfigError: it is missing, its checks name no single database, or the store is only read.
    """
    if config.drill is None:
        raise ConfigError("drill: is required in the configuration; give it a server")
    if config.storage.as_of is not None:
        raise ConfigError("storage.as_of: a drill stores evidence, and with it nothing is written; restore")
    if config.drill.checks and len(config.mongodb.databases) != 1:
        raise ConfigError("drill.checks: need one database in mongodb.databases, whose collections they name")
    choice = config.mongodb.choice
    if unseen := first_unseen(config.drill.checks, lambda c: choice.wants(f"{choice.databases[0]}.{c}")):
        check, collection = unseen
        raise ConfigError(
            f"drill.checks: {check.text}: {collection} is not backed up; see mongodb.include, exclude"
        )
    return config.drill


def run_drill(
    config: Config,
    store: Store,
    choice: Choice,
    *,
    keep_data: bool,
    display: Display,
    begin: Callable[[], None],
) -> tuple[dict[str, Any], StewardError | None]:
    """Run a drill to its end.

    Args:
        begin: called once the lock is held.

    Returns:
        The evidence, and why the drill failed; None when everything was good.

    Raises:
        LockHeldError: another drill runs.
        StewardError: it did not begin, or its evidence could not be stored.
    """
    with lock(config.state_dir, "drill"):
        begin()
        begun, good = time.monotonic(), False
        try:
            document, error = _drill(config, store, choice, keep_data, display)
            good = error is None
        finally:
            textfile.write(config, good=good, seconds=time.monotonic() - begun)
        if good:
            restore_textfile.write(config, document["seconds"]["restore"])
    return document, error


def _drill(
    config: Config, store: Store, choice: Choice, keep_data: bool, display: Display
) -> tuple[dict[str, Any], StewardError | None]:
    for path in sweep(config.state_dir):
        note(f"{path}: removed, left by a drill that was ended")
    plan, settings = plan_drill(config, store, choice), drill_settings(config)
    started_at = datetime.now(UTC)
    drill_id = new_id(started_at)
    outcome = Outcome()
    with folder_for(config.state_dir, drill_id) as folder:
        with _phase(outcome, "total"):
            _prove(config, settings, store, plan, folder, outcome, display)
        document = evidence_document(config, plan, choice, drill_id, started_at, outcome)
        if outcome.error is not None or keep_data:
            _keep(folder, str(outcome.error or "kept by --keep"), document)
        try:
            document["evidence"] = store_evidence(config, store, document, started_at)
        except StewardError as error:
            if outcome.error is None:
                raise StewardError(f"the drill was good, but its evidence is not stored: {error}") from error
            note(f"the evidence of this drill is not stored: {error}")
    return document, outcome.error


def _prove(
    config: Config,
    settings: DrillSettings,
    store: Store,
    plan: Plan,
    folder: Path,
    outcome: Outcome,
    display: Display,
) -> None:
    """Start the server, restore, compare, check, end the server."""
    scratch = Scratch(folder, settings)
    try:
        with _phase(outcome, "server"):
            scratch.start()
        request = Request(scratch.uri, scratch.username, scratch.password, "admin", Permission())
        outcome.report = run_restore(config, store, plan, request, display)
        outcome.seconds |= {k: v for k, v in outcome.report.seconds.items() if k != "total"}
        outcome.seconds["restore"] = outcome.report.seconds["total"]
        client = patient_client(scratch.uri, scratch.username, scratch.password, "admin")
        with _phase(outcome, "checks"), mongo_errors(scratch.uri), contextlib.closing(client):
            outcome.server_version = server_info(client).version
            outcome.collections = collections(client, plan.restored_databases)
            if settings.checks:
                database = client[config.mongodb.databases[0]]
                outcome.findings = run_checks(database, settings.checks, restored_second(plan))
        scratch.check_running()
    except StewardError as error:
        outcome.error = _cause(scratch, error)
    finally:
        scratch.end()
    if outcome.error is None and (wrong := _wrong(outcome)):
        outcome.error = FaultError(f"the restored data are not what they must be: {'; '.join(wrong)}")


def _cause(scratch: Scratch, error: StewardError) -> StewardError:
    """A server that has ended explains every error after it."""
    try:
        scratch.check_running()
    except StewardError as ended:
        return error if str(ended) in str(error) else StewardError(f"{ended} ({error})")
    return error


def _wrong(outcome: Outcome) -> list[str]:
    differences = outcome.report.differences if outcome.report else []
    return [*(str(d) for d in differences), *(str(f) for f in outcome.findings if not f.good)]


def _keep(folder: Path, reason: str, document: dict[str, Any]) -> None:
    """Keep the data; a disk that is full must not hide why the drill failed."""
    try:
        keep(folder, reason)
    except (OSError, StewardError) as error:
        note(f"{folder}: not kept: {error}")
    else:
        document["kept"] = str(folder)


def restored_second(plan: Plan) -> datetime:
    """The moment whose data the restore holds."""
    limit = plan.chain.limit
    return datetime.fromtimestamp(limit.t, UTC) if limit else plan.chain.base.finished_at


def evidence_document(
    config: Config, plan: Plan, choice: Choice, drill_id: str, started_at: datetime, outcome: Outcome
) -> dict[str, Any]:
    """The evidence; its keys are stable."""
    base, report = plan.chain.base, outcome.report
    return {
        "schema": SCHEMA,
        "id": drill_id,
        "app": config.app,
        "environment": config.environment,
        "host": host_name(),
        "result": "proven" if outcome.error is None else "failed",
        "reason": str(outcome.error) if outcome.error is not None else "",
        "choice": choice.kind,
        "started_at": rfc3339(started_at),
        "finished_at": rfc3339(datetime.now(UTC)),
        "target_time": rfc3339(restored_second(plan)),
        "exact": plan.chain.exact,
        "base_id": base.id,
        "base_class": base.class_,
        "objects": [
            {"key": o.key, "size": o.size, "sha256": o.sha256, "raw_sha256": o.raw_sha256}
            for o in plan.chain.objects
        ],
        "restore": report.to_json() if report else None,
        "differences": [d.to_json() for d in report.differences] if report else [],
        "collections": outcome.collections,
        "checks": [f.to_json() for f in outcome.findings],
        "seconds": {name: round(value, 3) for name, value in outcome.seconds.items()},
        "versions": {
            "steward": __version__,
            "mongorestore": _mongorestore_version(config),
            "scratch server": outcome.server_version or "unknown",
            "backed up server": base.versions.server,
        },
    }


def _mongorestore_version(config: Config) -> str:
    try:
        return tool_version(config.tools.mongorestore)
    except StewardError as error:
        return f"unknown ({error})"


@contextlib.contextmanager
def _phase(outcome: Outcome, name: str) -> Iterator[None]:
    begun = time.monotonic()
    try:
        yield
    finally:
        outcome.seconds[name] = time.monotonic() - begun
