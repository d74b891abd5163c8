"""The policy pack under the Pulumi CLI: it lets a stack of ours pass and stops one that breaks a rule."""

from __future__ import annotations

from pathlib import Path

import pytest

from sandbox.settings import REPOSITORY
from sandbox.stacks import StackCommandError
from tests.infra.conftest import NEEDS_PULUMI, stacks_of
from tests.support.aws import AwsEndpoint

PACK = ("--policy-pack", str(REPOSITORY / "infra/policy/steward-policy"))

pytestmark = [NEEDS_PULUMI, pytest.mark.timeout(300)]


@pytest.fixture(autouse=True)
def _as_on_other_machines(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without what makes each Python write at once: the pack itself has to, or the CLI waits for ever."""
    monkeypatch.delenv("PYTHONUNBUFFERED", raising=False)


def test_a_new_stack_passes_in_the_preview(aws_endpoint: AwsEndpoint, tmp_path: Path) -> None:
    """At its first preview most values are not known yet; no rule may stumble over that."""
    stacks = stacks_of(tmp_path / "state", aws_endpoint)
    stacks.select("kampyn-local")
    said = stacks.run("preview", *PACK, "--stack", "kampyn-local")
    assert "steward@v1.0.0" in said
    assert "to create" in said


def test_the_preview_of_what_breaks_a_rule_fails(aws_endpoint: AwsEndpoint, tmp_path: Path) -> None:
    program = tmp_path / "program"
    program.mkdir()
    (program / "__main__.py").write_text(
        "import pulumi_aws as aws\naws.s3.Bucket('bare', bucket='bare-and-open')\n", encoding="utf-8"
    )
    project = tmp_path / "project"
    project.mkdir()
    (project / "Pulumi.yaml").write_text(f"name: bare\nruntime: python\nmain: {program}\n", encoding="utf-8")
    stacks = stacks_of(tmp_path / "state", aws_endpoint)
    run = ("--cwd", str(project))
    stacks.run(*run, "stack", "init", "bare-local")
    with pytest.raises(StackCommandError) as caught:
        stacks.run(*run, "preview", *PACK, "--stack", "bare-local")
    output = " ".join(caught.value.output.split())
    assert "[mandatory]" in output
    assert "bucket-versioned" in output
    assert "To mend it:" in output
