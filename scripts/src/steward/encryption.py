"""age: streams encrypted for recipients, and opened with identities (https://age-encryption.org/v1).

A backup host holds public keys only. Memory does not depend on the length of a stream.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from queue import Queue, SimpleQueue
from typing import Any

from steward.errors import ConfigError, FaultError

#: Ends the name of an encrypted object.
SUFFIX = ".age"
#: Bytes collected before they are passed on: age itself gives 8 or 64 KiB at once.
OUTPUT_BYTES = 1024 * 1024
#: prctl(2): whether the kernel may write this process' memory into a core file.
_PR_SET_DUMPABLE = 4


class NoKeyError(ConfigError):
    """None of the identities at hand opens a stream."""


class DecryptionError(FaultError):
    """An encrypted stream is damaged or cut short."""


def recipient(text: str) -> str:
    """A public key (``age1...`` or ``ssh-ed25519 ...``) in the form that is kept, without a comment.

    Raises:
        ValueError: it is none. The message does not repeat it: it may be a private key.
    """
    import pyrage

    words = text.split()[:2]
    kept = " ".join(words)
    try:
        if kept.startswith("ssh-ed25519 "):
            pyrage.ssh.Recipient.from_str(kept)
        else:
            pyrage.x25519.Recipient.from_str(text)
    except pyrage.RecipientError as error:
        if "PRIVATE" in text or "SECRET" in text:
            raise ValueError(
                "must be a public key, this is a private one: make a new pair, it is no secret now"
            ) from error
        raise ValueError("must be a public key as age1... or ssh-ed25519 ...") from error
    return kept


def encrypt(chunks: Iterable[bytes], recipients: Sequence[str]) -> Generator[bytes, None, None]:
    """A stream as an age file, which any one of the recipients opens."""
    import pyrage

    keys = [
        pyrage.ssh.Recipient.from_str(text)
        if text.startswith("ssh-")
        else pyrage.x25519.Recipient.from_str(text)
        for text in recipients
    ]
    return _through(lambda source, sink: pyrage.encrypt_io(source, sink, keys), chunks)


@dataclass(frozen=True)
class Identities:
    """Private keys, read when they are first needed."""

    files: tuple[Path, ...] = ()

    @cached_property
    def _loaded(self) -> list[Any]:
        _forbid_core_files()
        return [identity for path in self.files for identity in _read_identities(path)]

    def match(self, recipients: Iterable[str]) -> bool:
        """Whether one of the public keys belongs to an identity here (told of age's own keys only)."""
        own = {str(key.to_public()) for key in self._loaded if hasattr(key, "to_public")}
        return not own.isdisjoint(recipients)

    def decrypt(self, chunks: Iterable[bytes]) -> Generator[bytes, None, None]:
        """The content of an age file.

        Each part is authentic, but whether the file is complete is known only at its end.

        Raises:
            NoKeyError: no identity opens it.
            DecryptionError: it is damaged or cut short.
            ConfigError: a file of identities cannot be used.
        """
        import pyrage

        keys = self._loaded
        try:
            yield from _through(lambda source, sink: pyrage.decrypt_io(source, sink, keys), chunks)
        except (pyrage.DecryptError, _StreamError) as error:
            if "No matching keys" in str(error):
                raise NoKeyError(_no_key(self.files)) from error
            raise DecryptionError(f"cannot be decrypted ({error})") from error


def _no_key(files: Sequence[Path]) -> str:
    if not files:
        return "give the private key with --identity FILE, or encryption.identity_file of steward.toml"
    return f"not opened by {', '.join(map(str, files))}; give the private key of a recipient with --identity"


def _read_identities(path: Path) -> list[Any]:
    """The private keys of a file as ``age-keygen`` or ``ssh-keygen`` writes it; messages never show them.

    Raises:
        ConfigError: others can open it, or it holds no usable key.
    """
    import pyrage

    from steward.config import check_private

    check_private(path)
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from error
    try:
        if content.startswith(b"-----BEGIN"):
            return [pyrage.ssh.Identity.from_buffer(content)]
        lines = [line.strip() for line in content.decode("ascii").splitlines()]
        found = [pyrage.x25519.Identity.from_str(line) for line in lines if line and not line.startswith("#")]
    except (pyrage.IdentityError, UnicodeDecodeError):
        found = []
    if not found:
        # Without its cause, which could show a part of the file.
        raise ConfigError(
            f"{path}: holds no private key as age-keygen writes it, nor an ssh one without a passphrase"
        )
    return found


def _forbid_core_files() -> None:
    """Keep this process' memory, which is to hold private keys, out of core files and from debuggers."""
    import ctypes

    ctypes.CDLL(None).prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)


class _StreamError(Exception):
    """What the library found wrong with the content of a stream."""


class _AbandonedError(Exception):
    """Ends the library's run when nobody wants its output any more."""


class _Source:
    """What the library reads from."""

    def __init__(self) -> None:
        #: None is the end of the stream; one chunk waits while another is worked on.
        self.chunks: Queue[bytes | _AbandonedError | None] = Queue(1)
        self._rest = memoryview(b"")
        self.ended = False

    def read(self, size: int) -> bytes:
        while not self._rest and not self.ended:
            self._rest = memoryview(self.take() or b"")
        taken, self._rest = self._rest[:size], self._rest[size:]
        return bytes(taken)

    def take(self) -> bytes | None:
        chunk = self.chunks.get()
        if not isinstance(chunk, bytes):
            self.ended = True
            if chunk is not None:
                raise chunk
        return chunk


class _Sink:
    """What the library writes to."""

    def __init__(self) -> None:
        self.chunks: SimpleQueue[bytes] = SimpleQueue()
        self._collected = bytearray()

    def write(self, data: bytes) -> int:
        self._collected += data
        if len(self._collected) >= OUTPUT_BYTES:
            self.flush()
        return len(data)

    def flush(self) -> None:
        if self._collected:
            self.chunks.put(bytes(self._collected))
            self._collected.clear()


def _through(work: Callable[[_Source, _Sink], None], chunks: Iterable[bytes]) -> Generator[bytes, None, None]:
    """Turn a function that copies from a reader to a writer into a step of a stream.

    It runs in a thread. The stream is drawn in the caller's own: only there do signals and
    errors of the steps before arrive, and a tool they started ends with the thread that did.
    """
    source, sink = _Source(), _Sink()
    failures: list[BaseException] = []

    def run() -> None:
        try:
            work(source, sink)
            sink.flush()
        except BaseException as error:  # raised again in the thread that draws the stream
            failures.append(error)
        # Whoever gives chunks must not wait for a run that is over.
        while not source.ended:
            try:
                source.take()
            except _AbandonedError:
                break

    thread = threading.Thread(target=run, name="age", daemon=True)
    thread.start()
    try:
        for chunk in chunks:
            source.chunks.put(bytes(chunk))
            if failures:
                break
            while not sink.chunks.empty():
                yield sink.chunks.get()
        source.chunks.put(None)
        thread.join()
        if failures:
            if isinstance(failures[0], OSError):  # so the library calls a damaged part
                raise _StreamError(str(failures[0])) from failures[0]
            raise failures[0]
        while not sink.chunks.empty():
            yield sink.chunks.get()
    finally:
        if thread.is_alive():
            source.chunks.put(_AbandonedError())
            thread.join()
