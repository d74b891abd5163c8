"""steward.config: what is accepted, and how a mistake is told."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from steward.config import load
from steward.errors import EXIT_USAGE, ConfigError

GOOD = """\
app = "bitesbay"
environment = "local"
state_dir = "/var/lib/steward"
[mongodb]
uri = "mongodb://10.0.0.1:27017/?directConnection=true"
databases = ["bitesbay"]
[storage]
bucket = "bitesbay-backups"
region = "us-east-1"
[backup]
retention_days = { daily = 7, weekly = 28, monthly = 186, oplog = 8 }
"""
SECRETS = """\
[mongodb]
username = "backup"
password = "hidden-word"
[storage]
access_key_id = "AKIA1"
secret_access_key = "hidden-key"
"""


@pytest.fixture
def config_file(tmp_path: Path) -> Path:
    path = tmp_path / "steward.toml"
    path.write_text(GOOD)
    return path


def write_secrets(folder: Path, text: str = SECRETS, mode: int = 0o600) -> Path:
    path = folder / "secrets.toml"
    path.touch()
    path.chmod(mode)
    path.write_text(text)
    return path


def test_defaults_and_no_login_without_a_secrets_file(config_file: Path) -> None:
    config = load(config_file)
    assert config.mongodb.login is None
    assert config.storage.login is None
    assert config.mongodb.auth_source == "admin"
    assert config.storage.object_lock_mode == ""
    assert config.tools.mongodump == "mongodump"
    assert config.cloudwatch is None
    assert config.limits is None
    assert config.encryption.recipients == []
    assert config.drill is None
    assert config.backup.points is None
    assert config.backup.retention_days.of("monthly") == 186


def test_the_secrets_file_beside_the_configuration_is_found(config_file: Path) -> None:
    write_secrets(config_file.parent)
    config = load(config_file)
    assert config.mongodb.login is not None
    assert config.mongodb.login.password.get_secret_value() == "hidden-word"
    assert config.storage.login is not None
    assert config.storage.login.access_key_id == "AKIA1"
    assert "hidden" not in repr(config) + str(config) + config.model_dump_json()


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("app =", "appp =", ["appp", "not a known key"]),
        ('app = "bitesbay"', 'app = "Bites Bay"', ["app", "'Bites Bay'"]),
        ("daily = 7", 'daily = "7"', ["backup.retention_days.daily", "'7'"]),
        ("daily = 7, ", "", ["backup.retention_days.daily", "is required"]),
        ("daily = 7", "daily = 0", ["backup.retention_days.daily", "got 0"]),
        ('"bitesbay-backups"', '"Bad_Bucket"', ["storage.bucket", "'Bad_Bucket'"]),
        ("[storage]", '[storage]\nobject_lock_mode = "governance"', ["object_lock_mode", "'governance'"]),
        ("[storage]", '[storage]\nendpoint_url = "ftp://x"', ["storage.endpoint_url", "'ftp://x'"]),
        ("[storage]", "[storage]\nlogin = {}", ["storage.login", "not a known key"]),
        ("[storage]", '[storage]\nkind = "gcs"', ["storage", "region has no meaning", "gcs"]),
        ("[storage]", "[storage]\nas_of = 2026-11-22T14:03:06", ["storage.as_of", "timezone"]),
        ("[storage]", '[storage]\ncredentials_file = "/x"', ["storage", "credentials_file has no meaning"]),
        ('region = "us-east-1"', "", ["storage", "region is missing"]),
        ('databases = ["bitesbay"]', 'databases = ["--out"]', ["mongodb.databases.0", "'--out'"]),
        (
            "[storage]",
            'exclude = ["sessions"]\n[storage]',
            ["mongodb.exclude.0", "is not database.collection"],
        ),
        ("[storage]", 'include = ["other.x"]\n[storage]', ["mongodb", "other.x: its database is not among"]),
        ("[storage]", 'excludes = ["*.x"]\n[storage]', ["mongodb.excludes", "not a known key"]),
        ("[backup]", "[cloudwatch]\n[backup]", ["cloudwatch.region", "is required"]),
        (
            "[backup]",
            '[cloudwatch]\nregion = "us-east-1"\nnamespace = "Other"\n[backup]',
            ["cloudwatch.namespace", "not a known key"],
        ),
        (
            "[backup]",
            "[limits]\nrecoverable_lag_seconds = 0\ndrill_age_seconds = 1\nverify_age_seconds = 1\n"
            "backup_age_seconds = { daily = 1, weekly = 1, monthly = 1 }\n[backup]",
            ["limits.recoverable_lag_seconds", "got 0"],
        ),
        (
            "[backup]",
            '[drill]\nserver = ["mongod", "--port=27017", "--dbpath={dir}"]\n[backup]',
            ["drill.server", "must have {port}"],
        ),
        (
            "[backup]",
            '[drill]\nserver = ["mongod", "--port={port}", "--dbpath=/var/lib/mongodb"]\n[backup]',
            ["drill.server", "must have {dir}"],
        ),
        ("[backup]", "[drill]\nserver = []\n[backup]", ["drill.server"]),
        ("[backup]", "[backup]\npoints = { daily = 7, weekly = 4 }", ["backup.points.monthly", "required"]),
        ("mongodb://10.0.0.1", "http://10.0.0.1", ["mongodb.uri", "must look like"]),
        (
            "[backup]",
            '[encryption]\nrecipients = ["age1abc"]\n[backup]',
            ["encryption.recipients", "must be a public key as age1"],
        ),
        (
            "[backup]",
            '[encryption]\nrecipient = ["age1abc"]\n[backup]',
            ["encryption.recipient", "not a known key"],
        ),
        ("[mongodb]", "[mongodb", ["not TOML"]),
    ],
)
def test_a_mistake_is_one_line_with_file_key_and_value(
    config_file: Path, old: str, new: str, words: list[str]
) -> None:
    assert old in GOOD
    config_file.write_text(GOOD.replace(old, new))
    with pytest.raises(ConfigError) as caught:
        load(config_file)
    message = str(caught.value)
    assert caught.value.exit_code == EXIT_USAGE
    assert message.startswith(f"{config_file}: ")
    assert "\n" not in message
    for word in words:
        assert word in message


def test_a_private_key_among_the_recipients_is_refused_and_not_repeated(config_file: Path) -> None:
    private = "AGE-SECRET-KEY-1" + "Q" * 58
    config_file.write_text(GOOD + f'[encryption]\nrecipients = ["{private}"]\n')
    with pytest.raises(ConfigError, match="this is a private one") as caught:
        load(config_file)
    assert "SECRET" not in str(caught.value)


def test_a_password_in_the_uri_is_refused_and_not_repeated(config_file: Path) -> None:
    config_file.write_text(GOOD.replace("mongodb://", "mongodb://root:hunter2@"))
    with pytest.raises(ConfigError, match=r"mongodb\.uri: must not hold credentials") as caught:
        load(config_file)
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o604, 0o620, 0o666])
def test_a_secrets_file_that_others_can_open_is_refused(config_file: Path, mode: int) -> None:
    path = write_secrets(config_file.parent, mode=mode)
    with pytest.raises(ConfigError, match=f"mode is {mode:04o}.*chmod 0600") as caught:
        load(config_file)
    assert str(path) in str(caught.value)


def test_a_secrets_file_of_another_user_is_refused(
    config_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_secrets(config_file.parent)
    if os.geteuid() == 0:
        os.chown(path, 12345, 12345)
    else:
        monkeypatch.setattr("os.geteuid", lambda: path.stat().st_uid + 1)
    with pytest.raises(ConfigError, match="belongs to user id"):
        load(config_file)


def test_a_wrong_secret_is_not_repeated(config_file: Path) -> None:
    write_secrets(config_file.parent, SECRETS.replace('"hidden-word"', "12345678"))
    with pytest.raises(ConfigError, match=r"mongodb\.password") as caught:
        load(config_file)
    assert "12345678" not in str(caught.value)


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("session_token = 12345678", r"storage\.session_token: Input should be a valid string"),
        ("sesion_token = 12345678", r"storage\.sesion_token: is not a known key"),
    ],
)
def test_a_wrong_session_token_is_not_repeated(config_file: Path, line: str, words: str) -> None:
    write_secrets(config_file.parent, f"{SECRETS}{line}\n")
    with pytest.raises(ConfigError, match=words) as caught:
        load(config_file)
    assert "12345678" not in str(caught.value)


def test_temporary_credentials_without_their_token_are_refused(config_file: Path) -> None:
    write_secrets(config_file.parent, SECRETS.replace("AKIA1", "ASIA1"))
    with pytest.raises(ConfigError, match=r"storage: session_token is missing") as caught:
        load(config_file)
    assert "hidden-key" not in str(caught.value)


def test_a_secrets_file_that_was_asked_for_must_exist(config_file: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read"):
        load(config_file, config_file.parent / "none.toml")


def test_a_missing_configuration_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"none\.toml: cannot be read: No such file"):
        load(tmp_path / "none.toml")
