"""What the roles redis and mongodb write."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.roles.rendering import app, evaluate, render
from tests.support.mongod import free_port

PASSWORDS = {
    "mongodb_app_username": "bitesbay",
    "mongodb_app_password": 'quote" and \\ and €',
    "mongodb_backup_username": "backup",
    "mongodb_backup_password": "backup-password",
}


def directives(text: str) -> dict[str, str]:
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    return {line.split(maxsplit=1)[0]: line.split(maxsplit=1)[1] for line in lines}


def test_redis_takes_port_and_memory_from_the_app_file() -> None:
    found = directives(render("redis", "redis.conf.j2", app=app(redis={"port": 6400, "maxmemory_mb": 123})))
    assert found["port"] == "6400"
    assert found["maxmemory"] == "123mb"


def test_redis_is_never_open_to_every_address() -> None:
    found = directives(render("redis", "redis.conf.j2"))
    assert found["bind"] == "127.0.0.1 192.0.2.13"
    assert found["protected-mode"] == "yes"
    assert found["aclfile"] == "/etc/redis/users.acl"


def test_redis_keeps_what_was_written() -> None:
    assert directives(render("redis", "redis.conf.j2"))["appendonly"] == "yes"
    assert directives(render("redis", "redis.conf.j2", redis_appendonly=False))["appendonly"] == "no"


def test_redis_users_hold_a_digest_and_no_password() -> None:
    password = "a-password-of-some-length"
    text = render("redis", "users.acl.j2", redis_password=password)
    assert password not in text
    assert f"#{hashlib.sha256(password.encode()).hexdigest()}" in text
    rules = text.split()
    assert rules[:3] == ["user", "default", "on"]
    assert "nopass" not in rules
    assert rules.index("-@dangerous") > rules.index("+@all")


def test_further_redis_users_have_rights_of_their_own(tmp_path: Path) -> None:
    """Read by Redis itself: one that looks can look, and nothing else."""
    users = [{"name": "monitor", "password": "a-monitor-password", "acl": "-@all +ping +info +slowlog|get"}]
    text = render("redis", "users.acl.j2", redis_password="a-password-of-some-length", redis_users=users)
    (tmp_path / "users.acl").write_text(text)
    port = str(free_port())
    server = subprocess.Popen(
        ["redis-server", "--port", port, "--bind", "127.0.0.1", "--aclfile", str(tmp_path / "users.acl")],
        cwd=tmp_path, stdout=subprocess.DEVNULL,
    )  # fmt: skip

    def ask(user: str, password: str, *command: str) -> str:
        argv = ["redis-cli", "-p", port, "--user", user, "--no-auth-warning", *command]
        done = subprocess.run(
            argv, capture_output=True, text=True, timeout=20, check=False,
            env={**os.environ, "REDISCLI_AUTH": password},
        )  # fmt: skip
        return done.stdout + done.stderr

    try:
        deadline = time.monotonic() + 20
        while "PONG" not in ask("monitor", "a-monitor-password", "PING"):
            assert time.monotonic() < deadline
            time.sleep(0.1)
        assert "redis_version" in ask("monitor", "a-monitor-password", "INFO", "server")
        for command in (("GET", "a"), ("SLOWLOG", "RESET"), ("ACL", "LIST"), ("CONFIG", "GET", "dir")):
            assert "NOPERM" in ask("monitor", "a-monitor-password", *command), command
        assert "WRONGPASS" in ask("monitor", "another", "PING")
        assert "OK" in ask("default", "a-password-of-some-length", "SET", "a", "1")
    finally:
        server.terminate()
        server.wait(timeout=20)


def test_sandbox_users_survive_any_password() -> None:
    users = json.loads(render("mongodb", "users.json.j2", **PASSWORDS))
    assert users == {"bitesbay": PASSWORDS["mongodb_app_password"], "backup": "backup-password"}


def test_sandbox_unit_shows_no_password() -> None:
    """Everybody on the host may read a unit and the arguments of a process."""
    unit = render("mongodb", "mongod.service.j2", app=app(), **PASSWORDS)
    assert "--users /etc/mongodb/users.json" in unit
    assert "--oplog-size-mb 256" in unit
    assert "--bind 127.0.0.1,192.0.2.13" in unit
    assert "backup-password" not in unit


def mongod_conf(**scenario: Any) -> dict[str, Any]:
    return dict(yaml.safe_load(render("mongodb", "mongod.conf.j2", **scenario)))


def test_replica_set_asks_for_a_login_and_a_key() -> None:
    found = mongod_conf()
    assert found["security"] == {"authorization": "enabled", "keyFile": "/etc/mongodb/keyfile"}
    assert found["replication"] == {"replSetName": "bitesbay", "oplogSizeMB": 256}
    assert found["net"] == {"port": 27017, "bindIp": "127.0.0.1,192.0.2.13"}


@pytest.mark.parametrize("role", ["shardsvr", "configsvr"])
def test_server_of_a_sharded_cluster_says_what_it_is(role: str) -> None:
    assert "sharding" not in mongod_conf()
    found = mongod_conf(mongodb_cluster_role=role)
    assert found["sharding"] == {"clusterRole": role}
    assert found["security"] == {"authorization": "enabled", "keyFile": "/etc/mongodb/keyfile"}


def test_cache_size_is_the_servers_business_unless_said() -> None:
    assert "wiredTiger" not in mongod_conf()["storage"]
    storage = mongod_conf(mongodb_cache_size_gb=1.5)["storage"]
    assert storage["wiredTiger"]["engineConfig"]["cacheSizeGB"] == 1.5


@pytest.mark.parametrize(("user", "roles"), [(0, {"readWrite"}), (1, {"backup", "clusterMonitor"})])
def test_database_users_get_no_more_than_they_need(user: int, roles: set[str]) -> None:
    found = evaluate("mongodb", f"__mongodb_replica_set.users[{user}].roles", **PASSWORDS)
    assert {role["role"] for role in found} == roles


@pytest.mark.parametrize(
    ("role", "version", "users"),
    [
        ("", "8.0", {"bitesbay": ["readWrite"], "backup": ["backup", "clusterMonitor"]}),
        ("configsvr", "8.0", {"bitesbay": ["readWrite"], "backup": ["backup", "clusterMonitor"]}),
        ("shardsvr", "7.0", {"backup": ["backup", "clusterMonitor"]}),
        ("shardsvr", "8.0", {"backup": ["backup", "clusterMonitor", "directShardOperations"]}),
    ],
)
def test_application_is_a_user_of_the_cluster_and_of_no_shard(
    role: str, version: str, users: dict[str, list[str]]
) -> None:
    """On a shard it would write past the router, and what it wrote would be found by nobody."""
    scenario = {"mongodb_cluster_role": role, "mongodb_major_version": version, **PASSWORDS}
    found = evaluate("mongodb", "__mongodb_replica_set", **scenario)
    assert {user["name"]: [row["role"] for row in user["roles"]] for user in found["users"]} == users
    assert found["cluster_role"] == role


def test_router_listens_on_loopback_and_shows_the_key() -> None:
    text = render(
        "mongos", "mongos.conf.j2", mongos_config_db="bitesbay-config/192.0.2.16:27017,192.0.2.17:27017"
    )
    found = yaml.safe_load(text)
    assert found["net"] == {"port": 27017, "bindIp": "127.0.0.1"}
    assert found["sharding"] == {"configDB": "bitesbay-config/192.0.2.16:27017,192.0.2.17:27017"}
    # It asks the config servers who may log in: no `authorization` of its own, which it would not take.
    assert found["security"] == {"keyFile": "/etc/mongos/keyfile"}
    assert found["systemLog"]["logRotate"] == "reopen"


def test_unit_of_the_router_is_shut_in_and_shows_no_password() -> None:
    secrets = {"mongos_admin_password": "admin-password", "mongos_keyfile": "a-key"}
    unit = render("mongos", "mongos.service.j2", **secrets)
    lines = set(unit.splitlines())
    assert {
        "User=mongos",
        "NoNewPrivileges=true",
        "ProtectSystem=strict",
        "ReadWritePaths=/var/log/mongos",
    } <= lines
    assert "ExecStart=/usr/bin/mongos --config /etc/mongos.conf" in lines
    assert not [secret for secret in secrets.values() if secret in unit]
