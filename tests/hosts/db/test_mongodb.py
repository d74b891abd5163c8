"""The database server: who gets in, what it shows, and that it comes back."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pymongo
import pytest
from pymongo.errors import OperationFailure

from tests.hosts.conftest import Host

ADMIN = "authSource=admin&authMechanism=SCRAM-SHA-256&directConnection=true"


def client(host: Host, username: str = "", password: str = "") -> pymongo.MongoClient[dict[str, Any]]:
    assert host.app
    login = {"username": username, "password": password} if username else {}
    options = f"?{ADMIN}" if username else "?directConnection=true"
    uri = f"mongodb://{host.address}:{host.app.mongodb.port}/{options}"
    return pymongo.MongoClient(uri, serverSelectionTimeoutMS=20_000, socketTimeoutMS=20_000, **login)


@pytest.fixture
def database(db_host: Host) -> Iterator[Any]:
    """The application's database as the application sees it."""
    assert db_host.app
    login = db_host.secret("mongodb")
    with client(db_host, login["app_username"], login["app_password"]) as connection:
        yield connection[db_host.app.mongodb.database]


def test_without_a_login_nothing_is_read(db_host: Host) -> None:
    """An open MongoDB is emptied and held to ransom."""
    assert db_host.app
    with client(db_host) as connection, pytest.raises(OperationFailure) as refused:
        connection[db_host.app.mongodb.database]["users"].find_one()
    assert refused.value.code == 13


def test_a_wrong_password_is_refused(db_host: Host) -> None:
    """Knowing the user's name is not enough."""
    name = db_host.secret("mongodb")["app_username"]
    with client(db_host, name, "wrong") as connection, pytest.raises(OperationFailure) as refused:
        connection.admin.command("listDatabases")
    assert refused.value.code == 18


def test_the_application_reads_what_it_wrote(database: Any) -> None:
    """The role is of no use otherwise."""
    collection = database["steward_test"]
    try:
        collection.insert_one({"_id": "a", "n": 1})
        assert collection.find_one({"_id": "a"}) == {"_id": "a", "n": 1}
    finally:
        collection.drop()


def test_writes_reach_the_oplog_that_backups_read(db_host: Host, database: Any) -> None:
    """Without an oplog there is no restore to a chosen second."""
    login = db_host.secret("mongodb")
    collection = database["steward_test"]
    try:
        collection.insert_one({"_id": "oplog"})
        with client(db_host, login["backup_username"], login["backup_password"]) as backup:
            entry = backup.local["oplog.rs"].find_one({"ns": collection.full_name, "o._id": "oplog"})
        assert entry is not None
        assert entry["op"] == "i"
    finally:
        collection.drop()


def test_files_of_the_server_are_its_own(db_host: Host) -> None:
    """Data and passwords, readable without any login of the database."""
    for path, mode in (("/etc/mongodb/users.json", 0o600), ("/var/lib/mongodb", 0o750)):
        file = db_host.shell.file(path)
        assert (file.user, file.mode) == ("mongodb", mode), path
    assert db_host.as_user("nobody", "cat /etc/mongodb/users.json").rc != 0
    assert db_host.as_user("steward", "ls /var/lib/mongodb").rc != 0


def test_passwords_are_in_no_command_line(db_host: Host) -> None:
    """Every user of a host can list the arguments of all processes."""
    login = db_host.secret("mongodb")
    shown = db_host.shell.check_output("ps -eo args; systemctl cat mongod")
    assert login["app_password"] not in shown
    assert login["backup_password"] not in shown


def test_it_comes_back_after_a_kill_with_its_data(db_host: Host, database: Any) -> None:
    """A crash at night must not wait for a human."""
    collection = database["steward_test"]
    try:
        collection.insert_one({"_id": "kill"})
        before = db_host.shell.check_output("systemctl show --property=MainPID --value mongod")
        db_host.shell.check_output("systemctl kill --kill-who=main --signal=KILL mongod")
        db_host.shell.check_output(
            "timeout 60 sh -c 'until p=$(systemctl show --property=MainPID --value mongod) && "
            "test $p != 0 && test $p != %s; do sleep 0.2; done'",
            before,
        )
        login = db_host.secret("mongodb")
        with client(db_host, login["app_username"], login["app_password"]) as again:
            assert again[database.name]["steward_test"].find_one({"_id": "kill"}) is not None
    finally:
        collection.drop()
