"""The key pair for which one of the two applications encrypts its backups; the other does not.

Stands for what an engineer keeps outside of all hosts. The inventory reads the public key; the
private one goes to a host for the time of a restore.
"""

from __future__ import annotations

from pathlib import Path

from sandbox.files import write_atomically, write_private
from sandbox.settings import Sandbox

#: The application with encrypted backups.
ENCRYPTED = "kampyn"


def ensure(sandbox: Sandbox) -> None:
    """Make the key pair, once."""
    from pyrage import x25519

    private = identity_file(sandbox, ENCRYPTED)
    if not private.exists():
        write_private(private, f"{x25519.Identity.generate()}\n")
    # Second and anew each time: a run that was ended between the two leaves no pair without its half.
    key = x25519.Identity.from_str(private.read_text().strip())
    write_atomically(private.with_suffix(".pub"), f"{key.to_public()}\n".encode(), 0o644)


def identity_file(sandbox: Sandbox, app: str) -> Path:
    """Where the private key of an application is, if it has one."""
    return sandbox.state / "backup-keys" / f"{app}.txt"
