"""A stack's name and settings decide what it holds; mistakes are one line."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from infra.config import REPOSITORY, load_stack_config
from infra.settings import StackError
from steward.appfile import ENVIRONMENTS, AppFileError
from tests.infra.conftest import APP_NAMES

#: Settings that every environment of the repository's app files can be built with.
ENOUGH = {"replicaRegion": "eu-west-1"}


@pytest.mark.parametrize("environment", ENVIRONMENTS)
@pytest.mark.parametrize("app", APP_NAMES)
def test_the_name_decides_backend_and_environment(app: str, environment: str) -> None:
    stack = load_stack_config(f"{app}-{environment}", "eu-central-1", ENOUGH)
    assert (stack.app.name, stack.environment) == (app, environment)
    assert (stack.region, stack.settings.object_lock_mode) == ("eu-central-1", "GOVERNANCE")
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
        load_stack_config(stack, "us-east-1", ENOUGH)
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("region", [None, ""])
def test_a_region_is_needed(region: str | None) -> None:
    with pytest.raises(StackError, match=r"infra/stacks/Pulumi.bitesbay-local.yaml: aws:region is missing"):
        load_stack_config("bitesbay-local", region, ENOUGH)


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"objectLockMode": "governance"}, "objectLockMode: Input should be 'GOVERNANCE' or 'COMPLIANCE'"),
        ({"objectLockMode": "governance"}, "(got 'governance')"),
        ({"replicaregion": "eu-west-1"}, "replicaregion: is not a known key; known are atlasCluster,"),
        ({"replica_region": "eu-west-1"}, "replica_region: is not a known key"),
        ({"replicaRegion": "Frankfurt"}, "replicaRegion: String should match pattern"),
        (
            {"breakGlassPrincipals": "arn:aws:iam::123456789012:user/a"},
            "breakGlassPrincipals: Input should be",
        ),
        ({"breakGlassPrincipals": "[broken"}, "breakGlassPrincipals: Input should be a valid list"),
        ({"breakGlassPrincipals": '["somebody"]'}, "breakGlassPrincipals.0: String should match"),
        ({"ec2Instances": '{"app1": "app1"}'}, "ec2Instances.app1: String should match"),
        (
            {"atlasComplianceContact": '{"email": "x", "firstName": "A", "lastName": "B"}'},
            "atlasComplianceContact.email: String should match",
        ),
        (
            {"atlasComplianceContact": '{"email": "a@b.example", "firstName": "A"}'},
            "atlasComplianceContact.lastName: is required",
        ),
    ],
)
def test_a_wrong_setting_names_file_key_and_value(given: dict[str, str], says: str) -> None:
    with pytest.raises(StackError) as caught:
        load_stack_config("bitesbay-local", "us-east-1", {**ENOUGH, **given})
    message = str(caught.value)
    assert message.startswith("infra/stacks/Pulumi.bitesbay-local.yaml: ")
    assert says in message
    assert "\n" not in message


@pytest.mark.parametrize(
    ("old", "new", "given", "says"),
    [
        ("local: s3", "local: s3", {}, "steward:replicaRegion is missing; apps/bitesbay.yml says"),
        ("local: s3", "local: s3", {"replicaRegion": "us-east-1"}, "must differ from aws:region (got"),
        ("local: s3", "local: gcs", {"gcsProject": "p"}, "steward:gcsLocation is missing"),
        ("local: access_key", "local: roles_anywhere", ENOUGH, "steward:rolesAnywhereCa is missing"),
    ],
)  # fmt: skip
def test_what_the_app_file_asks_for_must_be_set(
    edit_app: Callable[[str, str, str], Path],
    monkeypatch: pytest.MonkeyPatch,
    old: str,
    new: str,
    given: dict[str, str],
    says: str,
) -> None:
    monkeypatch.setenv("STEWARD_APPS_DIR", str(edit_app("bitesbay", old, new)))
    with pytest.raises(StackError) as caught:
        load_stack_config("bitesbay-local", "us-east-1", given)
    assert says in str(caught.value)


ATLAS = {"atlasProjectId": "0123456789abcdef01234567", "atlasCluster": "main", **ENOUGH}
CONTACT = '{"email": "a@b.example", "firstName": "A", "lastName": "B"}'


@pytest.mark.parametrize(
    ("policy", "given", "says"),
    [
        ("true", ATLAS, "steward:atlasComplianceContact is missing; apps/bitesbay.yml says"),
        ("true", {**ATLAS, "atlasComplianceContact": CONTACT}, None),
        ("false", ATLAS, None),
        ("false", ENOUGH, "steward:atlasProjectId is missing"),
    ],
)
def test_atlas_needs_its_settings(
    edit_app: Callable[[str, str, str], Path],
    monkeypatch: pytest.MonkeyPatch,
    policy: str,
    given: dict[str, str],
    says: str | None,
) -> None:
    size = "  oplog_size_mb: 256\n"
    atlas = f"  atlas:\n    restore_window_days: 7\n    compliance_policy: {policy}\n"
    monkeypatch.setenv("STEWARD_APPS_DIR", str(edit_app("bitesbay", size, size + atlas)))
    if says is None:
        settings = load_stack_config("bitesbay-production", "us-east-1", given).settings
        contact = settings.atlas_compliance_contact
        assert (contact.last_name if contact else None) == ("B" if policy == "true" else None)
        return
    with pytest.raises(StackError) as caught:
        load_stack_config("bitesbay-production", "us-east-1", given)
    assert says in str(caught.value)


def test_a_wrong_app_file_names_file_and_key(
    edit_app: Callable[[str, str, str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    apps = edit_app("bitesbay", "daily_days: 7", "daily_day: 7")
    monkeypatch.setenv("STEWARD_APPS_DIR", str(apps))
    with pytest.raises(AppFileError) as caught:
        load_stack_config("bitesbay-local", "us-east-1", ENOUGH)
    assert str(caught.value).startswith(f"{apps / 'bitesbay.yml'}: backup.retention.")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("app", APP_NAMES)
def test_every_app_has_a_local_stack_file(app: str) -> None:
    assert (REPOSITORY / "infra/stacks" / f"Pulumi.{app}-local.yaml").is_file()


def test_tracked_stack_files_hold_no_salt() -> None:
    for path in (REPOSITORY / "infra/stacks").glob("Pulumi.*-local.yaml"):
        assert "encryptionsalt" not in path.read_text(encoding="utf-8"), path
