"""Running a tool: streams in and out, its messages collected, its secrets hidden.

Secrets reach the tool in a configuration file that exists in memory only
(``memfd``), so they are in no argument list and nothing is left on disk
however the run ends.
"""

from __future__ import annotations

import contextlib
import os
import select
import shutil
import subprocess
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import IO

from steward.errors import StewardError

#: Bytes read from a tool at once, and the size asked for its pipes.
CHUNK_BYTES = 1024 * 1024
#: A tool that neither takes nor gives a byte for this long is hung.
STALL_SECONDS = 900.0
#: Between asking a tool to end and ending it.
GRACE_SECONDS = 5.0
_TAIL_LINES = 50
#: fcntl's F_SETPIPE_SZ (Linux).
_SET_PIPE_SIZE = 1031


class Running:
    """A tool that runs. Made by :func:`run_tool`."""

    def __init__(self, name: str, process: subprocess.Popen[bytes], stall_seconds: float) -> None:
        self.name = name
        self.process = process
        #: The last messages (stderr) of the tool.
        self.messages: deque[str] = deque(maxlen=_TAIL_LINES)
        self._stall_seconds = stall_seconds
        self._listener: threading.Thread | None = None

    def listen(self, on_message: Callable[[str], None] | None) -> None:
        """Collect stderr in a thread; each line goes to ``on_message`` as well."""
        stream = self.process.stderr
        if stream is None:
            raise ValueError("stderr is not a pipe")

        def collect() -> None:
            for raw in stream:
                line = raw.decode("utf-8", "replace").rstrip()
                self.messages.append(line)
                if on_message is not None:
                    on_message(line)

        self._listener = threading.Thread(target=collect, name=f"{self.name}-stderr", daemon=True)
        self._listener.start()

    def read(self) -> Iterator[bytes]:
        """What the tool writes to stdout, until it closes it.

        Raises:
            StewardError: nothing came for the stall time.
        """
        stream = self.process.stdout
        if stream is None:
            raise ValueError("stdout is not a pipe")
        descriptor = stream.fileno()
        while True:
            ready, _, _ = select.select([descriptor], [], [], self._stall_seconds)
            if not ready:
                raise StewardError(f"{self.name} has sent nothing for {self._stall_seconds:g} s; gave up")
            chunk = os.read(descriptor, CHUNK_BYTES)
            if not chunk:
                return
            yield chunk

    def feed(self, chunks: Iterable[bytes]) -> None:
        """Write a stream to the tool's stdin and close it.

        Raises:
            StewardError: the tool ended or stalled before it had taken everything.
        """
        stream = self.process.stdin
        if stream is None:
            raise ValueError("stdin is not a pipe")
        descriptor = stream.fileno()
        # Otherwise a tool that stalls in the middle of a write would hold this process too.
        os.set_blocking(descriptor, False)
        try:
            for chunk in chunks:
                rest = memoryview(chunk)
                while rest:
                    _, ready, _ = select.select([], [descriptor], [], self._stall_seconds)
                    if not ready:
                        raise StewardError(
                            f"{self.name} has taken nothing for {self._stall_seconds:g} s; gave up"
                        )
                    rest = rest[os.write(descriptor, rest) :]
            stream.close()
        except BrokenPipeError as error:
            self.wait(GRACE_SECONDS)
            raise StewardError(f"{self.name} ended before it had read everything: {self.reason()}") from error

    def wait(self, timeout: float = STALL_SECONDS) -> int:
        """The exit status, with all messages collected. Negative: the signal that ended it.

        Raises:
            StewardError: still running after ``timeout`` seconds.
        """
        try:
            status = self.process.wait(timeout)
        except subprocess.TimeoutExpired as error:
            raise StewardError(f"{self.name} did not end within {timeout:g} s") from error
        if self._listener is not None:
            self._listener.join(GRACE_SECONDS)
        return status

    def reason(self) -> str:
        """The most telling message of a tool that failed."""
        for line in reversed(self.messages):
            _, found, text = line.partition("Failed: ")
            if found:
                return text.strip()
        for line in reversed(self.messages):
            if line.strip():
                return line.strip()
        return "it said nothing"

    def end(self) -> None:
        """Make sure that it runs no longer."""
        for stream in (self.process.stdin, self.process.stdout):
            if stream is not None:
                with contextlib.suppress(OSError):
                    stream.close()
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(GRACE_SECONDS)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        if self._listener is not None:
            self._listener.join(GRACE_SECONDS)
        if self.process.stderr is not None:
            self.process.stderr.close()


