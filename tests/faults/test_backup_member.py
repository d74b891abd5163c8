"""A full of a replica set reads a secondary that is up to date, and the primary where none is."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest

from steward.backup.source import member_uri
from tests.faults.backup_site import Site
from tests.support.mongod import MongoServer
from tests.support.replset import Member, ReplicaSet

#: What only a dump asks for.
DUMPING = {"listCollections", "listIndexes", "find"}


@pytest.fixture
def other(tmp_path: Path, site: Site) -> Iterator[MongoServer]:
    """A server with the same login and less in it: 7 orders instead of 200."""
    server = MongoServer(tmp_path / "other", login=True, oplog_mb=64)
    server.password = site.server.password
    (server.folder / "users.json").write_text(json.dumps({server.username: server.password}))
    server.start()
    try:
        with server.client() as client:
            client[site.database].orders.insert_many([{"n": n} for n in range(7)])
        yield server
    finally:
        server.stop()


def orders(manifest: dict[str, object]) -> int:
    namespaces = manifest["namespaces"]
    assert isinstance(namespaces, list)
    return sum(n["count"] for n in namespaces)


def test_a_secondary_is_dumped_and_the_primary_left_alone(site: Site, other: MongoServer) -> None:
    primary, secondary = Member(site.server, "primary"), Member(other, "secondary")
    late = Member(other, "secondary", behind=timedelta(seconds=40))
    with ReplicaSet(late, primary, secondary) as replica_set:
        site.write(uri=replica_set.uri)
        assert site.json("full", "--dry-run")["secondary"] == secondary.name
        manifest = site.json("full")
        assert (manifest["secondary"], orders(manifest)) == (secondary.name, 7)
        assert DUMPING & set(primary.commands) == set()
        assert set(secondary.commands) >= DUMPING
        assert f"read from     the secondary {secondary.name}" in site.run("show", "latest").stdout


@pytest.mark.parametrize(
    ("member", "reason"),
    [
        ({"state": "secondary", "behind": timedelta(seconds=120)}, "s behind"),
        ({"state": "recovering"}, "is no secondary"),
        ({"state": "secondary", "set_name": "rs1"}, "is no secondary"),
        ({"state": "stopped"}, "cannot be reached"),
    ],
    ids=["late", "recovering", "another-set", "stopped"],
)
def test_the_primary_is_dumped_where_no_secondary_can_be(
    site: Site, other: MongoServer, member: dict[str, object], reason: str
) -> None:
    stopped = member["state"] == "stopped"
    shown = Member(other, **(member | {"state": "secondary"} if stopped else member))  # type: ignore[arg-type]
    primary = Member(site.server, "primary")
    with ReplicaSet(primary, shown) as replica_set:
        site.write(uri=replica_set.uri)
        if stopped:
            replica_set.stop(shown)
        done = site.run("full", "--json")
        manifest = json.loads(done.stdout)
        assert ("secondary" in manifest, orders(manifest)) == (False, 200)
        assert f"the primary {primary.name} is dumped, for no secondary can be: " in done.stderr
        assert reason in done.stderr
        assert site.server.password not in done.stderr


def test_the_primary_is_dumped_where_the_configuration_says_so(site: Site, other: MongoServer) -> None:
    with ReplicaSet(Member(site.server, "primary"), Member(other, "secondary")) as replica_set:
        site.write(uri=replica_set.uri)
        text = site.config.read_text()
        site.config.write_text(text.replace("[storage]", 'read_from = "primary"\n[storage]'))
        done = site.run("full", "--json")
        assert (orders(json.loads(done.stdout)), done.stderr) == (200, "")


def test_slices_of_the_primary_continue_a_full_of_a_secondary(site: Site) -> None:
    with ReplicaSet(Member(site.server, "primary"), Member(site.server, "secondary")) as replica_set:
        site.write(uri=replica_set.uri)
        full = site.json("full")
        assert "secondary" in full
        site.insert(5)
        piece = site.json("oplog")["slice"]
        assert (piece["previous"], piece["oplog"]["count"]) == (full["id"], 6)
        assert len(site.json("list")["timelines"]) == 1


@pytest.mark.parametrize(
    ("uri", "member"),
    [
        (
            "mongodb://a:1,b:2/?replicaSet=rs0&readPreference=nearest&readPreferenceTags=dc:ny",
            "mongodb://b:2/?directConnection=true",
        ),
        (
            "mongodb://a/?tls=true&tlsCAFile=/etc/ca%20file.pem&connectTimeoutMS=500&maxStalenessSeconds=120",
            "mongodb://b:2/?tls=true&tlsCAFile=%2Fetc%2Fca+file.pem&connectTimeoutMS=500&directConnection=true",
        ),
    ],
)
def test_a_member_is_reached_with_the_options_of_the_set(uri: str, member: str) -> None:
    found, wanted = urlsplit(member_uri(uri, "b:2")), urlsplit(member)
    assert (found.scheme, found.netloc, found.path) == (wanted.scheme, wanted.netloc, wanted.path)
    assert parse_qs(found.query) == parse_qs(wanted.query)
