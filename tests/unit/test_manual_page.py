"""What ``docs/manual.md`` names is there: files, commands, playbooks and alarms."""

from __future__ import annotations

import re

import typer

from sandbox.settings import REPOSITORY
from steward.cli import app

PAGE = (REPOSITORY / "docs/manual.md").read_text("utf-8")
NAMES = re.findall(r"`([^`]+)`", PAGE)


def test_every_file_is_there() -> None:
    paths = [name for name in NAMES if "/" in name and not name.startswith(("/", "steward"))]
    assert len(paths) > 50
    assert [path for path in paths if not (REPOSITORY / path).exists()] == []


def test_every_command_is_there() -> None:
    commands = [name.split()[1:] for name in NAMES if name.startswith("steward ")]
    assert len(commands) > 10
    for words in commands:
        found = typer.main.get_command(app)
        for word in words:
            found = found.commands[word]  # type: ignore[attr-defined]  # a group of click


def test_every_role_is_there() -> None:
    roles = re.findall(r"roles? `(\w+)`(?: and `(\w+)`)?", PAGE)
    assert {"backup", "logrotate", "hardening", "migrations"} <= {name for pair in roles for name in pair}
    assert [n for pair in roles for n in pair if n and not (REPOSITORY / "roles" / n).is_dir()] == []


def test_every_alarm_has_a_section_of_the_runbook() -> None:
    sections = re.findall(r"^## (\S+)$", (REPOSITORY / "docs/runbooks/alerts.md").read_text(), re.MULTILINE)
    rows = [line.split("|") for line in PAGE.splitlines() if line.startswith("| ") and line.count("|") == 5]
    alarms = {name for row in rows for name in re.findall(r"`([^`]+)`", row[3])}
    assert len(alarms) > 8
    assert alarms <= set(sections)
