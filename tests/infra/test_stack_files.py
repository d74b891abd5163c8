"""The tracked stack files, read as Pulumi hands them to the program."""

from __future__ import annotations

import itertools
import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic.alias_generators import to_camel

from infra.config import REPOSITORY, StackConfig, load_stack_config
from infra.settings import StackError, StackSettings
from sandbox.stacks import Stacks
from steward.appfile import ENVIRONMENTS
from tests.infra.conftest import APP_NAMES, TemporarySandbox

STACKS = [f"{app}-{environment}" for app, environment in itertools.product(APP_NAMES, ENVIRONMENTS)]
FOLDER = REPOSITORY / "infra/stacks"


def as_pulumi_sends(value: Any) -> str:
    """Pulumi gives a program every setting as text: lists and objects as JSON."""
    if isinstance(value, str):
        return value
    return json.dumps(value)


def text_of(stack: str) -> str:
    return (FOLDER / f"Pulumi.{stack}.yaml").read_text(encoding="utf-8")


def load(stack: str, text: str | None = None) -> StackConfig:
    settings = {
        key: as_pulumi_sends(value) for key, value in yaml.safe_load(text or text_of(stack))["config"].items()
    }
    own = {k.removeprefix("steward:"): v for k, v in settings.items() if k.startswith("steward:")}
    return load_stack_config(stack, settings.get("aws:region"), own)


@pytest.mark.parametrize("stack", STACKS)
def test_every_stack_has_a_file_that_the_program_takes(stack: str) -> None:
    config = load(stack)
    assert config.name == stack
    assert (config.settings.replica_region is not None) is (config.offsite == "s3")
    assert config.settings.endpoint_lacks == [] or config.environment == "local"


def test_there_is_no_file_of_a_stack_that_does_not_exist() -> None:
    assert sorted(p.name for p in FOLDER.iterdir()) == sorted(f"Pulumi.{s}.yaml" for s in STACKS)


@pytest.mark.parametrize("stack", STACKS)
def test_a_file_holds_settings_only_and_no_placeholder(stack: str) -> None:
    """``stack init`` adds how secrets are encrypted; an access key or a ``<...>`` is a mistake."""
    settings = yaml.safe_load(text_of(stack))
    assert {"config"} <= settings.keys() <= {"config", "secretsprovider", "encryptedkey"}
    assert not re.search(r"<|(AKIA|ASIA)[A-Z0-9]{12}|[sS]ecretKey", json.dumps(settings["config"]))


@pytest.mark.parametrize("stack", STACKS)
def test_what_is_commented_out_is_a_setting(stack: str) -> None:
    """A comment that shows a key nobody reads would be believed."""
    shown = re.findall(r"^  # (aws|steward):(\w+):", text_of(stack), re.MULTILINE)
    known = {to_camel(name) for name in StackSettings.model_fields}
    assert {key for space, key in shown if space == "steward"} <= known
    assert {key for space, key in shown if space == "aws"} <= {"allowedAccountIds"}


@pytest.mark.parametrize("stack", [s for s in STACKS if not s.endswith("local")])
def test_an_example_that_is_taken_as_it_stands_is_refused(stack: str) -> None:
    """Without its ``# `` each one-line example of ours must be an error, not a value."""
    lines = text_of(stack).splitlines()
    examples = [i for i, line in enumerate(lines) if re.match(r"  # steward:\w+: \S", line)]
    for index in examples:
        changed = [*lines]
        changed[index] = changed[index].replace("  # ", "  ", 1)
        with pytest.raises(StackError, match=r"infra/stacks/Pulumi\."):
            load(stack, "\n".join(changed))


def test_the_sandbox_copies_only_its_own(tmp_path: Path) -> None:
    stacks = Stacks(TemporarySandbox("test", 1, tmp_path), {})
    stacks.prepare()
    copied = {p.name for p in stacks.project.glob("Pulumi.*.yaml")}
    assert copied == {f"Pulumi.{app}-local.yaml" for app in APP_NAMES}
