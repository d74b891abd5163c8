"""What a killed Pulumi leaves behind in a sandbox's file state, and how it is put right.

A killed ``pulumi`` leaves its lock, which stops every later command until a person
runs ``pulumi cancel``; and perhaps a *pending create*: a resource that may exist at AWS
without being in the state. On one machine both can be decided: a lock belongs to a
process that lives or does not, and the sandbox's AWS is nobody else's.

The file backend's layout is that of ``pkg/backend/diy`` of pulumi/pulumi: locks in
``.pulumi/locks/organization/<project>/<stack>/*.json``, states in
``.pulumi/stacks/<project>/<stack>.json``.
"""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

#: Services whose endpoint the stand-in provider asks.
_SERVICES = ("budgets", "cloudwatch", "events", "iam", "kms", "s3", "secretsmanager", "sns", "sts")


#: Longest wait for a plugin of a killed engine to end its last call and itself, in seconds.
PLUGIN_END_S = 120.0


class PluginAliveError(RuntimeError):
    """A plugin of a killed engine does not end, and may still create what nobody knows of."""


def release_dead_locks(backend: Path, stack: str, plugin_end_s: float = PLUGIN_END_S) -> list[int]:
    """Remove the locks of processes of this machine that are gone; returns their ids.

    A killed engine's plugin finishes the call it is at and sees then that it is alone. Until it has
    ended, what it creates could neither be undone nor found, so the lock stays that long.

    Raises:
        PluginAliveError: when a plugin lives longer than ``plugin_end_s``; its lock is still there.
    """
    dead: list[int] = []
    for lock in sorted((backend / ".pulumi/locks").glob(f"**/{stack}/*.json")):
        try:
            content = json.loads(lock.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            continue  # released just now, or being written
        pid = int(content["pid"])
        if content["hostname"] == socket.gethostname() and not _is_pulumi(pid):
            _await_plugins(pid, plugin_end_s)
            lock.with_name(f"{lock.name}.attrs").unlink(missing_ok=True)
            lock.unlink(missing_ok=True)
            dead.append(pid)
    return dead


def _is_pulumi(pid: int) -> bool:
    """Whether a process is a running Pulumi; the id of a dead one may have been given away again."""
    try:
        return Path(f"/proc/{pid}/comm").read_text(encoding="utf-8").strip() == "pulumi"
    except OSError:
        return False


def _await_plugins(engine: int, seconds: float) -> None:
    """Wait until no plugin is left that the process ``engine`` started; the launcher names it to them."""
    mark = f"STEWARD_ENGINE_PID={engine}".encode()
    deadline = time.monotonic() + seconds
    while left := [pid for pid in _processes() if mark in _variables(pid)]:
        if time.monotonic() > deadline:
            raise PluginAliveError(
                f"process {left[0]} of a killed pulumi ({engine}) still runs after {seconds:.0f} s: end it"
            )
        time.sleep(0.1)


def _processes() -> list[int]:
    return [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit()]


def _variables(pid: int) -> list[bytes]:
    """A process's first environment; nothing for one that is gone or is somebody else's."""
    try:
        return Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    except OSError:
        return []


def pending_creates(backend: Path, stack: str) -> list[dict[str, Any]]:
    """Resources of the state whose creation was begun and not seen to end."""
    operations: list[dict[str, Any]] = []
    for state in (backend / ".pulumi/stacks").glob(f"*/{stack}.json"):
        latest = json.loads(state.read_text(encoding="utf-8"))["checkpoint"].get("latest") or {}
        operations += latest.get("pending_operations") or []
    return [operation["resource"] for operation in operations if operation["type"] == "creating"]


def undo_creates(resources: list[dict[str, Any]], environment: Mapping[str, str]) -> None:
    """Remove what pending creates may have made, so that they can be made again.

    Only what has a name of its own is in the way: settings of a bucket are simply put again, and
    a key without a name disturbs nobody. Nothing that holds data is removed: the bucket must be
    empty and the user without access keys.
    """
    from sandbox.aws_plugin.registry import RESOURCES
    from sandbox.aws_plugin.settings import Aws

    aws = Aws(
        {
            "accessKey": environment["AWS_ACCESS_KEY_ID"],
            "customCaBundle": environment.get("AWS_CA_BUNDLE") or None,
            "endpoints": [dict.fromkeys(_SERVICES, environment["AWS_ENDPOINT_URL"])],
            "region": environment["AWS_REGION"],
            "secretKey": environment["AWS_SECRET_ACCESS_KEY"],
        }
    )
    for resource in resources:
        row = RESOURCES.get(resource["type"])
        inputs = resource.get("inputs") or {}
        if row and row.named_by and inputs.get(row.named_by):
            row.delete(aws, row.identify(aws, inputs), known_without_state(inputs))


def known_without_state(inputs: Mapping[str, Any]) -> dict[str, Any]:
    """What a deletion may know of a resource without state: nothing that forces it to take data along.

    A secret is deleted at once or has a name that stays taken for days; one that was never seen is empty.
    """
    return {name: inputs.get(name) for name in ("region", "recoveryWindowInDays")}


def backend_folder(environment: Mapping[str, str]) -> Path | None:
    """Folder of a ``file://`` backend, ``None`` for another kind."""
    url = environment.get("PULUMI_BACKEND_URL", "")
    return Path(url.removeprefix("file://")) if url.startswith("file://") else None
