"""What follows from the inventory for a replica set and a sharded cluster, and what the guard refuses."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.roles.rendering import REPOSITORY, app, evaluate

BIN = Path(sys.executable).parent
SECRET = {
    "app_username": "u",
    "app_password": "p",
    "admin_username": "a",
    "admin_password": "b",
    "keyfile": "k",
}
#: Of hosts, since those of a group would come before the lookups of ``playbooks/group_vars/all.yml``.
SECRETS = {
    f"secret_{name}": SECRET | {"password": "r"}
    for name in ("mongodb", "redis", "jwt", "razorpay", "smtp", "aws_host_key")
} | {"secret_notify": {}, "secret_pings": {}}


def hosts(name: str, network: str, count: int = 3) -> dict[str, Any]:
    """Hosts of an inventory file by name."""
    return {f"{name}{n}": {"ansible_host": f"192.0.2.{network}{n}", **SECRETS} for n in range(1, count + 1)}


SHARD2 = hosts("db2", "2")


def inventory(shard2: bool = False, config: bool = False, name: Any = 2, **variables: Any) -> dict[str, Any]:
    """Groups of an inventory file: two application hosts, a set of three, and what a cluster has besides."""
    db: dict[str, Any] = {"hosts": hosts("db1", "1")}
    if shard2:
        db["children"] = {"bitesbay_shard2": {"hosts": SHARD2, "vars": {"mongodb_shard": name}}}
    children = {
        "bitesbay_app": {"hosts": hosts("app", "", 2)},
        "bitesbay_db": db,
    }
    groups = {
        "bitesbay": {"children": children, "vars": {"app": app(), **variables}},
        "app": {"children": {"bitesbay_app": {}}},
        "db": {"children": {"bitesbay_db": {}}},
    }
    if config:
        children["bitesbay_config"] = {"hosts": hosts("config", "3")}
        groups["config"] = {"children": {"bitesbay_config": {}}}
    return groups


def ansible(folder: Path, groups: dict[str, Any], *command: str) -> subprocess.CompletedProcess[str]:
    file = folder / "hosts.json"
    file.write_text(json.dumps(groups))
    return subprocess.run(
        [BIN / command[0], "-i", file, *command[1:]],
        cwd=REPOSITORY,
        env={
            "PATH": os.pathsep.join([str(BIN), os.defpath]),
            "HOME": str(folder),
            "ANSIBLE_STRATEGY": "linear",
        },
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def derived(folder: Path, groups: dict[str, Any], limit: str, *names: str) -> dict[str, dict[str, Any]]:
    """Values of variables as a playbook sees them, by host."""
    message = ", ".join(f"'{name}': {name}" for name in names)
    module = ("-o", "-m", "ansible.builtin.debug", "-a", "msg={{ {" + message + "} }}")
    done = ansible(folder, groups, "ansible", limit, "--playbook-dir", "playbooks", *module)
    assert done.returncode == 0, done.stdout + done.stderr
    lines = [line.split(" | SUCCESS => ") for line in done.stdout.splitlines() if " | SUCCESS => " in line]
    return {host: json.loads(text)["msg"] for host, text in lines}


def addresses(*networks: int) -> list[str]:
    return [f"192.0.2.{10 * network + n}" for network in networks for n in (1, 2, 3)]


def members(network: int) -> list[str]:
    return [f"{address}:27017" for address in addresses(network)]


APP = ["192.0.2.1", "192.0.2.2"]
SERVER = (
    "mongodb_replica_set",
    "mongodb_replica_members",
    "mongodb_cluster_role",
    "hardening_open",
    "secret_names",
)


def test_without_config_servers_all_is_one_replica_set(tmp_path: Path) -> None:
    names = (*SERVER, "backup_state", "redis_here", "migrations_backup_host")
    found = derived(tmp_path, inventory(), "db", *names)
    assert found["db13"] == {
        "mongodb_replica_set": "bitesbay",
        "mongodb_replica_members": members(1),
        "mongodb_cluster_role": "",
        "hardening_open": [{"port": 27017, "from": APP + addresses(1)}, {"port": 6379, "from": APP}],
        "secret_names": ["mongodb", "redis", "notify", "pings", "aws_host_key"],
        "backup_state": "present",
        "redis_here": True,
        "migrations_backup_host": "db11",
    }
    assert [host for host, row in found.items() if row["backup_state"] == "present"] == ["db13"]
    names = ("mongos_state", "mongos_config_db", "app_mongodb_hosts")
    row = derived(tmp_path, inventory(), "app1", *names)["app1"]
    assert row == {"mongos_state": "absent", "mongos_config_db": "", "app_mongodb_hosts": addresses(1)}


def test_servers_of_a_cluster_know_their_set_and_their_part(tmp_path: Path) -> None:
    groups = inventory(shard2=True, config=True)
    found = derived(tmp_path, groups, "db:config", *SERVER)
    everybody = {"port": 27017, "from": APP + addresses(1, 2, 3)}
    for first, name, role, network in (
        ("db11", "bitesbay", "shardsvr", 1),
        ("db21", "bitesbay-2", "shardsvr", 2),
        ("config1", "bitesbay-config", "configsvr", 3),
    ):
        row = found[first]
        assert (row["mongodb_replica_set"], row["mongodb_cluster_role"]) == (name, role)
        assert row["mongodb_replica_members"] == members(network)
        # Redis is on the hosts of the first shard, and a port without addresses would be open for everybody.
        redis = [{"port": 6379, "from": APP}] if network == 1 else []
        assert row["hardening_open"] == [everybody, *redis]
        assert all(entry["from"] for entry in row["hardening_open"])
    assert found["config1"]["secret_names"] == ["mongodb"]


def test_nothing_that_backs_up_one_shard_passes_for_a_backup(tmp_path: Path) -> None:
    groups = inventory(shard2=True, config=True)
    names = ("backup_state", "redis_here", "logrotate_rules")
    found = derived(tmp_path, groups, "db", *names)
    assert {row["backup_state"] for row in found.values()} == {"absent"}
    assert {host for host, row in found.items() if not row["redis_here"]} == set(SHARD2)
    [redis] = [rule for rule in found["db21"]["logrotate_rules"] if rule["name"] == "redis-server"]
    assert redis["state"] == "absent"
    assert derived(tmp_path, groups, "app1", "migrations_backup_host")["app1"] == {
        "migrations_backup_host": ""
    }


def test_applications_go_through_routers_of_their_own(tmp_path: Path) -> None:
    names = (
        "mongos_state",
        "mongos_leader",
        "mongos_config_db",
        "mongos_shards",
        "app_mongodb_hosts",
        "logrotate_rules",
    )
    found = derived(tmp_path, inventory(shard2=True, config=True), "app", *names)
    row = found["app1"]
    assert row["mongos_state"] == "present"
    assert [host for host, other in found.items() if other["mongos_leader"]] == ["app1"]
    assert row["mongos_config_db"] == "bitesbay-config/" + ",".join(members(3))
    assert row["mongos_shards"] == [
        "bitesbay/" + ",".join(members(1)),
        "bitesbay-2/" + ",".join(members(2)),
    ]
    assert row["app_mongodb_hosts"] == ["127.0.0.1"]
    [rule] = [rule for rule in row["logrotate_rules"] if rule["name"] == "mongos"]
    assert rule["state"] == "present"
    secrets = {"mongodb": {"app_username": "u", "app_password": "p"}, "redis": {"password": "r"}}
    uri = evaluate(
        "app",
        "app_secret_environment.MONGODB_URI",
        app_secrets=secrets,
        app_name="bitesbay",
        app_mongodb_hosts=row["app_mongodb_hosts"],
    )
    assert uri.startswith("mongodb://u:p@127.0.0.1:27017/bitesbay?")
    assert "replicaSet" not in uri


def test_a_shard_that_leaves_is_named_no_more_and_still_let_in(tmp_path: Path) -> None:
    """It cannot be emptied when the config servers' firewall has forgotten it."""
    groups = inventory(shard2=True, config=True)
    groups["bitesbay"]["children"]["bitesbay_db"]["children"]["bitesbay_shard2"]["vars"] |= {
        "mongodb_shard_leaves": True
    }
    assert derived(tmp_path, groups, "app1", "mongos_shards")["app1"] == {
        "mongos_shards": ["bitesbay/" + ",".join(members(1))]
    }
    row = derived(tmp_path, groups, "config1", "hardening_open", "mongodb_replica_members")["config1"]
    assert set(addresses(2)) <= set(row["hardening_open"][0]["from"])
    assert row["mongodb_replica_members"] == members(3)


