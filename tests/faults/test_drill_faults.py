"""A drill that is killed, or meets what fails: nothing is left, and nothing counts as proven."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

import pytest

from steward.drill import scratch
from steward.errors import EXIT_INTERRUPTED, EXIT_LOCKED
from tests.faults.backup_site import DEADLINE_S, FaultProxy, Step, poll
from tests.faults.drill_bench import SERVER, DrillBench, bench
from tests.faults.restore_bench import Make, contents
from tests.support.mongod import MongoServer

__all__ = ["bench"]

pytestmark = pytest.mark.timeout(240)

#: As SERVER, but the server is a child of the process that was started, so it outlives that one.
ORPHAN = ["/bin/sh", "-c", '"$@" & wait', "sh", *SERVER]

#: Name of a step -> method, end of the key, and which of such requests it is.
STEPS = {
    "checking": ("GET", "dump.archive.zst", 1),
    "loading": ("GET", "dump.archive.zst", 2),
    "replaying": ("GET", "/oplog.bson.zst", 2),
    "storing the page": ("POST", "/report.html", 1),
    "storing the evidence": ("PUT", "/evidence.json", 1),
}


def stall_at(proxy: FaultProxy, step: str) -> None:
    """Hold the request of a step, once."""
    method, key, number = STEPS[step]
    seen = 0

    def rule(request: Step) -> str:
        nonlocal seen
        seen += request.method == method and request.key.endswith(key)
        return "stall" if seen == number and not proxy.stalled.is_set() else "pass"

    proxy.rule = rule


def nothing_proven(bench: DrillBench) -> bool:
    return bench.verified is None and all(e["result"] != "proven" for e in bench.evidence())


@pytest.mark.parametrize("step", STEPS)
def test_killed_at_any_step(bench: DrillBench, proxy: FaultProxy, step: str) -> None:
    bench.through(proxy)
    bench.use_server(ORPHAN if step == "loading" else SERVER)
    stall_at(proxy, step)
    with bench.started("--latest") as process:
        assert proxy.stalled.wait(DEADLINE_S)
        process.send_signal(signal.SIGKILL)
        process.wait(20)
    proxy.release.set()
    assert len(bench.folders()) == 1
    if step == "loading":
        assert bench.servers(), "the next drill has a server to find"
    assert nothing_proven(bench)
    told = bench.steward("drill", "run", "--latest")
    assert "left by a drill that was ended" in told.err
    assert bench.folders() == []
    assert bench.servers() == []
    assert [e["result"] for e in bench.evidence()] == ["proven"]


def test_interrupted_it_cleans_up_itself(bench: DrillBench, proxy: FaultProxy) -> None:
    bench.through(proxy)
    stall_at(proxy, "replaying")
    with bench.started("--latest") as process:
        assert proxy.stalled.wait(DEADLINE_S)
        assert bench.servers()
        process.send_signal(signal.SIGTERM)
        proxy.release.set()
        assert process.wait(60) == EXIT_INTERRUPTED
    assert bench.folders() == []
    assert bench.servers() == []
    assert nothing_proven(bench)
    assert bench.metric("steward_drill_last_run_success") == 0


def test_two_at_once_and_backups_beside_it(bench: DrillBench, proxy: FaultProxy) -> None:
    plain = bench.config.read_text()
    bench.through(proxy)
    stall_at(proxy, "replaying")
    with bench.started("--latest") as process:
        assert proxy.stalled.wait(DEADLINE_S)
        bench.config.write_text(plain)
        bench.steward("drill", "run", status=EXIT_LOCKED)
        bench.steward("backup", "oplog")
        assert len(bench.servers()) == len(bench.folders()) == 1, "the second one took nothing from the first"
        proxy.release.set()
        assert process.wait(DEADLINE_S) == 0


def test_the_scratch_server_dies_in_the_middle(bench: DrillBench, proxy: FaultProxy) -> None:
    bench.through(proxy)
    stall_at(proxy, "replaying")
    with bench.started("--latest") as process:
        assert proxy.stalled.wait(DEADLINE_S)
        for pid in bench.servers():
            os.kill(pid, signal.SIGKILL)
        proxy.release.set()
        out, err = process.communicate(timeout=DEADLINE_S)
        assert process.returncode == 1, out + err
    assert "the scratch server ended with status -9" in err
    (evidence,) = bench.evidence()
    assert "the scratch server ended" in evidence["reason"]
    assert nothing_proven(bench)


@pytest.mark.parametrize("kind", ["daily", "oplog"])
def test_a_damaged_object_is_evidence_and_no_proof(bench: DrillBench, kind: str) -> None:
    key = next(k for k in bench.data_keys() if k.startswith("oplog/") == (kind == "oplog"))
    body = bytearray(bench.s3.get_object(Bucket=bench.bucket, Key=key)["Body"].read())
    body[len(body) // 2] ^= 0x10
    bench.s3.put_object(Bucket=bench.bucket, Key=key, Body=bytes(body))
    assert key in bench.steward("drill", "run", "--latest", status=3).err
    (evidence,) = bench.evidence()
    assert evidence["result"] == "failed"
    assert key in evidence["reason"]
    assert evidence["collections"] == []
    assert nothing_proven(bench)
    assert bench.servers() == []


def test_without_room_it_does_not_begin(bench: DrillBench) -> None:
    bench.use_server(SERVER, min_free_mb=10**9)
    assert "MB are free, a drill needs" in bench.steward("drill", "run", status=1).err
    assert bench.folders() == []
    assert bench.evidence() == []
    assert bench.metric("steward_drill_last_run_success") == 0


def _ends(_: pytest.MonkeyPatch) -> tuple[list[str], str]:
    return ["/bin/sh", "-c", "echo no such option >&2; exit 3"], "ended with status 3: no such option"


def _is_silent(patch: pytest.MonkeyPatch) -> tuple[list[str], str]:
    patch.setattr(scratch, "START_SECONDS", 1.0)
    return ["/bin/sh", "-c", "echo thinking; sleep 600"], "does not answer after 1 s: thinking"


def _is_open(_: pytest.MonkeyPatch) -> tuple[list[str], str]:
    command = f'exec "{SERVER[0]}" --port "$0" --data "$1"'
    return ["/bin/sh", "-c", command], "lets everybody in"


@pytest.mark.parametrize("broken", [_ends, _is_silent, _is_open])
def test_a_server_that_cannot_be_used(
    bench: DrillBench, monkeypatch: pytest.MonkeyPatch, broken: object
) -> None:
    assert callable(broken)
    command, message = broken(monkeypatch)
    bench.use_server([*command, "{port}", "{dir}", "{users}"])
    assert message in bench.steward("drill", "run", status=1).err
    assert bench.servers() == []
    assert [e["result"] for e in bench.evidence()] == ["failed"]
    assert nothing_proven(bench)


#: Gives the drill's login to the live server, and passes every connection on to it.
FORWARDER = """
import json, pathlib, socket, sys, threading
port, _, users, live_port, live_users = sys.argv[1:]
known = pathlib.Path(live_users)
known.write_text(json.dumps(json.loads(known.read_text()) | json.loads(pathlib.Path(users).read_text())))
def pump(one, other):
    while data := one.recv(65536):
        other.sendall(data)
    other.close()
