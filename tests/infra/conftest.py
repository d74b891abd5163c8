"""Fixtures of the infrastructure tests: app files, stack settings, and a Pulumi project of their own."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

import pytest
from pulumi.runtime import settings as pulumi_settings

from infra.config import REPOSITORY, StackConfig
from infra.settings import Lacking, StackSettings
from sandbox import env
from sandbox.aws_plugin.registry import RESOURCES
from sandbox.aws_plugin.settings import Aws
from sandbox.settings import Sandbox, current
from sandbox.stacks import Stacks
from steward.appfile import Environment, load
from tests.infra.rows import Life, aws_with_default_tags
from tests.support.aws import AwsEndpoint, AwsUser

APP_NAMES = tuple(sorted(path.stem for path in (REPOSITORY / "apps").glob("*.yml")))

NEEDS_PULUMI = pytest.mark.skipif(
    not shutil.which("pulumi") and not (current().tools / "pulumi").exists(),
    reason="pulumi is not on PATH and not built; make up or make test builds it",
)


def stack_config(
    app: str = "bitesbay", environment: Environment = "local", **settings: object
) -> StackConfig:
    """What a stack is about, without Pulumi; ``settings`` by their names in Python."""
    lacks = list(get_args(Lacking)) if environment == "local" else []
    given = StackSettings.model_validate(
        {"replica_region": "eu-central-1", "endpoint_lacks": lacks, **settings}
    )
    return StackConfig(load(REPOSITORY / "apps" / f"{app}.yml"), environment, "us-east-1", given)


@dataclass(frozen=True)
class TemporarySandbox(Sandbox):
    """A sandbox whose state lies in a test's folder."""

    folder: Path = Path()

    @property
    def state(self) -> Path:
        return self.folder


@pytest.fixture
def mocked_pulumi(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """An Output in a string is an error; nothing of the mocks stays behind."""
    monkeypatch.setenv("PULUMI_ERROR_OUTPUT_STRING", "true")
    loop = asyncio.new_event_loop()  # an asyncio.run of another test leaves the thread without one
    asyncio.set_event_loop(loop)
    yield
    pulumi_settings.reset_options()
    loop.close()
    asyncio.set_event_loop(None)


@pytest.fixture
def aws(aws_endpoint: AwsEndpoint) -> Aws:
    """The endpoint as the stand-in's rows see it, with default tags."""
    return aws_with_default_tags(aws_endpoint)


@pytest.fixture
def life(aws: Aws) -> Callable[..., Life]:
    """Start the life of a resource: its type, then its arguments by their names."""

    def start(type_name: str, **inputs: Any) -> Life:
        return Life(aws, RESOURCES[type_name], inputs)

    return start


def stacks_of(folder: Path, endpoint: AwsEndpoint, extra: Mapping[str, str] | None = None) -> Stacks:
    """A prepared Pulumi project with its state in ``folder`` and AWS at ``endpoint``."""
    sandbox = TemporarySandbox("test", 1, folder)
    environment = env.environment(sandbox) | {
        "AWS_ENDPOINT_URL": endpoint.https_url,
        "AWS_ACCESS_KEY_ID": endpoint.admin_access_key_id,
        "AWS_SECRET_ACCESS_KEY": endpoint.admin_secret_access_key,
        "AWS_CA_BUNDLE": str(endpoint.ca_file),
        **(extra or {}),
    }
    stacks = Stacks(sandbox, environment, folder / "log" / "pulumi.log")
    stacks.prepare()
    return stacks


@pytest.fixture
def edit_app(tmp_path: Path) -> Callable[[str, str, str], Path]:
    """A copy of ``apps/`` in which one text of one file is replaced; returns the folder."""

    def edit(app: str, old: str, new: str) -> Path:
        apps = tmp_path / "apps"
        shutil.copytree(REPOSITORY / "apps", apps, dirs_exist_ok=True)
        path = apps / f"{app}.yml"
        text = path.read_text(encoding="utf-8")
        assert old in text, f"{path} has no {old!r}"
        path.write_text(text.replace(old, new), encoding="utf-8")
        return apps

    return edit


@pytest.fixture(scope="session")
def built(aws_endpoint: AwsEndpoint, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stacks]:
    """Both stacks. In the end KAMPYN's is destroyed, and of BitesBay's test_stack_repair.py destroys one."""
    stacks = stacks_of(tmp_path_factory.mktemp("stacks"), aws_endpoint)
    for app in APP_NAMES:
        stacks.select(f"{app}-local")
        stacks.up(f"{app}-local", refresh=False)
    yield stacks
    stacks.destroy("kampyn-local")
    left = [b["Name"] for b in aws_endpoint.client("s3").list_buckets()["Buckets"]]
    assert not [name for name in left if name.startswith("kampyn-local")]


@pytest.fixture(scope="session")
def host(built: Stacks, aws_endpoint: AwsEndpoint) -> AwsUser:
    """The hosts' identity of BitesBay with a key of its own."""
    name = str(built.outputs("bitesbay-local")["backup_writer_user"])
    iam = aws_endpoint.client("iam")
    key = iam.create_access_key(UserName=name)["AccessKey"]
    arn = iam.get_user(UserName=name)["User"]["Arn"]
    return AwsUser(aws_endpoint, name, arn, key["AccessKeyId"], key["SecretAccessKey"])


@pytest.fixture(scope="session")
def bucket(built: Stacks) -> str:
    """BitesBay's bucket."""
    return str(built.outputs("bitesbay-local")["backup_bucket"])
