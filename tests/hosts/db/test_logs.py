"""The log jobs on the database hosts, run as cron runs them."""

from __future__ import annotations

import json
import re
import secrets as random
from datetime import UTC, datetime, timedelta

from sandbox import secrets
from tests.hosts.conftest import Host

CRON = "/etc/cron.d/steward-logs"


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


def test_cron_will_read_it_and_its_secrets_are_roots(db_host: Host) -> None:
    """The jobs run as root: whoever could change what they read would be root too."""
    modes = {CRON: 0o644, "/etc/steward/logs.toml": 0o644, "/etc/steward/logs-secrets.toml": 0o600}
    for path, mode in modes.items():
        file = db_host.shell.file(path)
        assert (file.user, file.group, file.mode) == ("root", "root", mode), path
    state = db_host.shell.file("/var/lib/steward-logs")
    assert (state.user, state.mode) == ("root", 0o700)


def test_an_old_log_goes_into_the_archive_and_leaves_the_disk(db_host: Host) -> None:
    """The manual: archive logs older than 30 days to cold storage."""
    assert db_host.app
    days = db_host.app.logs.keep_days
    today = datetime.now(UTC).date()
    old, young = (today - timedelta(days=n) for n in (days + 1, days - 1))
    content = random.token_hex(50)
    folder = "/var/log/redis"
    names = [f"redis-server.log-{day:%Y%m%d}" for day in (old, young)]
    for name in names:
        path = f"{folder}/{name}"
        db_host.shell.check_output("printf %%s %s > %s", content, path)
        db_host.shell.check_output("chown redis:adm %s", path)
        db_host.shell.check_output("touch -d %s %s", "3 days ago", path)
    try:
        status, said = run(db_host, "archive")
        assert status == 0, said
        report = json.loads(said)
        [archived] = [one for one in report["archived"] if one["path"] == f"{folder}/{names[0]}"]
        assert not db_host.shell.file(f"{folder}/{names[0]}").exists
        assert db_host.shell.file(f"{folder}/{names[1]}").exists
        assert archived["key"].startswith(f"logs/{db_host.name}/{old:%Y/%m/%d}/redis-server/")
        outputs = json.loads(
            db_host.staging.run(
                "pulumi", "stack", "output", "--json", "--stack", f"{db_host.app.name}-local"
            ).stdout
        )
        s3 = secrets.client("s3", db_host.staging.environment)
        stored = s3.head_object(Bucket=outputs["log_archive_bucket"], Key=archived["key"])
        assert stored["SSEKMSKeyId"] == outputs["log_archive_kms_key_arn"]
        assert run(db_host, "archive")[0] == 0
    finally:
        db_host.shell.run("rm -f %s %s", *(f"{folder}/{name}" for name in names))


def test_the_disks_are_watched(db_host: Host) -> None:
    """The manual: monitor log disk usage."""
    status, said = run(db_host, "usage")
    assert status in (0, 3), said  # the sandbox shares the machine's disk, however full that is
    found = json.loads(said.partition("\nsteward: ")[0])
    assert {source["name"] for source in found["sources"]} == {"redis-server", "mongod", "steward", "system"}
    assert found["disks"]
    assert db_host.app
    metrics = f"/var/lib/prometheus/node-exporter/steward_logs_{db_host.app.name}.prom"
    assert "steward_logs_disk_used_ratio" in db_host.shell.file(metrics).content_string
