"""steward.backup.documents: the schemas of the documentation are those of the models."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator

from steward.backup.documents import SCHEMAS, schema_text

FOLDER = Path(__file__).parents[2] / "docs" / "schemas"


def test_every_schema_is_written_down_and_no_other() -> None:
    assert sorted(path.stem for path in FOLDER.glob("*.json")) == sorted(SCHEMAS)


@pytest.mark.parametrize("name", sorted(SCHEMAS))
def test_a_schema_is_that_of_its_model(name: str) -> None:
    """Else: ``python -m steward.backup.documents docs/schemas``."""
    text = (FOLDER / f"{name}.json").read_text(encoding="utf-8")
    assert text == schema_text(name)
    schema = json.loads(text)
    Draft202012Validator.check_schema(schema)
    assert schema["additionalProperties"] is False, "an unknown key is an error"


def test_the_module_writes_them(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "steward.backup.documents", str(tmp_path)]
    subprocess.run(command, check=True, timeout=60)
    assert {p.name: p.read_text() for p in tmp_path.iterdir()} == {
        p.name: p.read_text() for p in FOLDER.iterdir()
    }
