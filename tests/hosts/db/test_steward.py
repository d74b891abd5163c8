"""The command steward on the database hosts: installed, closed, allowed no more than it needs."""

from __future__ import annotations

import json
import tomllib

from sandbox import secrets
from tests.hosts.conftest import Host

PYTHON = "/opt/steward/current/bin/python"


def test_it_runs_from_anywhere(db_host: Host) -> None:
    """An engineer at night types its name."""
    assert db_host.shell.check_output("steward --version").startswith("steward ")
    assert db_host.as_user("steward", "steward --help").rc == 0


def test_configuration_follows_app_file_and_stack(db_host: Host) -> None:
    """A number changed by hand on a host would come back as a surprise."""
    assert db_host.app
    found = tomllib.loads(db_host.shell.file("/etc/steward/steward.toml").content_string)
    outputs = json.loads(
        db_host.staging.run(
            "pulumi", "stack", "output", "--json", "--stack", f"{db_host.app.name}-local"
        ).stdout
    )
    assert found["storage"]["bucket"] == outputs["backup_bucket"]
    assert found["backup"]["retention_days"] == db_host.app.backup.retention.all_keep_days()
    assert found["mongodb"]["databases"] == [db_host.app.mongodb.database]
    assert "@" not in found["mongodb"]["uri"]


def test_secrets_are_for_the_jobs_alone(db_host: Host) -> None:
    """The file holds the key to all backups and a login to all data."""
    file = db_host.shell.file("/etc/steward/secrets.toml")
    assert (file.user, file.mode) == ("steward", 0o600)
    for user in ("nobody", "redis", "mongodb"):
        assert db_host.as_user(user, "cat /etc/steward/secrets.toml").rc != 0, user
        assert db_host.as_user(user, "ls /etc/steward").rc != 0, user
    user = db_host.shell.user("steward")
    assert user.shell == "/usr/sbin/nologin"
    assert user.groups == ["steward"]


def test_jobs_know_what_the_secrets_that_may_stay_empty_hold(db_host: Host) -> None:
    """One application has a login for mail, the other nothing: neither stops a playbook."""
    assert db_host.app
    found = tomllib.loads(db_host.shell.file("/etc/steward/secrets.toml").content_string)
    notified = db_host.app.name == secrets.NOTIFIED
    assert found.get("notify") == (db_host.secret("notify") if notified else None)
    assert "pings" not in found


def test_the_jobs_cannot_change_their_own_code(db_host: Host) -> None:
    """Whoever takes the jobs over must not stay after the next restart."""
    for path in (
        "/opt/steward/current/bin/steward",
        "/etc/steward/steward.toml",
        "/etc/cron.d/steward",
        "/usr/local/bin",
    ):
        assert db_host.as_user("steward", "test -w %s", path).rc != 0, path


def test_the_jobs_reach_bucket_and_database(db_host: Host) -> None:
    """What cron will do, up to the point where it would write."""
    done = db_host.as_user("steward", "steward backup list --json")
    assert done.rc == 0, done.stderr
    json.loads(done.stdout)


def test_the_hosts_key_cannot_delete_a_backup(db_host: Host) -> None:
    """Whoever breaks into the host must not be able to destroy the way back."""
    code = """
import tomllib, boto3, botocore.exceptions
config = tomllib.load(open("/etc/steward/steward.toml", "rb"))["storage"]
login = tomllib.load(open("/etc/steward/secrets.toml", "rb"))["storage"]
s3 = boto3.client(
    "s3", region_name=config["region"], endpoint_url=config["endpoint_url"], verify=config["ca_file"],
    aws_access_key_id=login["access_key_id"], aws_secret_access_key=login["secret_access_key"])
s3.list_objects_v2(Bucket=config["bucket"], Prefix="daily/", MaxKeys=1)
for what, call in {
    "delete": lambda: s3.delete_object(Bucket=config["bucket"], Key="daily/steward-test/manifest.json"),
    "lifecycle": lambda: s3.delete_bucket_lifecycle(Bucket=config["bucket"]),
    "policy": lambda: s3.delete_bucket_policy(Bucket=config["bucket"]),
}.items():
    try:
        call()
        print(what, "allowed")
    except botocore.exceptions.ClientError as error:
        print(what, error.response["Error"]["Code"])
"""
    done = db_host.as_user("steward", f"{PYTHON} -c %s", code)
    assert done.rc == 0, done.stderr
    assert done.stdout.split("\n")[:-1] == [
        f"{what} AccessDenied" for what in ("delete", "lifecycle", "policy")
    ]


def test_metrics_have_a_place(db_host: Host) -> None:
    """Alerts on stale backups read these files."""
    folder = db_host.shell.file("/var/lib/prometheus/node-exporter")
    assert folder.is_directory
    assert db_host.as_user("steward", "test -w /var/lib/prometheus/node-exporter").rc == 0
    assert folder.mode & 0o005 == 0o005, "the node exporter must read it"
