"""The BSON that is backed up: the same bytes for the same size on every machine.

Orders of a shop, in the order a dump has them. Blocks of documents are made once and each block
that is written gets identifiers and tokens of its own: no two blocks are equal, or a tool that
stores equal pieces once would be measured on another task.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

import bson

MIB = 1024 * 1024
_SEED = 20260201
#: Larger than the window of zstd at its default level (2 MiB), so that nothing is found again in
#: the block before.
_BLOCK_BYTES = 8 * MIB
_DISHES = ("Paneer Roll", "Masala Dosa", "Veg Biryani", "Cold Coffee", "Chole Bhature", "Idli Sambar")
_STATES = ("placed", "accepted", "preparing", "delivered", "cancelled")
#: A field of this length in each document holds what is different in every block.
_UNIQUE_BYTES = 16


def _document(rng: random.Random, number: int) -> bytes:
    items = [
        {
            "name": rng.choice(_DISHES),
            "quantity": rng.randint(1, 4),
            "price": rng.randint(20, 300) * 100,
            "category": "food",
        }
        for _ in range(rng.randint(1, 5))
    ]
    return bson.encode(
        {
            "_id": bson.ObjectId(rng.randbytes(12)),
            "unique": rng.randbytes(_UNIQUE_BYTES),
            "orderNumber": number,
            "user": bson.ObjectId(rng.randbytes(12)),
            "items": items,
            "total": sum(int(str(item["price"])) * int(str(item["quantity"])) for item in items),
            "status": rng.choice(_STATES),
            "address": {
                "hostel": f"Block {rng.randint(1, 20)}",
                "room": rng.randint(100, 999),
                "city": "Chennai",
            },
            "payment": {"method": "razorpay", "id": f"pay_{rng.randbytes(7).hex()}", "currency": "INR"},
            "note": "",
            "rating": rng.choice((None, 3, 4, 5)),
        }
    )


class _Block:
    """Documents in a row, and where each holds what differs."""

    def __init__(self, rng: random.Random) -> None:
        self._data = bytearray()
        self._places: list[int] = []
        number = 0
        while len(self._data) < _BLOCK_BYTES:
            raw = _document(rng, number)
            self._places.append(len(self._data) + raw.index(b"\x05unique\x00") + 13)
            self._data += raw
            number += 1

    def fill(self, rng: random.Random) -> bytes:
        """The documents with new values."""
        values = rng.randbytes(len(self._places) * _UNIQUE_BYTES)
        for index, place in enumerate(self._places):
            self._data[place : place + _UNIQUE_BYTES] = values[
                index * _UNIQUE_BYTES : (index + 1) * _UNIQUE_BYTES
            ]
        return bytes(self._data)


def blocks(size: int) -> Iterator[bytes]:
    """Whole documents of at least ``size`` bytes altogether, at most a block more."""
    rng = random.Random(_SEED)  # noqa: S311 - no secret, but the same on every run
    block = _Block(rng)
    written = 0
    while written < size:
        data = block.fill(rng)
        written += len(data)
        yield data


def write(path: Path, size: int) -> int:
    """Write the archive; its size in bytes."""
    written = 0
    with path.open("wb") as file:
        for data in blocks(size):
            written += file.write(data)
    return written
