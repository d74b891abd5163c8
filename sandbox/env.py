"""The environment in which the sandbox's tools run.

``python -m sandbox.env`` prints it as shell exports, so that a person can use
the same tools: ``eval "$(sandbox/shellenv)"``.
"""

from __future__ import annotations

import json
import os
import secrets
import shlex
import sys
from pathlib import Path

from sandbox.files import write_private
from sandbox.settings import REPOSITORY, Sandbox, current

#: Set by us, so that nothing of the caller's AWS or Pulumi set-up leaks in.
_REMOVED_PREFIXES = ("AWS_", "PULUMI_")

REGION = "us-east-1"


def admin_key(sandbox: Sandbox) -> dict[str, str]:
    """The administrator's access key of the AWS endpoint; made when absent."""
    path = sandbox.state / "aws-admin.json"
    if not path.exists():
        key = {
            # Looks like a key id, but not like one of AWS (AKIA..., ASIA...).
            "access_key_id": "SANDBOX" + secrets.token_hex(6).upper(),
            "secret_access_key": secrets.token_urlsafe(30),
        }
        write_private(path, json.dumps(key))
    loaded = json.loads(path.read_text())
    return {name: str(loaded[name]) for name in ("access_key_id", "secret_access_key")}


def passphrase_file(sandbox: Sandbox) -> Path:
    """The file with the passphrase of the Pulumi state; made when absent."""
    path = sandbox.state / "pulumi-passphrase"
    if not path.exists():
        write_private(path, secrets.token_urlsafe(30))
    return path


def overrides(sandbox: Sandbox) -> dict[str, str]:
    """What the sandbox sets beyond the caller's environment."""
    key = admin_key(sandbox)
    path = [REPOSITORY / ".venv/bin", sandbox.tools, REPOSITORY / "sandbox/bin"]
    return {
        "STEWARD_SANDBOX": sandbox.name,
        "STEWARD_ENVIRONMENT": "local",
        "PATH": os.pathsep.join([*map(str, path), os.environ.get("PATH", os.defpath)]),
        "VIRTUAL_ENV": str(REPOSITORY / ".venv"),
        "PYTHONPATH": str(REPOSITORY),
        "PULUMI_BACKEND_URL": f"file://{sandbox.state / 'pulumi'}",
        "PULUMI_CONFIG_PASSPHRASE_FILE": str(passphrase_file(sandbox)),
        "PULUMI_HOME": str(sandbox.state / "pulumi-home"),
        "PULUMI_SKIP_UPDATE_CHECK": "true",
        "PULUMI_DISABLE_AUTOMATIC_PLUGIN_ACQUISITION": "true",
        "PULUMI_ERROR_OUTPUT_STRING": "true",
        "AWS_ENDPOINT_URL": sandbox.aws_url,
        "AWS_REGION": REGION,
        "AWS_DEFAULT_REGION": REGION,
        "AWS_ACCESS_KEY_ID": key["access_key_id"],
        "AWS_SECRET_ACCESS_KEY": key["secret_access_key"],
        # The one authority and not the bundle: botocore reads the file again for each connection, and
        # the system's hundred-odd authorities cost 25 ms of CPU every time.
        "AWS_CA_BUNDLE": str(sandbox.state / "ca" / "ca.pem"),
        "AWS_EC2_METADATA_DISABLED": "true",
        "ANSIBLE_CONFIG": str(REPOSITORY / "ansible.cfg"),
    }


def environment(sandbox: Sandbox) -> dict[str, str]:
    """A whole environment for a subprocess."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(_REMOVED_PREFIXES)}
    return kept | overrides(sandbox)


def main() -> None:
    """Print the overrides as shell exports."""
    for name, value in overrides(current()).items():
        sys.stdout.write(f"export {name}={shlex.quote(value)}\n")


if __name__ == "__main__":
    main()
