"""The program ``nginx-upstream``: who gets requests, and never nobody."""

from __future__ import annotations

import http.server
import json
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.roles.app_modules import load
from tests.roles.rendering import ROLES, evaluate

A, B, C = "10.0.0.1:3000", "10.0.0.2:3000", "10.0.0.3:3000"


@pytest.fixture(scope="module")
def loaded() -> ModuleType:
    return load("nginx_upstream", ROLES / "nginx/files/nginx_upstream.py")


@pytest.fixture
def upstream(loaded: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The program with all its files in a folder, and no nginx running."""
    for name in ("CONFIG", "SERVERS", "STATE", "MAINTENANCE", "PID_FILE"):
        monkeypatch.setattr(loaded, name, tmp_path / name.lower())
    configure(loaded, A, B)
    return loaded


def configure(upstream: ModuleType, *servers: str, **changes: Any) -> None:
    """Write the settings as the role does."""
    settings = evaluate("nginx", "__nginx_upstream", groups={"bitesbay_app": []}, hostvars={})
    # In a play the role's numbers keep their types.
    settings |= {"servers": list(servers), "interval": 0.05, "timeout": 2, "fall": 3, "rise": 2, **changes}
    upstream.CONFIG.write_text(json.dumps(settings))


def lines(upstream: ModuleType) -> dict[str, str]:
    """Server -> what stands behind it in nginx' file."""
    found = {}
    for line in upstream.SERVERS.read_text().splitlines():
        if line.startswith("server "):
            _, server, rest = line.split(maxsplit=2)
            found[server] = rest
    return found


def test_settings_of_the_role_are_those_that_the_program_reads(upstream: ModuleType) -> None:
    config = upstream.Config.read()
    assert config.path == "/api/health"
    assert config.options == "max_fails=2 fail_timeout=10s"


def test_another_key_in_the_settings_is_an_error(upstream: ModuleType, capsys: Any) -> None:
    configure(upstream, A, colour="red")
    assert upstream.main(["render"]) == 1
    assert "colour" in capsys.readouterr().err


servers = st.lists(st.sampled_from([A, B, C]), min_size=1, unique=True)
some = st.sets(st.sampled_from([A, B, C, "10.9.9.9:1"]))


@given(servers, some, some)
def test_never_all_are_out_of_service(
    loaded: ModuleType, there: list[str], drained: set[str], failing: set[str]
) -> None:
    out = loaded.out_of_service(there, drained, failing)
    assert set(out) < set(there)
    for server, why in out.items():
        assert server in (drained if why == "drained" else failing)
    # A drain is somebody's wish: it yields only when nobody else could serve.
    if not set(there) <= drained:
        assert drained & set(there) <= set(out)


def test_drained_server_gets_no_requests_until_restored(upstream: ModuleType) -> None:
    assert upstream.main(["drain", A, "--seconds", "60", "--reason", "patching"]) == 0
    assert "down" in lines(upstream)[A]
    assert "down" not in lines(upstream)[B]
    assert upstream.main(["restore", A]) == 0
    assert "down" not in lines(upstream)[A]


def test_drain_ends_by_itself(upstream: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    """The run that drained may have been killed."""
    assert upstream.main(["drain", A, "--seconds", "60"]) == 0
    later = upstream.clock() + 61
    monkeypatch.setattr(upstream, "clock", lambda: later)
    assert upstream.main(["render"]) == 0
    assert "down" not in lines(upstream)[A]


def test_last_server_is_not_drained(upstream: ModuleType, capsys: Any) -> None:
    assert upstream.main(["drain", A]) == 0
    assert upstream.main(["drain", B]) == upstream.LAST
    assert "down" not in lines(upstream)[B]
    assert "last server" in capsys.readouterr().err


def test_server_is_not_drained_when_the_other_one_is_bad(upstream: ModuleType) -> None:
    upstream.write(upstream.STATE / "failing.json", json.dumps({"at": upstream.clock(), "servers": [B]}))
    assert upstream.main(["drain", A]) == upstream.LAST


def test_what_a_dead_watcher_has_seen_does_not_count(upstream: ModuleType) -> None:
    upstream.write(upstream.STATE / "failing.json", json.dumps({"at": upstream.clock() - 60, "servers": [B]}))
    assert upstream.main(["drain", A]) == 0


def test_unknown_server_is_an_error(upstream: ModuleType, capsys: Any) -> None:
    assert upstream.main(["drain", "10.0.0.9:3000"]) == 1
    assert A in capsys.readouterr().err


def test_reason_reaches_no_configuration(upstream: ModuleType, capsys: Any) -> None:
    assert upstream.main(["drain", A, "--reason", "x;\n} http {"]) == 0
    assert "http" not in upstream.SERVERS.read_text()
    assert upstream.main(["status", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out.splitlines()[-1])["servers"]
    assert rows[0]["reason"] == "x;\n} http {"


def test_render_tells_whether_it_changed(upstream: ModuleType, capsys: Any) -> None:
    assert [upstream.main(["render"]), upstream.main(["render"])] == [0, 0]
    assert capsys.readouterr().out.split() == ["changed", "unchanged"]


def test_file_is_as_before_when_nginx_refuses_it(
    upstream: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert upstream.main(["render"]) == 0
    before = upstream.SERVERS.read_text()

    def refuse(*_: object) -> set[int]:
        raise upstream.UpstreamError("nginx -t: unknown directive")

    monkeypatch.setattr(upstream, "reload_nginx", refuse)
    assert upstream.main(["drain", A]) == 1
    assert upstream.SERVERS.read_text() == before


def test_load_balancers_may_come_again_by_themselves(
    upstream: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert upstream.main(["entry", "leave", "--seconds", "60"]) == 0
    upstream.end_leaving(upstream.clock() + 59)
    assert (upstream.STATE / "leaving").exists()
    upstream.end_leaving(upstream.clock() + 61)
    assert not (upstream.STATE / "leaving").exists()


def test_maintenance_is_switched(upstream: ModuleType) -> None:
    assert upstream.main(["maintenance", "on"]) == 0
    assert upstream.MAINTENANCE.exists()
    assert upstream.main(["maintenance", "off"]) == 0
    assert not upstream.MAINTENANCE.exists()


@given(st.lists(st.booleans()))
def test_state_changes_only_after_answers_in_a_row(loaded: ModuleType, answers: list[bool]) -> None:
    health = loaded.Health()
    for number, good in enumerate(answers):
        before = health.failing
        if health.saw(good, 3, 2):
            needed = 2 if before else 3
            recent = answers[: number + 1][-needed:]
            assert len(recent) == needed
            assert set(recent) == {before}
        else:
            assert health.failing == before
    if len(answers) >= 3 and len(set(answers[-3:])) == 1:
        assert health.failing is not answers[-1]


class Backend(http.server.BaseHTTPRequestHandler):
    """An application whose health is what the test says."""

    status = 200

    def do_GET(self) -> None:
        assert self.path == "/api/health"
        self.send_response(type(self).status)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def backend() -> Iterator[tuple[str, type[Backend]]]:
    kind = type("OneBackend", (Backend,), {})
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), kind) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield f"127.0.0.1:{server.server_address[1]}", kind
        server.shutdown()
        thread.join(timeout=10)


def test_watcher_takes_a_bad_server_out_and_in_again(
    upstream: ModuleType, backend: tuple[str, type[Backend]]
) -> None:
    server, kind = backend
    configure(upstream, server, B)
    said: list[str] = []
    watcher = upstream.Watcher(said.append)
    probes = upstream.probe

    def probe(asked: str, config: Any) -> str:
        return str(probes(asked, config)) if asked == server else ""  # B is always well

    upstream.probe = probe
    try:
        with ThreadPoolExecutor() as pool:

            def rounds(number: int) -> None:
                for _ in range(number):
                    watcher.round(upstream.Config.read(), pool)

            rounds(2)
            assert "down" not in lines(upstream)[server]
            kind.status = 503
            rounds(2)
            assert "down" not in lines(upstream)[server], "two bad answers may be bad luck"
            rounds(1)
            assert lines(upstream)[server].endswith("down; # failing")
            kind.status = 200
            rounds(2)
            assert "down" not in lines(upstream)[server]
    finally:
        upstream.probe = probes
    assert any("bad, status 503" in line for line in said)
    assert any("good again" in line for line in said)


def test_nobody_answers_and_all_are_asked_anyway(
    upstream: ModuleType, backend: tuple[str, type[Backend]]
) -> None:
    server, kind = backend
    kind.status = 500
    configure(upstream, server)
    watcher = upstream.Watcher(lambda _: None)
    with ThreadPoolExecutor() as pool:
        for _ in range(4):
            watcher.round(upstream.Config.read(), pool)
    assert watcher.health[server].failing
    assert "down" not in lines(upstream)[server]
