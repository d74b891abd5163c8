"""The ways from a stream of BSON to an object in S3 that are measured side by side.

Each takes the stream on stdin, compresses it, and ends when the object is stored. Levels are the
tools' defaults; restic compresses and encrypts by itself.
"""

from __future__ import annotations

import hashlib
import subprocess
import sys
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench import tools
from bench.measure import BenchError
from bench.server import BUCKET, Server
from sandbox.settings import REPOSITORY

_KEY = "archive"
_LIMIT_S = 600.0
_CHUNK = 1024 * 1024
Commands = Sequence[Sequence[str]]


@dataclass(frozen=True)
class Contestant:
    """One way: its pipeline, what has to be there before it, and how its object is read back."""

    name: str
    needs: tuple[str, ...]
    commands: Callable[[Server], Commands]
    unpack: Callable[[Server], Iterator[bytes]]
    prepare: Callable[[Server], None] = lambda _: None
    #: What steward is to reach: its median is at least as many times shorter.
    target: float | None = None


def environment(server: Server) -> dict[str, str]:
    """What the tools read: the server's keys, and for restic and rclone their own names."""
    return server.environment() | {
        "PYTHONPATH": f"{REPOSITORY}:{REPOSITORY / 'scripts/src'}",
        "RESTIC_PASSWORD": "bench",
        "RESTIC_CACERT": str(server.ca_file),
        "RESTIC_CACHE_DIR": str(server.folder / "restic-cache"),
        "RCLONE_CONFIG": "",
        "RCLONE_CA_CERT": str(server.ca_file),
        "RCLONE_CONFIG_BENCH_TYPE": "s3",
        "RCLONE_CONFIG_BENCH_PROVIDER": "Other",
        "RCLONE_CONFIG_BENCH_ENV_AUTH": "true",
        "RCLONE_CONFIG_BENCH_ENDPOINT": server.url,
        "RCLONE_CONFIG_BENCH_NO_CHECK_BUCKET": "true",
    }


def _aws() -> list[str]:
    return [tools.system_tool("aws"), "s3", "cp", "--only-show-errors", "-", f"s3://{BUCKET}/{_KEY}"]


def _restic(server: Server, *arguments: str) -> list[str]:
    return [str(tools.path("restic")), "-q", "-r", f"s3:{server.url}/{BUCKET}/restic", *arguments]


def _restic_init(server: Server) -> None:
    done = subprocess.run(
        _restic(server, "init"),
        env=environment(server),
        capture_output=True,
        text=True,
        timeout=_LIMIT_S,
        check=False,
    )
    if done.returncode:
        raise BenchError(f"restic init: {done.stderr.strip()}")


def _restic_dump(server: Server) -> Iterator[bytes]:
    command = _restic(server, "dump", "latest", f"/{_KEY}")
    with subprocess.Popen(command, env=environment(server), stdout=subprocess.PIPE) as process:
        if process.stdout is None:
            raise ValueError("stdout is not a pipe")
        while chunk := process.stdout.read(_CHUNK):
            yield chunk
    if process.returncode:
        raise BenchError(f"restic dump ended with status {process.returncode}")


def _stored(server: Server) -> Iterator[bytes]:
    yield from server.client().get_object(Bucket=BUCKET, Key=_KEY)["Body"].iter_chunks(_CHUNK)


def _gunzip(server: Server) -> Iterator[bytes]:
    unpacker = zlib.decompressobj(wbits=31)
    for chunk in _stored(server):
        yield unpacker.decompress(chunk)
    if not unpacker.eof:
        raise BenchError("the gzip stream ends too early")


def _unzstd(server: Server) -> Iterator[bytes]:
    import zstandard

    unpacker = zstandard.ZstdDecompressor().decompressobj()
    for chunk in _stored(server):
        yield unpacker.decompress(chunk)
    if not unpacker.eof:
        raise BenchError("the zstd stream ends too early")


def _zstd() -> list[str]:
    return [tools.system_tool("zstd"), "-q", "-T0", "-c"]


CONTESTANTS = (
    Contestant(
        "steward",
        (),
        lambda server: [[sys.executable, "-m", "bench.put", str(server.settings_file()), _KEY]],
        _unzstd,
    ),
    Contestant("zstd -T0, aws s3 cp", (), lambda _: [_zstd(), _aws()], _unzstd, target=1.2),
    Contestant(
        "zstd -T0, rclone rcat",
        ("rclone",),
        lambda _: [_zstd(), [str(tools.path("rclone")), "rcat", f"bench:{BUCKET}/{_KEY}"]],
        _unzstd,
        target=1.2,
    ),
    Contestant(
        "restic backup --stdin",
        ("restic",),
        lambda server: [_restic(server, "backup", "--stdin", "--stdin-filename", _KEY)],
        _restic_dump,
        prepare=_restic_init,
        target=2.0,
    ),
    Contestant(
        "gzip, aws s3 cp",
        (),
        lambda _: [[tools.system_tool("gzip"), "-c"], _aws()],
        _gunzip,
        target=6.0,
    ),
)


def check(contestant: Contestant, server: Server, sha256: str) -> None:
    """Read back what was stored and compare it with the archive.

    Raises:
        BenchError: it is not the archive; the tool's runs do not count.
    """
    digest = hashlib.sha256()
    for chunk in contestant.unpack(server):
        digest.update(chunk)
    if digest.hexdigest() != sha256:
        raise BenchError(f"{contestant.name}: what was stored is not the archive")


def archive_digest(path: Path) -> str:
    """SHA-256 of the archive, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
