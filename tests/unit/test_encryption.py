"""steward.encryption: age streams, as this library and the stock command both read them."""

from __future__ import annotations

import ctypes
import stat
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pyrage
import pytest
from hypothesis import given
from hypothesis import strategies as st

from steward.encryption import DecryptionError, Identities, NoKeyError, encrypt, recipient
from steward.errors import EXIT_FAULT, EXIT_USAGE, ConfigError

Chunks = st.lists(st.binary(max_size=200_000), max_size=6)


def identity_file(path: Path, *keys: pyrage.x25519.Identity) -> Path:
    """A file as age-keygen writes it."""
    path.touch(0o600)
    path.write_text("# created: 2026-11-22\n" + "".join(f"{key}\n" for key in keys))
    return path


@pytest.fixture(scope="module")
def keys() -> list[pyrage.x25519.Identity]:
    return [pyrage.x25519.Identity.generate() for _ in range(3)]


@pytest.fixture(scope="module")
def files(keys: list[pyrage.x25519.Identity], tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("identities")
    return [identity_file(folder / f"{n}.txt", key) for n, key in enumerate(keys)]


def public(keys: list[pyrage.x25519.Identity]) -> list[str]:
    return [str(key.to_public()) for key in keys]


def cut(stored: bytes, size: int) -> list[bytes]:
    return [stored[start : start + size] for start in range(0, len(stored), size)]


@given(chunks=Chunks, size=st.integers(100, 300_000))
def test_either_of_two_recipients_opens_what_was_encrypted_and_nobody_else(
    keys: list[pyrage.x25519.Identity], files: list[Path], chunks: list[bytes], size: int
) -> None:
    stored = b"".join(encrypt(chunks, public(keys[:2])))
    for path in files[:2]:
        assert b"".join(Identities((path,)).decrypt(cut(stored, size))) == b"".join(chunks)
    for wrong in (Identities((files[2],)), Identities()):
        with pytest.raises(NoKeyError) as refused:
            list(wrong.decrypt(cut(stored, size)))
        assert refused.value.exit_code == EXIT_USAGE
        assert "--identity" in str(refused.value)


@given(
    content=st.binary(max_size=200_000),
    where=st.floats(0, 1, exclude_max=True),
    # None: cut there.
    bit=st.none() | st.integers(0, 7),
)
def test_no_cut_and_no_flipped_bit_passes(
    keys: list[pyrage.x25519.Identity], files: list[Path], content: bytes, where: float, bit: int | None
) -> None:
    stored = bytearray(b"".join(encrypt([content], public(keys[:1]))))
    place = int(where * len(stored))  # its length varies: the library writes random lines into the header
    if bit is None:
        del stored[place:]
    else:
        stored[place] ^= 1 << bit
    # What is told of a damaged header may be that no key fits.
    with pytest.raises((DecryptionError, NoKeyError)):
        list(Identities((files[0],)).decrypt([bytes(stored)]))


def test_damage_behind_the_header_and_bytes_behind_the_end_are_faults(
    keys: list[pyrage.x25519.Identity], files: list[Path]
) -> None:
    stored = b"".join(encrypt([bytes(300_000)], public(keys[:1])))
    for damaged in (
        stored[:-1],
        stored + b"x",
        stored[:200_000] + bytes([stored[200_000] ^ 1]) + stored[200_001:],
        b"something else",
    ):
        with pytest.raises(DecryptionError) as found:
            list(Identities((files[0],)).decrypt([damaged]))
        assert found.value.exit_code == EXIT_FAULT


def age_threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "age"]


def test_an_error_of_the_source_arrives_as_it_is_and_ends_the_thread(
    keys: list[pyrage.x25519.Identity], files: list[Path]
) -> None:
    stored = b"".join(encrypt([bytes(3_000_000)], public(keys[:1])))

    def breaks(chunks: list[bytes]) -> Iterator[bytes]:
        yield from chunks
        raise ConnectionResetError("gone")

    with pytest.raises(ConnectionResetError, match="gone"):
        list(encrypt(breaks([bytes(10), bytes(3_000_000)]), public(keys[:1])))
    with pytest.raises(ConnectionResetError, match="gone"):
        list(Identities((files[0],)).decrypt(breaks(cut(stored, 100_000))))
    assert age_threads() == []


