"""How backups are shown."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from steward.backup.catalog import Catalog
from steward.backup.classes import reason
from steward.backup.documents import ListDocument, ListedBackup, ShowDocument, State
from steward.config import Config
from steward.manifest import Manifest
from steward.output import size_text

_ROW = "{:23} {:8} {:20} {:>5} {:>10}  {:17} {:8} {}"


def state(catalog: Catalog, manifest: Manifest) -> State:
    """``ok``, or ``damaged`` when a data object is missing or has another size."""
    return "ok" if catalog.scan.intact(manifest) else "damaged"


def _age(manifest: Manifest) -> int:
    """Seconds since the backup was finished, by this host's clock; a little of the future is now."""
    return max(0, round((datetime.now(UTC) - manifest.finished_at).total_seconds()))


def to_json(config: Config, catalog: Catalog) -> dict[str, Any]:
    """The store as one JSON document."""
    document = ListDocument(
        app=config.app,
        environment=config.environment,
        bucket=config.storage.bucket,
        backups=[_entry(catalog, m) for m in catalog.scan.manifests],
        **catalog.coverage().to_json(),
        unfinished=catalog.scan.unfinished,
    )
    return document.to_json()


def _entry(catalog: Catalog, manifest: Manifest) -> ListedBackup:
    return ListedBackup(
        id=manifest.id,
        kind=manifest.kind,
        class_=manifest.class_,
        started_at=manifest.started_at,
        finished_at=manifest.finished_at,
        age_seconds=_age(manifest),
        reason=reason(manifest.class_, manifest.started_at),
        retain_until=manifest.retain_until,
        size=manifest.object.size,
        raw_size=manifest.object.raw_size,
        recipients=manifest.object.recipients,
        left_out=len(manifest.left_out.namespaces) if manifest.left_out else 0,
        oplog=manifest.oplog,
        consistent_alone=manifest.consistent_alone,
        previous=manifest.previous,
        state=state(catalog, manifest),
    )


def show(config: Config, catalog: Catalog) -> None:
    """The store as text: backups, then what can be restored."""
    if not catalog.scan.manifests:
        print(f"no backup of {config.app} ({config.environment}) in {config.storage.bucket} yet")
    else:
        print(_ROW.format("id", "class", "started (UTC)", "age", "size", "kept until (UTC)", "state", "why"))
    for m in catalog.scan.manifests:
        started, until = f"{m.started_at:%Y-%m-%d %H:%M:%S}", f"{m.retain_until:%Y-%m-%d %H:%M}"
        age, size = age_text(_age(m)), size_text(m.object.size)
        why = reason(m.class_, m.started_at)
        print(_ROW.format(m.id, m.class_, started, age, size, until, state(catalog, m), why))
    known = catalog.coverage().to_json()
    for timeline in known["timelines"]:
        print(f"restorable to any second: {timeline['from']} .. {timeline['to']}")
    for point in known["points"]:
        moment = "to the end of its dump" if point["consistent"] else "as a dump alone, not of one moment"
        print(f"restorable {moment}: {point['id']} ({point['at']})")
    for hole in known["holes"]:
        print(f"HOLE, cannot be restored: {hole['from']} .. {hole['to']}")
    for folder in catalog.scan.unfinished:
        print(f"unfinished remains, not a backup: {folder}")


def age_text(seconds: int) -> str:
    """An age as people read it: ``45 m``, ``7 h``, ``12 d``."""
    if seconds < 3600:
        return f"{seconds // 60} m"
    return f"{seconds // 3600} h" if seconds < 48 * 3600 else f"{seconds // 86400} d"


def one_to_json(catalog: Catalog, manifest: Manifest) -> dict[str, Any]:
    """One backup as a JSON document: its manifest, and what follows from the store."""
    document = ShowDocument(
        **{name: getattr(manifest, name) for name in Manifest.model_fields},
        state=state(catalog, manifest),
        age_seconds=_age(manifest),
        reason=reason(manifest.class_, manifest.started_at),
    )
    return document.to_json()


def show_one(document: dict[str, Any]) -> None:
    """One backup as text."""
    for key in ("id", "class", "state", "host", "started_at", "finished_at"):
        print(f"{key:13} {document[key]}")
    print(f"{'age':13} {age_text(document['age_seconds'])}")
    print(f"{'kept until':13} {document['retain_until']}: {document['reason']}")
    if "previous" in document:
        print(f"{'continues':13} {document['previous']}")
    stored = document["object"]
    print(f"{'object':13} {stored['key']}")
    print(f"{'size':13} {size_text(stored['size'])} ({size_text(stored['raw_size'])} before compression)")
    print(f"{'sha256':13} {stored['sha256']}")
    for name in stored.get("encryption", {}).get("recipients", []):
        print(f"{'opened by':13} the private key of {name}")
    if span := document.get("oplog"):
        start, end = (f"{span[k]['t']}:{span[k]['i']}" for k in ("start", "end"))
        entries = f", {span['count']} entries" if "count" in span else ""
        print(f"{'oplog':13} {start} .. {end}{entries}")
    if closing := document.get("closing"):
        print(f"{'closing slice':13} {closing['object']['key']}, {closing['count']} entries")
    for n in document.get("namespaces") or []:
        print(f"{'':13} {n['db']}.{n['collection']}: {n['count']} documents, {len(n['indexes'])} indexes")
    if left_out := document.get("left_out"):
        for key in ("include", "exclude"):
            if left_out[key]:
                print(f"{key:13} {', '.join(left_out[key])}")
        for name in left_out["namespaces"]:
            print(f"{'left out':13} {name}")
    if document.get("secondary"):
        print(f"{'read from':13} the secondary {document['secondary']}")
    versions = ", ".join(f"{name} {version}" for name, version in document["versions"].items())
    print(f"{'versions':13} {versions}")
