"""An archive becomes the folder that mongodump would have written."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import bson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from steward.backup.archive import MAGIC
from steward.errors import FaultError
from steward.manifest import Scan
from steward.restore.chain import choose
from steward.restore.dumpdir import file_name, split
from steward.restore.entries import parse
from steward.restore.export import oplog_entry
from steward.restore.exported import readme
from steward.restore.plan import make_plan
from steward.restore.selection import Selection
from tests.unit.manifest_samples import at, full
from tests.unit.restore_memory import delta, insert

END = b"\xff\xff\xff\xff"
SHOP = Selection(["shop"])
PRELUDE = [
    {"db": "shop", "collection": "a/b", "metadata": '{"indexes":[]}', "type": "collection"},
    {"db": "shop", "collection": "b", "metadata": "", "type": "collection"},
    {"db": "shop", "collection": "v", "metadata": '{"options":{"viewOn":"b"}}', "type": "view"},
    {"db": "admin", "collection": "system.users", "metadata": "{}", "type": "collection"},
]
NAMES = [("shop", "a/b"), ("shop", "b"), ("admin", "system.users")]


def archive(blocks: list[tuple[int, list[int]]]) -> bytes:
    """An archive whose blocks hold documents with these numbers."""
    parts = [MAGIC.to_bytes(4, "little"), bson.encode({"server_version": "7"})]
    parts += [*map(bson.encode, PRELUDE), END]
    for which, numbers in blocks:
        db, collection = NAMES[which]
        parts.append(bson.encode({"db": db, "collection": collection, "EOF": False, "CRC": 0}))
        parts += [bson.encode({"_id": n}) for n in numbers] + [END]
    for db, collection in NAMES:
        parts += [bson.encode({"db": db, "collection": collection, "EOF": True, "CRC": 0}), END]
    return b"".join(parts)


@given(
    blocks=st.lists(st.tuples(st.integers(0, 2), st.lists(st.integers(0, 99), max_size=3)), max_size=8),
    size=st.integers(1, 200),
)
def test_every_selected_document_arrives_in_its_file(blocks: list[tuple[int, list[int]]], size: int) -> None:
    whole = archive(blocks)
    with TemporaryDirectory() as name:
        folder = Path(name)
        counts = split((whole[i : i + size] for i in range(0, len(whole), size)), folder, SHOP)
        files = {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()}
    wanted: dict[str, Any] = {
        f"shop/{stem}.bson": b"".join(
            bson.encode({"_id": n}) for which, numbers in blocks if which == index for n in numbers
        )
        for index, stem in enumerate(["a%2Fb", "b"])
    }
    assert {n: d for n, d in files.items() if n.endswith(".bson")} == wanted
    assert files["shop/v.metadata.json"] == b'{"options":{"viewOn":"b"}}'
    assert files["shop/b.metadata.json"] == b"{}"
    assert sorted(counts) == ["shop.a/b", "shop.b"]
    assert sum(counts.values()) == sum(len(n) for which, n in blocks if which < 2)


@pytest.mark.parametrize("keep", [3, 10, 300, -4, -8, -60])
def test_an_archive_that_ends_early_is_damaged(tmp_path: Path, keep: int) -> None:
    with pytest.raises(FaultError):
        split([archive([(0, [1, 2])])[:keep]], tmp_path, SHOP)


@pytest.mark.parametrize(
    ("name", "file"),
    [("orders", "orders"), ("a b/c%*", "a+b%2Fc%25%2A"), ("über", "%C3%BCber"), ("a.b-c_d~", "a.b-c_d~")],
)
def test_file_names_are_those_of_mongodump(name: str, file: str) -> None:
    assert file_name(name) == file


def test_a_long_name_is_cut_and_marked() -> None:
    name = file_name("x" * 250)
    assert (len(name), name[208:211]) == (238, "%24")
    assert name != file_name("x" * 251)


@pytest.mark.parametrize("raw", [insert({"_id": 1}, 7, ordinal=9), delta(1, {"u": {"a": 1}}, 7, b=True)])
def test_an_entry_that_is_written_anew_reads_the_same(raw: bytes) -> None:
    assert parse(oplog_entry(parse(raw))) == parse(raw)


def test_the_readme_has_the_command_for_what_the_folder_holds() -> None:
    for base, command in [
        (full(at(0), at(9), closing=True), "mongorestore --config target.yml --oplogReplay dump/"),
        (full(None), "mongorestore --config target.yml dump/"),
    ]:
        plan = make_plan(choose([base], None), ["bitesbay"], Scan([base], {}))
        text = readme(plan, 5, 6)
        assert f"\n{command}\n" in text
        assert base.id in text
        assert ("--oplogLimit" in text) == (base.oplog is not None)
        assert ("the server had no oplog" in text) == (base.oplog is None)
        assert "{" not in text
