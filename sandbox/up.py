"""``make up``: from nothing to two backends that were backed up and restored.

Run again, it mends what is broken and repeats the proof; what is in place is
left alone.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import subprocess
import sys
import time
from functools import partial
from pathlib import Path
from typing import Any

from sandbox import backup_keys, ca, proof, screen, secrets, services_set
from sandbox.env import environment
from sandbox.processes import ServiceError
from sandbox.settings import REPOSITORY, Sandbox, current
from sandbox.stack_repair import PluginAliveError
from sandbox.stacks import StackCommandError, Stacks
from sandbox.steps import StepError, Steps
from steward.appfile import AppFile, AppFileError, load_all

#: What the hosts are made of; when none of it changed, the playbook has nothing to do.
_PLAYBOOK_INPUTS = (
    "ansible.cfg",
    "apps",
    "inventories",
    "playbooks",
    "plugins",
    "roles",
    "scripts",
    "requirements",
)


def _content_digest(paths: list[Path]) -> str:
    digest = hashlib.sha256()
    for top in paths:
        files = [top] if top.is_file() else sorted(p for p in top.rglob("*") if p.is_file())
        for path in files:
            if "__pycache__" in path.parts or path.suffix == ".pyc":
                continue
            digest.update(f"{path}\0".encode())
            digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()


def _hosts_digest(steps: Steps) -> str:
    """Changes when a host was made anew or booted again."""
    done = subprocess.run(
        [str(REPOSITORY / "sandbox/hosts"), "status", "--json"],
        capture_output=True,
        text=True,
        timeout=60,
        env=dict(steps.environment),
        check=False,
    )
    if done.returncode != 0:
        raise StepError(f"sandbox/hosts status failed: {done.stderr.strip()}")
    return json.dumps(sorted((h["host"], h["booted_at"]) for h in json.loads(done.stdout)["hosts"]))


def _site(sandbox: Sandbox, steps: Steps, seeded: object, release: str) -> None:
    """Run the site playbook, unless nothing that it depends on has changed since it last succeeded."""
    inputs = _content_digest([REPOSITORY / name for name in _PLAYBOOK_INPUTS])
    stamp = sandbox.state / "site.done"
    parts = [inputs, _hosts_digest(steps), json.dumps(seeded, sort_keys=True), release]
    want = hashlib.sha256("\0".join(parts).encode()).hexdigest()
    if stamp.exists() and stamp.read_text() == want:
        steps.say("hosts are configured as the roles say: nothing changed since the last run")
        return
    stamp.unlink(missing_ok=True)
    steps.run(
        "ansible-playbook playbooks/site.yml",
        ["ansible-playbook", "-i", "inventories/local", "playbooks/site.yml"],
        seconds=1800,
    )
    stamp.write_text(want)


def bring_up(sandbox: Sandbox, steps: Steps, *, prove: bool) -> list[proof.Proof]:
    """Everything that ``make up`` does after the bootstrap.

    Raises:
        StepError, ServiceError, AppFileError: with the message for the user.
    """
    apps: dict[str, AppFile] = load_all(REPOSITORY / "apps")
    with steps.step("certificates"):
        folder = sandbox.state / "ca"
        ca.ensure(folder)
        ca.issue(folder, "aws", dns_names=["localhost"], addresses=[sandbox.gateway, "127.0.0.1"])
        for app in apps.values():
            ca.issue(folder, app.domains["local"], dns_names=[app.domains["local"]], addresses=[])
    hosts = [str(REPOSITORY / "sandbox/hosts"), "up"]
    release: list[str] = []
    steps.together(
        [
            lambda: steps.run("staging hosts", hosts, seconds=1200),
            lambda: release.append(_build_backend(sandbox, steps)),
        ]
    )
    with steps.step("AWS endpoint"):
        services_set.start_aws(sandbox, steps.environment)
    outputs = _stacks(sandbox, list(apps), steps)
    with steps.step("secrets"):
        seeded = {
            name: secrets.seed(name, secrets.key_users(outputs[name]), steps.environment) for name in apps
        }
        backup_keys.ensure(sandbox)
        services_set.start_others(sandbox, steps.environment, seeded, apps)
    _site(sandbox, steps, seeded, release[0])
    if not prove:
        return []
    proofs: dict[str, proof.Proof] = {}

    def prove_one(name: str) -> None:
        proofs[name] = proof.run(sandbox, apps[name], seeded[name]["mongodb"], steps)

    steps.together([partial(prove_one, name) for name in apps])
    return [proofs[name] for name in apps]


def _stacks(sandbox: Sandbox, apps: list[str], steps: Steps) -> dict[str, dict[str, Any]]:
    """Build every application's stack; their outputs by application."""
    Stacks(sandbox, steps.environment).prepare()
    outputs: dict[str, dict[str, Any]] = {}

    def build(app: str) -> None:
        name = f"pulumi up --stack {app}-{secrets.ENVIRONMENT}"
        log = steps.log(name)
        log.unlink(missing_ok=True)
        stacks = Stacks(sandbox, steps.environment, log)
        try:
            with steps.step(name):
                stacks.select(f"{app}-{secrets.ENVIRONMENT}")
                # What the endpoint forgot or somebody changed by hand is found and mended.
                stacks.up(f"{app}-{secrets.ENVIRONMENT}", refresh=True)
                outputs[app] = stacks.outputs(f"{app}-{secrets.ENVIRONMENT}")
        except (PluginAliveError, StackCommandError, subprocess.TimeoutExpired) as error:
            raise StepError(f"{error}; the whole output is in {log}") from error

    steps.together([partial(build, app) for app in apps])
    return outputs


def _build_backend(sandbox: Sandbox, steps: Steps) -> str:
    """Build the sample backend's archive; its release id."""
    name = "sample backend"
    with steps.step(name):
        steps.command(
            name, [str(REPOSITORY / "sandbox/backend/build"), str(sandbox.state / "build")], seconds=600
        )
    return steps.log(name).read_text().strip().splitlines()[-1]


def main() -> int:
    """Command line of ``python -m sandbox.up``."""
    parser = argparse.ArgumentParser(prog="make up", description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--no-proof", action="store_true", help="bring up only, without backup and restore")
    options = parser.parse_args()
    sandbox = current()
    steps = Steps(sandbox.state / "log", environment(sandbox), REPOSITORY)
    began = time.monotonic()
    try:
        proofs = bring_up(sandbox, steps, prove=not options.no_proof)
    except (StepError, ServiceError, AppFileError) as error:
        sys.stderr.write(f"make up: {error}\n")
        return 1
    except KeyboardInterrupt:
        sys.stderr.write("make up: interrupted; run it again to go on, or make down\n")
        return 130
    sys.stdout.write(
        screen.render(sandbox, load_all(REPOSITORY / "apps"), proofs, steps.taken, time.monotonic() - began)
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
