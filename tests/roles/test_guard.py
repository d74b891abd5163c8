"""What the guard refuses, before any host is reached, and what it says."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from infra.watch.recoverability import limits
from steward import appfile
from tests.roles.rendering import OUTPUTS, REPOSITORY, app
from tests.support.aws import AwsEndpoint

BIN = Path(sys.executable).parent
SECRET = {"app_username": "x", "app_password": "not-to-be-seen"}
#: Every secret that a database host needs, and those that may have no value yet.
NEEDED = ("mongodb", "redis", "aws-host-key")
MAY_BE_EMPTY = ("notify", "pings")
SECRETS: dict[str, Any] = {f"secret_{name.replace('-', '_')}": SECRET for name in NEEDED} | {
    f"secret_{name}": {} for name in MAY_BE_EMPTY
}
#: Not of the local environment, whose stack makes these at the same endpoint.
PREFIX = "steward/bitesbay/staging/"


def guard(
    tmp_path: Path,
    playbook: Path = Path("playbooks/guard.yml"),
    environment: dict[str, str] | None = None,
    names: tuple[str, ...] = ("db1",),
    **variables: Any,
) -> subprocess.CompletedProcess[str]:
    """Run the guard against hosts that nobody could reach."""
    hosts = {name: {"ansible_host": "192.0.2.1", **variables} for name in names}
    groups: dict[str, Any] = {"db": {"hosts": hosts}}
    if "app" in variables:
        groups[variables["app"]["name"]] = {"hosts": dict.fromkeys(names)}
    inventory = tmp_path / "hosts.json"
    inventory.write_text(json.dumps(groups))
    environment = environment or {
        # An endpoint where nothing listens, so that no lookup leaves this machine.
        "AWS_ENDPOINT_URL": "http://127.0.0.1:9",
        "AWS_ACCESS_KEY_ID": "x",
        "AWS_SECRET_ACCESS_KEY": "x",
        "AWS_MAX_ATTEMPTS": "1",
        "AWS_EC2_METADATA_DISABLED": "true",
    }
    return subprocess.run(
        [BIN / "ansible-playbook", "-i", inventory, playbook],
        cwd=REPOSITORY,
        env={"PATH": os.pathsep.join([str(BIN), os.defpath]), "HOME": str(tmp_path), **environment},
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )


def words(done: subprocess.CompletedProcess[str]) -> str:
    return " ".join((done.stdout + done.stderr).split())


def uses(tmp_path: Path, *conditions: str) -> Path:
    """A playbook: after the guard, with the groups' variables, each of these must hold on every host."""
    (tmp_path / "group_vars").symlink_to(REPOSITORY / "playbooks/group_vars")
    tasks = [{"ansible.builtin.assert": {"that": condition}} for condition in conditions]
    plays = [
        {"import_playbook": str(REPOSITORY / "playbooks/guard.yml")},
        {"hosts": "all", "gather_facts": False, "tasks": tasks},
    ]
    playbook = tmp_path / "uses.yml"
    playbook.write_text(json.dumps(plays))
    return playbook


