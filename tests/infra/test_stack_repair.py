"""A killed Pulumi leaves nothing that needs a person."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from sandbox import stack_repair
from sandbox.aws_plugin.errors import StandInError
from sandbox.stacks import Stacks
from tests.infra.conftest import NEEDS_PULUMI, stacks_of
from tests.support import aws as aws_support
from tests.support.aws import AwsEndpoint

STACK = "bitesbay-local"

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:pulumi_aws.*")


@pytest.fixture
def pulumi_process(tmp_path: Path) -> Iterator[int]:
    """A process that is called pulumi."""
    program = tmp_path / "pulumi"
    shutil.copy(str(shutil.which("sleep")), program)
    with subprocess.Popen([str(program), "60"]) as process:
        deadline = time.monotonic() + 10
        while Path(f"/proc/{process.pid}/comm").read_text(encoding="utf-8").strip() != "pulumi":
            assert time.monotonic() < deadline
            time.sleep(0.05)
        yield process.pid
        process.kill()


def lock(backend: Path, name: str, pid: int, hostname: str, stack: str = STACK) -> Path:
    folder = backend / ".pulumi/locks/organization/steward" / stack
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}.json"
    content = {"pid": pid, "username": "x", "hostname": hostname, "timestamp": "2026-11-22T00:00:00Z"}
    path.write_text(json.dumps(content), encoding="utf-8")
    (folder / f"{name}.json.attrs").write_text("{}", encoding="utf-8")
    return path


def test_only_locks_of_dead_processes_of_this_machine_are_released(
    tmp_path: Path, pulumi_process: int
) -> None:
    here = socket.gethostname()
    dead = lock(tmp_path, "dead", 2**22 + 1, here)
    reused = lock(tmp_path, "reused", os.getpid(), here)  # the id now belongs to something else
    alive = lock(tmp_path, "alive", pulumi_process, here)
    elsewhere = lock(tmp_path, "elsewhere", 2**22 + 1, "another-machine")
    other = lock(tmp_path, "other", 2**22 + 1, here, stack="kampyn-local")
    assert sorted(stack_repair.release_dead_locks(tmp_path, STACK)) == sorted([2**22 + 1, os.getpid()])
    assert [p.exists() for p in (dead, reused, alive, elsewhere, other)] == [False, False, True, True, True]
    assert not dead.with_name("dead.json.attrs").exists()


def test_a_lock_stays_until_the_plugin_of_the_killed_engine_has_ended(tmp_path: Path) -> None:
    engine = 2**22 + 1
    left = lock(tmp_path, "dead", engine, socket.gethostname())
    environment = {**os.environ, "STEWARD_ENGINE_PID": str(engine)}
    with subprocess.Popen(["sleep", "60"], env=environment) as plugin:
        # The kernel shows the environment a moment after the program has begun.
        while not Path(f"/proc/{plugin.pid}/environ").read_bytes():
            time.sleep(0.01)
        with pytest.raises(stack_repair.PluginAliveError, match=f"process {plugin.pid} "):
            stack_repair.release_dead_locks(tmp_path, STACK, plugin_end_s=0.3)
        assert left.exists()
        ended = threading.Timer(0.5, plugin.kill)
        ended.start()
        assert stack_repair.release_dead_locks(tmp_path, STACK) == [engine]
        assert plugin.poll() is not None
    assert not left.exists()


def test_pending_creates_are_found_in_the_state(tmp_path: Path) -> None:
    folder = tmp_path / ".pulumi/stacks/steward"
    folder.mkdir(parents=True)
    operations = [
        {"type": "creating", "resource": {"type": "aws:s3/bucket:Bucket", "inputs": {"bucket": "b"}}},
        {"type": "updating", "resource": {"type": "aws:kms/key:Key", "inputs": {}}},
    ]
    state = {"checkpoint": {"latest": {"pending_operations": operations}}}
    (folder / f"{STACK}.json").write_text(json.dumps(state), encoding="utf-8")
    assert stack_repair.pending_creates(tmp_path, STACK) == [operations[0]["resource"]]
    assert stack_repair.pending_creates(tmp_path, "kampyn-local") == []


def environment_of(endpoint: AwsEndpoint) -> dict[str, str]:
    return {
        "AWS_ACCESS_KEY_ID": endpoint.admin_access_key_id,
        "AWS_SECRET_ACCESS_KEY": endpoint.admin_secret_access_key,
        "AWS_CA_BUNDLE": str(endpoint.ca_file),
        "AWS_ENDPOINT_URL": endpoint.https_url,
        "AWS_REGION": "us-east-1",
    }


def test_half_made_resources_are_undone_but_nothing_that_holds_data(aws_endpoint: AwsEndpoint) -> None:
    s3, iam = aws_endpoint.client("s3"), aws_endpoint.client("iam")
    empty, full = aws_endpoint.new_bucket(), aws_endpoint.new_bucket()
    s3.put_object(Bucket=full, Key="x", Body=b"x")
    user = aws_endpoint.new_user()
    iam.delete_access_key(UserName=user.name, AccessKeyId=user.access_key_id)

    def pending(type_name: str, **inputs: Any) -> dict[str, Any]:
        return {"type": type_name, "inputs": inputs}

    made = [
        pending("aws:s3/bucket:Bucket", bucket=empty),
        pending("aws:iam/user:User", name=user.name),
        pending("aws:iam/user:User", name="was-never-made"),
        pending("aws:kms/key:Key", description="has no name"),
        pending("aws:s3/bucketVersioning:BucketVersioning", bucket=full),
        pending("steward:backup:BackupBucket"),
    ]
    stack_repair.undo_creates(made, environment_of(aws_endpoint))
    buckets = [b["Name"] for b in s3.list_buckets()["Buckets"]]
    assert empty not in buckets
    assert full in buckets
    assert user.name not in [u["UserName"] for u in iam.list_users()["Users"]]

    with pytest.raises(StandInError, match="is not empty"):
        stack_repair.undo_creates(
            [pending("aws:s3/bucket:Bucket", bucket=full)], environment_of(aws_endpoint)
        )
    assert s3.head_object(Bucket=full, Key="x")["ContentLength"] == 1


def kill_while_it_creates(stacks: Stacks, endpoint: AwsEndpoint) -> None:
    """Begin to build the stack, and kill engine, program and plugin as soon as there is a bucket."""
    command = ["pulumi", "-C", str(stacks.project), "--non-interactive", "up", "--yes", "--skip-preview"]
    process = subprocess.Popen(
        [*command, "-s", STACK],
        env=dict(stacks.environment),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    s3 = endpoint.client("s3")
    try:
        deadline = time.monotonic() + 300
        while not s3.list_buckets()["Buckets"]:
            assert process.poll() is None, "the run ended before it made a bucket"
            assert time.monotonic() < deadline
            time.sleep(0.02)
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    backend = Path(stacks.environment["PULUMI_BACKEND_URL"].removeprefix("file://"))
    assert list((backend / ".pulumi/locks").glob(f"**/{STACK}/*.json")), (
        "it was killed too late to show anything"
    )


@pytest.mark.timeout(600)
@NEEDS_PULUMI
def test_the_next_run_finishes_a_killed_one_and_repairs_all_that_an_endpoint_lost(tmp_path: Path) -> None:
    """And a destroy leaves nothing of it; one test, since a stack takes its time to build."""
    first, endpoint = aws_support.start(tmp_path / "aws")
    try:
        stacks = stacks_of(tmp_path / "state", endpoint)
        stacks.select(STACK)
        kill_while_it_creates(stacks, endpoint)
        stacks.up(STACK)
        stacks.run("preview", "--refresh", "--expect-no-changes", "--stack", STACK)
        before = stacks.outputs(STACK)
    finally:
        aws_support.stop(first)
    second, endpoint = aws_support.start(tmp_path / "aws")
    try:
        shutil.rmtree(stacks.project)  # and with it the salt, which the state has as well
        stacks = stacks_of(tmp_path / "state", endpoint)
        stacks.up(STACK)
        after = stacks.outputs(STACK)
        assert after["backup_bucket"] == before["backup_bucket"]
        assert after["backup_kms_key_arn"] != before["backup_kms_key_arn"], "the old key is gone for good"

        s3, iam = endpoint.client("s3"), endpoint.client("iam")
        for output, key in (
            ("backup_bucket", "daily/locked"),
            ("log_bucket", "access/x"),
            ("log_archive_bucket", "logs/x"),
        ):
            s3.put_object(Bucket=after[output], Key=key, Body=b"x")
        iam.create_access_key(UserName=after["backup_writer_user"])
        stacks.destroy(STACK)
        assert s3.list_buckets()["Buckets"] == []
        assert iam.list_users(PathPrefix="/steward/")["Users"] == []
        kms = endpoint.client("kms")
        assert not [a for a in kms.list_aliases()["Aliases"] if "backups" in a["AliasName"]]
        key = kms.describe_key(KeyId=after["backup_kms_key_arn"])["KeyMetadata"]
        assert key["KeyState"] == "PendingDeletion"
        state = json.loads(stacks.run("stack", "export", "--stack", STACK))
        assert state["deployment"].get("resources", []) == []
    finally:
        aws_support.stop(second)
