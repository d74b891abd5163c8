"""The evidence as one page for people: self-contained HTML, every value escaped."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from html import escape
from typing import Any

_STYLE = (
    "body{font:15px/1.5 sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem}"
    "table{border-collapse:collapse;width:100%;margin-bottom:1.5rem}"
    "td,th{border-bottom:1px solid #ccc;padding:.25rem .5rem;text-align:left;overflow-wrap:anywhere}"
    ".proven{color:#060}.failed{color:#a00}"
)


def page(document: Mapping[str, Any]) -> str:
    """The page for a document of :func:`steward.drill.run.evidence_document`."""
    result = str(document["result"])
    title = f"Restore drill {document['id']}: {result}"
    facts = [
        ("application", f"{document['app']} ({document['environment']})"),
        ("run on", document["host"]),
        ("begun", document["started_at"]),
        ("finished", document["finished_at"]),
        ("restored to", document["target_time"]),
        ("chosen", document["choice"]),
        ("full backup", f"{document['base_id']} ({document['base_class']})"),
        ("measured time to restore", f"{document['seconds'].get('restore', '-')} s"),
        ("reason", document["reason"] or "-"),
        ("programs", ", ".join(f"{k} {v}" for k, v in document["versions"].items())),
    ]
    parts = [
        f"<h1>{escape(title)}</h1>",
        f'<p class="{escape(result)}"><strong>{escape(result.upper())}</strong></p>',
        _table((), facts),
        "<h2>Checks</h2>",
        _table(
            ("check", "result", "found"),
            (
                (
                    c["check"],
                    "holds" if c["good"] else "FAILS",
                    c["found"] or f"{c['wrong']} of {c['seen']} wrong",
                )
                for c in document["checks"]
            ),
        ),
        "<h2>Differences from the backup</h2>",
        _table(
            ("where", "what", "expected", "found"),
            ((d["namespace"], d["what"], d["expected"], d["found"]) for d in document["differences"]),
        ),
        "<h2>Collections</h2>",
        _table(
            ("collection", "documents", "digest of its documents"),
            ((c["name"], c["documents"], c["digest"]) for c in document["collections"]),
        ),
        "<h2>Stored objects that were read</h2>",
        _table(
            ("object", "bytes", "SHA-256"), ((o["key"], o["size"], o["sha256"]) for o in document["objects"])
        ),
        "<h2>Seconds</h2>",
        _table((), document["seconds"].items()),
    ]
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{escape(title)}</title>'
        f"<style>{_STYLE}</style></head><body>\n" + "\n".join(parts) + "\n</body></html>\n"
    )


def _table(head: tuple[str, ...], rows: Iterable[Iterable[object]]) -> str:
    body = ["<tr>" + "".join(f"<td>{escape(str(cell))}</td>" for cell in row) + "</tr>" for row in rows]
    if not body:
        return "<p>none</p>"
    top = "<tr>" + "".join(f"<th>{escape(name)}</th>" for name in head) + "</tr>" if head else ""
    return f"<table>{top}{''.join(body)}</table>"