class SecretsManager:
    """Secrets of the application bitesbay in staging, at an endpoint."""

    def __init__(self, endpoint: AwsEndpoint) -> None:
        self.endpoint = endpoint
        self.client = endpoint.client("secretsmanager")
        self._made: set[str] = set()
        self._log_begins = endpoint.log_file.stat().st_size

    def put(self, name: str, value: dict[str, str] | None) -> None:
        """A secret with this value; None: one without, as Pulumi makes it."""
        if name not in self._made:
            self.client.create_secret(Name=PREFIX + name)
            self._made.add(name)
        if value is not None:
            self.client.put_secret_value(SecretId=PREFIX + name, SecretString=json.dumps(value))

    def environment(self, denied: str | None = None) -> dict[str, str]:
        """For a shell of an administrator, or of somebody who may read all of them but one."""
        key = (self.endpoint.admin_access_key_id, self.endpoint.admin_secret_access_key)
        if denied is not None:
            statements = [
                {"Effect": "Allow", "Action": "secretsmanager:GetSecretValue", "Resource": "*"},
                {
                    "Effect": "Deny",
                    "Action": "secretsmanager:GetSecretValue",
                    "Resource": f"arn:aws:secretsmanager:*:*:secret:{PREFIX}{denied}-*",
                },
            ]
            user = self.endpoint.new_user({"Version": "2012-10-17", "Statement": statements})
            key = (user.access_key_id, user.secret_access_key)
        return {
            "AWS_ENDPOINT_URL": self.endpoint.https_url,
            "AWS_ACCESS_KEY_ID": key[0],
            "AWS_SECRET_ACCESS_KEY": key[1],
            "AWS_CA_BUNDLE": str(self.endpoint.bundle_file),
        }

    def asked(self) -> Counter[str]:
        """How often each was asked for."""
        log = self.endpoint.log_file.read_bytes()[self._log_begins :].decode()
        return Counter(
            re.findall(rf"secretsmanager:GetSecretValue \S+:secret:{PREFIX}([a-z-]+?)(?:-\w{{6}})? ", log)
        )

    def remove(self) -> None:
        for name in self._made:
            self.client.delete_secret(SecretId=PREFIX + name, ForceDeleteWithoutRecovery=True)


@pytest.fixture
def manager(aws_endpoint: AwsEndpoint) -> Iterator[SecretsManager]:
    made = SecretsManager(aws_endpoint)
    try:
        yield made
    finally:
        made.remove()


def test_complete_host_passes(tmp_path: Path) -> None:
    done = guard(tmp_path, app=app(), **SECRETS)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "not-to-be-seen" not in words(done)


def test_host_without_an_application(tmp_path: Path) -> None:
    done = guard(tmp_path)
    assert done.returncode == 2
    assert "db1 is in no group that is named after an app file" in words(done)


def test_stack_without_the_bucket(tmp_path: Path) -> None:
    outputs = {name: value for name, value in OUTPUTS.items() if name != "backup_bucket"}
    done = guard(tmp_path, app=app(outputs=outputs), **SECRETS)
    assert done.returncode == 2
    wanted = "stack bitesbay-local has no output backup_bucket; run: pulumi up --stack bitesbay-local"
    assert wanted in words(done)


def test_stack_of_before_a_limit_was_added(tmp_path: Path) -> None:
    """The configuration would lack it, and steward refuse that in the middle of a run."""
    old = app(outputs=OUTPUTS | {"limits": {"drill_age_seconds": 1}})
    done = guard(tmp_path, app=old, **SECRETS)
    assert done.returncode == 2
    wanted = "stack bitesbay-local has no output limits.verify_age_seconds; run: pulumi up --stack"
    assert wanted in words(done)
    whole = limits(appfile.load(REPOSITORY / "apps" / "bitesbay.yml").backup)
    assert guard(tmp_path, app=app(outputs=OUTPUTS | {"limits": whole}), **SECRETS).returncode == 0


def test_secrets_out_of_reach(tmp_path: Path) -> None:
    done = guard(tmp_path, app=app())
    assert done.returncode == 2
    assert "secret steward/bitesbay/local/mongodb cannot be read:" in words(done)
    assert 'Could not connect to the endpoint URL: "http://127.0.0.1:9/"; check' in words(done)


def test_secret_that_is_no_object(tmp_path: Path) -> None:
    for name, told in (("mongodb", "mongodb"), ("aws_host_key", "aws-host-key")):
        done = guard(tmp_path, app=app(), **SECRETS | {f"secret_{name}": "not-to-be-seen"})
        assert done.returncode == 2
        assert f"secret steward/bitesbay/local/{told} cannot be read: it is not a JSON object" in words(done)
        assert "not-to-be-seen" not in words(done)


