"""PM2 and the workers: who they are, what they keep to themselves, and what brings them back."""

from __future__ import annotations

import json

from tests.hosts.app.client import AppHost, wait_until


def secrets_of(app_host: AppHost) -> dict[str, str]:
    """The secret values of the environment file, by name."""
    lines = app_host.shell.file(f"/srv/{app_host.app.name}/shared/env").content_string.splitlines()
    pairs = dict(line.split("=", 1) for line in lines if "=" in line and not line.startswith("#"))
    names = ("SECRET", "PASSWORD", "MONGODB_URI", "REDIS_URL")
    found = {n: v.strip("'") for n, v in pairs.items() if any(part in n for part in names)}
    assert len(found) >= 6, f"the environment file holds only the secrets {sorted(found)}"
    return found


def test_all_workers_are_online_in_cluster_mode(app_host: AppHost) -> None:
    """Fewer workers, or fork mode, and a reload is an outage."""
    workers = app_host.workers()
    assert [w["pm2_env"]["status"] for w in workers] == ["online"] * app_host.app.node.instances
    assert {w["pm2_env"]["exec_mode"] for w in workers} == {"cluster_mode"}
    limit = app_host.app.node.memory_limit_mb * 1024 * 1024
    assert {w["pm2_env"]["max_memory_restart"] for w in workers} == {limit}


def test_daemon_and_workers_run_as_the_application(app_host: AppHost) -> None:
    """A worker that runs as root hands the host to whoever breaks into the application."""
    daemon = app_host.shell.file(f"/var/lib/{app_host.app.name}/.pm2/pm2.pid").content_string.strip()
    for pid in [daemon, *(str(w["pid"]) for w in app_host.workers())]:
        assert app_host.shell.check_output("ps -o user= -p %s", pid) == app_host.app.name
        status = app_host.shell.file(f"/proc/{pid}/status").content_string
        assert "NoNewPrivs:\t1" in status
        assert "CapBnd:\t0000000000000000" in status
    user = app_host.shell.user(app_host.app.name)
    assert user.shell == "/usr/sbin/nologin"
    assert user.home == f"/var/lib/{app_host.app.name}"


def test_workers_start_from_the_link_in_the_real_release(app_host: AppHost) -> None:
    """With the resolved path kept, PM2 would start old code, or none once that release is pruned."""
    root = f"/srv/{app_host.app.name}"
    release = app_host.shell.check_output("readlink -f %s", f"{root}/current")
    for worker in app_host.workers():
        assert worker["pm2_env"]["pm_cwd"] == f"{root}/current"
        assert app_host.shell.check_output("readlink /proc/%s/cwd", str(worker["pid"])) == release


def test_environment_file_is_for_the_application_alone(app_host: AppHost) -> None:
    """The only place on the host with the application's secrets."""
    path = f"/srv/{app_host.app.name}/shared/env"
    file = app_host.shell.file(path)
    assert (file.user, file.mode) == (app_host.app.name, 0o600)
    assert app_host.shell.run("runuser -u nobody -- cat %s", path).rc != 0


def test_pm2_keeps_and_shows_no_secret(app_host: AppHost) -> None:
    """PM2 writes whole environments to its dump and shows them to anybody who may run it."""
    home = f"/var/lib/{app_host.app.name}/.pm2"
    daemon = app_host.shell.file(f"{home}/pm2.pid").content_string.strip()
    pids = [daemon, *(str(w["pid"]) for w in app_host.workers())]
    places = {
        "pm2 jlist": json.dumps(app_host.workers()),
        "ecosystem file": app_host.shell.file(f"/etc/{app_host.app.name}/ecosystem.config.js").content_string,
        "files of PM2": app_host.shell.check_output("find %s -type f -exec cat {} +", home),
        "environments": "".join(app_host.shell.file(f"/proc/{pid}/environ").content_string for pid in pids),
        "arguments": app_host.shell.check_output("ps axww -o args="),
        "logs of PM2": app_host.shell.check_output(
            "cat /var/log/%s/out.log /var/log/%s/error.log", app_host.app.name, app_host.app.name
        ),
    }
    leaks = [
        f"{name} in {place}"
        for name, value in secrets_of(app_host).items()
        for place, text in places.items()
        if value in text
    ]
    assert not leaks


def test_pm2s_files_are_closed_to_others(app_host: AppHost) -> None:
    """Who can write PM2's sockets can run code as the application."""
    home = app_host.shell.file(f"/var/lib/{app_host.app.name}")
    assert (home.user, home.mode) == (app_host.app.name, 0o750)
    for name in ("dump.pm2", "dump.pm2.bak"):
        dump = app_host.shell.file(f"/var/lib/{app_host.app.name}/.pm2/{name}")
        assert not dump.exists or dump.mode == 0o600
    assert app_host.shell.run("runuser -u nobody -- ls /var/lib/%s", app_host.app.name).rc != 0


