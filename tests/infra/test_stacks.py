"""The genuine Pulumi CLI builds the stacks against the sandbox's AWS endpoint."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from infra.config import REPOSITORY
from infra.lifecycle import NONCURRENT_DAYS
from sandbox.stacks import StackCommandError, Stacks
from steward.appfile import BACKUP_CLASSES, load
from tests.infra.conftest import APP_NAMES, NEEDS_PULUMI
from tests.support.aws import AwsEndpoint, AwsUser

pytestmark = [NEEDS_PULUMI, pytest.mark.timeout(600)]

OUTPUTS = {
    "backup_bucket",
    "backup_bucket_arn",
    "backup_kms_key_arn",
    "backup_object_lock_mode",
    "backup_region",
    "backup_writer_user",
    "break_glass_role_arn",
    "dashboard_url",
    "limits",
    "log_archive_bucket",
    "log_archive_kms_key_arn",
    "log_bucket",
    "log_writer_user",
    "replica_bucket",
    "replica_kms_key_arn",
    "replica_region",
    "restore_role_arn",
    "secrets_kms_key_arn",
    "topic_critical_arn",
    "topic_info_arn",
    "topic_warning_arn",
    "uptime_check_id",
}


def steps(stacks: Stacks, stack: str, *arguments: str) -> dict[str, str]:
    """What a preview would do: last part of a resource's name -> operation, unchanged ones left out."""
    plan = json.loads(stacks.run("preview", "--json", "--stack", stack, *arguments))
    return {
        step["urn"].split("::")[-1].removeprefix(f"{stack}-backups-"): step["op"]
        for step in plan["steps"]
        if step["op"] != "same"
    }


@pytest.mark.parametrize("app", APP_NAMES)
def test_outputs_say_what_was_built(built: Stacks, aws_endpoint: AwsEndpoint, app: str) -> None:
    outputs = built.outputs(f"{app}-local")
    assert set(outputs) == OUTPUTS
    assert all(outputs.values())
    name = outputs["backup_bucket"]
    assert outputs["backup_bucket_arn"] == f"arn:aws:s3:::{name}"
    s3 = aws_endpoint.client("s3")
    retention = load(REPOSITORY / "apps" / f"{app}.yml").backup.retention
    rules = {r["ID"]: r for r in s3.get_bucket_lifecycle_configuration(Bucket=name)["Rules"]}
    for backup_class in BACKUP_CLASSES:
        rule = rules[f"expire-{backup_class}"]
        assert rule["Filter"]["Prefix"] == f"{backup_class}/"
        assert rule["Expiration"]["Days"] == retention.keep_days(backup_class)
        assert rule["NoncurrentVersionExpiration"]["NoncurrentDays"] == NONCURRENT_DAYS
    lock = s3.get_object_lock_configuration(Bucket=name)["ObjectLockConfiguration"]
    assert lock["Rule"]["DefaultRetention"]["Days"] == min(retention.all_keep_days().values())
    assert lock["Rule"]["DefaultRetention"]["Mode"] == outputs["backup_object_lock_mode"]
    assert s3.get_bucket_versioning(Bucket=name)["Status"] == "Enabled"
    key = aws_endpoint.client("kms").describe_key(KeyId=outputs["backup_kms_key_arn"])["KeyMetadata"]
    assert key["Arn"] == outputs["backup_kms_key_arn"]
    user = aws_endpoint.client("iam").get_user(UserName=outputs["backup_writer_user"])["User"]
    assert user["Path"] == "/steward/"


@pytest.mark.parametrize("app", APP_NAMES)
def test_a_second_run_changes_nothing(built: Stacks, app: str) -> None:
    built.run("preview", "--refresh", "--expect-no-changes", "--stack", f"{app}-local")


def test_tracked_files_stay_as_they_are_and_the_salt_is_elsewhere(built: Stacks) -> None:
    for app in APP_NAMES:
        tracked = REPOSITORY / "infra/stacks" / f"Pulumi.{app}-local.yaml"
        assert "encryptionsalt" not in tracked.read_text(encoding="utf-8")
        assert "encryptionsalt" in (built.project / tracked.name).read_text(encoding="utf-8")


def test_outputs_are_readable_from_the_repository_itself(built: Stacks) -> None:
    before = {p: p.read_bytes() for p in (REPOSITORY / "infra/stacks").iterdir()}
    text = built.run("--cwd", str(REPOSITORY), "stack", "output", "--json", "--stack", "bitesbay-local")
    assert set(json.loads(text)) == OUTPUTS
    assert before == {p: p.read_bytes() for p in (REPOSITORY / "infra/stacks").iterdir()}


def test_no_secret_is_in_the_state(built: Stacks, host: AwsUser, aws_endpoint: AwsEndpoint) -> None:
    state = built.run("stack", "export", "--show-secrets", "--stack", "bitesbay-local")
    assert host.name in state
    for secret in (host.secret_access_key, host.access_key_id, aws_endpoint.admin_secret_access_key):
        assert secret not in state


def test_a_changed_retention_updates_the_lifecycles_and_nothing_else(
    built: Stacks, edit_app: Callable[[str, str, str], Path], aws_endpoint: AwsEndpoint
) -> None:
    apps = edit_app("kampyn", "weekly_weeks: 4", "weekly_weeks: 5")
    changed = replace(built, environment={**built.environment, "STEWARD_APPS_DIR": str(apps)})
    # Both copies of the backups are kept as long.
    expected = {"lifecycle": "update", "kampyn-local-replica-lifecycle": "update"}
    assert steps(changed, "kampyn-local") == expected
    changed.up("kampyn-local", refresh=False)
    name = built.outputs("kampyn-local")["backup_bucket"]
    rules = aws_endpoint.client("s3").get_bucket_lifecycle_configuration(Bucket=name)["Rules"]
    assert {r["ID"]: r["Expiration"]["Days"] for r in rules if r["ID"] == "expire-weekly"} == {
        "expire-weekly": 5 * 7 + 1
    }


