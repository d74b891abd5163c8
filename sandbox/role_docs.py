"""The table of variables in each role's README, from the role's argument specification.

python -m sandbox.role_docs            write them
python -m sandbox.role_docs --check    exit status 3 when one is out of date
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import yaml

from sandbox.files import write_atomically
from sandbox.settings import REPOSITORY

HEADER = "| variable | type | default | meaning |\n| --- | --- | --- | --- |\n"
#: Longer defaults are left to ``defaults/main.yml``.
_SHOWN = 40


def table(options: dict[str, Any]) -> str:
    """The rows of one role, in the order of its specification."""
    rows = [HEADER]
    for name, option in options.items():
        kind = option["type"] + (f" of {option['elements']}" if "elements" in option else "")
        meaning = option["description"]
        if "choices" in option:
            meaning += " One of " + ", ".join(f"`{choice}`" for choice in option["choices"]) + "."
        rows.append(f"| `{name}` | {kind} | {_default(option)} | {meaning.replace('|', chr(92) + '|')} |\n")
    return "".join(rows)


def _default(option: dict[str, Any]) -> str:
    if option.get("required"):
        return "required"
    if "default" not in option:
        return "see defaults"
    text = json.dumps(option["default"], ensure_ascii=False)
    return f"`{text}`" if len(text) <= _SHOWN else "see defaults"


def updated(readme: str, rows: str) -> str:
    """A README with this table in place of its own, or at its end."""
    kept, inside, placed = [], False, False
    for line in readme.splitlines(keepends=True):
        inside = line.startswith("| variable |") or (inside and line.startswith("|"))
        if not inside:
            kept.append(line)
        elif not placed:
            kept.append(rows)
            placed = True
    return "".join(kept) if placed else "".join(kept).rstrip("\n") + "\n\n" + rows


def pages() -> dict[Path, str]:
    """Each role's README as it should be."""
    found = {}
    for spec in sorted((REPOSITORY / "roles").glob("*/meta/argument_specs.yml")):
        options = yaml.safe_load(spec.read_text("utf-8"))["argument_specs"]["main"]["options"]
        readme = spec.parents[1] / "README.md"
        found[readme] = updated(readme.read_text("utf-8"), table(options))
    return found


def main() -> int:
    """Entry point; returns an exit status."""
    parser = argparse.ArgumentParser(prog="python -m sandbox.role_docs", description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="write nothing; 3 when a table is out of date")
    check = parser.parse_args().check
    stale = {path: text for path, text in pages().items() if path.read_text("utf-8") != text}
    for path, text in stale.items():
        print(path.relative_to(REPOSITORY))
        if not check:
            write_atomically(path, text.encode(), 0o644)
    return 3 if check and stale else 0


if __name__ == "__main__":
    sys.exit(main())