def test_the_uri_of_a_replica_set_names_the_set_that_the_role_makes(tmp_path: Path) -> None:
    """A driver that is told another name finds no server."""
    made = derived(tmp_path, inventory(), "db11", "mongodb_replica_set")["db11"]["mongodb_replica_set"]
    options = evaluate("app", "app_mongodb_options", app_name="bitesbay", app_mongodb_hosts=["a", "b", "c"])
    assert f"replicaSet={made}" in options.split("&")


def guard(folder: Path, groups: dict[str, Any]) -> tuple[int, str]:
    """The guard's exit status, and what it says, as one line."""
    done = ansible(folder, groups, "ansible-playbook", "playbooks/guard.yml")
    return done.returncode, " ".join((done.stdout + done.stderr).split())


def test_a_cluster_with_backups_passes(tmp_path: Path) -> None:
    groups = inventory(shard2=True, config=True, backup_of_shards="Percona Backup for MongoDB, run by ops")
    status, said = guard(tmp_path, groups)
    assert status == 0, said


def both(groups: dict[str, Any]) -> dict[str, Any]:
    """One host with two servers."""
    groups["bitesbay"]["children"]["bitesbay_config"]["hosts"]["db13"] = {"ansible_host": "192.0.2.13"}
    return groups


def in_front(groups: dict[str, Any]) -> dict[str, Any]:
    """The second shard's hosts before those of the first."""
    children = groups["bitesbay"]["children"]["bitesbay_db"]
    children["hosts"]["db11"]["mongodb_shard"] = 3
    return groups


SAID = {"backup_of_shards": "Percona Backup for MongoDB, run by ops"}


@pytest.mark.parametrize(
    ("groups", "wanted"),
    [
        (inventory(config=True), "bitesbay is a sharded cluster, which steward does not back up"),
        (inventory(shard2=True), "db21 has the mongodb_shard 2, but the group bitesbay_config has no host"),
        (
            inventory(shard2=True, config=True, name="config", **SAID),
            "mongodb_shard is config; use small letters",
        ),
        (inventory(shard2=True, config=True, name="a/b", **SAID), "mongodb_shard is a/b; use small letters"),
        (both(inventory(config=True, **SAID)), "db13 is in db and config: a router, a shard"),
        (in_front(inventory(config=True, **SAID)), "the first host of bitesbay_db is of another shard"),
    ],
    ids=["no backup", "no config servers", "name of the config servers", "name", "two servers", "order"],
)
def test_what_is_no_sharded_cluster_is_refused(tmp_path: Path, groups: dict[str, Any], wanted: str) -> None:
    status, said = guard(tmp_path, groups)
    assert status == 2, said
    assert wanted in said