def test_drift_is_found_and_repaired(built: Stacks, aws_endpoint: AwsEndpoint) -> None:
    outputs = built.outputs("bitesbay-local")
    name, user = outputs["backup_bucket"], outputs["backup_writer_user"]
    s3, iam, kms = (aws_endpoint.client(service) for service in ("s3", "iam", "kms"))
    s3.delete_bucket_policy(Bucket=name)
    open_block = {"BlockPublicAcls": True, "BlockPublicPolicy": False, "IgnorePublicAcls": True}
    s3.put_public_access_block(Bucket=name, PublicAccessBlockConfiguration=open_block)
    s3.put_bucket_logging(Bucket=name, BucketLoggingStatus={})
    s3.delete_bucket_inventory_configuration(Bucket=name, Id="daily")
    s3.put_bucket_notification_configuration(Bucket=name, NotificationConfiguration={})
    kms.disable_key_rotation(KeyId=outputs["backup_kms_key_arn"])
    wide = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "s3:*", "Resource": "*"}]}
    iam.put_user_policy(UserName=user, PolicyName="put-backups", PolicyDocument=json.dumps(wide))

    built.run("refresh", "--yes", "--skip-preview", "--stack", "bitesbay-local")
    assert steps(built, "bitesbay-local") == {
        "events": "create",
        "inventory": "create",
        "logging": "create",
        "policy": "create",
        "public-access": "update",
        "key": "update",
        "bitesbay-local-host-put-backups": "update",
    }
    built.up("bitesbay-local", refresh=False)
    assert "OnlyBreakGlassDeletes" in s3.get_bucket_policy(Bucket=name)["Policy"]
    block = s3.get_public_access_block(Bucket=name)["PublicAccessBlockConfiguration"]
    assert block == dict.fromkeys(block, True)
    assert kms.get_key_rotation_status(KeyId=outputs["backup_kms_key_arn"])["KeyRotationEnabled"]
    document = iam.get_user_policy(UserName=user, PolicyName="put-backups")["PolicyDocument"]
    assert "UseKeyThroughS3" in json.dumps(document)


def test_a_wrong_app_file_is_one_line(built: Stacks, edit_app: Callable[[str, str, str], Path]) -> None:
    apps = edit_app("bitesbay", "daily_days: 7", "daily_days: soon")
    broken = replace(built, environment={**built.environment, "STEWARD_APPS_DIR": str(apps)})
    with pytest.raises(StackCommandError) as caught:
        broken.run("preview", "--stack", "bitesbay-local")
    assert caught.value.status != 0
    assert "Traceback" not in caught.value.output
    (line,) = [line for line in caught.value.errors if "bitesbay.yml" in line]
    assert "backup.retention.daily_days" in line
    assert "'soon'" in line


def test_a_misspelled_argument_stops_a_preview(built: Stacks, tmp_path: Path) -> None:
    """From the program through CLI and plugin: the SDK itself sends a wrong nested name as it is."""
    program = tmp_path / "program"
    program.mkdir()
    (program / "__main__.py").write_text(
        "import pulumi_aws as aws\n"
        "aws.s3.BucketVersioning('v', bucket='b', versioning_configuration={'statuss': 'Enabled'})\n",
        encoding="utf-8",
    )
    project = tmp_path / "project"
    project.mkdir()
    (project / "Pulumi.yaml").write_text(f"name: wrong\nruntime: python\nmain: {program}\n", encoding="utf-8")
    run = ("--cwd", str(project))
    built.run(*run, "stack", "init", "wrong-local")
    with pytest.raises(StackCommandError) as caught:
        built.run(*run, "preview", "--stack", "wrong-local")
    assert "versioningConfiguration.statuss" in caught.value.output
    assert "did you mean status?" in caught.value.output


def test_an_endpoint_that_does_not_answer_is_one_line_in_bounded_time(built: Stacks) -> None:
    silent = replace(built, environment={**built.environment, "AWS_ENDPOINT_URL": "https://127.0.0.1:9"})
    with pytest.raises(StackCommandError) as caught:
        silent.run("preview", "--stack", "bitesbay-local")
    lines = caught.value.errors
    told = "AWS endpoint https://127.0.0.1:9 does not answer; is the sandbox up?"
    assert any(told in line for line in lines)
    assert "Traceback" not in caught.value.output


def test_a_killed_engine_leaves_no_plugin(tmp_path: Path) -> None:
    """The plugin watches its parent, since a killed engine ends nothing."""
    parent = tmp_path / "parent.py"
    parent.write_text(
        "import os, subprocess, sys\n"
        "p = subprocess.Popen([sys.argv[1], '127.0.0.1:1'], stdout=subprocess.PIPE)\n"
        "p.stdout.readline()\n"
        "print(p.pid, flush=True)\n"
        "os.kill(os.getpid(), 9)\n",
        encoding="utf-8",
    )
    plugin = REPOSITORY / "sandbox/bin/pulumi-resource-aws"
    done = subprocess.run(
        [sys.executable, str(parent), str(plugin)],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        timeout=60,
        check=False,
    )
    pid = int(done.stdout)
    deadline = time.monotonic() + 30
    while Path(f"/proc/{pid}").exists() and "aws_plugin" in _command(pid):
        if time.monotonic() > deadline:
            os.kill(pid, 9)
            pytest.fail("the plugin outlived its engine")
        time.sleep(0.2)


def _command(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_text(encoding="utf-8")
    except OSError:
        return ""
