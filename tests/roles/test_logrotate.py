"""The rotation rules: data of the site and text of the role. On the hosts logrotate itself judges them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.roles.rendering import REPOSITORY, app, load, render


def rule(item: dict[str, Any], **scenario: Any) -> str:
    return render("logrotate", "rule.j2", item=item, **scenario)


def words(text: str) -> list[str]:
    return [line.strip() for line in text.splitlines()]


def test_days_come_from_the_app_file() -> None:
    text = words(rule({"name": "x", "paths": ["/x.log"]}, app=app(logs={"rotate": "daily", "keep_days": 12})))
    assert {"daily", "rotate 12", "maxage 12", "dateext", "compress", "delaycompress"} <= set(text)


def test_folder_of_a_user_is_rotated_as_that_user() -> None:
    """As root, logrotate would follow a link that the user put there."""
    text = words(rule({"name": "x", "paths": ["/x.log"], "user": "bitesbay"}))
    assert "su bitesbay bitesbay" in text
    assert "su redis adm" in words(rule({"name": "x", "paths": ["/x.log"], "user": "redis", "group": "adm"}))
    assert not [line for line in words(rule({"name": "x", "paths": ["/x.log"]})) if line.startswith("su ")]


@pytest.mark.parametrize("group", ["app", "config", "db"])
def test_rules_of_the_site_never_match_a_file_twice(group: str) -> None:
    """logrotate refuses the second of two rules for one file."""
    rules = load(REPOSITORY / "playbooks" / "group_vars" / f"{group}.yml")["logrotate_rules"]
    folders = [str(Path(path).parent) for item in rules for path in item["paths"]]
    assert len(folders) == len(set(folders))


def test_pm2_is_told_by_a_signal() -> None:
    """Node.js cannot start under the MemoryDenyWriteExecute of Debian's logrotate.service."""
    rules = load(REPOSITORY / "playbooks" / "group_vars" / "app.yml")["logrotate_rules"]
    assert "systemctl kill --kill-who=main --signal=USR2 pm2-" in rules[0]["postrotate"]
    assert not [item for item in rules if "reloadLogs" in item.get("postrotate", "")]
