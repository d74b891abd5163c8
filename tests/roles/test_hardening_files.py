"""The module ``hardening_files``: many small settings, each only when it is not so already."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.roles.app_modules import load
from tests.roles.rendering import ROLES, evaluate

module = load("hardening_files", ROLES / "hardening/library/hardening_files.py")

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="files of root")


def test_file_is_written_once(tmp_path: Path) -> None:
    path = tmp_path / "new/limits.conf"
    difference = module.write(path, "a\n", 0o600, False)
    assert (difference["before"], difference["after"]) == ("", "a\n")
    assert (path.read_text(), path.stat().st_mode & 0o777) == ("a\n", 0o600)
    assert module.write(path, "a\n", 0o600, False) is None
    assert module.write(path, "a\n", 0o644, False)
    assert path.stat().st_mode & 0o777 == 0o644
    assert list(path.parent.iterdir()) == [path], "a temporary file is left"


def test_check_mode_writes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "x"
    assert module.write(path, "a\n", 0o600, True)
    assert not path.exists()


def test_setting_takes_the_place_of_its_lines() -> None:
    text = "# UMASK 022 is usual\nUMASK\t\t022\nPASS_MAX_DAYS   99999\nUMASK 002\n"
    assert module.with_settings(text, {"PASS_MAX_DAYS": "365", "UMASK": "027", "NEW": "1"}) == (
        "# UMASK 022 is usual\nUMASK 027\nPASS_MAX_DAYS 365\nNEW 1\n"
    )
    assert module.with_settings("NO_NEWLINE 1", {"A": "1"}) == "NO_NEWLINE 1\nA 1\n"


names = st.sampled_from(["A", "AB", "A_B"])
lines = st.lists(st.tuples(names, st.sampled_from(["1", "2"])), max_size=5)


@given(lines, st.dictionaries(names, st.sampled_from(["3", "4"])))
def test_second_time_changes_nothing_and_others_stay(
    before: list[tuple[str, str]], settings: dict[str, str]
) -> None:
    text = "".join(f"{name} {value}\n" for name, value in before)
    once = module.with_settings(text, settings)
    assert module.with_settings(once, settings) == once
    kept = [line for line in text.splitlines() if line.split()[0] not in settings]
    assert [line for line in once.splitlines() if line.split()[0] not in settings] == kept
    for name, value in settings.items():
        assert once.splitlines().count(f"{name} {value}") == 1


def test_what_the_role_writes_ends_with_a_newline() -> None:
    facts = {"ansible_facts": {"virtualization_tech_guest": []}}
    for path in ("limits.conf", "coredump.conf", "umask.sh", "modprobe.conf", "issue"):
        assert (ROLES / "hardening/files" / path).read_text().endswith("\n")
    kernel = evaluate("hardening", "__hardening_sysctl", **facts)
    container = evaluate(
        "hardening", "__hardening_sysctl", ansible_facts={"virtualization_tech_guest": ["container"]}
    )
    assert kernel["kernel.kptr_restrict"] == 2
    assert container
    assert all(name.startswith("net.ipv") for name in container)
