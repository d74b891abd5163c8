"""The checksums of S3's flexible-checksum headers, incremental.

CRC-32C and CRC-64/NVME come from ``awscrt`` when it is installed; otherwise
they are computed here by table, a few megabytes a second: right, but slow.
Parameters: https://reveng.sourceforge.io/crc-catalogue/ (CRC-32/ISCSI, CRC-64/NVME).
"""

from __future__ import annotations

import base64
import hashlib
import importlib
import zlib
from collections.abc import Callable
from typing import Any, Protocol

#: Algorithms by the name clients use in ``x-amz-sdk-checksum-algorithm``.
ALGORITHMS = ("CRC32", "CRC32C", "CRC64NVME", "SHA1", "SHA256")


class Checksum(Protocol):
    """A running checksum."""

    def update(self, data: bytes) -> None: ...

    def digest(self) -> bytes: ...


def _crt() -> Any:
    try:
        return importlib.import_module("awscrt.checksums")
    except ImportError:
        return None


_CRT = _crt()


def _table(polynomial: int) -> list[int]:
    """Byte table of a reflected CRC; ``polynomial`` is given reflected."""
    table = []
    for byte in range(256):
        value = byte
        for _ in range(8):
            value = (value >> 1) ^ (polynomial if value & 1 else 0)
        table.append(value)
    return table


def table_crc(reflected_polynomial: int, width: int) -> Callable[[bytes, int], int]:
    """A reflected CRC with all-ones start and final inversion, chainable like :func:`zlib.crc32`."""
    table = _table(reflected_polynomial)
    mask = (1 << width) - 1

    def update(data: bytes, previous: int = 0) -> int:
        value = previous ^ mask
        for byte in data:
            value = table[(value ^ byte) & 0xFF] ^ (value >> 8)
        return value ^ mask

    return update


class _Crc:
    def __init__(self, function: Callable[[bytes, int], int], size: int) -> None:
        self._function, self._size, self._value = function, size, 0

    def update(self, data: bytes) -> None:
        self._value = self._function(data, self._value)

    def digest(self) -> bytes:
        return self._value.to_bytes(self._size, "big")


_crc32c = _CRT.crc32c if _CRT else table_crc(0x82F63B78, 32)
_crc64nvme = _CRT.crc64nvme if _CRT else table_crc(0x9A6C9329AC4BC9B5, 64)


def new(algorithm: str) -> Checksum:
    """A fresh checksum.

    Raises:
        KeyError: for a name that is not one of :data:`ALGORITHMS`.
    """
    makers: dict[str, Callable[[], Checksum]] = {
        "CRC32": lambda: _Crc(zlib.crc32, 4),
        "CRC32C": lambda: _Crc(_crc32c, 4),
        "CRC64NVME": lambda: _Crc(_crc64nvme, 8),
        "SHA1": lambda: hashlib.sha1(usedforsecurity=False),
        "SHA256": hashlib.sha256,
    }
    return makers[algorithm]()


def encoded(checksum: Checksum) -> str:
    """The digest as S3 writes it: base64."""
    return base64.b64encode(checksum.digest()).decode()
