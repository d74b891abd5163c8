"""A sharded cluster as ``site.yml`` would make it of the staging hosts: checked there, and nothing changed.

No registry carries mongod or mongos, so check mode is what can be run: the monitoring host stands for config
servers, the database host for the first shard.
"""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from tests.hosts.conftest import Host, connect
from tests.support.inventory import copied
from tests.support.staging import Staging

HOSTS = ("bitesbay-app1", "bitesbay-app2", "bitesbay-db1", "monitor1")
#: What a real secret has and the sandbox's has not.
SECRET = {
    "app_username": "app",
    "app_password": "app-password-not-to-be-seen",
    "backup_username": "backup",
    "backup_password": "backup-password-not-to-be-seen",
    "admin_username": "admin",
    "admin_password": "admin-password-not-to-be-seen",
    "keyfile": "key-not-to-be-seen" * 8,
}


def sharded(hosts: dict[str, Any]) -> None:
    """One config server, one shard and two routers."""
    monitor = hosts["monitoring"]["hosts"]["monitor1"]
    hosts["bitesbay"]["children"]["bitesbay_config"] = {"hosts": {"monitor1": monitor}}
    hosts["config"] = {"children": {"bitesbay_config": None}}


@pytest.fixture(scope="module")
def checked(staging: Staging, tmp_path_factory: pytest.TempPathFactory) -> str:
    """What check mode of the roles in question tells."""
    folder = tmp_path_factory.mktemp("sharded")
    more = {
        "secret_mongodb": SECRET,
        "mongodb_flavour": "packages",
        "backup_of_shards": "Percona Backup for MongoDB, run by ops",
    }
    variables = folder / "more.json"
    variables.touch(0o600)
    variables.write_text(json.dumps(more))
    done = staging.run(
        *("ansible-playbook", "-i", str(copied(folder, sharded)), "playbooks/site.yml", "--check", "--diff"),
        *("--tags", "mongodb,mongos,logrotate", "--limit", ",".join(HOSTS), "-e", f"@{variables}"),
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.timeout(900)
def test_every_host_gets_its_part(checked: str, staging: Staging) -> None:
    """The order is the one in which a set becomes a shard: config servers, shards, routers."""
    parts = re.findall(r"^\+  (clusterRole: \w+|configDB: \S+)$", checked, re.MULTILINE)
    router = f"configDB: bitesbay-config/{staging.sandbox.address('monitor1')}:27017"
    assert parts == ["clusterRole: configsvr", "clusterRole: shardsvr", router, router]
    assert (
        len(re.findall(r"^\+ExecStart=/usr/bin/mongos --config /etc/mongos.conf$", checked, re.MULTILINE))
        == 2
    )
    assert checked.count("+/var/log/mongos/*.log") == 2


@pytest.mark.timeout(900)
def test_no_secret_is_shown(checked: str) -> None:
    assert "not-to-be-seen" not in checked


@pytest.mark.timeout(900)
@pytest.mark.parametrize("name", HOSTS)
def test_nothing_was_changed(name: str, checked: str, staging: Staging) -> None:
    host: Host = connect(name, staging)
    assert checked
    for path in ("/etc/mongos.conf", "/etc/mongos", "/etc/mongod.conf", "/etc/systemd/system/mongos.service"):
        assert not host.shell.file(path).exists, path
