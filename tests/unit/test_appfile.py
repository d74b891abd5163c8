"""A wrong app file is refused with one line that names the file, the key and the value."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from steward.appfile import BACKUP_CLASSES, AppFileError, Retention, load, load_all

APPS = Path(__file__).parents[2] / "apps"
GOOD: dict[str, Any] = yaml.safe_load((APPS / "bitesbay.yml").read_text())


def _write(folder: Path, data: Any, name: str = "bitesbay") -> Path:
    path = folder / f"{name}.yml"
    path.write_text(data if isinstance(data, str) else yaml.safe_dump(data))
    return path


def _changed(path: str, value: Any, good: dict[str, Any] = GOOD) -> dict[str, Any]:
    """The good file with one key set, or removed when ``value`` is ``...``."""
    data = copy.deepcopy(good)
    *parents, last = path.split(".")
    at = data
    for part in parents:
        at = at[part]
    if value is ...:
        del at[last]
    else:
        at[last] = value
    return data


def test_every_app_file_of_the_repository_loads() -> None:
    assert sorted(load_all(APPS)) == ["bitesbay", "kampyn"]


def test_the_manuals_numbers() -> None:
    """The numbers of both manuals: daily 7 days, weekly 4 weeks, monthly 6 months, and so on."""
    for app in load_all(APPS).values():
        keep = app.backup.retention
        assert (keep.daily_days, keep.weekly_weeks, keep.monthly_months) == (7, 4, 6)
        assert app.logs.keep_days == 30
        assert app.health.interval_minutes == 5
        assert app.backup.oplog.every_minutes <= 60
        assert app.backup.drill.every_days <= 31
        assert app.backup.verify.whole_every_days <= 31
        assert app.secrets.rotate_days <= 92


@pytest.mark.parametrize(
    ("path", "value", "expected"),
    [
        ("backup.retention.dayly_days", 7, "backup.retention.dayly_days: is not a known key"),
        ("backup.retention", ..., "backup.retention: is required"),
        ("backup.retention.weekly_weeks", ..., "backup.retention.weekly_weeks: is required"),
        ("backup.retention.daily_days", "7", "backup.retention.daily_days: Input should be a valid integer"),
        ("backup.retention.daily_days", True, "backup.retention.daily_days: Input should be a valid integer"),
        ("backup.retention.daily_days", 0, "greater than or equal to 1 (got 0)"),
        ("backup.retention.oplog_days", 6, "oplog_days (6) must not be shorter than daily_days (7)"),
        ("backup.encryption.recipients.local", ..., "backup.encryption.recipients lacks local"),
        (
            "backup.encryption.recipients.local",
            ["age1" + "q" * 58],
            "must be empty or name two different keys",
        ),
        (
            "backup.encryption.recipients.local",
            ["age1" + "q" * 58] * 2,
            "recipients.local must be empty or name two different keys",
        ),
        ("backup.encryption.recipients.local", ["age1short"], "(got 'age1short')"),
        ("backup.full.hour", 24, "backup.full.hour: Input should be less than or equal to 23 (got 24)"),
        ("backup.full.timeout_minutes", 1311, "backup.full: a full that starts at 02:10 and may take 1311"),
        ("backup.full.hour", 23, "does not end before midnight UTC; start it earlier"),
        ("backup.full.exclude", ["users"], "backup.full.exclude.0: 'users' is not database.collection"),
        ("backup.full.exclude", ["kampyn.x"], "backup.full: kampyn.x is not about the database bitesbay"),
        ("backup.full.exclude", ["*.users"], "backup.full leaves users out"),
        ("backup.full.include", ["bitesbay.orders"], "backup.full leaves users out"),
        ("backup.drill.hour", 7, "a drill at 07:20 may run at the same time as the full at 02:10"),
        ("backup.drill.hour", 21, "choose another time or shorter timeouts"),
        ("backup.drill.checks", [{"kind": "sum"}], "backup.drill.checks.0.sum.collection: is required"),
        ("backup.drill.checks", [{"kind": "guess"}], "backup.drill.checks.0: Input tag 'guess'"),
        ("backup.oplog.every_minutes", 50, "every_minutes must divide 60"),
        ("backup.verify", ..., "backup.verify: is required"),
        ("backup.verify.whole_every_days", 0, "greater than or equal to 1 (got 0)"),
        ("health.path", "api/health", "health.path"),
        ("health.healthy_text", ..., "health.healthy_text: is required"),
        ("health.healthy_text", " ok", "health.healthy_text: String should match pattern"),
        ("health.healthy_text", "x" * 256, "health.healthy_text: String should have at most 255"),
        ("redis.port", 27017, "ports must differ"),
        ("domains.production", ..., "domains lacks production"),
        (
            "mongodb.sharded_collections",
            [{"name": "orders", "key": {"user": -1}}],
            "mongodb.sharded_collections.0.key.user: Input should be 1 or 'hashed' (got -1)",
        ),
        (
            "mongodb.sharded_collections",
            [{"name": "orders", "key": {}}],
            "mongodb.sharded_collections.0.key: Dictionary should have at least 1 item",
        ),
        (
            "mongodb.sharded_collections",
            [{"name": "orders", "key": {"a": "hashed", "b": "hashed"}}],
            "only one field of a key may be hashed, got a, b",
        ),
        (
            "mongodb.sharded_collections",
            [{"name": "orders", "key": {"a": "hashed"}, "unique": True}],
            "a key with a hashed field cannot be unique",
        ),
        (
            "mongodb.sharded_collections",
            [{"name": "orders", "key": {"a": 1}}] * 2,
            "mongodb.sharded_collections: orders is named twice",
        ),
        ("domains.prod", "x.example", "domains.prod"),
        ("cloud.offsite.staging", ..., "cloud.offsite lacks staging"),
        ("cloud.uptime.local", "pingdom", "Input should be 'none', 'route53' or 'uptimerobot'"),
        ("logs.archive.storage_class", "STANDARD", "logs.archive.storage_class: Input should be"),
        ("name", "kampyn", "must equal the file's name 'bitesbay'"),
        ("contacts.critical", [], "contacts.critical"),
    ],
)
def test_one_wrong_key_is_one_clear_line(tmp_path: Path, path: str, value: Any, expected: str) -> None:
    file = _write(tmp_path, _changed(path, value))
    with pytest.raises(AppFileError) as refused:
        load(file)
    message = str(refused.value)
    assert message.startswith(f"{file}: ")
    assert expected in message
    assert "\n" not in message


def test_a_private_key_in_the_place_of_a_public_one_is_not_repeated(tmp_path: Path) -> None:
    private = "AGE-SECRET-KEY-1" + "Q" * 58
    for value in ([private], private):
        with pytest.raises(AppFileError) as refused:
            load(_write(tmp_path, _changed("backup.encryption.recipients.production", value)))
        assert "AGE-SECRET" not in str(refused.value)
        assert "a private key" in str(refused.value)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("name: [", "line"),
        ("- a\n- b\n", "must be a mapping"),
        ("", "must be a mapping"),
        ("name: a\nname: b\n", "is written twice"),
    ],
)
def test_what_is_no_app_file_at_all(tmp_path: Path, text: str, expected: str) -> None:
    with pytest.raises(AppFileError, match=expected):
        load(_write(tmp_path, text))


@pytest.mark.parametrize(
    ("path", "value", "expected"),
    [
        ("mongodb.atlas.restore_window_days", 7, None),
        (
            "mongodb.atlas.restore_window_days",
            8,
            "mongodb.atlas.restore_window_days (8 days) must not exceed backup.retention.daily_days (7 days)",
        ),
        ("backup.retention.weekly_weeks", 1, None),
        (
            "backup.retention.daily_days",
            29,
            "backup.retention.daily_days (29 days) must not exceed backup.retention.weekly_weeks (28 days)",
        ),
        (
            "backup.retention.monthly_months",
            0,
            "backup.retention.monthly_months: Input should be greater than or equal to 1 (got 0)",
        ),
        (
            "backup.retention.weekly_weeks",
            27,
            "backup.retention.weekly_weeks (189 days) must not exceed"
            " backup.retention.monthly_months (186 days)",
        ),
        ("mongodb.atlas.restore_window_days", 36, "less than or equal to 35 (got 36)"),
        ("mongodb.atlas.compliance_policy", ..., "mongodb.atlas.compliance_policy: is required"),
    ],
)
def test_a_schedule_that_atlas_would_refuse_is_refused_here(
    tmp_path: Path, path: str, value: Any, expected: str | None
) -> None:
    data = _changed("mongodb.atlas", {"restore_window_days": 7, "compliance_policy": False})
    data["backup"]["retention"]["oplog_days"] = 30
    file = _write(tmp_path, _changed(path, value, data))
    if expected is None:
        assert load(file).mongodb.atlas
        return
    with pytest.raises(AppFileError) as refused:
        load(file)
    assert expected in str(refused.value)
    assert "\n" not in str(refused.value)


def test_unreadable_file_and_empty_folder(tmp_path: Path) -> None:
    with pytest.raises(AppFileError, match="cannot be read"):
        load(tmp_path / "none.yml")
    with pytest.raises(AppFileError, match="no app file"):
        load_all(tmp_path)


@given(
    daily=st.integers(1, 60), extra=st.integers(0, 30), weeks=st.integers(1, 60), months=st.integers(1, 60)
)
def test_kept_days_follow_from_the_numbers(daily: int, extra: int, weeks: int, months: int) -> None:
    keep = Retention(
        daily_days=daily, weekly_weeks=weeks, monthly_months=months, oplog_days=daily + extra
    ).all_keep_days()
    assert set(keep) == set(BACKUP_CLASSES)
    # A day more than the number of points: a failed day must not cost a point its way to the present.
    assert keep["oplog"] == daily + max(extra, 1)
    # Slices of the next morning, and of a day whose full failed, have the full they need.
    assert keep["daily"] == keep["oplog"] + 2
    assert keep["weekly"] == max(7 * weeks + 1, keep["daily"])
    # N months are never longer than N times 31 days, so N monthly points remain.
    assert keep["monthly"] == max(31 * months + 1, keep["weekly"])
