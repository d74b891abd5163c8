"""Log rotation on every host: the rules are accepted as a whole, and they rotate."""

from __future__ import annotations

import contextlib
import secrets
from collections.abc import Iterator
from pathlib import Path

import pytest

from sandbox.settings import REPOSITORY
from steward.appfile import load_all
from tests.hosts.conftest import Host, wait_until


def keep_days(host: Host) -> int:
    if host.app:
        return host.app.logs.keep_days
    return max(app.logs.keep_days for app in load_all(REPOSITORY / "apps").values())


def on_disk_days(host: Host) -> int:
    """Where old logs go into an archive, they may wait for it."""
    return keep_days(host) + (14 if host.shell.file("/etc/cron.d/steward-logs").exists else 0)


def test_all_rules_together_are_accepted(any_host: Host) -> None:
    """One file that two rules name, or an unknown user, and logrotate leaves logs alone."""
    done = any_host.shell.run("logrotate --debug /etc/logrotate.conf")
    assert done.rc == 0, done.stderr
    assert "error:" not in done.stderr


def test_rotation_is_scheduled(any_host: Host) -> None:
    """Rules do nothing without the timer."""
    assert any_host.shell.service("logrotate.timer").is_enabled
    assert any_host.shell.service("logrotate.timer").is_running


def test_system_logs_follow_the_policy(any_host: Host) -> None:
    """The distribution keeps four weeks of these and rotates them weekly."""
    rule = any_host.shell.file("/etc/logrotate.d/rsyslog").content_string.split("\n")
    words = {line.strip() for line in rule}
    assert {"daily", f"rotate {on_disk_days(any_host)}", "dateext", "compress"} <= words


@contextlib.contextmanager
def rotated(host: Host, rule: str) -> Iterator[str]:
    """Rotate by one rule, as the service does, and give the ending of the rotated files.

    The rule is the host's own, but for a date that today's real rotation has not
    used, and empty files are rotated too.
    """
    shell = host.shell
    folder = shell.check_output("mktemp -d")
    ending = f"-test-{secrets.token_hex(4)}"
    change = (
        f"s/^ *dateext$/dateext\\ndateformat {ending}-%s/;s/notifempty/ifempty/"
        ";/delaycompress/d;s/compress/nocompress/"
    )
    try:
        shell.check_output("sed %s %s > %s", change, f"/etc/logrotate.d/{rule}", f"{folder}/rule")
        # Restrictions of Debian's logrotate.service that a postrotate line must live with.
        shell.check_output(
            "systemd-run --quiet --collect --wait --pipe --property=MemoryDenyWriteExecute=true"
            " --property=PrivateDevices=true --property=RestrictNamespaces=true"
            " logrotate --force --state=%s %s",
            f"{folder}/state",
            f"{folder}/rule",
        )
        yield ending
    finally:
        shell.run("rm -rf %s; find /var/log -name %s -delete", folder, f"*{ending}*")


def test_syslog_is_rotated_and_written_on(any_host: Host) -> None:
    """A writer that keeps the renamed file open writes where nobody looks, until the disk is full."""
    said = f"steward-test-{secrets.token_hex(4)}"
    any_host.shell.check_output("logger -t %s before", said)
    wait = "timeout 20 sh -c 'until grep -q \"$0\" /var/log/syslog; do sleep 0.2; done' %s"
    any_host.shell.check_output(wait, f"{said}: before")
    with rotated(any_host, "rsyslog") as ending:
        assert any_host.shell.check_output("find /var/log -name %s", f"syslog{ending}*") != ""
        any_host.shell.check_output("logger -t %s after", said)
        any_host.shell.check_output(wait, f"{said}: after")
        assert f"{said}: before" not in any_host.shell.file("/var/log/syslog").content_string


def open_files(host: Host, pattern: str) -> set[str]:
    """Files of this pattern that any process holds open, standard streams aside.

    nginx keeps its first error log as standard error, and writes nothing to it.
    """
    command = "find /proc/[0-9]*/fd -mindepth 1 -not -name '[012]' -lname %s -printf '%%l\\n' 2>/dev/null"
    return {Path(line).name for line in host.shell.run(command, pattern).stdout.splitlines()}


@pytest.mark.parametrize("writer", ["application", "nginx"])
def test_writers_open_new_files(app_server: Host, writer: str) -> None:
    """PM2 and nginx hold files open; without the signal a month of logs goes into one of them."""
    assert app_server.app
    app = app_server.app
    rule = app.name if writer == "application" else "nginx"
    # Not app.log: the application opens it anew when it has something to say, as it does with access.log.
    files = {"application": ("out.log", "error.log", "access.log"), "nginx": ("access.log", "error.log")}[
        writer
    ]
    health = f"http://127.0.0.1:{app.node.port}{app.health.path}"

    def writes_to(ending: str) -> bool:
        app_server.shell.run("curl --silent --max-time 5 --output /dev/null %s", health)
        found = [open_files(app_server, f"/var/log/{rule}/{file}{ending}") for file in files]
        return all(found) if ending == "" else not any(found)

    wait_until(lambda: writes_to(""), seconds=90, what=f"{rule}: all of {files} are open")
    with rotated(app_server, rule) as ending:
        wait_until(lambda: writes_to(f"{ending}*"), seconds=90, what=f"{rule}: no rotated file is open")
        wait_until(lambda: writes_to(""), seconds=90, what=f"{rule}: the new files are open")
