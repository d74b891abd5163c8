"""What the guard refuses, before any host is reached, and what it says."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.roles.rendering import OUTPUTS, REPOSITORY, app

BIN = Path(sys.executable).parent
SECRET = {"app_username": "x", "app_password": "not-to-be-seen"}


def guard(tmp_path: Path, **variables: Any) -> subprocess.CompletedProcess[str]:
    """Run the guard against a host that nobody could reach."""
    hosts = {"db": {"hosts": {"db1": {"ansible_host": "192.0.2.1", **variables}}}}
    inventory = tmp_path / "hosts.json"
    inventory.write_text(json.dumps(hosts))
    environment = {
        "PATH": os.pathsep.join([str(BIN), os.defpath]),
        "HOME": str(tmp_path),
        # An endpoint where nothing listens, so that no lookup leaves this machine.
        "AWS_ENDPOINT_URL": "http://127.0.0.1:9",
        "AWS_ACCESS_KEY_ID": "x",
        "AWS_SECRET_ACCESS_KEY": "x",
        "AWS_MAX_ATTEMPTS": "1",
        "AWS_EC2_METADATA_DISABLED": "true",
    }
    return subprocess.run(
        [BIN / "ansible-playbook", "-i", inventory, "playbooks/guard.yml"],
        cwd=REPOSITORY,
        env=environment,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )


def words(done: subprocess.CompletedProcess[str]) -> str:
    return " ".join((done.stdout + done.stderr).split())


def test_complete_host_passes(tmp_path: Path) -> None:
    done = guard(tmp_path, app=app(), secret_mongodb=SECRET)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "not-to-be-seen" not in words(done)


def test_host_without_an_application(tmp_path: Path) -> None:
    done = guard(tmp_path)
    assert done.returncode == 2
    assert "db1 is in no group that is named after an app file" in words(done)


def test_stack_without_the_bucket(tmp_path: Path) -> None:
    outputs = {name: value for name, value in OUTPUTS.items() if name != "backup_bucket"}
    done = guard(tmp_path, app=app(outputs=outputs), secret_mongodb=SECRET)
    assert done.returncode == 2
    wanted = "stack bitesbay-local has no output backup_bucket; run: pulumi up --stack bitesbay-local"
    assert wanted in words(done)


def test_secrets_out_of_reach(tmp_path: Path) -> None:
    done = guard(tmp_path, app=app())
    assert done.returncode == 2
    assert "secret steward/bitesbay/local/mongodb cannot be read:" in words(done)
    assert 'Could not connect to the endpoint URL: "http://127.0.0.1:9/"; check' in words(done)


def test_secret_that_is_no_object(tmp_path: Path) -> None:
    done = guard(tmp_path, app=app(), secret_mongodb="not-to-be-seen")
    assert done.returncode == 2
    assert "secret steward/bitesbay/local/mongodb cannot be read: it is not a JSON object" in words(done)
    assert "not-to-be-seen" not in words(done)
