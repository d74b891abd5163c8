"""The decision of the module ``app_release``: what runs against what should run."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.roles.app_modules import load_state

state = load_state()

WANTED = state.Wanted(
    directory="/srv/a/releases/r2",
    script="/srv/a/current/src/server.js",
    instances=2,
    config="c1",
    pm2_version="7.0.4",
    not_before=1000.0,
    unit_written=900.0,
)
GOOD = state.Worker(
    pm_id="0",
    status="online",
    mode="cluster_mode",
    started=1001.0,
    script=WANTED.script,
    config="c1",
    pm2_version="7.0.4",
    directory=WANTED.directory,
)


def decide(*workers: Any, since: float | None = 950.0, **wanted: Any) -> str:
    action, reasons = state.decide(since, list(workers), dataclasses.replace(WANTED, **wanted))
    assert bool(reasons) == (action != "none"), "an action has a reason, and no action has none"
    return str(action)


def test_workers_as_wanted_are_left_alone() -> None:
    assert decide(GOOD, GOOD) == "none"


def test_another_environment_file_replaces_the_workers() -> None:
    assert decide(GOOD, GOOD, environment_pending=True) == "reload"
    assert decide(since=None, environment_pending=True) == "start"


def test_unit_that_does_not_run_is_started() -> None:
    assert decide(since=None) == "start"


@pytest.mark.parametrize(
    "change",
    [
        {"directory": "/srv/a/releases/r1"},
        {"directory": ""},
        {"status": "errored"},
        {"started": 999.0},
        {"config": "c0"},
    ],
)
def test_one_stale_worker_is_enough_for_a_reload(change: dict[str, Any]) -> None:
    assert decide(GOOD, dataclasses.replace(GOOD, **change)) == "reload"


@pytest.mark.parametrize(
    "change", [{"pm2_version": "7.0.3"}, {"mode": "fork_mode"}, {"script": "/srv/a/current/old.js"}]
)
def test_what_a_reload_cannot_change_needs_a_restart(change: dict[str, Any]) -> None:
    stale = dataclasses.replace(GOOD, **change)
    assert decide(stale, stale) == "restart"
    # and a restart wins over a reload that is due as well
    assert decide(stale, dataclasses.replace(GOOD, config="c0")) == "restart"


def test_number_of_workers() -> None:
    assert decide(GOOD) == "reload"
    assert decide(GOOD, GOOD, GOOD) == "reload"
    assert decide() == "restart"


def test_unit_file_of_the_same_second_is_not_newer() -> None:
    """systemd tells the start in whole seconds; a restart on every run would follow."""
    assert decide(GOOD, GOOD, since=950.0, unit_written=950.9) == "none"
    assert decide(GOOD, GOOD, since=950.0, unit_written=951.0) == "restart"


def test_jlist_with_notices_before_it() -> None:
    processes = [{"name": "a", "pid": 1}, {"name": "other", "pid": 2}]
    text = ">>>> In-memory PM2 is out-of-date\n[PM2] notice\n" + json.dumps(processes) + "\n"
    assert state.parse_jlist(text) == processes
    assert state.parse_jlist("[]") == []


@pytest.mark.parametrize("text", ["", "pm2: not running", "[PM2] only a notice", "[broken"])
def test_no_list_is_not_an_empty_list(text: str) -> None:
    with pytest.raises(state.ReleaseError, match="no list of processes"):
        state.parse_jlist(text)


names = st.text("abcdef0123456789", min_size=1, max_size=6)


@given(
    releases=st.dictionaries(names, st.floats(0, 1e9), max_size=12),
    protected=st.sets(names, max_size=3),
    keep=st.integers(1, 8),
)
def test_pruning_keeps_the_newest_and_the_protected(
    releases: dict[str, float], protected: set[str], keep: int
) -> None:
    doomed = set(state.to_prune(releases, protected, keep))
    kept = set(releases) - doomed
    assert not doomed & protected
    assert len(kept - protected) <= keep
    assert len(kept) >= min(keep, len(releases))
    if doomed and (free := kept - protected):
        assert max(releases[d] for d in doomed) <= min(releases[k] for k in free)
