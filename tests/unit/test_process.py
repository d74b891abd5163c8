"""steward.process: streams, messages, secrets, and that nothing keeps running."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from steward.errors import StewardError
from steward.process import run_tool, tool_version


def python(code: str, *arguments: str) -> list[str]:
    return [sys.executable, "-c", code, *arguments]


def alive(pid: int) -> bool:
    return Path(f"/proc/{pid}").exists()


def test_output_and_messages_come_through() -> None:
    seen: list[str] = []
    code = (
        "import sys; sys.stdout.write('x' * 3_000_000);"
        "sys.stderr.write('one\\nFailed: because\\n'); sys.exit(7)"
    )
    with run_tool(python(code), on_message=seen.append) as running:
        assert sum(map(len, running.read())) == 3_000_000
        assert running.wait(30) == 7
    assert seen == ["one", "Failed: because"]
    assert running.reason() == "because"


def test_the_configuration_is_a_file_in_memory_and_not_an_argument() -> None:
    code = (
        "import sys, os; path = [a for a in sys.argv if a.startswith('--config=')][0][9:];"
        "print(open(path).read(), oct(os.stat(path).st_mode)[-3:], sys.argv, dict(os.environ))"
    )
    with run_tool(python(code), config={"uri": "mongodb://u:hidden%40word@h/"}) as running:
        text = b"".join(running.read()).decode()
        assert running.wait(30) == 0
    content, _, rest = text.partition(" 600 ")
    assert content == "uri: mongodb://u:hidden%40word@h/\n"
    assert "hidden" not in rest


def test_a_tool_takes_a_long_stream() -> None:
    code = "import sys, hashlib; print(hashlib.sha256(sys.stdin.buffer.read()).hexdigest(), file=sys.stderr)"
    with run_tool(python(code), feed=True) as running:
        running.feed(bytes([n]) * 1_000_000 for n in range(5))
        assert running.wait(30) == 0
    import hashlib

    expected = hashlib.sha256(b"".join(bytes([n]) * 1_000_000 for n in range(5))).hexdigest()
    assert list(running.messages) == [expected]


def test_a_tool_that_ends_before_it_has_read_everything_is_an_error() -> None:
    code = "import sys; sys.stdin.read(10); sys.exit('Failed: disk full')"

    def endless() -> Iterator[bytes]:
        while True:
            yield b"x" * 65536

    with (
        pytest.raises(StewardError, match="ended before it had read everything: disk full"),
        run_tool(python(code), feed=True) as running,
    ):
        running.feed(endless())


@pytest.mark.parametrize("feed", [False, True])
def test_a_tool_that_hangs_is_given_up_and_ended(feed: bool) -> None:
    with (
        pytest.raises(StewardError, match=r"0\.3 s; gave up"),
        run_tool(python("import time; time.sleep(600)"), feed=feed, stall_seconds=0.3) as running,
    ):
        running.feed([b"x" * 10_000_000]) if feed else list(running.read())
    assert not alive(running.process.pid)


def test_a_tool_that_ignores_being_asked_is_killed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("steward.process.GRACE_SECONDS", 0.3)
    code = (
        "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN);"
        "print('on', flush=True); time.sleep(600)"
    )
    with run_tool(python(code)) as running:
        assert next(running.read()).startswith(b"on")
    assert not alive(running.process.pid)


def test_a_missing_tool_is_one_line() -> None:
    with pytest.raises(StewardError, match="no-such-dump: not found; install"), run_tool(["no-such-dump"]):
        pass


def test_a_tool_that_may_not_run_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "tool").write_text("no program")
    with pytest.raises(StewardError, match="tool: not found"), run_tool([str(tmp_path / "tool")]):
        pass


def test_a_tool_ends_with_a_process_that_is_killed(tmp_path: Path) -> None:
    code = (
        "from steward.process import run_tool\n"
        "with run_tool(['sleep', '600']) as running:\n"
        "    print(running.process.pid, flush=True)\n"
        "    running.wait(600)\n"
    )
    with subprocess.Popen(python(code), stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        deadline = time.monotonic() + 30
        while Path(f"/proc/{pid}/comm").read_text() != "sleep\n" and time.monotonic() < deadline:
            time.sleep(0.05)  # until then it is being started
        parent.kill()
    while alive(pid) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not alive(pid)


def test_descriptors_are_not_leaked() -> None:
    def count() -> int:
        return len(list(Path(f"/proc/{os.getpid()}/fd").iterdir()))

    before = count()
    for _ in range(3):
        with run_tool(python("print(1)"), config={"uri": "x"}) as running:
            list(running.read())
            running.wait(30)
    deadline = time.monotonic() + 10
    while count() > before and time.monotonic() < deadline:
        time.sleep(0.05)
    assert count() <= before


def test_a_version_is_the_first_lines_last_word(tmp_path: Path) -> None:
    tool = tmp_path / "mongodump"
    tool.write_text("#!/bin/sh\necho 'mongodump version: 100.9.5'\necho 'git version: abc'\n")
    tool.chmod(0o755)
    assert tool_version(str(tool)) == "100.9.5"
    tool.write_text("#!/bin/sh\necho broken >&2\nexit 3\n")
    with pytest.raises(StewardError, match="status 3: broken"):
        tool_version(str(tool))
