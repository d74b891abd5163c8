"""How backups are shown."""

from __future__ import annotations

from typing import Any

from steward.backup.catalog import Catalog
from steward.config import Config
from steward.manifest import Manifest, rfc3339
from steward.output import size_text

_ROW = "{:23} {:8} {:20} {:>10}  {:17} {}"


def state(catalog: Catalog, manifest: Manifest) -> str:
    """``ok``, or ``damaged`` when a data object is missing or has another size."""
    return "ok" if catalog.scan.intact(manifest) else "damaged"


def to_json(config: Config, catalog: Catalog) -> dict[str, Any]:
    """The store as one JSON document."""
    return {
        "app": config.app,
        "environment": config.environment,
        "bucket": config.storage.bucket,
        "backups": [_entry(catalog, m) for m in catalog.scan.manifests],
        **catalog.coverage().to_json(),
        "unfinished": catalog.scan.unfinished,
    }


def _entry(catalog: Catalog, manifest: Manifest) -> dict[str, Any]:
    return {
        "id": manifest.id,
        "kind": manifest.kind,
        "class": manifest.class_,
        "started_at": rfc3339(manifest.started_at),
        "finished_at": rfc3339(manifest.finished_at),
        "retain_until": rfc3339(manifest.retain_until),
        "size": manifest.object.size,
        "raw_size": manifest.object.raw_size,
        "recipients": manifest.object.recipients,
        "oplog": manifest.oplog.model_dump(exclude_none=True) if manifest.oplog else None,
        "consistent_alone": manifest.consistent_alone,
        "previous": manifest.previous,
        "state": state(catalog, manifest),
    }


def show(config: Config, catalog: Catalog) -> None:
    """The store as text: backups, then what can be restored."""
    if not catalog.scan.manifests:
        print(f"no backup of {config.app} ({config.environment}) in {config.storage.bucket} yet")
    else:
        print(_ROW.format("id", "class", "started (UTC)", "size", "kept until (UTC)", "state"))
    for m in catalog.scan.manifests:
        started, until = f"{m.started_at:%Y-%m-%d %H:%M:%S}", f"{m.retain_until:%Y-%m-%d %H:%M}"
        size = size_text(m.object.size)
        print(_ROW.format(m.id, m.class_, started, size, until, state(catalog, m)))
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


def show_one(document: dict[str, Any]) -> None:
    """One backup as text."""
    for key in ("id", "class", "state", "host", "started_at", "finished_at", "retain_until", "previous"):
        if key in document:
            print(f"{key:13} {document[key]}")
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
    versions = ", ".join(f"{name} {version}" for name, version in document["versions"].items())
    print(f"{'versions':13} {versions}")
