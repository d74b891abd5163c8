"""Hardening: the ways in are closed but for those that are needed, and nobody is locked out."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from sandbox.settings import HOSTS
from tests.hosts.conftest import Host, connect, wait_until
from tests.support.staging import Staging


def reaches(source: Host, target: Host, port: int) -> bool:
    """Whether a host gets a TCP connection to a port of another one."""
    probe = f"timeout 3 bash -c '</dev/tcp/{target.address}/{port}'"
    return bool(source.shell.run(probe).rc == 0)


def other_app_host(host: Host) -> Host:
    """An application host of the other application: inside the network, and a stranger."""
    assert host.app
    names = [n for n, (_, app, kind) in HOSTS.items() if kind == "app" and app != host.app.name]
    return connect(names[0], host.staging)


def test_databases_are_open_to_their_application_alone(db_host: Host) -> None:
    """They listen on the network, for which a stolen host of another application is enough."""
    assert db_host.app
    own = next(n for n, (_, app, kind) in HOSTS.items() if kind == "app" and app == db_host.app.name)
    for port in (db_host.app.mongodb.port, db_host.app.redis.port):
        assert reaches(connect(own, db_host.staging), db_host, port), port
        assert not reaches(other_app_host(db_host), db_host, port), port


def test_workers_are_open_to_nginx_alone(app_server: Host) -> None:
    """Past nginx there is no TLS, no limit and no log."""
    assert app_server.app
    stranger = other_app_host(app_server)
    assert reaches(stranger, app_server, 443)
    assert not reaches(stranger, app_server, app_server.app.node.port)


def test_firewall_closes_what_is_not_named_and_comes_with_a_boot(any_host: Host) -> None:
    assert any_host.shell.service("nftables").is_enabled
    rules = any_host.shell.check_output("nft list table inet steward")
    assert rules.count("policy drop") == 2
    assert any_host.shell.file("/etc/nftables.conf").mode == 0o600


def test_passwords_open_no_door(any_host: Host) -> None:
    """As sshd itself says it of all its files together, and as a stranger sees it."""
    settings = any_host.shell.check_output("sshd -T")
    for line in ("passwordauthentication no", "kbdinteractiveauthentication no", "permitemptypasswords no"):
        assert line in settings
    assert re.search(r"^permitrootlogin (without-password|prohibit-password)$", settings, re.MULTILINE)
    options = ("BatchMode=yes", "IdentityFile=/dev/null", "IdentityAgent=none", "StrictHostKeyChecking=no")
    asked = subprocess.run(
        ["ssh", "-F", "none", "-o", "UserKnownHostsFile=/dev/null",
         *(word for option in options for word in ("-o", option)), f"root@{any_host.address}", "true"],
        capture_output=True, text=True, timeout=20, check=False,
    )  # fmt: skip
    assert asked.returncode == 255
    assert "Permission denied (publickey)" in asked.stderr


def test_those_who_guess_are_refused(any_host: Host) -> None:
    """Failed logins as sshd writes them, from an address of the documentation (RFC 5737)."""
    stranger = "192.0.2.77"
    assert any_host.shell.service("fail2ban").is_running
    line = f"Nov 28 02:00:00 host sshd[9]: Failed password for invalid user admin from {stranger} port 4 ssh2"
    matched = any_host.shell.check_output("fail2ban-regex %s /etc/fail2ban/filter.d/sshd.conf", line)
    assert "1 matched" in matched
    try:
        any_host.shell.check_output("fail2ban-client set sshd banip %s", stranger)
        wait_until(
            lambda: stranger in any_host.shell.check_output("nft list ruleset"),
            seconds=10,
            what="the refusal",
        )
    finally:
        any_host.shell.run("fail2ban-client set sshd unbanip %s", stranger)


def test_change_that_nobody_confirms_is_undone(staging: Staging) -> None:
    """The run that changed ssh or firewall was cut off: the host opens itself."""
    shell = connect("monitor1", staging).shell
    files = "/etc/nftables.conf /etc/ssh/sshd_config.d/00-steward.conf /run/hardening/confirmed"
    shell.check_output(f"tar -cPf /run/access.tar {files}")
    try:
        shell.check_output(
            "systemd-run --quiet --collect --on-active=1 --timer-property=AccuracySec=100ms"
            " --unit=hardening-undo /usr/local/sbin/hardening-undo"
        )
        wait_until(lambda: shell.run("nft list table inet steward").rc != 0, seconds=20, what="the undoing")
        wait_until(
            lambda: "both are undone" in shell.run("journalctl -t hardening -n 5").stdout,
            seconds=10,
            what="its line in the journal",
        )
        assert not shell.file("/etc/nftables.conf").exists
        assert not shell.file("/run/hardening/confirmed").exists, "the next run would believe it in force"
    finally:
        shell.check_output("tar -xPf /run/access.tar && rm /run/access.tar && nft -f /etc/nftables.conf")
        shell.check_output("systemctl reload ssh")


def test_only_security_comes_by_itself(any_host: Host) -> None:
    """As unattended-upgrades itself reads its configuration."""
    patterns = any_host.shell.check_output(
        "apt-config dump --format '%v%n' Unattended-Upgrade::Origins-Pattern"
    ).split()
    assert patterns
    assert all("security" in pattern for pattern in patterns)
    assert "1" in any_host.shell.check_output("apt-config dump APT::Periodic::Unattended-Upgrade")


#: The least that Lynis' hardening index may be.
INDEX = 80


def test_hardening_index(staging: Staging, record_property: Callable[[str, object], None]) -> None:
    """Of one host of each kind, by the distribution's Lynis, which the test installs.

    Without the kernel's settings and packages: a container has those of its machine, whatever they are there.
    """
    install = "apt-get install --yes --quiet=2 lynis >/dev/null 2>&1 || true"
    install += "; printf 'skip-test=%s\\n' KRNL-6000 PKGS-7410 > /etc/lynis/custom.prf"
    audit = "lynis audit system --quick --no-colors --nolog 2>/dev/null"
    kinds = {purpose: connect(name, staging) for name, (_, _, purpose) in reversed(HOSTS.items())}

    def measure(host: Host) -> int:
        said = host.shell.run(f"{install}; {audit}").stdout
        found = re.search(r"Hardening index : (\d+)", said)
        assert found, said[-2000:]
        return int(found[1])

    with ThreadPoolExecutor() as pool:
        indexes = dict(zip(kinds, pool.map(measure, kinds.values()), strict=True))
    for kind, index in indexes.items():
        print(f"hardening index of {kind}: {index}")
        record_property(f"hardening_index_{kind}", index)
    assert min(indexes.values()) >= INDEX, indexes


#: Services that have to be root's, and why.
ROOT = {
    "console-getty": "gives logins",
    "cron": "runs jobs as their users",
    "fail2ban": "changes the firewall",
    "nginx": "binds the ports and reads the key; its workers are not root's",
    "nginx-upstream": "reloads nginx",
    "rsyslog": "reads the kernel's log",
    "ssh": "gives logins",
    "systemd-journald": "reads everybody's messages",
    "systemd-logind": "keeps sessions",
    "systemd-udevd": "keeps devices",
    "unattended-upgrades": "waits to end an upgrade before the host ends",
}


def test_only_services_that_have_to_are_roots(any_host: Host) -> None:
    """What is taken over by its input should own as little as possible."""
    lines = any_host.shell.check_output("ps -eo user:32,unit:64,comm:64 --no-headers").splitlines()
    rows = [line.split(None, 2) for line in lines]
    services = [
        (user, unit.removesuffix(".service"), name) for user, unit, name in rows if ".service" in unit
    ]
    assert len(services) > 5
    # A service of the sandbox for one login each, and what a test itself runs.
    known = [row for row in services if not row[1].startswith(("user@", "ssh@"))]
    assert [row for row in known if row[0] == "root" and row[1] not in ROOT] == []
    roots = [name for user, unit, name in known if user == "root" and unit == "nginx"]
    assert len(roots) == (1 if any_host.purpose == "app" else 0), "only nginx' first process is root's"
