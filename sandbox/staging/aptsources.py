"""How this machine reaches Debian packages: the hosts do it the same way."""

from __future__ import annotations

import os
from pathlib import Path

from sandbox.staging.commands import run

#: Settings of this machine's apt that decide whether and how an archive can be read.
_OPTIONS = (
    "Acquire::http::Proxy",
    "Acquire::https::Proxy",
    "Acquire::Check-Valid-Until",
    "Acquire::Check-Date",
    "Acquire::Retries",
)


def sources(suite: str, etc: Path = Path("/etc/apt")) -> str:
    """This machine's own lines for ``suite``, its updates and its security archive.

    Empty when there are none (another distribution): the default archive is right then.
    """
    wanted = {suite, f"{suite}-updates", f"{suite}-security"}
    files = [etc / "sources.list", *sorted((etc / "sources.list.d").glob("*"))]
    lines: list[str] = []
    for file in files:
        if not file.is_file():
            continue
        text = file.read_text(errors="replace")
        if file.suffix == ".sources":
            lines += _stanzas(text, wanted)
        elif file.suffix == ".list":
            lines += _one_line(text, wanted)
    return "".join(f"{line}\n" for line in dict.fromkeys(lines))


def _one_line(text: str, wanted: set[str]) -> list[str]:
    """Lines of the form ``deb [options] ADDRESS SUITE COMPONENT...``."""
    found = []
    for line in text.splitlines():
        words = line.split("#")[0].split()
        if not words or words[0] != "deb":
            continue
        if len(words) > 1 and words[1].startswith("["):
            while words[1:] and not words.pop(1).endswith("]"):
                continue
        if len(words) >= 4 and words[2] in wanted and "main" in words[3:]:
            found.append(f"deb {words[1]} {words[2]} main")
    return found


def _stanzas(text: str, wanted: set[str]) -> list[str]:
    """Stanzas of the deb822 form (sources.list(5))."""
    found = []
    for stanza in text.split("\n\n"):
        fields: dict[str, list[str]] = {}
        key = ""
        for line in stanza.splitlines():
            if line.startswith("#"):
                continue
            if line[:1].isspace():
                fields.setdefault(key, []).extend(line.split())
                continue
            key, _, value = line.partition(":")
            key = key.strip().lower()
            fields[key] = value.split()
        if "deb" not in fields.get("types", []) or "main" not in fields.get("components", []):
            continue
        if fields.get("enabled", ["yes"])[0].lower() in {"no", "false", "0"}:
            continue
        for address in fields.get("uris", []):
            found += [f"deb {address} {name} main" for name in fields.get("suites", []) if name in wanted]
    return found


def options(dump: str | None = None, environment: dict[str, str] | None = None) -> list[str]:
    """Lines for the hosts' apt configuration, from this machine's own and its proxy variables."""
    text = run(["apt-config", "dump"]) if dump is None else dump
    surroundings = dict(os.environ) if environment is None else environment
    kept = ['Acquire::Languages "none";']
    for line in text.splitlines():
        name, _, value = line.partition(" ")
        if name in _OPTIONS and value not in {"", '"";'}:
            kept.append(line)
    for scheme in ("http", "https"):
        proxy = surroundings.get(f"{scheme}_proxy")
        if proxy and not any(line.startswith(f"Acquire::{scheme}::Proxy ") for line in kept):
            kept.append(f'Acquire::{scheme}::Proxy "{proxy}";')
    return kept