with socket.create_server(("127.0.0.1", int(port))) as server:
    while True:
        here = server.accept()[0]
        there = socket.create_connection(("127.0.0.1", int(live_port)))
        for pair in ((here, there), (there, here)):
            threading.Thread(target=pump, args=pair, daemon=True).start()
"""


def forward_to(server: MongoServer, folder: Path) -> list[str]:
    script = folder / "forward.py"
    script.write_text(FORWARDER)
    users = str(server.folder / "users.json")
    return [sys.executable, str(script), "{port}", "{dir}", "{users}", str(server.port), users]


def test_the_live_server_behind_the_scratch_address(bench: DrillBench, tmp_path: Path) -> None:
    before = contents(bench.live)
    bench.use_server(forward_to(bench.live, tmp_path))
    assert "is not the scratch server" in bench.steward("drill", "run", status=1).err
    assert contents(bench.live) == before
    with bench.live.client() as client:
        assert "steward_restore" not in client.list_database_names()
    assert nothing_proven(bench)


def test_another_server_behind_the_scratch_address(bench: DrillBench, mongod: Make, tmp_path: Path) -> None:
    other = mongod()
    bench.use_server(forward_to(other, tmp_path))
    assert "is not the scratch server" in bench.steward("drill", "run", status=1).err
    assert contents(other) == {}


def test_evidence_that_cannot_be_stored_proves_nothing(bench: DrillBench, proxy: FaultProxy) -> None:
    bench.through(proxy)
    proxy.rule = lambda step: "403" if step.key.startswith("evidence/") and step.method != "GET" else "pass"
    assert "its evidence is not stored" in bench.steward("drill", "run", status=1).err
    assert nothing_proven(bench)
    assert bench.metric("steward_drill_last_run_success") == 0
    assert bench.folders() == []


def test_no_password_is_in_an_argument_or_in_what_is_kept(bench: DrillBench, proxy: FaultProxy) -> None:
    bench.through(proxy)
    stall_at(proxy, "loading")
    with bench.started("--latest", "--keep") as process:
        assert proxy.stalled.wait(DEADLINE_S)
        (folder,) = bench.folders()
        password = (folder / "users.json").read_text().split('"')[3]
        assert folder.stat().st_mode & 0o077 == 0
        listings = [
            path.read_bytes() for p in Path("/proc").iterdir() if p.name.isdigit()
            for path in (p / "cmdline", p / "environ") if _readable(path)
        ]  # fmt: skip
        assert not any(password.encode() in listing for listing in listings)
        proxy.release.set()
        out, err = process.communicate(timeout=DEADLINE_S)
    assert password not in out + err
    poll(lambda: not bench.servers(), "the server has ended")
    kept = [p for p in folder.rglob("*") if p.is_file()]
    assert kept
    assert not any(password.encode() in p.read_bytes() for p in kept)


def _readable(path: Path) -> bool:
    try:
        path.read_bytes()
    except OSError:
        return False
    return True
