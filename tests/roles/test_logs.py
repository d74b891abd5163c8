"""The log jobs: what is written on a host, and that steward takes it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from steward.logs.files import find
from steward.logs.settings import LogsConfig, Source, load
from tests.roles.rendering import OUTPUTS, REPOSITORY, app, evaluate, render
from tests.roles.rendering import load as load_yaml

KEY = {"access_key_id": "AKIA1", "secret_access_key": 'quo"te'}


def config(tmp_path: Path, **scenario: Any) -> LogsConfig:
    main, secrets = tmp_path / "logs.toml", tmp_path / "secrets.toml"
    main.write_text(render("logs", "logs.toml.j2", **scenario))
    secrets.touch(0o600)
    secrets.write_text(render("logs", "secrets.toml.j2", **scenario))
    return load(main, secrets)


def test_what_this_host_rotates_is_archived() -> None:
    """Whether a rule says that it is there or says nothing; one that was taken away has no logs to come."""
    rules = [
        {"name": "mongod", "paths": ["/m"]},
        {"name": "redis-server", "paths": ["/r"], "state": "present"},
        {"name": "mongos", "paths": ["/s"], "state": "absent"},
    ]
    found = evaluate("logs", "logs_sources", logrotate_rules=rules)
    assert [source["name"] for source in found] == ["mongod", "redis-server", "system"]


def test_days_bucket_and_key_come_from_the_app_file_and_the_stack(tmp_path: Path) -> None:
    found = config(
        tmp_path,
        app=app(logs=app()["logs"] | {"keep_days": 12}),
        inventory_hostname="DB_1.example",
        logs_access_key=KEY,
    )
    assert (found.app, found.environment, found.host) == ("bitesbay", "local", "db-1-example")
    assert found.archive is not None
    assert found.archive.older_than_days == 12
    storage = found.storage
    assert storage is not None
    assert (storage.bucket, storage.kms_key_arn) == (
        OUTPUTS["log_archive_bucket"],
        OUTPUTS["log_archive_kms_key_arn"],
    )
    assert storage.login is not None
    assert storage.login.secret_access_key.get_secret_value() == KEY["secret_access_key"]
    assert config(tmp_path).storage == storage.model_copy(update={"login": None})


@pytest.mark.parametrize("group", ["app", "db"])
def test_every_rule_of_the_site_is_a_source_with_its_rotated_files(tmp_path: Path, group: str) -> None:
    rules = load_yaml(REPOSITORY / "playbooks" / "group_vars" / f"{group}.yml")["logrotate_rules"]
    found = config(tmp_path, logrotate_rules=rules)
    assert len(found.source) == len(rules) + 1
    assert {source.name for source in found.source} >= {
        "system",
        app()["name"] if group == "app" else "mongod",
    }
    for name in ("x.log", "x.log-20260101", "x.log-20260101.gz", "x.txt"):
        (tmp_path / name).touch()
    for source in found.source:
        for path in source.paths[: len(source.paths) // 2]:
            assert f"{path}-*" in source.paths
    moved = Source(name="x", paths=[f"{tmp_path}/*.log", f"{tmp_path}/*.log-*"])
    assert len(list(find([moved]))) == 3


def test_those_whom_the_backups_tell_are_told_of_logs_too(tmp_path: Path) -> None:
    found = config(
        tmp_path,
        steward_notify_mail={"host": "mail.example", "sender": "a@b.example"},
        steward_notify_secrets={"webhook_url": "https://hooks.example/x"},
        logs_ping_url="https://ping.example/logs",
    )
    assert found.notify.mail is not None
    assert found.notify.mail.recipients == app()["contacts"]["warning"]
    assert found.notify_secrets.webhook_url is not None
    assert found.pings.of("logs") == "https://ping.example/logs"


def test_a_rule_that_is_taken_away_is_no_source(tmp_path: Path) -> None:
    rules = [{"name": "old", "state": "absent"}, {"name": "new", "paths": ["/var/log/new/*.log"]}]
    assert [s.name for s in config(tmp_path, logrotate_rules=rules).source] == ["new", "system"]


def test_the_jobs_name_no_secret_and_end_in_time() -> None:
    text = render("logs", "cron.j2", logs_access_key=KEY)
    jobs = [line for line in text.splitlines() if " root " in line]
    assert [line.split()[1] for line in jobs] == ["5", "*"]
    for line in jobs:
        assert "timeout --kill-after=60" in line
        assert line.endswith("2>&1 | logger -t steward-logs")
    assert KEY["access_key_id"] not in text


def test_logrotate_leaves_time_for_the_archive() -> None:
    item = {"name": "x", "paths": ["/x.log"]}
    words = render("logrotate", "rule.j2", item=item, logrotate_spare_days=14).split("\n")
    assert {"    rotate 44", "    maxage 44"} <= set(words)
    assert load_yaml(REPOSITORY / "playbooks" / "group_vars" / "db.yml")["logrotate_spare_days"] == 14
