"""nginx: the only way in, for our names only, and around a host that is out."""

from __future__ import annotations

import http.client
import json
import socket
import ssl
import uuid

import pytest

from tests.hosts.app.client import AppHost, wait_until


def test_health_over_tls(app_host: AppHost) -> None:
    """The certificate is of the application's name and of a CA that clients trust."""
    answer = app_host.https(app_host.app.health.path)
    assert answer.status == 200
    assert answer.json()["status"] == "ok"
    assert answer.json()["app"] == app_host.app.name


def test_http_is_redirected(app_host: AppHost) -> None:
    """To the same path, query included."""
    answer = app_host.http("/api/menu?page=2", app_host.domain)
    assert answer.status == 301
    assert answer.headers["location"] == f"https://{app_host.domain}/api/menu?page=2"


def test_foreign_name_gets_no_answer(app_host: AppHost) -> None:
    """Scanners that know only the address learn nothing."""
    with pytest.raises((http.client.RemoteDisconnected, ConnectionResetError)):
        app_host.http("/", "foreign.example")


def test_foreign_name_gets_no_certificate(app_host: AppHost) -> None:
    """A certificate would tell a scanner whose host this is."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    with (
        socket.create_connection((app_host.address, 443), timeout=15) as plain,
        pytest.raises(ssl.SSLError, match=r"(?i)unrecognized.name"),
    ):
        context.wrap_socket(plain, server_hostname="foreign.example")


def test_foreign_name_behind_our_certificate_gets_no_answer(app_host: AppHost) -> None:
    """The name in the request counts too, or the application would build links to it."""
    with pytest.raises((http.client.RemoteDisconnected, ConnectionResetError, ssl.SSLError)):
        app_host.https("/", headers={"Host": "foreign.example"})


def test_old_tls_is_refused(app_host: AppHost) -> None:
    """TLS 1.1 and older are broken."""
    asked = app_host.shell.run(
        "echo | openssl s_client -tls1_1 -cipher ALL:@SECLEVEL=0 -servername %s -connect 127.0.0.1:443",
        app_host.domain,
    )
    assert "Cipher is (NONE)" in asked.stdout


def test_security_headers_stand_once_in_every_answer(app_host: AppHost) -> None:
    """Also when the application sets them, and in answers that nginx gives itself."""
    answers = [
        app_host.https(app_host.app.health.path),
        app_host.https("/api/no-such-thing"),
        app_host.https("/", method="POST", body=b"x" * 6 * 1024 * 1024),
    ]
    assert [a.status for a in answers] == [200, 404, 413]
    for answer in answers:
        assert answer.headers["strict-transport-security"] == "max-age=63072000"
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["x-frame-options"] == "DENY"
        assert answer.headers["server"] == "nginx"
        assert "x-powered-by" not in answer.headers


def test_log_has_the_real_client_and_no_query(app_host: AppHost) -> None:
    """A client cannot write its own address into the log, nor its token."""
    mark = uuid.uuid4().hex
    app_host.https(
        f"{app_host.app.health.path}/{mark}?token=hidden{mark}", headers={"X-Forwarded-For": "203.0.113.9"}
    )
    log = "/var/log/nginx/access.log"
    wait_until(lambda: mark in app_host.shell.file(log).content_string, "a line in nginx' log", 15)
    text = app_host.shell.file(log).content_string
    assert f"hidden{mark}" not in text
    (line,) = [json.loads(line) for line in text.splitlines() if mark in line]
    assert line["client"] == app_host.staging.sandbox.gateway
    assert line["path"].endswith(mark)


def test_counters_are_for_the_host_alone(app_host: AppHost) -> None:
    """Exporters run on the host."""
    assert "Active connections" in app_host.shell.check_output("curl -fsS http://127.0.0.1:8081/nginx-status")
    # On loopback alone, and behind the firewall, which gives no answer at all.
    with pytest.raises((ConnectionRefusedError, TimeoutError)):
        socket.create_connection((app_host.address, 8081), timeout=5).close()
    assert app_host.https("/nginx-status").status == 404


def test_only_expected_ports_listen(app_host: AppHost) -> None:
    """Each open port is a door; the node port is for nginx on the other hosts."""
    lines = app_host.shell.check_output("ss -Hltn").splitlines()
    local = [line.split()[3].rsplit(":", 1) for line in lines]
    public = {int(port) for address, port in local if address not in ("127.0.0.1", "[::1]", "127.0.0.53%lo")}
    assert public == {22, 80, 443, app_host.app.node.port}


def test_configuration_is_valid_and_enabled(app_host: AppHost) -> None:
    """As the next boot will find it."""
    assert app_host.shell.run("nginx -t").rc == 0
    nginx = app_host.shell.service("nginx")
    assert nginx.is_running
    assert nginx.is_enabled
    key = app_host.shell.file("/etc/nginx/tls/server.key")
    assert (key.user, key.mode) == ("root", 0o600)
    assert not app_host.shell.file("/etc/nginx/sites-enabled/default").exists


def test_users_do_not_notice_that_one_hosts_workers_are_gone(first: AppHost, second: AppHost) -> None:
    """Each nginx knows the workers of all hosts."""
    try:
        first.shell.check_output("systemctl stop pm2-%s", first.app.name)
        assert first.local_health() == {}
        answers = [first.https(first.app.health.path).status for _ in range(20)]
        assert answers == [200] * 20
    finally:
        first.shell.check_output("systemctl start pm2-%s", first.app.name)
        wait_until(first.settled, "all workers online")
    assert second.settled()


def test_bad_host_gets_no_requests_and_good_one_does_again(first: AppHost, second: AppHost) -> None:
    """nginx alone would go on trying it with requests of users."""

    def serves(host: AppHost) -> list[bool]:
        status = json.loads(host.shell.check_output("nginx-upstream status --json"))
        return [row["serves"] for row in status["servers"]]

    try:
        first.shell.check_output("systemctl stop pm2-%s", first.app.name)
        for host in (first, second):
            wait_until(lambda host=host: serves(host) == [False, True], "the first host is out", 30)
        assert "down; # failing" in second.shell.file("/var/lib/nginx-upstream/servers.conf").content_string
    finally:
        first.shell.check_output("systemctl start pm2-%s", first.app.name)
        wait_until(first.settled, "all workers online")
    for host in (first, second):
        wait_until(lambda host=host: serves(host) == [True, True], "the first host serves", 30)


def test_load_balancer_is_sent_away_and_back(app_host: AppHost) -> None:
    """It asks by address, without TLS."""
    assert app_host.http("/nginx-health", app_host.address).status == 200
    try:
        app_host.shell.check_output("nginx-upstream entry leave")
        assert app_host.http("/nginx-health", app_host.address).status == 503
        assert app_host.https(app_host.app.health.path).status == 200, "who still comes is served"
    finally:
        app_host.shell.check_output("nginx-upstream entry join")
    assert app_host.http("/nginx-health", app_host.address).status == 200


def test_maintenance_page(single: AppHost) -> None:
    """JSON, as from the application, and when to come again."""
    try:
        single.shell.check_output("nginx-upstream maintenance on")
        answer = single.https("/api/menu")
        assert (answer.status, answer.json()) == (503, {"error": "maintenance"})
        assert answer.headers["retry-after"] == "120"
        assert answer.headers["x-content-type-options"] == "nosniff"
    finally:
        single.shell.check_output("nginx-upstream maintenance off")
    assert single.https("/api/menu").status == 200


def test_one_client_cannot_take_all(single: AppHost) -> None:
    """nginx' own configuration with small numbers and other ports: what is beyond them gets 429."""
    other = (
        "sed -e 's/rate=[0-9]*r/rate=1r/; s/burst=[0-9]*/burst=2/; s/8081/18081/' "
        r"-e 's/listen \(\[::\]:\)\?443/listen \18443/; s/listen \(\[::\]:\)\?80\b/listen \18080/' "
        "-e 's#/run/nginx.pid#/run/nginx-test.pid#' /etc/nginx/nginx.conf > /etc/nginx/test.conf && "
        "nginx -c /etc/nginx/test.conf </dev/null >/dev/null 2>&1"
    )
    url = f"https://{single.domain}:8443{single.app.health.path}"
    ask = "curl -sk -o /dev/null -w '%{http_code}\\n' --resolve " + f"{single.domain}:8443:127.0.0.1 {url}"
    try:
        single.shell.check_output(other)
        statuses = single.shell.run(f"for n in 1 2 3 4 5 6; do {ask}; done").stdout.split()
        assert statuses[:3] == ["200"] * 3
        assert "429" in statuses[3:]
    finally:
        single.shell.run("kill $(cat /run/nginx-test.pid); rm -f /etc/nginx/test.conf")
