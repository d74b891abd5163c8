"""The configuration of steward, judged by steward itself, and the cron file."""

from __future__ import annotations

import itertools
import json
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
from pyrage import x25519

from steward.choice import Choice
from steward.cloudwatch_names import PUBLISH_EVERY_MINUTES
from steward.config import CloudWatchSettings, Compression, Config, EncryptionSettings, load
from tests.roles.rendering import OUTPUTS, REPOSITORY, app, evaluate, render
from tests.roles.rendering import load as load_yaml

LOGIN = {
    "steward_mongodb_username": "backup",
    "steward_mongodb_password": 'quote" and \\ and €',
}
KEY = {"access_key_id": "AKIDEXAMPLE", "secret_access_key": "secret/+="}


def config(tmp_path: Path, **scenario: Any) -> Config:
    """The two files as steward reads them."""
    scenario = {**LOGIN, **scenario}
    main, secrets = tmp_path / "steward.toml", tmp_path / "secrets.toml"
    main.write_text(render("steward", "steward.toml.j2", **scenario))
    secrets.touch(0o600)
    secrets.write_text(render("steward", "secrets.toml.j2", **scenario))
    return load(main)


def test_everything_comes_from_the_app_file_and_the_stack(tmp_path: Path) -> None:
    found = config(tmp_path, steward_access_key=KEY)
    assert (found.app, found.environment) == ("bitesbay", "local")
    assert found.storage.bucket == OUTPUTS["backup_bucket"]
    assert found.storage.kms_key_arn == OUTPUTS["backup_kms_key_arn"]
    assert found.storage.object_lock_mode == "GOVERNANCE"
    assert found.backup.retention_days.model_dump() == app()["retention_days"]
    assert found.mongodb.databases == ["bitesbay"]
    assert found.mongodb.uri == "mongodb://192.0.2.13:27017/?directConnection=true"


def test_a_host_leaves_out_what_its_app_file_or_a_variable_says(tmp_path: Path) -> None:
    assert config(tmp_path).mongodb.choice == Choice(("bitesbay",))
    backup = app()["backup"]
    backup["full"]["exclude"] = ["bitesbay.sessions", "*.tmp_*"]
    found = config(tmp_path, app=app(backup=backup), steward_mongodb_include=["bitesbay.*"])
    assert found.mongodb.choice == Choice(("bitesbay",), ("bitesbay.*",), ("bitesbay.sessions", "*.tmp_*"))


def test_temporary_credentials_of_a_role_reach_the_secrets_file(tmp_path: Path) -> None:
    found = config(tmp_path, steward_access_key=KEY | {"session_token": 'to"ken'}).storage.login
    assert found is not None
    assert found.session_token is not None
    assert found.session_token.get_secret_value() == 'to"ken'


def test_a_cluster_of_atlas_and_its_login_reach_both_files(tmp_path: Path) -> None:
    assert config(tmp_path).atlas is None
    found = config(
        tmp_path,
        steward_atlas={"project_id": "0" * 24, "cluster": "shop", "timeout_minutes": 60},
        steward_atlas_login={"client_id": "mdb_sa_id", "client_secret": 'quo"te'},
    )
    assert found.atlas is not None
    assert (found.atlas.cluster, found.atlas.timeout_minutes) == ("shop", 60)
    assert found.atlas_login is not None
    assert found.atlas_login.client_secret is not None
    assert found.atlas_login.client_secret.get_secret_value() == 'quo"te'


def test_backups_go_to_cloud_storage_where_a_host_says_so(tmp_path: Path) -> None:
    found = config(tmp_path, steward_storage_kind="gcs", steward_gcs_credentials="{}").storage
    assert (found.kind, found.bucket) == ("gcs", OUTPUTS["backup_bucket"])
    assert found.credentials_file == Path("/etc/steward/gcs.json")
    assert (found.region, found.kms_key_arn) == ("", None)
    assert config(tmp_path, steward_storage_kind="gcs").storage.credentials_file is None


def test_secrets_survive_any_character(tmp_path: Path) -> None:
    found = config(tmp_path, steward_access_key=KEY)
    assert found.mongodb.login is not None
    assert found.mongodb.login.password.get_secret_value() == LOGIN["steward_mongodb_password"]
    assert found.storage.login is not None
    assert found.storage.login.secret_access_key.get_secret_value() == KEY["secret_access_key"]


