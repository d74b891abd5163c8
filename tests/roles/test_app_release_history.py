"""Which release a host goes back to, and what its history says."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.roles.app_modules import load_release
from tests.roles.rendering import evaluate


@pytest.fixture
def host(tmp_path: Path) -> Any:
    """An application with three unpacked releases, of which the second runs."""
    parameters = {
        "name": "a", "root": str(tmp_path), "script": "server.js", "instances": 2, "listen_timeout_ms": 1000,
        "kill_timeout_ms": 1000, "who": "asha@laptop", "why": "menu", "verb": "deploy", "keep": 5,
        "allow_bad": False, "abandon": False, "renew": "none", "canary_port": 0, "back_to": "",
        "environment_file": str(tmp_path / "env"),
    }  # fmt: skip
    activation = load_release().Activation(parameters)
    for release in ("r1", "r2", "r3"):
        (tmp_path / "releases" / release).mkdir(parents=True)
        (tmp_path / "releases" / release / "server.js").touch()
        if release != "r3":
            activation.record(release, "", "active", 1.0)
    activation.link("r2")
    return activation


def history(host: Any) -> list[dict[str, Any]]:
    return [json.loads(line) for line in host.log.read_text().splitlines()]


def test_history_tells_who_and_why(host: Any) -> None:
    assert history(host)[0] | {"time": "", "seconds": 0} == {
        "time": "", "release": "r1", "previous": "", "result": "active", "seconds": 0,
        "verb": "deploy", "who": "asha@laptop", "why": "menu", "reason": "",
    }  # fmt: skip


def test_last_good_release_is_the_one_that_ran_before(host: Any) -> None:
    assert host.last_good(but="r3") == "r2"
    assert host.last_good(but="r2") == "r1"
    assert host.choose() == {"changed": False, "linked": "r2", "previous": "r1"}


def test_bad_release_is_no_way_back(host: Any) -> None:
    host.mark("r1", "it lost orders")
    assert "it lost orders" in host.bad("r1")
    assert host.last_good(but="r2") == ""
    host.mark("r1", "")
    assert host.last_good(but="r2") == "r1"


def test_mark_that_cannot_be_read_is_one(host: Any) -> None:
    (host.releases / "r1/BAD_RELEASE").write_text("{")
    assert host.last_good(but="r2") == ""


def test_release_that_is_gone_is_no_way_back(host: Any) -> None:
    (host.releases / "r1/server.js").unlink()
    assert host.last_good(but="r2") == ""


def test_line_cut_short_by_a_crash_is_no_release(host: Any) -> None:
    with host.log.open("a") as log:
        log.write('{"release": "r3", "result": "act')
    assert host.last_good(but="") == "r2"


def quiet(host: Any, monkeypatch: pytest.MonkeyPatch, *, fails: str = "") -> list[str]:
    """Let the host run whatever is linked, except one release that fails; returns the switches."""
    switched: list[str] = []

    def switch(release: str, at_least: str = "none") -> str:
        switched.append(release)
        host.link(release)
        if release == fails:
            raise load_release().ReleaseError("worker 0 is errored")
        return "reload"

    monkeypatch.setattr(host, "switch", switch)
    running = host.linked()
    monkeypatch.setattr(
        host, "needed", lambda release: ("none" if host.linked() == release else "reload", [running])
    )
    monkeypatch.setattr(host, "processes", dict)
    return switched


def test_failed_release_is_marked_and_the_last_good_one_runs(
    host: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    switched = quiet(host, monkeypatch, fails="r3")
    with pytest.raises(Exception, match=r"worker 0 is errored; went back to r2, which is healthy"):
        host.activate("r3")
    assert switched == ["r3", "r2"]
    assert host.linked() == "r2"
    assert "errored" in host.bad("r3")
    assert history(host)[-1]["result"] == "failed"
    assert "errored" in history(host)[-1]["reason"]


def test_restart_that_fails_blames_no_release(host: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """It ran well until now: the environment or the host is to blame."""
    quiet(host, monkeypatch, fails="r2")
    with pytest.raises(Exception, match="going back to r2 FAILED too"):
        host.activate("r2")
    assert host.linked() == "r2"
    assert host.bad("r2") == ""


def test_release_is_taken_back_since_another_host_could_not_run_it(
    host: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    switched = quiet(host, monkeypatch)
    host.activate("r3")
    host.p["why"] = "app2: worker 0 is errored"
    assert host.take_back("r3")["said"] == "went back to r2, which is healthy"
    assert switched == ["r3", "r2"]
    assert "app2" in host.bad("r3")
    # The next release that fails must not lead back to the one that was taken back.
    assert host.last_good(but="r4") == "r2"


def test_environment_is_taken_back_where_the_release_stays(
    host: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another host could not run with the new one: this host keeps its release."""
    quiet(host, monkeypatch)
    (host.root / "env").write_text("A='1'")
    (host.root / "env.next").write_text("A='2'")
    host.environment.apply()
    host.p |= {"back_to": "r2", "why": "app2: canary"}
    assert host.take_back("r2")["said"] == "went back to r2, which is healthy"
    assert (host.root / "env").read_text() == "A='1'"
    assert host.bad("r2") == "", "the release is not to blame"


def test_failed_activation_takes_the_environment_back(host: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    (host.root / "env").write_text("A='1'")
    (host.root / "env.next").write_text("A='2'")
    quiet(host, monkeypatch, fails="r3")
    original = host.switch

    def switch(release: str, at_least: str = "none") -> str:
        host.environment.apply()
        return str(original(release, at_least))

    monkeypatch.setattr(host, "switch", switch)
    with pytest.raises(Exception, match="went back to r2"):
        host.activate("r3")
    assert (host.root / "env").read_text() == "A='1'"


def test_rollback_marks_what_it_leaves(host: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    quiet(host, monkeypatch)
    host.p |= {"abandon": True, "why": "checkout fails"}
    host.activate("r1")
    assert "checkout fails" in host.bad("r2")
    assert host.bad("r1") == ""


def test_bad_release_is_refused_until_somebody_insists(host: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    quiet(host, monkeypatch)
    host.mark("r3", "it lost orders")
    with pytest.raises(Exception, match=r"it lost orders.*-e app_allow_bad=true"):
        host.attempt("r3")
    host.p["allow_bad"] = True
    assert host.attempt("r3")["action"] == "reload"
    host.activate("r3")
    assert host.bad("r3") == "", "a success takes the mark away"


def test_people_hear_of_no_run_that_moved_nothing() -> None:
    """A step that was skipped leaves a result too, which says that it changed nothing."""

    def moved(*results: dict[str, Any]) -> int:
        hosts = [f"app{number}" for number in range(len(results))]
        known = {host: {"__app_activated": result} for host, result in zip(hosts, results, strict=True)}
        found = evaluate(
            "app", "__app_moved", hostvars=known, groups={"bitesbay_app": hosts},
            ansible_play_hosts=hosts, ansible_play_hosts_all=hosts,
        )  # fmt: skip
        return len(found)

    assert moved({}, {"changed": False, "skipped": True}) == 0
    assert moved({"changed": True}, {"changed": False, "skipped": True}) == 1
