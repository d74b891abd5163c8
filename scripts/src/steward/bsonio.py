"""Streams of BSON documents, split without decoding them."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

from steward.errors import FaultError

if TYPE_CHECKING:
    from bson.codec_options import CodecOptions

#: An oplog entry may be 16 KiB larger than the largest user document
#: (``BSONObjMaxInternalSize`` of the server).
MAX_DOCUMENT_BYTES = 16 * 1024 * 1024 + 16 * 1024
#: The length, and the closing zero byte.
MIN_DOCUMENT_BYTES = 5


@functools.cache
def _options() -> CodecOptions[dict[str, Any]]:
    """Every value that a server may hold is accepted, also those that Python has no type for."""
    from bson.codec_options import CodecOptions, DatetimeConversion

    return CodecOptions(
        datetime_conversion=DatetimeConversion.DATETIME_AUTO, unicode_decode_error_handler="replace"
    )


def check_document(raw: bytes) -> None:
    """Go through every value of a document.

    Raises:
        FaultError: it is not BSON.
    """
    import bson

    try:
        bson.decode(raw, _options())
    except bson.errors.InvalidBSON as error:
        raise FaultError(f"not BSON: {error}") from error


def iter_raw_bson(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """Each document of a stream of concatenated BSON documents.

    Args:
        chunks: the stream, cut anywhere.

    Raises:
        FaultError: a length that no document can have, a document that does
            not end with a zero byte, or a stream that ends inside one. The
            message names the byte offset.
    """
    buffer = bytearray()
    offset = 0  # of buffer[0] within the stream
    for chunk in chunks:
        buffer += chunk
        position = 0
        while len(buffer) - position >= 4:
            size = int.from_bytes(buffer[position : position + 4], "little")
            if not MIN_DOCUMENT_BYTES <= size <= MAX_DOCUMENT_BYTES:
                raise FaultError(f"not BSON: a document of {size} bytes at byte {offset + position}")
            if len(buffer) - position < size:
                break
            document = bytes(buffer[position : position + size])
            if document[-1] != 0:
                raise FaultError(f"not BSON: the document at byte {offset + position} has no end")
            yield document
            position += size
        del buffer[:position]
        offset += position
    if buffer:
        raise FaultError(f"the stream ends inside a document that starts at byte {offset}")
