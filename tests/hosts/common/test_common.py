"""What the role common promises on every host."""

from __future__ import annotations

import json

from sandbox.settings import REPOSITORY
from steward.appfile import load_all
from tests.hosts.conftest import Host
from tests.support.staging import Staging


def test_clock_is_utc(any_host: Host) -> None:
    """The hours of the app files mean UTC; another zone would shift every backup."""
    assert any_host.shell.check_output("date +%Z") == "UTC"
    assert any_host.shell.file("/etc/localtime").linked_to == "/usr/share/zoneinfo/Etc/UTC"


def test_every_service_is_up(any_host: Host) -> None:
    """A unit that failed at boot stays unseen until the day it is needed."""
    assert any_host.shell.check_output("systemctl --failed --no-legend --plain") == ""
    assert any_host.shell.service("cron").is_running
    assert any_host.shell.service("cron").is_enabled


def test_journal_is_kept_and_limited(any_host: Host) -> None:
    """Without limits the journal takes a tenth of the disk; without storage a crash leaves no trace."""
    days = (
        any_host.app.logs.keep_days
        if any_host.app
        else max(app.logs.keep_days for app in load_all(REPOSITORY / "apps").values())
    )
    # `systemd-analyze cat-config` shows what counts after all drop-ins.
    shown = any_host.shell.check_output("systemd-analyze cat-config systemd/journald.conf").splitlines()
    assert f"MaxRetentionSec={days}day" in shown
    assert "Storage=persistent" in shown
    assert any_host.shell.file("/var/log/journal").is_directory


def test_sandbox_authority_is_trusted(any_host: Host) -> None:
    """A host that does not trust the endpoint's certificate cannot store a backup."""
    url = any_host.staging.sandbox.aws_url
    done = any_host.shell.run("curl --silent --show-error --max-time 20 --output /dev/null %s", url)
    assert done.rc == 0, done.stderr


def test_packages_ask_dpkg_before_apt(staging: Staging) -> None:
    """What is there changes nothing; what is not would be installed, also beside others that are there."""

    def would(*names: str) -> str:
        argument = json.dumps({"name": list(names)})
        argv = ("ansible", "monitor1", "--become", "--check", "-m", "packages", "-a", argument)
        return staging.run(*argv).stdout

    assert "SUCCESS" in would("cron", "logrotate")
    assert "CHANGED" in would("cron", "fortunes-min")
    assert "No package matching 'no-such-package'" in would("no-such-package")


def test_advice_on_the_size_of_hosts(staging: Staging) -> None:
    """Each host of an application is measured: what waits, what workers hold, what Redis may hold."""
    done = staging.run("ansible-playbook", "playbooks/sizing.yml", "--limit", "bitesbay", "-v")
    assert done.returncode == 0, done.stdout
    assert done.stdout.count("cpu_wait:") == 3
    assert (
        f"redis_limit: {load_all(REPOSITORY / 'apps')['bitesbay'].redis.maxmemory_mb * 1024 * 1024}"
        in done.stdout
    )


def test_system_folders_still_belong_to_root(any_host: Host) -> None:
    """A role that changes the owner of a shared folder hands the host to that user."""
    for path in ("/", "/etc", "/usr", "/usr/local/bin", "/opt", "/var", "/var/log", "/etc/cron.d"):
        folder = any_host.shell.file(path)
        assert (folder.user, folder.mode & 0o022) == ("root", 0), path
