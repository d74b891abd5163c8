"""A stack's name and settings decide what it holds; mistakes are one line."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from infra.config import REPOSITORY, StackError, load_stack_config
from steward.appfile import ENVIRONMENTS, AppFileError
from tests.infra.conftest import APP_NAMES


@pytest.mark.parametrize("environment", ENVIRONMENTS)
@pytest.mark.parametrize("app", APP_NAMES)
def test_the_name_decides_backend_and_environment(app: str, environment: str) -> None:
    stack = load_stack_config(f"{app}-{environment}", "eu-central-1", None)
    assert (stack.app.name, stack.environment) == (app, environment)
    assert (stack.region, stack.object_lock_mode) == ("eu-central-1", "GOVERNANCE")
    assert stack.disposable is (environment == "local")
    assert stack.protected is (environment == "production")


@pytest.mark.parametrize(
    ("stack", "says"),
    [
        ("bitesbay", "must be called <app>-<environment>"),
        ("local", "must be called <app>-<environment>"),
        ("-local", "must be called <app>-<environment>"),
        ("bitesbay-prod", "environment one of local, staging, production"),
        ("nobody-local", "has no nobody.yml; write it or use one of bitesbay, kampyn"),
    ],
)
def test_a_wrong_name_is_one_line(stack: str, says: str) -> None:
    with pytest.raises(StackError) as caught:
        load_stack_config(stack, "us-east-1", None)
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("region", [None, ""])
def test_a_region_is_needed(region: str | None) -> None:
    with pytest.raises(StackError, match=r"aws:region is missing in infra/stacks/Pulumi.bitesbay-local.yaml"):
        load_stack_config("bitesbay-local", region, None)


def test_an_unknown_lock_mode_is_refused() -> None:
    with pytest.raises(StackError, match="must be GOVERNANCE or COMPLIANCE"):
        load_stack_config("bitesbay-local", "us-east-1", "governance")


def test_a_wrong_app_file_names_file_and_key(
    edit_app: Callable[[str, str, str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    apps = edit_app("bitesbay", "daily_days: 7", "daily_day: 7")
    monkeypatch.setenv("STEWARD_APPS_DIR", str(apps))
    with pytest.raises(AppFileError) as caught:
        load_stack_config("bitesbay-local", "us-east-1", None)
    assert str(caught.value).startswith(f"{apps / 'bitesbay.yml'}: backup.retention.")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("app", APP_NAMES)
def test_every_app_has_a_local_stack_file(app: str) -> None:
    assert (REPOSITORY / "infra/stacks" / f"Pulumi.{app}-local.yaml").is_file()


def test_tracked_stack_files_hold_no_salt() -> None:
    for path in (REPOSITORY / "infra/stacks").glob("Pulumi.*-local.yaml"):
        assert "encryptionsalt" not in path.read_text(encoding="utf-8"), path