def test_a_stream_that_is_dropped_halfway_ends_its_thread(keys: list[pyrage.x25519.Identity]) -> None:
    drawn = []

    def endless() -> Iterator[bytes]:
        while True:
            drawn.append(1)
            yield bytes(1_000_000)

    stream = encrypt(endless(), public(keys[:1]))
    next(stream)
    assert len(age_threads()) == 1
    stream.close()
    assert age_threads() == []
    assert len(drawn) < 6, "more was drawn than is needed for the first output"


def ssh_key(folder: Path, passphrase: str = "") -> tuple[Path, str]:
    path = folder / f"id{len(passphrase)}"
    subprocess.run(
        ["ssh-keygen", "-q", "-t", "ed25519", "-C", "me@desk", "-N", passphrase, "-f", str(path)], check=True
    )
    return path, path.with_name(path.name + ".pub").read_text()


def test_ssh_keys_serve_too_and_lose_their_comment(tmp_path: Path) -> None:
    path, line = ssh_key(tmp_path)
    kept = recipient(line)
    assert "desk" not in kept
    stored = b"".join(encrypt([b"content"], [kept]))
    assert b"".join(Identities((path,)).decrypt([stored])) == b"content"


def test_what_is_no_public_key_is_refused_and_never_repeated(keys: list[pyrage.x25519.Identity]) -> None:
    good = str(keys[0].to_public())
    wrong = "q" if good[-1] != "q" else "p"
    for text in (good[:-1] + wrong, "age1", "", "ssh-rsa AAAA", "ssh-ed25519 AAAA", f"{good} {good}"):
        with pytest.raises(ValueError, match="must be a public key as age1"):
            recipient(text)
    with pytest.raises(ValueError, match="this is a private one") as told:
        recipient(str(keys[0]))
    assert str(keys[0]) not in str(told.value)


def test_files_that_cannot_be_used_are_told_in_a_line_without_their_content(
    tmp_path: Path, keys: list[pyrage.x25519.Identity]
) -> None:
    stored = list(encrypt([b"content"], public(keys[:1])))
    opened = identity_file(tmp_path / "open.txt", keys[0])
    opened.chmod(0o640)
    garbled = identity_file(tmp_path / "garbled.txt", keys[0])
    garbled.write_text(str(keys[0])[:-1] + "\n")
    empty = identity_file(tmp_path / "empty.txt")
    locked, _ = ssh_key(tmp_path, "passphrase")
    for path, words in (
        (opened, "chmod 0600"),
        (garbled, "holds no private key"),
        (empty, "holds no private key"),
        (locked, "without a passphrase"),
        (tmp_path / "none.txt", "cannot be read"),
    ):
        with pytest.raises(ConfigError) as refused:
            list(Identities((path,)).decrypt(stored))
        assert words in str(refused.value)
        assert str(path) in str(refused.value)
        assert "AGE-SECRET" not in str(refused.value) + repr(refused.value.__cause__)


def test_files_are_not_read_before_they_are_needed(tmp_path: Path) -> None:
    Identities((tmp_path / "none.txt",))


def test_no_core_file_can_hold_a_private_key(keys: list[pyrage.x25519.Identity], files: list[Path]) -> None:
    get, put, libc = 3, 4, ctypes.CDLL(None)
    libc.prctl(put, 1, 0, 0, 0)
    list(Identities((files[0],)).decrypt(encrypt([b"content"], public(keys[:1]))))
    assert libc.prctl(get, 0, 0, 0, 0) == 0


def test_the_stock_command_and_this_library_read_each_other(
    tmp_path: Path, keys: list[pyrage.x25519.Identity]
) -> None:
    made, content = tmp_path / "key.txt", bytes(range(256)) * 1000
    said = subprocess.run(["age-keygen", "-o", str(made)], check=True, capture_output=True, text=True).stderr
    assert stat.S_IMODE(made.stat().st_mode) == 0o600
    name = said.split()[-1]
    stored = b"".join(encrypt([content], [*public(keys[:1]), recipient(name)]))
    opened = subprocess.run(["age", "-d", "-i", str(made)], input=stored, check=True, capture_output=True)
    assert opened.stdout == content
    other = subprocess.run(["age", "-r", name], input=content, check=True, capture_output=True).stdout
    assert b"".join(Identities((made,)).decrypt([other])) == content
