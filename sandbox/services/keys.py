"""Keys files of the stand-ins: who may log in, by application."""

from __future__ import annotations

import json
import sys
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Generic, TypeVar

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError


class KeysError(ValueError):
    """A keys file cannot be used; the message is one line and holds no key."""


class RazorpayAccount(BaseModel):
    """One merchant's keys, as in the secret ``razorpay`` of an application."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    key_id: str = Field(min_length=1)
    key_secret: str = Field(min_length=1)
    webhook_secret: str = Field(min_length=1)


class MailLogin(BaseModel):
    """One login, as in the secret ``smtp`` of an application."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    username: str = Field(min_length=1)
    password: str = Field(min_length=1)


Entry = TypeVar("Entry", RazorpayAccount, MailLogin)


class KeysFile(Generic[Entry]):
    """``{"<application>": {...}}``, read again whenever the file has changed, so that keys can be rotated."""

    def __init__(self, path: Path, entry: type[Entry]) -> None:
        """Read the file.

        Raises:
            KeysError: when it cannot be read or understood.
        """
        self._path = path
        # mypy takes no variable as a type argument, but pydantic does.
        self._adapter: TypeAdapter[dict[str, Entry]] = TypeAdapter(dict[str, entry])  # type: ignore[valid-type]
        self._lock = threading.Lock()
        self._stamp: tuple[int, int, int]
        self._entries: dict[str, Entry]
        self._stamp, self._entries = self._read()

    def entries(self) -> Mapping[str, Entry]:
        """The keys as the file holds them now; of a file that went bad the last good ones."""
        with self._lock:
            try:
                if self._stamp != self._stat():
                    self._stamp, self._entries = self._read()
            except KeysError as error:
                sys.stderr.write(f"{error}; the keys from before are still used\n")
            return self._entries

    def _stat(self) -> tuple[int, int, int]:
        try:
            status = self._path.stat()
        except OSError as error:
            raise KeysError(f"{self._path}: cannot be read: {error.strerror}") from error
        return status.st_ino, status.st_mtime_ns, status.st_size

    def _read(self) -> tuple[tuple[int, int, int], dict[str, Entry]]:
        stamp = self._stat()
        try:
            return stamp, self._adapter.validate_python(json.loads(self._path.read_bytes()))
        except OSError as error:
            raise KeysError(f"{self._path}: cannot be read: {error.strerror}") from error
        except ValidationError as error:
            first = error.errors(include_input=False, include_url=False)[0]
            where = ".".join(str(part) for part in first["loc"]) or "(file)"
            raise KeysError(f"{self._path}: {where}: {first['msg']}") from error
        except ValueError as error:
            raise KeysError(f"{self._path}: is not JSON") from error
