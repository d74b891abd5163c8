"""Plans and reports of restores, for people."""

from __future__ import annotations

from typing import TYPE_CHECKING

from steward.output import note, size_text

if TYPE_CHECKING:
    from steward.restore.plan import Plan
    from steward.restore.run import Report


def show_plan(made: Plan) -> None:
    """What a restore would read and write."""
    document = made.to_json()
    entry = document["target_entry"]
    print(f"Restore to {document['target_time']}" + (f" (oplog up to {entry})" if entry else ""))
    print(f"Databases: {', '.join(document['databases']) or 'none'}")
    if (encryption := document["encryption"]) is not None:
        opens = "opened by the private key at hand" if encryption["opens"] else "NOT opened, see below"
        names = " and ".join(", ".join(one) for one in encryption["recipients"])
        print(f"Encrypted (age) for {names}: {opens}")
    if not made.selection.whole:
        print("Of them only:" if document["collections"] else "Of them nothing that the full holds")
        for item in document["collections"]:
            new = "" if item["restored_as"] == item["name"] else f" as {item['restored_as']}"
            print(f"  {item['name']}{new}, {item['documents']} documents")
    rows = [("piece", "id", "entries from", "to", "stored", "unpacked")]
    for piece in (document["base"], *document["slices"]):
        sizes = size_text(piece["stored_bytes"]), size_text(piece["raw_bytes"])
        rows.append((piece["class"], piece["id"], piece["from"] or "-", piece["to"] or "-", *sizes))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        print("  " + "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
    print(
        f"To read: {document['objects']} objects, {size_text(document['stored_bytes'])};"
        f" {document['documents']} documents and {document['oplog_entries']} oplog entries"
    )
    print(f"Estimated time: {document['estimate_seconds']} s ({document['estimate_basis']})")
    for item in document["recoverable"]:
        print(f"Recoverable: {item['from']} to {item['to']} (full {item['base']})")
    for text in document["notes"]:
        print(f"Note: {text}")


def show_report(report: Report) -> None:
    """What a restore has done."""
    document = report.to_json()
    seconds = document["seconds"]
    for warning in report.warnings:
        note(warning)
    if report.dry_run:
        verified = document["verified"]
        print(
            f"Checked: {verified['objects']} objects, {size_text(verified['stored_bytes'])}, nothing wrong;"
            f" {document['target']} may be restored onto ({document['target_identity']})"
        )
        return
    point = document["recovery_point"]
    replay = document["replay"]
    print(f"Restored onto {document['target']} ({document['target_identity']})")
    print(f"  loaded    {document['documents_loaded']} documents in {seconds['load']:.1f} s")
    if replay is not None:
        print(
            f"  replayed  {replay['applied']} operations in {seconds['replay']:.1f} s,"
            f" last one {point['last_applied'] or 'none'} ({point['last_applied_time'] or '-'})"
        )
    print(f"  built     {document['indexes_built']} indexes in {seconds['indexes']:.1f} s")
    compared = document["compared"]
    print(
        f"  compared  {compared['collections']} collections, {compared['documents']} documents:"
        f" {len(report.differences) or 'no'} difference(s)"
    )
    print(f"  total     {seconds['total']:.1f} s, estimated {document['plan']['estimate_seconds']} s")
    for difference in report.differences:
        note(str(difference))
