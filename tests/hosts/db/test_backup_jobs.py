"""The cron file of the backups: what it says, and that a job really runs the way cron runs it."""

from __future__ import annotations

import re

from tests.hosts.conftest import Host


def lines(host: Host) -> dict[str, str]:
    """The line of each job, by its verb."""
    text = host.shell.file("/etc/cron.d/steward").content_string
    jobs = [line for line in text.splitlines() if re.match(r"[0-9*]", line)]
    return {
        re.findall(r" (?:backup|metrics|drill) (full|oplog|verify|publish|run --[a-z]+) ", line)[0]: line
        for line in jobs
    }


def test_cron_will_read_it(db_host: Host) -> None:
    """cron skips a file that others may write, or whose name has a dot, without a word to anybody."""
    file = db_host.shell.file("/etc/cron.d/steward")
    assert (file.user, file.group, file.mode) == ("root", "root", 0o644)
    assert file.content_string.endswith("\n")
    assert not db_host.shell.file("/etc/cron.d/steward").is_symlink


def test_times_are_those_of_the_app_file(db_host: Host) -> None:
    """A backup at another hour than the manual says surprises whoever plans around it."""
    assert db_host.app
    full, oplog = db_host.app.backup.full, db_host.app.backup.oplog
    assert lines(db_host)["full"].startswith(f"{full.minute} {full.hour} * * * steward ")
    assert f"timeout --kill-after=60 {full.timeout_minutes}m " in lines(db_host)["full"]
    minutes = lines(db_host)["oplog"].split()[0].split(",")
    assert len(minutes) == 60 // oplog.every_minutes


def test_no_secret_stands_in_it(db_host: Host) -> None:
    """Everybody may read cron files."""
    text = db_host.shell.file("/etc/cron.d/steward").content_string
    for name in ("mongodb", "aws-host-key"):
        for key, value in db_host.secret(name).items():
            if "username" not in key:
                assert value not in text


def run_job(db_host: Host, verb: str) -> tuple[int, str]:
    """Run a job as cron would; its exit status and what it wrote into the log."""
    line = lines(db_host)[verb]
    command = line.split(maxsplit=6)[6]
    assert line.split()[5] == "steward"
    path = re.findall(r"^PATH=(.*)$", db_host.shell.file("/etc/cron.d/steward").content_string, re.MULTILINE)[
        0
    ]
    before = db_host.shell.run("stat -c %s /var/log/steward/backup.log").stdout.strip() or "0"
    done = db_host.as_user("steward", "env -i HOME=/var/lib/steward PATH=%s sh -c %s", path, command)
    said = db_host.shell.check_output("tail -c +%s /var/log/steward/backup.log", str(int(before) + 1))
    return done.rc, said


def test_a_job_runs_as_cron_would_run_it(db_host: Host) -> None:
    """cron gives a job next to no environment: a tool that is not found shows only here."""
    status, said = run_job(db_host, "oplog")
    # 4: the hourly job of cron itself holds the lock right now.
    assert status in (0, 4), said
    assert said.strip() != "", "the job left no word of what it did"


def test_what_is_stored_is_verified_with_the_rights_that_the_host_has(db_host: Host) -> None:
    """It reads versions and locks, which backups never do."""
    status, said = run_job(db_host, "verify")
    assert status == 0, said
    assert "nothing wrong" in said


def test_metrics_are_published_with_the_rights_that_the_host_has(db_host: Host) -> None:
    """Its key must let it put metrics; the alarms would only say that none came."""
    status, said = run_job(db_host, "publish")
    # 1: what cannot be told is not published, here the age of a drill that never was.
    assert status in (0, 1), said
    assert "access denied" not in said
    assert "published BackupAgeSeconds of class daily" in said
