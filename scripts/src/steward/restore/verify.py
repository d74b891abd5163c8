"""Read stored objects and check every byte of them before anything is restored."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Generator, Iterable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from steward.backup.archive import ArchiveChecker
from steward.backup.pipeline import Meter
from steward.bsonio import iter_raw_bson
from steward.encryption import DecryptionError, NoKeyError
from steward.errors import ConfigError, FaultError, StewardError
from steward.manifest import DataObject, Manifest, Piece
from steward.restore.applier import Replay
from steward.restore.chain import Chain
from steward.restore.ddl import BorderError
from steward.restore.entries import EntryError, Ts, time_of

if TYPE_CHECKING:
    from steward.storage import Store

Progress = Callable[[int], None]

_ADVICE = "restore from another full (--base), or fetch another version of the object"


@dataclass
class Verified:
    """What was read and found good."""

    objects: int = 0
    #: Bytes as stored.
    stored_bytes: int = 0
    #: Bytes after decompression.
    raw_bytes: int = 0
    #: Operations up to the point in time, as the replay will count them.
    operations: int = 0
    checked: list[str] = field(default_factory=list)
    #: Selected namespaces that the operations are about, by their old names.
    names: set[str] = field(default_factory=set)


#: Bytes that are unpacked at once. A zstd block of 4 bytes can stand for 128 KiB, so that what comes
#: out of these is 128 MiB at most, and of 1 MiB it could be 32 GiB.
UNPACK_BYTES = 4096


def _small(chunks: Iterable[bytes]) -> Iterator[bytes]:
    for chunk in chunks:
        for start in range(0, len(chunk), UNPACK_BYTES):
            yield chunk[start : start + UNPACK_BYTES]


def read_object(
    store: Store, data: DataObject, progress: Progress | None = None
) -> Generator[bytes, None, None]:
    """The decrypted and decompressed stream of a stored object, checked while it is read.

    Sizes and digests can be compared only at the end: whoever uses the stream must
    read all of it and must not count it as good before it has ended.

    Raises:
        FaultError: the stored bytes are not those of the manifest.
        NoKeyError: they are encrypted, and no identity of ``store`` opens them.
        StewardError: the store cannot be read.
    """
    import zstandard

    stored, raw = Meter(), Meter()
    source = _stored(store, data, stored, progress)
    stream = store.identities.decrypt(source) if data.encryption else source
    # Closed here: a stream that is decrypted has a thread.
    with contextlib.closing(stream):
        try:
            yield from raw.watch(_decompress(stream))
        except zstandard.ZstdError as error:
            raise FaultError(f"{data.key}: damaged, cannot be decompressed ({error}); {_ADVICE}") from error
        except DecryptionError as error:
            raise FaultError(f"{data.key}: damaged, {error}; {_ADVICE}") from error
        except NoKeyError as error:
            # A damaged header looks the same: what is stored must be what was stored.
            for _ in source:
                pass
            _check_digest(data, stored)
            raise _no_key(data, error) from error
    _check_digest(data, stored)
    if raw.size != data.raw_size or raw.digest.hexdigest() != data.raw_sha256:
        raise FaultError(f"{data.key}: its content is not the one of the manifest; {_ADVICE}")


def _stored(
    store: Store, data: DataObject, meter: Meter, progress: Progress | None
) -> Generator[bytes, None, None]:
    for chunk in meter.watch(store.open_read(data.key)):
        if progress is not None:
            progress(len(chunk))
        yield chunk


def _decompress(chunks: Iterable[bytes]) -> Iterator[bytes]:
    import zstandard

    decompressor = zstandard.ZstdDecompressor().decompressobj()
    for chunk in _small(chunks):
        rest = chunk
        while rest:
            if raw := decompressor.decompress(rest):
                yield raw
            if not decompressor.eof:
                break
            # A stream may consist of several frames, as `zstd` itself writes them.
            rest = decompressor.unused_data
            decompressor = zstandard.ZstdDecompressor().decompressobj()


def _check_digest(data: DataObject, found: Meter) -> None:
    if found.size != data.size:
        raise FaultError(f"{data.key}: damaged, {found.size} bytes instead of {data.size}; {_ADVICE}")
    if found.digest.hexdigest() != data.sha256:
        raise FaultError(f"{data.key}: damaged, its SHA-256 is not the one of the manifest; {_ADVICE}")


def _no_key(data: DataObject, error: NoKeyError) -> NoKeyError:
    return NoKeyError(f"{data.key}: encrypted for {', '.join(data.recipients)}; {error}")


def check_keys(store: Store, chain: Chain) -> None:
    """Open the begin of an object of each set of recipients, to tell a wrong key before all the work.

    Damage is left to :func:`verify`.

    Raises:
        NoKeyError: no identity opens what this chain reads.
        ConfigError: a file of identities cannot be used.
    """
    seen: set[tuple[str, ...]] = set()
    for data in chain.objects:
        names = tuple(data.recipients)
        if not names or names in seen:
            continue
        seen.add(names)
        with contextlib.closing(store.identities.decrypt(store.open_read(data.key))) as stream:
            try:
                next(stream, None)
            except NoKeyError as error:
                if not store.identities.match(names):
                    raise _no_key(data, error) from error
            except ConfigError:
                raise
            except StewardError:
                continue


def slice_entries(store: Store, piece: Piece, progress: Progress | None = None) -> Iterator[bytes]:
    """The entries of a slice, checked: in ascending order, from start to end, all of them.

    Raises:
        FaultError: the slice is not what its manifest says.
    """
    key, oplog = piece.object.key, piece.oplog
    count, last = 0, (-1, -1)
    try:
        for raw in iter_raw_bson(read_object(store, piece.object, progress)):
            ts = time_of(raw)
            if ts <= last:
                raise FaultError(f"entry {_text(ts)} comes after {_text(last)}")
            if not count and ts != (oplog.start.t, oplog.start.i):
                raise FaultError(f"it begins with {_text(ts)} instead of {oplog.start}")
            count, last = count + 1, ts
            yield raw
    except EntryError as error:
        raise FaultError(f"{key}: damaged slice: {error}; {_ADVICE}") from error
    except FaultError as error:
        text = str(error)
        raise FaultError(
            text if text.startswith(key) else f"{key}: damaged slice: {text}; {_ADVICE}"
        ) from error
    if last != (oplog.end.t, oplog.end.i) or count != oplog.count:
        raise FaultError(
            f"{key}: damaged slice: {count} entries up to {_text(last)}"
            f" instead of {oplog.count} up to {oplog.end}; {_ADVICE}"
        )


def chain_entries(store: Store, chain: Chain, progress: Progress | None = None) -> Iterator[bytes]:
    """The entries of all slices of a chain, one after the other."""
    for piece in chain.slices:
        yield from slice_entries(store, piece, progress)


def verify(store: Store, chain: Chain, replay: Replay | None, progress: Progress | None = None) -> Verified:
    """Read everything a restore will read, and go through every entry without applying it.

    Args:
        replay: a fresh one; it counts what the real one will do.

    Raises:
        FaultError: an object is missing or damaged, or an entry cannot be replayed.
        StewardError: what is selected needs something that is not.
    """
    result = Verified()
    for data in chain.objects:
        _check_exists(store, data)
    verify_archive(store, chain.base, progress)
    if replay is not None:
        entries = chain_entries(store, chain, progress)
        try:
            for _ in replay.operations(entries):
                result.operations += 1
        except BorderError as error:
            raise StewardError(f"a part alone cannot be restored: {error}; nothing was written") from error
        except EntryError as error:
            raise FaultError(f"the stored oplog cannot be replayed: {error}") from error
        result.names = replay.names
        for _ in entries:  # the rest of the last slice, behind the point in time
            pass
    for data in chain.objects:
        result.objects += 1
        result.stored_bytes += data.size
        result.raw_bytes += data.raw_size
        result.checked.append(data.key)
    return result


def _check_exists(store: Store, data: DataObject) -> None:
    found = store.head(data.key)
    if found is None:
        raise FaultError(f"{data.key}: missing in the bucket although its manifest is there; {_ADVICE}")
    if found.size != data.size:
        raise FaultError(f"{data.key}: damaged, {found.size} bytes instead of {data.size}; {_ADVICE}")


def verify_archive(
    store: Store, full: Manifest, progress: Progress | None = None, *, every_value: bool = False
) -> None:
    """Read the dump of a full backup and compare it with the manifest.

    Args:
        every_value: also go through each value of each document.

    Raises:
        FaultError: it is damaged.
        StewardError: the store cannot be read.
    """
    checker = ArchiveChecker(every_value=every_value)
    try:
        for chunk in read_object(store, full.object, progress):
            checker.feed(chunk)
        found = {n.name: n.documents for n in checker.finish()}
    except FaultError as error:
        text, key = str(error), full.object.key
        raise FaultError(
            text if text.startswith(key) else f"{key}: damaged dump: {text}; {_ADVICE}"
        ) from error
    expected = {f"{n.db}.{n.collection}": n.count for n in full.namespaces or []}
    for name in sorted(expected.keys() | found.keys()):
        if expected.get(name) != found.get(name):
            raise FaultError(
                f"{full.object.key}: damaged dump: {found.get(name, 'no')} documents of {name}"
                f" instead of {expected.get(name, 'none')}; {_ADVICE}"
            )


def _text(ts: Ts) -> str:
    return f"{ts[0]}:{ts[1]}"
