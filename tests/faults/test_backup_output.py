"""What the commands answer with --json is what their schemas say, and says why each backup is kept."""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from jsonschema import Draft202012Validator

from tests.faults.backup_site import Site

FOLDER = Path(__file__).parents[2] / "docs" / "schemas"
LIMITS = """
[limits]
recoverable_lag_seconds = 1000000
drill_age_seconds = 1000000
verify_age_seconds = 1000000
[limits.backup_age_seconds]
daily = 1000000
weekly = 1000000
monthly = 1000000
"""


def fits(name: str, document: Any) -> Any:
    """The document, which must be as its schema says."""
    schema = json.loads((FOLDER / f"{name}.json").read_text(encoding="utf-8"))
    checker = Draft202012Validator(schema, format_checker=Draft202012Validator.FORMAT_CHECKER)
    assert [f"{e.json_path}: {e.message}" for e in checker.iter_errors(document)] == []
    return document


def test_real_output_fits_the_schemas(site: Site) -> None:
    fits("backup-list", site.json("list"))
    monthly = site.json("full")
    site.insert(10)
    site.json("oplog")
    daily = site.json("full")
    listed = fits("backup-list", site.json("list"))
    by_class = {backup["class"]: backup for backup in listed["backups"]}
    assert by_class["monthly"]["reason"] == f"first good full of {monthly['started_at'][:7]}"
    assert by_class["daily"]["reason"] == f"full of {daily['started_at'][:10]}"
    assert by_class["oplog"]["reason"] == "restores to the second"
    for backup in listed["backups"]:
        assert 0 <= backup["age_seconds"] < 200
        shown = fits("backup-show", site.json("show", backup["id"]))
        assert (shown["reason"], shown["state"]) == (backup["reason"], "ok")
        # As a restore reads it: the manifest is in it unchanged.
        stored = json.loads(manifest(site, backup))
        assert {key: shown[key] for key in stored} == stored
    (timeline,) = listed["timelines"]
    assert "." not in timeline["from"], "a whole second"

    fits("backup-verify", site.json("verify", "--deep"))
    delete(site, by_class["oplog"])
    found = fits("backup-verify", site.json("verify", status=3))
    assert [f["kind"] for f in found["findings"]] == ["manifest"]

    site.config.write_text(site.config.read_text() + LIMITS)
    judged = fits("backup-status", site.json("status", status=3))
    assert {"reason" in figure for figure in judged["figures"]} == {True, False}


def manifest(site: Site, backup: dict[str, Any]) -> bytes:
    key = f"{backup['class']}/{backup['id']}/manifest.json"
    body: bytes = site.s3().get_object(Bucket=site.bucket, Key=key)["Body"].read()
    return body


def delete(site: Site, backup: dict[str, Any]) -> None:
    site.s3().delete_object(Bucket=site.bucket, Key=f"{backup['class']}/{backup['id']}/manifest.json")


def test_a_list_for_people_says_why_and_until_when(site: Site) -> None:
    full = site.json("full")
    until = datetime.fromisoformat(full["started_at"]) + timedelta(days=186)
    (line,) = [row for row in site.run("list").stdout.splitlines() if row.startswith(full["id"])]
    assert line.endswith(f"{until:%Y-%m-%d %H:%M}  ok       first good full of {full['started_at'][:7]}")
    assert " 0 m " in line
    shown = site.run("show", "latest").stdout
    assert f"{full['retain_until']}: first good full of {full['started_at'][:7]}\n" in shown