def test_pm2_as_root_reaches_the_applications_daemon(app_host: AppHost) -> None:
    """The trap of every PM2 host: as root it shows an empty list, from a second daemon."""
    assert len(app_host.workers()) == app_host.app.node.instances
    assert not app_host.shell.file("/root/.pm2").exists
    daemons = app_host.shell.check_output("pgrep --count --full 'PM2 v.*God Daemon'")
    assert daemons == "1"


def test_pm2_refuses_other_users(app_host: AppHost) -> None:
    """It would start a daemon of its own for them."""
    refused = app_host.shell.run("runuser -u nobody -- pm2 jlist")
    assert refused.rc == 2
    assert app_host.app.name in refused.stderr


def test_application_cannot_change_its_code(app_host: AppHost) -> None:
    """Whoever breaks into the application must not be able to stay there."""
    root = f"/srv/{app_host.app.name}"
    assert app_host.shell.check_output("find %s/releases ! -user root", root) == ""
    touched = app_host.shell.run("runuser -u %s -- touch %s/current/evil", app_host.app.name, root)
    assert touched.rc != 0


def test_unit_is_enabled_and_brings_the_workers_back(first: AppHost) -> None:
    """What happens at boot, without booting."""
    unit = first.shell.service(f"pm2-{first.app.name}")
    assert unit.is_enabled
    before = {w["pid"] for w in first.workers()}
    try:
        assert first.shell.run("systemctl restart pm2-%s", first.app.name).rc == 0
        wait_until(first.settled, "all workers online after a restart of the unit")
        assert not before & {w["pid"] for w in first.workers()}
    finally:
        first.shell.run("systemctl start pm2-%s", first.app.name)


def test_killed_worker_is_replaced(first: AppHost) -> None:
    """As after a crash or the kernel's out-of-memory killer."""
    victim = first.workers()[0]["pid"]
    first.shell.check_output("kill -KILL %s", str(victim))
    wait_until(
        lambda: first.settled() and victim not in {w["pid"] for w in first.workers()},
        "a new worker in place of the killed one",
    )


def test_killed_daemon_comes_back_with_its_workers(first: AppHost) -> None:
    """Without the daemon nobody restarts a worker, so systemd must restart the daemon."""
    pid_file = f"/var/lib/{first.app.name}/.pm2/pm2.pid"
    daemon = first.shell.file(pid_file).content_string.strip()
    first.shell.check_output("kill -KILL %s", daemon)
    wait_until(
        lambda: first.settled() and first.shell.file(pid_file).content_string.strip() != daemon,
        "a new daemon with all workers",
    )


def test_pm2_does_not_start_a_daemon_outside_of_its_unit(first: AppHost) -> None:
    """It would hold the port and be unknown to systemd: the next start of the unit would fail."""
    try:
        first.shell.check_output("systemctl stop pm2-%s", first.app.name)
        refused = first.shell.run("pm2 jlist")
        assert refused.rc == 1
        assert f"systemctl start pm2-{first.app.name}" in refused.stderr
        assert first.shell.run("pgrep --full 'God Daemon'").rc == 1
        # One that ended just now: its process seems to be there, and nobody answers.
        pid_file = f"/var/lib/{first.app.name}/.pm2/pm2.pid"
        lives = f"sleep 60 & echo $! >{pid_file}; pm2 jlist; status=$?; kill $!; exit $status"
        refused = first.as_user(lives)
        assert refused.rc != 0
        assert first.shell.run("pgrep --full 'God Daemon'").rc == 1
    finally:
        first.shell.check_output("systemctl start pm2-%s", first.app.name)
        wait_until(first.settled, "all workers online")


def test_a_daemon_outside_of_the_unit_does_not_keep_it_from_starting(first: AppHost) -> None:
    """Somebody has called PM2 past its command, and its daemon has all the workers."""
    home = f"/var/lib/{first.app.name}"
    try:
        first.shell.check_output("systemctl stop pm2-%s", first.app.name)
        past = f"env HOME={home} PM2_HOME={home}/.pm2 node /opt/pm2/current/node_modules/pm2/bin/pm2"
        started = first.as_user(f"cd / && {past} start /etc/{first.app.name}/ecosystem.config.js")
        assert started.rc == 0, started.stderr
        assert first.shell.run("pgrep --full 'God Daemon'").rc == 0
        first.shell.check_output("systemctl start pm2-%s", first.app.name)
        wait_until(first.settled, "all workers online")
        [daemon] = first.shell.check_output("pgrep --full 'God Daemon'").split()
        assert daemon == first.shell.check_output("systemctl show pm2-%s --value -pMainPID", first.app.name)
        assert not first.shell.file(f"{home}/.pm2/dump.pm2").exists
    finally:
        first.shell.run("systemctl start pm2-%s", first.app.name)