@contextmanager
def run_tool(
    arguments: Sequence[str],
    *,
    config: Mapping[str, str] | None = None,
    feed: bool = False,
    on_message: Callable[[str], None] | None = None,
    stall_seconds: float = STALL_SECONDS,
) -> Iterator[Running]:
    """Start a tool; when the block ends, however it ends, the tool has ended too.

    Args:
        arguments: the tool and its arguments; no secret may be among them.
        config: keys of the YAML file that the MongoDB tools read with
            ``--config``, such as ``uri``. It is added as an argument.
        feed: True: :meth:`Running.feed` gives its input and its output is
            dropped. False: :meth:`Running.read` takes its output.
        on_message: called with each line of stderr, in another thread.

    Raises:
        StewardError: the tool is not installed.
    """
    if shutil.which(arguments[0]) is None:
        raise StewardError(
            f"{arguments[0]}: not found; install the MongoDB database tools or set its path in [tools]"
        )
    command = [*ends_with_this_process(), *arguments]
    handle: int | None = None
    try:
        if config is not None:
            handle = _memory_file(config)
            command.append(f"--config=/proc/self/fd/{handle}")
        try:
            process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE if feed else subprocess.DEVNULL,
                stdout=subprocess.DEVNULL if feed else subprocess.PIPE,
                stderr=subprocess.PIPE,
                pass_fds=(handle,) if handle is not None else (),
                bufsize=0,
            )
        except OSError as error:
            raise StewardError(f"{arguments[0]}: cannot be started: {error.strerror}") from error
    finally:
        if handle is not None:
            os.close(handle)
    name = os.path.basename(arguments[0])  # noqa: PTH119 - a name, not a file
    running = Running(name, process, stall_seconds)
    try:
        running.listen(on_message)
        _widen(process.stdin if feed else process.stdout)
        yield running
    finally:
        running.end()


def tool_version(tool: str) -> str:
    """The version a MongoDB tool reports, such as ``100.9.5``.

    Raises:
        StewardError: the tool is missing or does not answer.
    """
    with run_tool([tool, "--version"], stall_seconds=10) as running:
        text = b"".join(running.read()).decode("utf-8", "replace")
        status = running.wait(10)
    if status != 0:
        raise StewardError(f"{tool} --version ended with status {status}: {running.reason()}")
    first = text.splitlines()[0] if text.strip() else ""
    return first.rpartition("version:")[2].strip() or "unknown"


def ends_with_this_process() -> list[str]:
    """A prefix that has the kernel end the tool when this process is killed outright.

    Without it a tool that waits for its server would live on as an orphan.
    """
    setpriv = shutil.which("setpriv")  # util-linux, on every Debian and Ubuntu
    return [setpriv, "--pdeathsig", "KILL", "--"] if setpriv else []


def _memory_file(config: Mapping[str, str]) -> int:
    """A YAML file in memory, readable through its descriptor by this user alone."""
    import yaml

    handle = os.memfd_create("config", os.MFD_CLOEXEC)
    try:
        os.fchmod(handle, 0o600)
        data = yaml.safe_dump(dict(config)).encode()
        while data:
            data = data[os.write(handle, data) :]
    except BaseException:
        os.close(handle)
        raise
    return handle


def _widen(stream: IO[bytes] | None) -> None:
    """Ask for a larger pipe: fewer switches between the tool and this process."""
    import fcntl

    if stream is not None:
        with contextlib.suppress(OSError):  # above the limit for ordinary users
            fcntl.fcntl(stream.fileno(), _SET_PIPE_SIZE, CHUNK_BYTES)