def test_metrics_go_where_the_stack_says(tmp_path: Path) -> None:
    outputs = OUTPUTS | {"backup_region": "eu-central-1"}
    found = config(tmp_path, app=app(outputs=outputs)).cloudwatch
    assert found == CloudWatchSettings(region="eu-central-1")
    endpoint = {"steward_endpoint_url": "https://192.0.2.1:5443", "steward_ca_file": "/etc/ssl/ca.pem"}
    local = config(tmp_path, **endpoint).cloudwatch
    assert local == CloudWatchSettings(
        region="us-east-1", endpoint_url="https://192.0.2.1:5443", ca_file=Path("/etc/ssl/ca.pem")
    )
    assert config(tmp_path, steward_cloudwatch_region="").cloudwatch is None


def test_limits_are_those_of_the_stacks_alarms(tmp_path: Path) -> None:
    limits = {
        "backup_age_seconds": {"daily": 100, "weekly": 200, "monthly": 300},
        "recoverable_lag_seconds": 50,
        "drill_age_seconds": 400,
        "verify_age_seconds": 500,
    }
    found = config(tmp_path, app=app(outputs=OUTPUTS | {"limits": limits})).limits
    assert found is not None
    assert found.model_dump() == limits
    assert config(tmp_path).limits is None


def test_recipients_are_those_of_the_app_file_for_this_environment(tmp_path: Path) -> None:
    assert config(tmp_path).encryption == EncryptionSettings()
    keys = [str(x25519.Identity.generate().to_public()) for _ in range(2)]
    backup = app()["backup"] | {
        "encryption": {"recipients": {"local": [], "staging": [], "production": keys}}
    }
    found = config(tmp_path, app=app(environment="production", backup=backup)).encryption
    assert found == EncryptionSettings(recipients=keys)
    assert config(tmp_path, app=app(environment="staging", backup=backup)).encryption.recipients == []
    path = "/etc/steward/drill-key.txt"
    drill = config(tmp_path, steward_encryption_identity_file=path).encryption
    assert drill == EncryptionSettings(identity_file=Path(path))


