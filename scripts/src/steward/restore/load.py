"""Load a dump with mongorestore, and believe its numbers only if they fit the manifest."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterable
from dataclasses import dataclass

from steward.choice import BUCKETS
from steward.errors import StewardError
from steward.process import run_tool
from steward.restore.entries import NOT_RESTORED
from steward.restore.selection import Selection

_FINISHED = re.compile(
    r"finished restoring (?P<name>\S.*) \((?P<count>\d+) documents?, (?P<failed>\d+) failures?\)"
)
_TOTAL = re.compile(
    r"(?P<count>\d+) document\(s\) restored successfully\. (?P<failed>\d+) document\(s\) failed"
)


@dataclass
class Loaded:
    """What mongorestore says it wrote."""

    documents: int
    by_collection: dict[str, int]


class _Messages:
    """Reads mongorestore's log. Lines come from another thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.total: tuple[int, int] | None = None
        self.by_collection: dict[str, int] = {}
        self.failed: dict[str, int] = {}

    def __call__(self, line: str) -> None:
        with self._lock:
            if found := _FINISHED.search(line):
                name = found["name"].strip("`")
                self.by_collection[name] = self.by_collection.get(name, 0) + int(found["count"])
                if int(found["failed"]):
                    self.failed[name] = self.failed.get(name, 0) + int(found["failed"])
            elif found := _TOTAL.search(line):
                self.total = int(found["count"]), int(found["failed"])


def namespace_options(selection: Selection, held: Iterable[str]) -> list[str]:
    """mongorestore's options for a selection of the namespaces that an archive holds.

    A choice within databases is spelt out, name by name, so that nothing hangs on how
    the tool understands patterns.
    """
    if selection.whole:
        options = [f"--nsInclude={database}.*" for database in sorted(selection.databases)]
        return options + [f"--nsExclude={database}.*" for database in NOT_RESTORED]
    options = []
    for source, target in selection.targets(held).items():
        options.append(f"--nsInclude={_escaped(source)}")
        if source != target:
            for inside in ("", BUCKETS):  # documents of a time series come from its buckets
                options += [f"--nsFrom={_inside(source, inside)}", f"--nsTo={_inside(target, inside)}"]
    return options


def _inside(ns: str, prefix: str) -> str:
    database, _, collection = ns.partition(".")
    return _escaped(f"{database}.{prefix}{collection}")


def _escaped(ns: str) -> str:
    """A name that mongorestore takes as it is."""
    return ns.replace("\\", "\\\\").replace("*", "\\*")


def load(
    mongorestore: str, uri: str, archive: Iterable[bytes], options: Iterable[str], expected: int
) -> Loaded:
    """Stream an archive into mongorestore.

    Args:
        uri: with the login; it is handed over in a file in memory, not as an argument.
        archive: the decompressed archive; what it raises ends mongorestore.
        options: what of the archive is restored; see :func:`namespace_options`.
        expected: documents that must arrive.

    Raises:
        StewardError: mongorestore failed, or did not restore every document. It ends
            with status 0 when documents failed, so its messages are read.
    """
    messages = _Messages()
    command = [mongorestore, "--archive", "--noIndexRestore", "--bypassDocumentValidation"]
    command += options
    with run_tool(command, config={"uri": uri}, feed=True, on_message=messages) as running:
        running.feed(archive)
        status = running.wait()
        if status != 0:
            raise StewardError(f"mongorestore failed with status {status}: {running.reason()}")
    if messages.total is None:
        raise StewardError(f"mongorestore ended without its result: {running.reason()}")
    restored, failed = messages.total
    if failed:
        where = ", ".join(f"{n} of {name}" for name, n in sorted(messages.failed.items())) or "unknown"
        raise StewardError(f"mongorestore: {failed} document(s) failed to restore ({where})")
    if restored != expected:
        raise StewardError(f"mongorestore restored {restored} documents, the manifest says {expected}")
    return Loaded(restored, messages.by_collection)
