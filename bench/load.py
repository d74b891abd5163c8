"""A constant stream of requests through nginx while something happens to the hosts behind it."""

from __future__ import annotations

import base64
import json
import signal
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench import tools
from bench.measure import BenchError

RATE = 100  # requests a second
#: Seconds of load before and after what is measured.
MARGIN_S = 3.0


@dataclass(frozen=True)
class Load:
    """What the clients saw. Times are seconds."""

    seconds: float
    requests: int
    failed: int
    errors: tuple[str, ...]
    p99: float


@dataclass(frozen=True)
class Target:
    """Who is asked: the public name, the addresses behind it, and the authority of its certificate."""

    domain: str
    addresses: Sequence[str]
    ca: Path

    def write(self, path: Path, requests: Sequence[dict[str, Any]]) -> None:
        """The requests in vegeta's format, in turn: ``method``, ``path``, perhaps ``header`` and ``body``."""
        lines = []
        for request in requests:
            line: dict[str, Any] = {
                "method": request["method"],
                "url": f"https://{self.domain}{request['path']}",
            }
            line["header"] = {name: [value] for name, value in request.get("header", {}).items()}
            if "body" in request:
                line["body"] = base64.b64encode(json.dumps(request["body"]).encode()).decode()
            lines.append(json.dumps(line))
        path.write_text("\n".join(lines) + "\n")


def under_load(target: Target, requests: Path, folder: Path, event: Callable[[], None]) -> Load:
    """Send :data:`RATE` requests a second until ``event`` has returned and :data:`MARGIN_S` has passed.

    Raises:
        BenchError: the load generator failed; what ``event`` raises passes, after the load has ended.
    """
    results = folder / "results.bin"
    connect = [f"-connect-to={target.domain}:443:{address}:443" for address in target.addresses]
    command = [
        str(tools.path("vegeta")), "attack", "-format=json", f"-targets={requests}", f"-rate={RATE}/s",
        "-duration=0", "-timeout=30s", f"-root-certs={target.ca}", f"-output={results}", *connect,
    ]  # fmt: skip
    began = time.monotonic()
    with subprocess.Popen(command, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as attack:
        try:
            time.sleep(MARGIN_S)
            event()
            time.sleep(MARGIN_S)
        finally:
            attack.send_signal(signal.SIGINT)  # it waits for the answers that are still to come
            try:
                _, said = attack.communicate(timeout=60)
            except subprocess.TimeoutExpired:
                attack.kill()
                _, said = attack.communicate()
    seconds = time.monotonic() - began
    if not results.exists() or not results.stat().st_size:
        raise BenchError(f"vegeta sent nothing: {said.strip()}")
    done = subprocess.run(
        [str(tools.path("vegeta")), "report", "-type=json", str(results)],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    if done.returncode:
        raise BenchError(f"vegeta report: {done.stderr.strip()}")
    report = json.loads(done.stdout)
    good = sum(count for status, count in report["status_codes"].items() if status.startswith("2"))
    return Load(
        seconds=seconds,
        requests=report["requests"],
        failed=report["requests"] - good,
        errors=tuple(report["errors"] or ()),
        p99=report["latencies"]["99th"] / 1e9,
    )
