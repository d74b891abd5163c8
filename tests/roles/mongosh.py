"""Scripts for mongosh, run by Node.js against a model of the server's rules: no mongod can be had here."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

#: What every model begins with: its state, and refusals as the driver throws them.
PRELUDE = r"""
const fs = require('fs');
const state = JSON.parse(process.env.MODEL);
const fail = (code, text) => { throw Object.assign(new Error(text), { code }); };
globalThis.print = (text) => console.log(text);
globalThis.sleep = () => {};
process.on('exit', () => fs.writeSync(2, `\nSTATE${JSON.stringify(state)}\n`));
"""


def run_script(
    model: str,
    script: Path,
    settings: dict[str, Any],
    state: dict[str, Any],
    folder: Path | None = None,
    path: str = "/usr/bin:/bin:/usr/local/bin",
) -> tuple[subprocess.CompletedProcess[str], dict[str, Any]]:
    """Run a script with its settings on stdin over a model's state.

    Args:
        model: JavaScript behind :data:`PRELUDE`; it makes the global ``Mongo``.
        folder: where it runs; None is here.
        path: where it finds programs.

    Returns:
        What it did, and the state afterwards.
    """
    done = subprocess.run(
        ["node", "-e", PRELUDE + model + f"require({json.dumps(str(script))});"],
        cwd=folder,
        input=json.dumps(settings),
        env={"MODEL": json.dumps(state), "PATH": path},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    [line] = [line for line in done.stderr.splitlines() if line.startswith("STATE")]
    return done, json.loads(line.removeprefix("STATE"))


def outcome(
    model: str, script: Path, settings: dict[str, Any], state: dict[str, Any]
) -> tuple[dict[str, Any] | None, dict[str, Any], str]:
    """The JSON that a script prints last (None after a failure), the state afterwards, and standard error."""
    done, after = run_script(model, script, settings, state)
    answer = json.loads(done.stdout.splitlines()[-1]) if done.returncode == 0 else None
    return answer, after, done.stderr


def told(result: tuple[dict[str, Any] | None, dict[str, Any], str], state: dict[str, Any]) -> dict[str, Any]:
    """The answer of an :func:`outcome` that is a success; the state after it comes into ``state``."""
    answer, after, errors = result
    assert answer is not None, errors
    state.clear()
    state |= after
    return answer
