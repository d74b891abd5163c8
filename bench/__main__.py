"""``python -m bench``: measure, and write ``docs/benchmarks.md``."""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import platform
import shutil
import signal
import sys
import tempfile
from pathlib import Path

from bench import tools
from bench.contestants import CONTESTANTS
from bench.measure import BenchError
from bench.parts import NEEDS, ON_HOSTS, PARTS
from bench.section import MIB, Section
from sandbox.ca import CaError
from sandbox.files import write_atomically
from sandbox.processes import ServiceError
from sandbox.settings import REPOSITORY

PAGE = REPOSITORY / "docs/benchmarks.md"
_GIB = 1024 * MIB
#: Seconds a GiB and round of all contestants, from rounds of 192 and 256 MiB; for the estimate alone.
_SECONDS_A_GIB = 85


def main() -> int:
    """Run the chosen parts; the exit status."""
    options = _options()
    size = int(options.size * MIB)
    usual = ("versitygw", *(need for one in CONTESTANTS for need in one.needs))
    built = dict.fromkeys(need for part in options.parts for need in NEEDS.get(part, usual))
    needed = tools.missing(tuple(built))
    if options.dry_run:
        _say(_plan(options.parts, size, options.runs, needed))
        return 0
    # Ends by way of the clean-up, like an interrupt.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    folder = Path(tempfile.mkdtemp(prefix="steward-bench-", dir=options.folder))
    try:
        if shutil.disk_usage(folder).free < _disk(size):
            raise BenchError(f"{folder.parent}: needs {_disk(size) / _GIB:.1f} GiB; give another --folder")
        for name in needed:
            _say(f"building {name}")
            tools.build(name)
        found = {name: PARTS[name](folder, size, options.runs, _say) for name in options.parts}
        text = page(list(found.values()), options.runs)
        if options.json:
            figures = {name: dataclasses.asdict(section) for name, section in found.items()}
            sys.stdout.write(json.dumps(figures, indent=2) + "\n")
        elif options.update:
            write_atomically(PAGE, updated(PAGE.read_text("utf-8"), list(found.values())).encode(), 0o644)
        elif options.show or set(options.parts) != set(PARTS) - set(ON_HOSTS):
            sys.stdout.write(text)
        else:
            # What only runs beside the hosts stays as it was measured there.
            old = [one for one in sections(PAGE.read_text("utf-8")) if one.title in ON_HOSTS.values()]
            write_atomically(PAGE, updated(text, old).encode(), 0o644)
    except (BenchError, CaError, ServiceError) as error:
        log = "".join(path.read_text(errors="replace")[-2000:] for path in folder.glob("*/tools.log"))
        sys.stderr.write(f"{log}bench: {error}\n")
        return 1
    finally:
        shutil.rmtree(folder)
    return 0


def page(sections: list[Section], runs: int) -> str:
    """The page of all sections, under what they were measured on."""
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / _GIB
    versions = [f"Python {platform.python_version()}"]
    versions += [f"{name} {version}" for name, (_, version) in tools.MODULES.items()]
    head = (
        "# Benchmarks\n\n"
        "Written by `python -m bench`. Figures are medians (least-most)"
        f" of {runs} rounds; in each round every tool runs once, one after the other. Memory is the most that"
        " all processes of a tool held at one moment, sampled every 20 ms; pages that they share count each"
        " time. What each tool stored in the first round was read back and compared.\n\n"
        f"Machine: {os.cpu_count()} cores, {memory:.0f} GiB, {platform.system()}."
        f" Versions: {', '.join(versions)}.\n"
    )
    return head + "".join(f"\n## {section.title}\n\n{section.text}" for section in sections)


def updated(text: str, new: list[Section]) -> str:
    """A page with these sections in place of those with the same titles, or at its end."""
    kept = {one.title: one for one in [*sections(text), *new]}
    head = text.partition("\n## ")[0].rstrip("\n") + "\n"
    return head + "".join(f"\n## {one.title}\n\n{one.text.strip(chr(10))}\n" for one in kept.values())


def sections(text: str) -> list[Section]:
    """The sections of a page."""
    parts = (part.partition("\n") for part in text.split("\n## ")[1:])
    return [Section(title, body.strip("\n") + "\n") for title, _, body in parts]


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m bench",
        description="Measures steward beside other tools, in one run, on this machine. A run without"
        " --parts writes docs/benchmarks.md, one of some parts shows the page. The parts downtime"
        " and site need the hosts of make up.",
        epilog="examples: python -m bench --parts pipeline memory --size 512 --runs 3;"
        " python -m bench --parts downtime --update",
    )
    usual = [part for part in PARTS if part not in ON_HOSTS]
    parser.add_argument(
        "--parts", nargs="+", choices=PARTS, default=usual, help="default: all that need no hosts"
    )
    parser.add_argument(
        "--size", type=float, default=2048, metavar="MIB", help="of the archive; default 2048"
    )
    parser.add_argument("--runs", type=int, default=5, help="rounds; default 5")
    parser.add_argument("--folder", type=Path, help="where to work; default: the system's folder")
    parser.add_argument("--json", action="store_true", help="every run as JSON on stdout")
    parser.add_argument("--show", action="store_true", help="the page on stdout, also of all parts")
    parser.add_argument(
        "--update", action="store_true", help="write the sections of these parts into docs/benchmarks.md"
    )
    parser.add_argument("--dry-run", action="store_true", help="say what would be done, and do nothing")
    options = parser.parse_args()
    if options.size < 8 or options.runs < 1:
        parser.error("--size takes 8 or more, --runs 1 or more")
    return options


def _disk(size: int) -> int:
    """Bytes: the archive, a quarter of it, and what is stored of four times as much."""
    return int(size * 2.5) + 256 * MIB


def _plan(parts: list[str], size: int, runs: int, needed: list[str]) -> str:
    lines = [f"parts: {', '.join(parts)}; {size / MIB:.0f} MiB, {runs} rounds"]
    if needed:
        lines.append(f"would build first (minutes, into {tools.folder()}): {', '.join(needed)}")
    minutes = _SECONDS_A_GIB * size / _GIB * runs / 60 if "pipeline" in parts else 1
    lines.append(f"about {minutes:.0f} minutes on two cores, {_disk(size) / _GIB:.1f} GiB of disk")
    return "\n".join(lines)


def _say(text: str) -> None:
    sys.stderr.write(text + "\n")


if __name__ == "__main__":
    sys.exit(main())
