"""The file with its environment that an application reads when a worker starts, and the one to come.

PM2 may start a worker at any moment. So what a deployment has written waits beside the file (``env.next``)
until a canary has run with it, and what was there before is kept (``env.before``) until all hosts have proven
the new one.
"""

from __future__ import annotations

import os
import pathlib
import shutil


class EnvironmentFile:
    """The three files of one application on this host.

    Args:
        path: the file that workers read.
    """

    def __init__(self, path: str) -> None:
        self.path = pathlib.Path(path)
        self.next = pathlib.Path(f"{path}.next")
        self.before = pathlib.Path(f"{path}.before")

    def pending(self) -> bool:
        """Whether the one to come is another one."""
        try:
            wanted = self.next.read_bytes()
        except FileNotFoundError:
            return False
        try:
            return self.path.read_bytes() != wanted
        except FileNotFoundError:
            return True

    def apply(self) -> None:
        """Make the one to come the one that workers read."""
        if self.pending():
            if self.path.exists():
                _copy(self.path, self.before)
            _copy(self.next, self.path)

    def take_back(self) -> bool:
        """Let workers read what was there before, and drop the other one; whether there was another one."""
        if not self.before.exists():
            return False
        self.next.unlink(missing_ok=True)
        os.utime(self.before)  # workers that have read the other one are older
        self.before.replace(self.path)
        return True

    def forget(self) -> None:
        """There is no way back any more."""
        self.before.unlink(missing_ok=True)


def _copy(source: pathlib.Path, target: pathlib.Path) -> None:
    """Copy with owner and mode, in one step for who reads the target."""
    temporary = target.with_name(f".{target.name}.new")
    temporary.unlink(missing_ok=True)
    temporary.touch(mode=0o600)
    status = source.stat()
    try:
        shutil.copyfile(source, temporary)
        os.chown(temporary, status.st_uid, status.st_gid)
        temporary.chmod(status.st_mode & 0o777)
        temporary.replace(target)
    finally:
        temporary.unlink(missing_ok=True)