def test_secrets_are_read_once_an_application_and_only_those_that_its_hosts_need(
    tmp_path: Path, manager: SecretsManager
) -> None:
    for name in NEEDED:
        manager.put(name, SECRET)
    for name in MAY_BE_EMPTY:
        manager.put(name, None)
    done = guard(
        tmp_path,
        uses(tmp_path, *["secret_mongodb.app_username == 'x' and secret_redis is mapping"] * 4),
        manager.environment(),
        ("db1", "db2"),
        app=app("bitesbay", "staging"),
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "not-to-be-seen" not in words(done)
    assert manager.asked() == Counter([*NEEDED, *MAY_BE_EMPTY])


def test_secrets_that_may_have_no_value_yet_are_empty_then(tmp_path: Path, manager: SecretsManager) -> None:
    for name in NEEDED:
        manager.put(name, SECRET)
    manager.put("notify", None)  # as Pulumi makes it; pings does not exist at all
    playbook = uses(
        tmp_path,
        "secret_notify == {} and secret_pings == {}",
        "steward_notify_secrets == {} and steward_pings == {}",
        "logs_ping_url == '' and app_notify_url == ''",
    )
    done = guard(tmp_path, playbook, manager.environment(), app=app("bitesbay", "staging"))
    assert done.returncode == 0, done.stdout + done.stderr


def test_who_is_told_stands_in_secrets_manager(tmp_path: Path, manager: SecretsManager) -> None:
    for name in NEEDED:
        manager.put(name, SECRET)
    manager.put("notify", {"webhook_url": "https://hooks.example/x", "smtp_username": "mailer"})
    manager.put("pings", {"full": "https://hc.example/f", "logs-db2": "https://hc.example/l"})
    playbook = uses(
        tmp_path,
        "steward_notify_secrets == {'webhook_url': 'https://hooks.example/x', 'smtp_username': 'mailer'}",
        "steward_pings == {'full': 'https://hc.example/f'}",
        "logs_ping_url == (inventory_hostname == 'db2') | ternary('https://hc.example/l', '')",
        "app_notify_url == 'https://hooks.example/x'",
    )
    hosts = {"names": ("db1", "db2"), "app": app("bitesbay", "staging")}
    done = guard(tmp_path, playbook, manager.environment(), **hosts)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "example" not in words(done)

    for name in ("logs-db3", "logs"):
        manager.put("pings", {name: "https://hc.example/l"})
        done = guard(tmp_path, playbook, manager.environment(), **hosts)
        assert done.returncode == 2
        assert (
            f"secret steward/bitesbay/staging/pings has {name}, which no host would use;"
            " name one of logs-db1, logs-db2" in words(done)
        )


@pytest.mark.parametrize("name", MAY_BE_EMPTY)
def test_a_secret_that_may_be_empty_must_not_be_refused_or_deleted(
    tmp_path: Path, manager: SecretsManager, name: str
) -> None:
    """Else nobody would be told any more, and nobody would know."""
    for other in (*NEEDED, *MAY_BE_EMPTY):
        manager.put(other, SECRET if other in NEEDED else {})
    wrong = f"secret steward/bitesbay/staging/{name} cannot be read: "
    done = guard(tmp_path, environment=manager.environment(denied=name), app=app("bitesbay", "staging"))
    assert done.returncode == 2
    assert f"{wrong}Failed to access secret steward/bitesbay/staging/{name} (AccessDenied); check" in words(
        done
    )

    manager.client.delete_secret(SecretId=PREFIX + name)
    done = guard(tmp_path, environment=manager.environment(), app=app("bitesbay", "staging"))
    assert done.returncode == 2
    assert re.search(wrong + ".*(marked|scheduled) .*delet", words(done))


@pytest.mark.parametrize("name", MAY_BE_EMPTY)
def test_a_secret_that_may_be_empty_out_of_reach(tmp_path: Path, name: str) -> None:
    known = {other: value for other, value in SECRETS.items() if other != f"secret_{name}"}
    done = guard(tmp_path, app=app(), **known)
    assert done.returncode == 2
    assert f"secret steward/bitesbay/local/{name} cannot be read: Failed to retrieve secret:" in words(done)
