"""The commands of a runbook, as they stand in it, for tests to run in a shell."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from textwrap import dedent

from sandbox.settings import REPOSITORY
from tests.faults.restore_bench import Bench
from tests.support.aws import REGION

NOT_RUN = "# not run here: "


def blocks(page: str, section: int) -> list[str]:
    """The code blocks of a section, without those that say that they are not run here."""
    text = (REPOSITORY / "docs/runbooks" / page).read_text()
    (found,) = re.findall(rf"^## {section}\. .*?(?=^## |\Z)", text, re.DOTALL | re.MULTILINE)
    fenced = re.findall(r"^( *)```\n(.*?)^\1```", found, re.DOTALL | re.MULTILINE)
    return [text for _, inside in fenced if not (text := dedent(inside)).startswith(NOT_RUN)]


class Shell:
    """A night shift: what is typed into one shell, as an administrator of the endpoint."""

    def __init__(self, bench: Bench, folder: Path, words: Mapping[str, str]) -> None:
        """``words``: what stands in the runbook, and what is meant."""
        self._bench, self._folder, self._words = bench, folder, words
        steward = folder / "bin/steward"
        steward.parent.mkdir(parents=True)
        steward.write_text(f'#!/bin/sh\nexec {sys.executable} -m steward.cli "$@"\n')
        steward.chmod(0o755)

    def run(self, *commands: str, typed: str = "", status: int = 0) -> str:
        """Run blocks one after the other in one shell; what they say."""
        text = "\n".join(commands)
        for written, meant in sorted(self._words.items(), key=lambda item: -len(item[0])):
            text = text.replace(written, meant)
        aws = self._bench.aws
        environment = {
            **os.environ,
            "PATH": f"{self._folder}/bin{os.pathsep}{os.environ['PATH']}",
            "HOME": str(self._folder),
            "STEWARD_CONFIG": str(self._bench.config),
            "AWS_ENDPOINT_URL": aws.https_url,
            "AWS_CA_BUNDLE": str(aws.bundle_file),
            "AWS_DEFAULT_REGION": REGION,
            "AWS_ACCESS_KEY_ID": aws.admin_access_key_id,
            "AWS_SECRET_ACCESS_KEY": aws.admin_secret_access_key,
        }
        done = subprocess.run(
            ["bash", "-ec", text],
            cwd=self._folder,
            env=environment,
            input=typed,
            capture_output=True,
            text=True,
            timeout=120,
        )
        assert done.returncode == status, f"{text}{done.stdout}{done.stderr}"
        return done.stdout + done.stderr
