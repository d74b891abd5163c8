"""Memory does not depend on the size of the dump, encrypted or not."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from pyrage import x25519

MIB = 1024 * 1024
#: Three parts in flight and one being filled (64), the compressor (64), Python with boto3 (95).
LIMIT_MIB = 256
#: The library, one chunk that is encrypted, one that waits, and what comes out of them.
ENCRYPTION_MIB = 16

# Compression takes 16 MiB a thread, so their number is the same on every machine. The peak is
# VmHWM: ru_maxrss of a child begins with what its parent had.
CLIENT = """
import os, re, sys
from pathlib import Path
from steward.backup import pipeline
from steward.backup.pipeline import put_compressed
from steward.config import StorageLogin, StorageSettings
from steward.storage import open_store
url, chunks, recipients = sys.argv[1], int(sys.argv[2]), sys.argv[3:]
login = StorageLogin(access_key_id="a", secret_access_key="b")
store = open_store(StorageSettings(bucket="memory-test", region="us-east-1", endpoint_url=url, login=login))
pipeline.os.cpu_count = lambda: pipeline.DEFAULT.threads
content = (os.urandom(1 << 20) for _ in range(chunks))
stored = put_compressed(store, "daily/x/dump", content, None, recipients=recipients)
peak = re.search(r"VmHWM:\\s+(\\d+) kB", Path("/proc/self/status").read_text())
print(stored.raw_size, stored.size, stored.parts, int(peak[1]) // 1024)
"""
#: Python with the library, twice what one direction needs.
OPENING_LIMIT_MIB = 64
OPENING = """
import os, re, sys
from pathlib import Path
from steward.encryption import Identities, encrypt
content = (os.urandom(1 << 20) for _ in range(512))
opened = sum(map(len, Identities((Path(sys.argv[1]),)).decrypt(encrypt(content, sys.argv[2:]))))
peak = re.search(r"VmHWM:\\s+(\\d+) kB", Path("/proc/self/status").read_text())
print(opened, int(peak[1]) // 1024)
"""


class Sink(BaseHTTPRequestHandler):
    """As much of S3 as an upload needs; it counts the bytes and keeps none."""

    protocol_version = "HTTP/1.1"
    received = 0
    lock = threading.Lock()

    def log_message(self, format: str, *args: object) -> None:
        return

    def _answer(self, body: bytes = b"", length: int | None = None) -> None:
        self.send_response(200)
        self.send_header("ETag", '"e"')
        self.send_header("Last-Modified", "Sun, 22 Nov 2026 02:10:00 GMT")
        self.send_header("Content-Length", str(len(body) if length is None else length))
        self.end_headers()
        self.wfile.write(body)

    def do_PUT(self) -> None:
        left = int(self.headers["Content-Length"])
        while left:
            chunk = self.rfile.read(min(left, MIB))
            left -= len(chunk)
            with Sink.lock:
                Sink.received += len(chunk)
        self._answer()

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        name = "InitiateMultipartUploadResult" if "uploads" in self.path else "CompleteMultipartUploadResult"
        self._answer(f"<{name}><UploadId>u</UploadId><ETag>e</ETag></{name}>".encode())

    def do_HEAD(self) -> None:
        self._answer(length=Sink.received)


@pytest.fixture
def sink() -> Iterator[str]:
    """The address of a server that swallows uploads."""
    Sink.received = 0
    server = ThreadingHTTPServer(("127.0.0.1", 0), Sink)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def two_public_keys() -> list[str]:
    return [str(x25519.Identity.generate().to_public()) for _ in range(2)]


@pytest.mark.parametrize("recipients", [[], two_public_keys()], ids=["plain", "encrypted"])
def test_half_a_gibibyte_that_does_not_compress_needs_no_more_memory_than_parts_in_flight(
    sink: str, recipients: list[str]
) -> None:
    done = subprocess.run(
        [sys.executable, "-c", CLIENT, sink, "512", *recipients],
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    raw, stored, parts, peak = map(int, done.stdout.split())
    assert raw == 512 * MIB
    assert stored >= raw
    assert stored == Sink.received
    assert parts == -(-stored // (16 * MIB))
    assert peak < LIMIT_MIB + (ENCRYPTION_MIB if recipients else 0)


def test_opening_an_encrypted_stream_needs_no_more_memory_than_a_few_chunks(tmp_path: Path) -> None:
    identity = x25519.Identity.generate()
    path = tmp_path / "key.txt"
    path.touch(0o600)
    path.write_text(str(identity))
    done = subprocess.run(
        [sys.executable, "-c", OPENING, str(path), str(identity.to_public())],
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    opened, peak = map(int, done.stdout.split())
    assert opened == 512 * MIB
    assert peak < OPENING_LIMIT_MIB
