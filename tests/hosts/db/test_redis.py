"""Redis on the database hosts: who gets in, what he may do, and what survives."""

from __future__ import annotations

import pytest

from tests.hosts.conftest import Host


def redis(host: Host, *command: str, password: str = "", address: str = "127.0.0.1") -> str:
    """Ask Redis; the password goes by the environment, as ``redis-cli`` recommends."""
    assert host.app
    line = " ".join(["redis-cli --no-auth-warning -h %s -p %s", *["%s"] * len(command)])
    prefix = "env REDISCLI_AUTH=%s " if password else ""
    arguments = [*([password] if password else []), address, str(host.app.redis.port), *command]
    return str(host.shell.run(prefix + line, *arguments).stdout.strip())


@pytest.fixture
def password(db_host: Host) -> str:
    """The password as the application gets it: from Secrets Manager."""
    return db_host.secret("redis")["password"]


def test_without_a_password_it_says_nothing(db_host: Host) -> None:
    """An open Redis is taken over within minutes of being found."""
    for address in ("127.0.0.1", db_host.address):
        assert redis(db_host, "PING", address=address).startswith("NOAUTH")
        assert redis(db_host, "GET", "anything", address=address).startswith("NOAUTH")


def test_a_wrong_password_is_refused(db_host: Host) -> None:
    """The digest in the users file is compared, not ignored."""
    assert (
        "WRONGPASS"
        in db_host.shell.run(
            "env REDISCLI_AUTH=wrong-password redis-cli -p %s PING 2>&1",
            str(db_host.app and db_host.app.redis.port),
        ).stdout
    )


def test_the_application_may_read_and_write_but_not_administer(db_host: Host, password: str) -> None:
    """A stolen application password must not rewrite files (CONFIG SET dir) or wipe the data."""
    assert redis(db_host, "PING", password=password, address=db_host.address) == "PONG"
    assert redis(db_host, "SET", "steward-test:a", "1", "EX", "30", password=password) == "OK"
    assert redis(db_host, "GET", "steward-test:a", password=password) == "1"
    assert "redis_version" in redis(db_host, "INFO", "server", password=password)
    for command in (("CONFIG", "GET", "dir"), ("FLUSHALL",), ("SHUTDOWN",), ("ACL", "LIST"), ("KEYS", "*")):
        assert redis(db_host, *command, password=password).startswith("NOPERM"), command


def test_memory_and_persistence_follow_the_app_file(db_host: Host, password: str) -> None:
    """Without a limit Redis takes the memory MongoDB needs; without the file a restart loses sessions."""
    assert db_host.app
    info = redis(db_host, "INFO", password=password)
    fields = dict(line.strip().split(":", 1) for line in info.splitlines() if ":" in line)
    assert int(fields["maxmemory"]) == db_host.app.redis.maxmemory_mb * 1024 * 1024
    assert fields["maxmemory_policy"] == "volatile-lru"
    assert fields["aof_enabled"] == "1"


def test_it_listens_only_where_it_should(db_host: Host) -> None:
    """An address added by mistake would be one nobody watches."""
    assert db_host.app
    port = db_host.app.redis.port
    lines = db_host.shell.check_output("ss --no-header --listening --numeric --tcp sport = %s", f":{port}")
    found = {line.split()[3] for line in lines.splitlines()}
    assert found == {f"127.0.0.1:{port}", f"{db_host.address}:{port}"}


def test_users_file_shows_nothing_to_others(db_host: Host) -> None:
    """A digest can be guessed at leisure by whoever has it."""
    file = db_host.shell.file("/etc/redis/users.acl")
    assert (file.user, file.mode) == ("redis", 0o600)
    assert db_host.as_user("nobody", "cat /etc/redis/users.acl").rc != 0


def test_a_write_survives_a_kill(db_host: Host, password: str) -> None:
    """The append-only file is what brings sessions and rate limits back."""
    assert redis(db_host, "SET", "steward-test:kill", "kept", "EX", "300", password=password) == "OK"
    # appendfsync everysec: the file is written at once and flushed within a second; a killed
    # process, unlike a lost machine, loses nothing of what it has written.
    db_host.shell.check_output("systemctl kill --kill-who=main --signal=KILL redis-server")
    wait = "timeout 60 sh -c 'until redis-cli -p %s PING 2>/dev/null | grep -q NOAUTH; do sleep 0.2; done'"
    db_host.shell.check_output(wait, str(db_host.app and db_host.app.redis.port))
    assert redis(db_host, "GET", "steward-test:kill", password=password) == "kept"
