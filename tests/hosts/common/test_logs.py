"""The log jobs on the hosts of the applications and their databases, run as cron runs them."""

from __future__ import annotations

import json
import re
import secrets as random
import tomllib
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from botocore.exceptions import ClientError

from sandbox import secrets
from tests.hosts.conftest import Host

CRON = "/etc/cron.d/steward-logs"
#: Purpose of a host -> a source of its logs, a file of it, and whose that is.
ROTATED = {
    "db": ("redis-server", "/var/log/redis/redis-server.log", "redis:adm"),
    "app": ("{app}", "/var/log/{app}/out.log", "{app}:{app}"),
}


def command(host: Host, verb: str) -> str:
    """The job's line without its time and user, and without the way to the system's log."""
    text = host.shell.file(CRON).content_string
    [line] = [line for line in text.splitlines() if re.search(rf" logs {verb} ", line)]
    found = re.fullmatch(r"\S+ \S+ \* \* \* root (?P<command>.+) 2>&1 \| logger -t steward-logs", line)
    assert found, line
    return found["command"]


def run(host: Host, verb: str) -> tuple[int, str]:
    path = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
    done = host.shell.run("env -i PATH=%s HOME=/root sh -c %s", path, f"{command(host, verb)} --json")
    return done.rc, done.stdout + done.stderr


def stack_outputs(host: Host) -> dict[str, Any]:
    """The outputs of the host's stack."""
    assert host.app
    done = host.staging.run("pulumi", "stack", "output", "--json", "--stack", f"{host.app.name}-local")
    outputs: dict[str, Any] = json.loads(done.stdout)
    return outputs


def test_cron_will_read_it_and_its_secrets_are_roots(log_host: Host) -> None:
    """The jobs run as root: whoever could change what they read would be root too."""
    modes = {CRON: 0o644, "/etc/steward/logs.toml": 0o644, "/etc/steward/logs-secrets.toml": 0o600}
    for path, mode in modes.items():
        file = log_host.shell.file(path)
        assert (file.user, file.group, file.mode) == ("root", "root", mode), path
    state = log_host.shell.file("/var/lib/steward-logs")
    assert (state.user, state.mode) == ("root", 0o700)


def test_an_old_log_goes_into_the_archive_and_leaves_the_disk(log_host: Host) -> None:
    """The manual: archive logs older than 30 days to cold storage."""
    assert log_host.app
    days = log_host.app.logs.keep_days
    today = datetime.now(UTC).date()
    old, young = (today - timedelta(days=n) for n in (days + 1, days - 1))
    content = random.token_hex(50)
    source, path, owner = ROTATED[log_host.purpose]
    source, path, owner = (text.format(app=log_host.app.name) for text in (source, path, owner))
    folder, _, name = path.rpartition("/")
    names = [f"{name}-{day:%Y%m%d}" for day in (old, young)]
    for name in names:
        path = f"{folder}/{name}"
        log_host.shell.check_output("printf %%s %s > %s", content, path)
        log_host.shell.check_output("chown %s %s", owner, path)
        log_host.shell.check_output("touch -d %s %s", "3 days ago", path)
    try:
        status, said = run(log_host, "archive")
        assert status == 0, said
        report = json.loads(said)
        [archived] = [one for one in report["archived"] if one["path"] == f"{folder}/{names[0]}"]
        assert not log_host.shell.file(f"{folder}/{names[0]}").exists
        assert log_host.shell.file(f"{folder}/{names[1]}").exists
        assert archived["key"].startswith(f"logs/{log_host.name}/{old:%Y/%m/%d}/{source}/")
        outputs = stack_outputs(log_host)
        s3 = secrets.client("s3", log_host.staging.environment)
        stored = s3.head_object(Bucket=outputs["log_archive_bucket"], Key=archived["key"])
        assert stored["SSEKMSKeyId"] == outputs["log_archive_kms_key_arn"]
        assert run(log_host, "archive")[0] == 0
    finally:
        log_host.shell.run("rm -f %s %s", *(f"{folder}/{name}" for name in names))


def test_the_disks_are_watched(log_host: Host) -> None:
    """The manual: monitor log disk usage."""
    status, said = run(log_host, "usage")
    assert status in (0, 3), said  # the sandbox shares the machine's disk, however full that is
    found = json.loads(said.partition("\nsteward: ")[0])
    assert log_host.app
    own = {"db": {"redis-server", "mongod", "steward"}, "app": {log_host.app.name, "nginx"}}[log_host.purpose]
    assert {source["name"] for source in found["sources"]} == {*own, "system"}
    assert found["disks"]
    metrics = f"/var/lib/prometheus/node-exporter/steward_logs_{log_host.app.name}.prom"
    assert "steward_logs_disk_used_ratio" in log_host.shell.file(metrics).content_string


def test_key_of_an_application_host_opens_nothing(app_server: Host) -> None:
    """The internet reaches them: whoever takes one over gets neither backups nor the logs of others."""
    text = app_server.shell.file("/etc/steward/logs-secrets.toml").content_string
    key = tomllib.loads(text)["storage"]
    environment = app_server.staging.environment | {
        "AWS_ACCESS_KEY_ID": key["access_key_id"],
        "AWS_SECRET_ACCESS_KEY": key["secret_access_key"],
    }
    outputs = stack_outputs(app_server)
    s3 = secrets.client("s3", environment)
    backups, archive = outputs["backup_bucket"], outputs["log_archive_bucket"]
    owner = secrets.client("s3", app_server.staging.environment)
    [backup, *_] = owner.list_objects_v2(Bucket=backups, MaxKeys=1)["Contents"]
    owner.put_object(
        Bucket=archive, Key="logs/another-host/secret", Body=b"x", ServerSideEncryption="aws:kms",
        SSEKMSKeyId=outputs["log_archive_kms_key_arn"],
    )  # fmt: skip
    refused = [
        lambda: s3.list_objects_v2(Bucket=backups),
        lambda: s3.get_object(Bucket=backups, Key=backup["Key"]),
        lambda: s3.put_object(Bucket=backups, Key="daily/x/manifest.json", Body=b"{}"),
        lambda: s3.get_object(Bucket=archive, Key="logs/another-host/secret"),
        lambda: s3.delete_object(Bucket=archive, Key="logs/another-host/secret"),
        lambda: secrets.client("secretsmanager", environment).list_secrets(),
    ]
    for ask in refused:
        with pytest.raises(ClientError, match="AccessDenied"):
            ask()
