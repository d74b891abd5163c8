"""What the guard refuses, before any host is reached, and what it says."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

from infra.watch.recoverability import limits
from steward import appfile
from tests.roles.rendering import OUTPUTS, REPOSITORY, app
from tests.support.aws import AwsEndpoint

BIN = Path(sys.executable).parent
SECRET = {"app_username": "x", "app_password": "not-to-be-seen"}
#: Every secret that a database host needs.
SECRETS = {f"secret_{name}": SECRET for name in ("mongodb", "redis", "aws_host_key")}


def guard(
    tmp_path: Path,
    playbook: Path = Path("playbooks/guard.yml"),
    environment: dict[str, str] | None = None,
    names: tuple[str, ...] = ("db1",),
    **variables: Any,
) -> subprocess.CompletedProcess[str]:
    """Run the guard against hosts that nobody could reach."""
    hosts = {"db": {"hosts": {name: {"ansible_host": "192.0.2.1", **variables} for name in names}}}
    inventory = tmp_path / "hosts.json"
    inventory.write_text(json.dumps(hosts))
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
    tmp_path: Path, aws_endpoint: AwsEndpoint
) -> None:
    manager = aws_endpoint.client("secretsmanager")
    # Not of the local environment, whose stack makes these at the same endpoint.
    needed = {f"steward/bitesbay/staging/{name}" for name in ("mongodb", "redis", "aws-host-key")}
    for name in needed:
        manager.create_secret(Name=name, SecretString=json.dumps(SECRET))
    task = {
        "ansible.builtin.assert": {"that": "secret_mongodb.app_username == 'x' and secret_redis is mapping"}
    }
    plays = [
        {"import_playbook": str(REPOSITORY / "playbooks/guard.yml")},
        {"hosts": "all", "gather_facts": False, "tasks": [task] * 4},
    ]
    playbook = tmp_path / "uses.yml"
    playbook.write_text(json.dumps(plays))
    environment = {
        "AWS_ENDPOINT_URL": aws_endpoint.https_url,
        "AWS_ACCESS_KEY_ID": aws_endpoint.admin_access_key_id,
        "AWS_SECRET_ACCESS_KEY": aws_endpoint.admin_secret_access_key,
        "AWS_CA_BUNDLE": str(aws_endpoint.bundle_file),
    }
    try:
        done = guard(tmp_path, playbook, environment, ("db1", "db2"), app=app("bitesbay", "staging"))
    finally:
        for name in needed:
            manager.delete_secret(SecretId=name, ForceDeleteWithoutRecovery=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "not-to-be-seen" not in words(done)
    log = aws_endpoint.log_file.read_text()
    asked = re.findall(r"secretsmanager:GetSecretValue \S+:secret:(steward/bitesbay/staging/\S+)-\w{6} ", log)
    assert Counter(asked) == dict.fromkeys(needed, 1)
