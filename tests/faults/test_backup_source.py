"""The database or mongodump fails: one line, nothing counted."""

from __future__ import annotations

import secrets
from pathlib import Path

import pytest

from steward import mongo
from tests.faults.backup_site import TOOLS, Site, write_tool
from tests.support.mongod import MongoServer, free_port
from tests.unit.test_backup_archive import ARCHIVE, block, ending, prelude


def fake_dump(site: Site, archive: bytes, messages: str = "", status: int = 0) -> None:
    """A mongodump that sends these bytes and says these words."""
    folder = site.folder / "fake"
    folder.mkdir(exist_ok=True)
    (folder / "archive").write_bytes(archive)
    script = f'cat "{folder}/archive"\nprintf "%s\\n" "{messages}" >&2\nexit {status}'
    site.write(mongodump=write_tool(folder / "mongodump", script))


def test_mongodump_missing_is_one_line(site: Site) -> None:
    site.write(mongodump="no-such-mongodump")
    assert "no-such-mongodump: not found; install the MongoDB database tools" in site.fails("full")


def test_mongodump_failing_is_told_with_its_own_words(site: Site) -> None:
    fake_dump(site, ARCHIVE, "2026-11-22T02:10:00.000+0000\tFailed: error reading from db: EOF", status=1)
    assert site.fails("full").endswith("mongodump failed with status 1: error reading from db: EOF")
    assert site.uploads() == []
    assert site.keys() == []


@pytest.mark.parametrize(
    ("archive", "messages", "words", "status"),
    [
        (b"", "", "wrote no archive", 3),
        (b"mongodump: see --help\n", "", "does not begin as an archive", 3),
        (ARCHIVE[:-20], "", "ends in the middle", 3),
        (ARCHIVE[:-4], "", "ends", 3),
        (
            prelude("shop.orders", "shop.users") + block("shop.orders", {"a": 1}) + ending("shop.orders"),
            "",
            "ends before shop.users is complete",
            3,
        ),
        (
            ARCHIVE,
            "done dumping shop.orders (4 documents)",
            "reported 4 documents of shop.orders, 3 arrived",
            1,
        ),
        (ARCHIVE, "writing shop.late to archive on stdout", "without finishing shop.late", 1),
    ],
    ids=["nothing", "text", "short", "no-terminator", "collection-cut", "count-differs", "unfinished"],
)
def test_a_dump_that_ends_well_but_is_not_complete_is_a_failure(
    site: Site, archive: bytes, messages: str, words: str, status: int
) -> None:
    fake_dump(site, archive, messages)
    assert words in site.fails("full", status=status)
    assert site.keys() == []
    assert site.uploads() == []
    assert site.metric("steward_backup_last_run_success", kind="full") == 0


def test_a_dump_that_lacks_a_collection_is_a_failure(site: Site) -> None:
    fake_dump(site, ARCHIVE)  # a whole archive, of another database
    assert f"the dump lacks {site.database}.orders" in site.fails("full")
    assert site.json("list")["backups"] == []


def test_an_unreachable_server_and_a_wrong_password_are_one_line(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mongo, "CONNECT_TIMEOUT_S", 0.5)
    site.write(uri=f"mongodb://127.0.0.1:{free_port()}/?directConnection=true")
    for verb in ("full", "oplog"):
        assert "cannot be reached; check mongodb.uri" in site.fails(verb)
    site.write(password="wrong-word")
    message = site.fails("full")
    assert "check [mongodb] of the secrets file" in message
    assert "wrong-word" not in message


def test_a_database_without_collections_is_not_backed_up_as_nothing(site: Site) -> None:
    site.database = f"none{secrets.token_hex(3)}"
    site.write()
    assert "nothing to back up; check mongodb.databases" in site.fails("full")


def test_a_server_without_an_oplog_gets_fulls_and_is_told_what_to_do(site: Site, tmp_path: Path) -> None:
    single = MongoServer(tmp_path / "single", login=True, oplog_mb=0)
    single.start()
    try:
        site.server = single
        site.write()
        site.insert(20)
        done = site.run("full")
        assert "the server keeps no oplog" in done.stdout
        assert "oplog" not in site.json("show", "latest")
        message = site.fails("oplog")
        assert "keeps no oplog" in message
        assert "rs.initiate()" in message
    finally:
        single.stop()


def test_the_manifest_describes_the_dump(site: Site) -> None:
    with site.server.client() as client:
        orders = client[site.database]["orders"]
        orders.create_index("n", name="by_n")
        client[site.database]["empty"].insert_one({})
        client[site.database]["empty"].delete_many({})
    site.settled()
    backup = site.json("full")
    spaces = {n["collection"]: n for n in backup["namespaces"]}
    assert spaces["orders"]["count"] == 200
    assert spaces["empty"]["count"] == 0
    assert {i["name"] for i in spaces["orders"]["indexes"]} == {"_id_", "by_n"}
    assert backup["databases"] == [site.database]
    assert backup["versions"]["mongodump"]
    assert backup["object"]["key"] == f"monthly/{backup['id']}/dump.archive.zst"


def test_stock_tools_restore_the_object(site: Site, tmp_path: Path) -> None:
    """zstd and mongorestore alone can read what is stored."""
    import subprocess

    import zstandard

    backup = site.json("full")
    stored = site.s3().get_object(Bucket=site.bucket, Key=backup["object"]["key"])["Body"].read()
    archive = zstandard.ZstdDecompressor().decompressobj().decompress(stored)
    assert len(archive) == backup["object"]["raw_size"]
    target = MongoServer(tmp_path / "target", login=False, oplog_mb=0)
    target.start()
    try:
        command = [str(TOOLS / "mongorestore"), f"--uri={target.uri}", "--archive", "--noIndexRestore"]
        subprocess.run(command, input=archive, check=True, capture_output=True, timeout=60)
        with target.client() as client:
            assert client[site.database]["orders"].count_documents({}) == 200
    finally:
        target.stop()


def test_a_dry_run_checks_everything_and_writes_nothing(site: Site) -> None:
    plan = site.json("full", "--dry-run")
    assert (plan["class"], plan["collections"]) == ("monthly", [f"{site.database}.orders"])
    assert site.keys() == []
    assert not list(site.metrics.iterdir())
    site.write(password="wrong-word")
    site.fails("full", "--dry-run")