def test_the_sandbox_encrypts_the_backups_of_the_application_that_has_a_key(tmp_path: Path) -> None:
    (tmp_path / "backup-keys").mkdir()
    key = str(x25519.Identity.generate().to_public())
    (tmp_path / "backup-keys/kampyn.pub").write_text(f"{key}\n")
    for name, expected in (("kampyn", [key]), ("bitesbay", [])):
        command = [
            *(str(Path(sys.executable).with_name("ansible")), "localhost", "-i", "localhost,", "-c", "local"),
            *("-m", "ansible.builtin.debug", "-a", "var=steward_encryption_recipients"),
            *("-e", "@inventories/local/group_vars/db/sandbox.yml"),
            *("-e", json.dumps({"sandbox_state": str(tmp_path), "app": {"name": name}})),
        ]
        done = subprocess.run(
            command,
            cwd=REPOSITORY,
            env={
                **os.environ,
                "ANSIBLE_INVENTORY_ENABLED": "host_list",
                "ANSIBLE_CALLBACK_RESULT_FORMAT": "json",
            },
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        found = json.loads(done.stdout.partition("=>")[2])
        assert found["steward_encryption_recipients"] == expected


def test_hooks_pings_and_messages_are_as_given_and_absent_by_default(tmp_path: Path) -> None:
    plain = config(tmp_path)
    assert (plain.hooks.after, plain.notify.mail, plain.pings.full) == (None, None, None)
    found = config(
        tmp_path,
        steward_hooks={"before_full": ["/usr/local/bin/pause", 'a "b" \\'], "timeout_seconds": 60},
        steward_notify_mail={"host": "smtp.example.test", "sender": "steward@example.test"},
        steward_pings={"full": "https://hc.example.test/uuid", "oplog": "https://hc.example.test/other"},
        steward_notify_secrets={"smtp_username": "mailer", "smtp_password": 'quote" and \\'},
    )
    assert found.hooks.before("full") == ["/usr/local/bin/pause", 'a "b" \\']
    assert found.hooks.timeout_seconds == 60
    assert found.notify.mail is not None
    assert found.notify.mail.recipients == app()["contacts"]["critical"]
    assert found.pings.of("oplog") == "https://hc.example.test/other"
    assert found.notify_secrets.smtp_password is not None
    assert found.notify_secrets.smtp_password.get_secret_value() == 'quote" and \\'
    text = render(
        "steward", "steward.toml.j2", **LOGIN, steward_pings={"full": "https://hc.example.test/uuid"}
    )
    assert "uuid" not in text


def test_what_a_backup_may_take_of_the_host(tmp_path: Path) -> None:
    plain = config(tmp_path)
    assert (plain.backup.nice, plain.storage.upload_mib_per_second) == (10, None)
    assert plain.backup.compression == Compression()
    limits: dict[str, Any] = {
        "steward_nice": 0,
        "steward_compression_level": 1,
        "steward_compression_threads": 2,
        "steward_upload_mib_per_second": 2.5,
    }
    found = config(tmp_path, **limits)
    assert (found.backup.nice, found.storage.upload_mib_per_second) == (0, 2.5)
    assert (found.backup.compression.level, found.backup.compression.threads) == (1, 2)


def test_without_a_key_the_host_uses_its_own_identity(tmp_path: Path) -> None:
    assert config(tmp_path).storage.login is None


def test_a_bucket_that_does_not_lock_is_told_so(tmp_path: Path) -> None:
    outputs = OUTPUTS | {"backup_object_lock_mode": ""}
    assert config(tmp_path, app=app(outputs=outputs)).storage.object_lock_mode == ""


def test_configuration_holds_no_secret() -> None:
    text = render("steward", "steward.toml.j2", **LOGIN, steward_access_key=KEY)
    tomllib.loads(text)
    assert KEY["secret_access_key"] not in text
    assert "quote" not in text


def jobs(**scenario: Any) -> dict[str, list[str]]:
    """Cron's fields and the command, by the verb of the command."""
    text = render("backup", "cron.j2", **scenario)
    assert text.endswith("\n"), "cron ignores a last line without its end"
    lines = [line for line in text.splitlines() if re.match(r"[0-9*]", line)]
    fields = [line.split(maxsplit=6) for line in lines]
    found = {
        re.findall(r" (?:backup|metrics|drill) (full|oplog|verify|publish|run --[a-z]+) ", parts[6])[0]: parts
        for parts in fields
    }
    assert len(found) == len(lines)
    assert found.keys() >= {"full", "oplog", "verify"}
    return found


def test_full_backup_starts_when_the_app_file_says() -> None:
    full = jobs(app=app("kampyn"))["full"]
    assert full[:6] == ["40", "2", "*", "*", "*", "steward"]
    assert "timeout --kill-after=60 360m" in full[6]


@pytest.mark.parametrize("every", [5, 15, 20, 60])
def test_oplog_slices_are_evenly_spread(every: int) -> None:
    backup = app()["backup"] | {"oplog": {"every_minutes": every, "timeout_minutes": 4}}
    minutes = [int(m) for m in jobs(app=app(backup=backup))["oplog"][0].split(",")]
    assert len(minutes) == 60 // every
    gaps = {(later - earlier) % 60 for earlier, later in zip(minutes, minutes[1:] + minutes[:1], strict=True)}
    assert gaps <= {every % 60}


def test_what_is_stored_is_verified_every_day_at_the_pace_of_the_app_file() -> None:
    backup = app()["backup"] | {"verify": {"whole_every_days": 17}}
    fields = jobs(app=app(backup=backup))["verify"]
    assert fields[1:6] == ["20", "*", "*", "*", "steward"]
    assert "backup verify --deep --every 17 >>" in fields[6]
    assert fields[6].startswith("timeout --kill-after=60 180m nice -n 19 ionice -c 3 /usr/local/bin/steward ")
    full = app()["backup"]["full"]
    assert full["hour"] * 60 + full["minute"] + full["timeout_minutes"] < 20 * 60, "not beside a full backup"
    starts = {jobs(inventory_hostname=f"db{number}")["verify"][0] for number in range(20)}
    assert len(starts) > 5, "hosts do not all read in the same minute"


def test_metrics_are_published_as_often_as_alarms_expect() -> None:
    fields = jobs()["publish"]
    minutes = [int(m) for m in fields[0].split(",")]
    assert len(minutes) == 60 // PUBLISH_EVERY_MINUTES
    assert {b - a for a, b in itertools.pairwise(minutes)} == {PUBLISH_EVERY_MINUTES}
    assert fields[1:6] == ["*", "*", "*", "*", "steward"]
    assert "timeout --kill-after=60 5m /usr/local/bin/steward --config" in fields[6]
    starts = {jobs(inventory_hostname=f"db{number}")["publish"][0] for number in range(20)}
    assert len(starts) > 5, "hosts do not all publish in the same minute"


@pytest.mark.parametrize(
    "scenario", [{"backup_publish_state": "absent"}, {"steward_cloudwatch_region": ""}], ids=str
)
def test_no_metrics_are_published_where_that_is_not_wanted(scenario: dict[str, str]) -> None:
    assert "publish" not in jobs(**scenario)


def test_a_drill_a_day_away_from_the_full() -> None:
    found = jobs()
    latest, rolling = found["run --latest"], found["run --random"]
    assert latest[:6] == ["20", "12", "1", "*", "*", "steward"]
    assert rolling[:6] == ["20", "12", "2-31", "*", "*", "steward"], "never two on one day"
    for fields in (latest, rolling):
        assert "nice -n 19 ionice -c 3 timeout --kill-after=60 360m /usr/local/bin/steward" in fields[6]


@pytest.mark.parametrize(
    "scenario", [{"backup_drill_state": "absent"}, {"steward_drill_server": []}], ids=str
)
def test_no_drills_where_they_are_not_wanted(scenario: dict[str, Any]) -> None:
    assert jobs(**scenario).keys() == {"full", "oplog", "verify", "publish"}


@pytest.mark.parametrize("name", ["bitesbay", "kampyn"])
def test_drills_check_what_the_app_file_says(tmp_path: Path, name: str) -> None:
    found = config(tmp_path, app=app(name)).drill
    assert found is not None
    assert found.server[0] == "/usr/bin/mongod"
    assert [check.model_dump() for check in found.checks] == app(name)["backup"]["drill"]["checks"]
    assert found.checks
    assert config(tmp_path, steward_drill_server=[]).drill is None


def test_the_sandboxes_scratch_server_is_its_own_binary(tmp_path: Path) -> None:
    server = load_yaml(REPOSITORY / "inventories/local/group_vars/db/sandbox.yml")["steward_drill_server"]
    found = config(tmp_path, steward_drill_server=server).drill
    assert found is not None
    assert found.server == server


def test_points_are_those_of_the_manual(tmp_path: Path) -> None:
    found = config(tmp_path).backup.points
    assert found is not None
    assert found.model_dump() == {"daily": 7, "weekly": 4, "monthly": 6}


def test_delay_is_fixed_by_the_hosts_name() -> None:
    """Drawn anew at each run of the playbook it would change the file every time."""
    assert render("backup", "cron.j2") == render("backup", "cron.j2")
    delays = {
        int(evaluate("backup", "__backup_jitter", inventory_hostname=f"db{number}")) for number in range(20)
    }
    assert len(delays) > 10
    assert all(0 <= delay <= 120 for delay in delays)


def test_cron_file_is_read_whole_by_cron() -> None:
    """cron takes % for the end of the command, and has no PATH of its own to speak of."""
    text = render("backup", "cron.j2")
    assert "%" not in text
    assert "PATH=/usr/local/sbin:/usr/local/bin:" in text
    assert all(">>/var/log/steward/backup.log 2>&1" in parts[6] for parts in jobs().values())


def test_only_hosts_that_are_an_iam_user_ask_for_an_access_key() -> None:
    expression = load_yaml(REPOSITORY / "playbooks/group_vars/db.yml")["steward_access_key"]
    expression = expression.removeprefix("{{").removesuffix("}}")
    assert evaluate("steward", expression, secret_aws_host_key=KEY) == KEY
    outputs = {name: value for name, value in OUTPUTS.items() if name != "backup_writer_user"}
    # The secret does not exist then: looking it up would fail.
    missing = "{{ undef(hint='there is no such secret') }}"
    assert evaluate("steward", expression, app=app(outputs=outputs), secret_aws_host_key=missing) == {}
