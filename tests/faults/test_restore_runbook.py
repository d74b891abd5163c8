"""The commands of docs/runbooks/restore.md run as they are written there, but for names and times."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from textwrap import dedent

import pytest

from sandbox.settings import REPOSITORY
from tests.faults.restore_bench import Bench, Make, contents, text
from tests.support.mongod import MongoServer

pytestmark = pytest.mark.timeout(240)

RUNBOOK = (REPOSITORY / "docs/runbooks/restore.md").read_text()


def blocks(section: int) -> list[str]:
    """The blocks of a section that call steward."""
    (found,) = re.findall(rf"^## {section}\. .*?(?=^## |\Z)", RUNBOOK, re.DOTALL | re.MULTILINE)
    fenced = re.findall(r"^( *)```\n(.*?)^\1```", found, re.DOTALL | re.MULTILINE)
    return [text for _, inside in fenced if "steward " in (text := dedent(inside))]


def run(bench: Bench, block: str, folder: Path, *, live: MongoServer, scratch: MongoServer) -> str:
    """Run a block in a shell; the password is typed, the question is answered beforehand."""
    target = live if "db1.internal" in block else scratch
    for written, meant in {
        "2026-11-22T14:03:06Z": text(bench.second),
        "mongodb://db1.internal:27017/": live.uri,
        "mongodb://scratch.internal:27017/": scratch.uri,
        "restorer": target.username,
        "--into-live": "--into-live --yes",
        "/srv/": f"{folder}/",
    }.items():
        block = block.replace(written, meant)
    command = folder / "bin/steward"
    command.parent.mkdir(exist_ok=True)
    command.write_text(f'#!/bin/sh\nexec {sys.executable} -m steward.cli --config {bench.config} "$@"\n')
    command.chmod(0o755)
    environment = {**os.environ, "PATH": f"{command.parent}{os.pathsep}{os.environ['PATH']}"}
    if "read -rs" not in block:
        environment["STEWARD_TARGET_PASSWORD"] = target.password
    done = subprocess.run(
        ["bash", "-ec", block],
        input=f"{target.password}\n",
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, f"{block}{done.stdout}{done.stderr}"
    return done.stdout


def test_one_collection_beside_the_live_ones_and_everything_on_a_scratch_server(
    stored: Bench, mongod: Make, tmp_path: Path
) -> None:
    bench = stored.copy(tmp_path / "bench")
    live, scratch = mongod(), mongod()
    bench.use_live(live)  # the tests of this module share the other one
    before = contents(stored.live)
    with live.client() as client:
        client.bitesbay.orders.insert_one({"_id": "new"})

    plan, restore = blocks(2)
    assert "bitesbay.orders as bitesbay.orders_restored" in run(
        bench, plan, tmp_path, live=live, scratch=scratch
    )
    run(bench, restore, tmp_path, live=live, scratch=scratch)
    found = contents(live)
    assert found["orders_restored"] == before["orders"]
    assert (sorted(found), len(found["orders"])) == (["orders", "orders_restored"], 1)

    plan, restore = blocks(3)
    assert "To read: 4 objects" in run(bench, plan, tmp_path, live=live, scratch=scratch)
    assert "no difference" in run(bench, restore, tmp_path, live=live, scratch=scratch)
    assert contents(scratch) == before


def test_a_new_live_server_and_an_export(stored: Bench, mongod: Make, tmp_path: Path) -> None:
    bench = stored.copy(tmp_path / "bench")
    live = mongod()
    bench.use_live(live)
    (onto_new,) = blocks(4)
    assert "no difference" in run(bench, onto_new, tmp_path, live=live, scratch=live)
    assert contents(live) == contents(stored.live)
    (export,) = blocks(8)
    run(bench, export, tmp_path, live=live, scratch=live)
    assert (tmp_path / "export-1403/SHA256SUMS").exists()
