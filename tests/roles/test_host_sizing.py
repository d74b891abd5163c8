"""What is advised on the size of a host, by what was used of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.roles.app_modules import ROLE, load, load_state

load_state()
sizing = load("host_sizing", ROLE.parent / "sizing/library/host_sizing.py")
MIB = sizing.MIB
WEEK = 7 * 86400.0


def use(**changes: Any) -> Any:
    """A host of four cores and 8 GB, at ease."""
    usual = {
        "cores": 4, "memory": 8192 * MIB, "available": 5000 * MIB, "uptime": WEEK, "cpu_wait": 2.0,
        "memory_wait": 0.0, "workers": [300 * MIB] * 4,
    }  # fmt: skip
    return sizing.Use(**usual | changes)


def advice(instances: int = 4, limit_mb: int = 500, **changes: Any) -> list[str]:
    found: list[str] = sizing.advise(use(**changes), instances, limit_mb)
    return found


def test_a_host_at_ease() -> None:
    assert advice() == ["the size fits what was used"]


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"cpu_wait": 35.0}, "processor: programs waited 35 % of the time: add cores or a host"),
        ({"memory_wait": 4.0}, "memory: programs waited 4.0 % of the time for it: add memory"),
        ({"available": 100 * MIB}, "memory: 100 of 8192 MB are available"),
        ({"workers": [480 * MIB, 300 * MIB]}, "workers: one holds 480 of 500 MB"),
        ({"workers": [100 * MIB]}, "workers: none holds more than 100 of 500 MB"),
        ({"instances": 2}, "workers: 2 on 4 cores: up to 4 could work at once"),
        ({"instances": 6}, "workers: 6 on 4 cores take turns"),
        ({"memory": 2048 * MIB, "available": 900 * MIB}, "do not fit into the memory; 2 do"),
        ({"redis_limit": 256 * MIB, "redis_peak": 250 * MIB}, "Redis: it held 98%"),
        ({"redis_limit": 256 * MIB, "redis_evicted": 3}, "Redis: it had to drop 3 keys"),
    ],
)
def test_what_does_not_fit(changes: dict[str, Any], says: str) -> None:
    [line] = advice(**changes)
    assert says in line


def test_a_busy_host_is_given_no_more_workers() -> None:
    assert not any("could work" in line for line in advice(instances=2, cpu_wait=50.0))


def test_young_figures_are_called_so() -> None:
    assert advice(uptime=7200.0)[-1] == "since the boot 2.0 hours ago only: ask again after a busy week"


def test_a_kernel_without_pressure_figures() -> None:
    assert advice(cpu_wait=None, memory_wait=None) == ["the size fits what was used"]


@given(
    st.integers(1, 64), st.integers(1, 64), st.integers(64, 4096),
    st.integers(512, 1 << 18), st.lists(st.integers(1, 1 << 32), max_size=8),
)  # fmt: skip
def test_never_more_workers_than_the_memory_holds(
    cores: int, instances: int, limit_mb: int, memory_mb: int, workers: list[int]
) -> None:
    """What it advises, ``playbooks/scale.yml`` allows."""
    lines = sizing.advise(
        use(cores=cores, memory=memory_mb * MIB, available=memory_mb * MIB, workers=workers),
        instances,
        limit_mb,
    )
    for line in lines:
        if "could work at once" in line:
            more = int(line.split("up to ")[1].split()[0])
            assert instances < more <= cores
            assert (more + 1) * limit_mb <= memory_mb * 0.75


def test_waiting_is_a_share_of_the_time_since_the_boot(tmp_path: Path) -> None:
    path = tmp_path / "cpu"
    path.write_text("some avg10=0.00 avg60=0.00 avg300=0.00 total=50000000\nfull avg10=0.00 total=7\n")
    assert sizing.waited(path, 1000.0) == pytest.approx(5.0)
    assert sizing.waited(tmp_path / "none", 1000.0) is None


def test_workers_are_found_behind_notices_of_pm2(tmp_path: Path) -> None:
    """PM2 prints lines like ``[PM2] notice`` before its list."""
    program = tmp_path / "pm2"
    rows = '[{"name": "a", "monit": {"memory": 7}}, {"name": "b", "monit": {"memory": 9}}]'
    program.write_text(f"#!/bin/sh\necho '[PM2] Spawning PM2 daemon'\necho '{rows}'\n")
    program.chmod(0o755)
    assert sizing.measure({"pm2": str(program), "name": "a", "redis_cli": ""}).workers == [7]
