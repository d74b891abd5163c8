"""What a restore will do: pure data from a chain, for people and for programs."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from steward.manifest import DataObject, Manifest, OplogRange, OplogTime, Scan, rfc3339
from steward.restore.applier import Replay
from steward.restore.chain import Chain, Range, ranges, utc
from steward.restore.entries import NOT_RESTORED, Selection

#: Rates of the estimate, from below: a small host with gp3 disks. MB are 10**6 bytes.
CHECK_MB_PER_S = 100.0
LOAD_MB_PER_S = 20.0
LOAD_DOCUMENTS_PER_S = 5000.0
REPLAY_ENTRIES_PER_S = 2000.0
#: Index builds take about this part of the time of the load.
INDEX_SHARE = 0.3


@dataclass(frozen=True)
class Plan:
    """A chain and what follows from it."""

    chain: Chain
    #: Databases that are restored; empty: all that the full holds.
    databases: tuple[str, ...]
    #: What the store could restore, for the reader.
    ranges: tuple[Range, ...]
    #: Objects that the listing of the bucket lacks or shows with another size.
    damaged: tuple[str, ...] = ()
    #: Why the private keys at hand do not open what is encrypted; empty when they do.
    key_problem: str = ""

    @property
    def selection(self) -> Selection:
        """The namespaces that are restored."""
        return Selection(self.databases)

    @property
    def restored_databases(self) -> list[str]:
        """Names of the databases that will be written, sorted."""
        named = {n.db for n in self.chain.base.namespaces or []}
        return sorted({d for d in named if self.selection.wants_database(d)} | set(self.databases))

    def replay(self) -> Replay | None:
        """The bounds of the replay; None when only the dump is restored."""
        oplog, limit = self.chain.base.oplog, self.chain.limit
        if oplog is None or limit is None:
            return None
        return Replay(_ts(oplog.start), _ts(oplog.end), _ts(limit), self.selection)

    @property
    def recipients(self) -> list[list[str]]:
        """Sets of public keys; of each set one private key is needed."""
        found = {tuple(data.recipients): None for data in self.chain.objects if data.encryption}
        return [list(names) for names in found]

    @property
    def estimate_seconds(self) -> int:
        """How long the restore takes, roughly; see :attr:`estimate_basis`."""
        base = self.chain.base
        raw = base.object.raw_size / 1e6
        documents = sum(n.count for n in base.namespaces or [])
        check = sum(data.raw_size for data in self.chain.objects) / 1e6 / CHECK_MB_PER_S
        load = max(raw / LOAD_MB_PER_S, documents / LOAD_DOCUMENTS_PER_S)
        entries = sum(p.oplog.count or 0 for p in self.chain.slices)
        return max(1, round(check + load * (1 + INDEX_SHARE) + entries / REPLAY_ENTRIES_PER_S))

    @property
    def estimate_basis(self) -> str:
        """How the estimate was made, in words."""
        return (
            f"checking {CHECK_MB_PER_S:g} MB/s, loading {LOAD_MB_PER_S:g} MB/s or"
            f" {LOAD_DOCUMENTS_PER_S:g} documents/s, replaying {REPLAY_ENTRIES_PER_S:g} entries/s,"
            f" indexes {INDEX_SHARE:.0%} of the load; measured times stand in the report of a run"
        )

    @property
    def notes(self) -> list[str]:
        """What the reader should know about the result."""
        base = self.chain.base
        found = [
            f"{key} is missing or has another size: this restore will be refused" for key in self.damaged
        ]
        if self.key_problem:
            found.append(f"{self.key_problem}: this restore will be refused")
        if not self.chain.exact:
            began, ended = rfc3339(base.started_at), rfc3339(base.finished_at)
            why = "the server had no oplog" if base.oplog is None else "its oplog is not stored"
            found.append(
                f"not one point in time: {why}, so documents are as the dump met them"
                f" between {began} and {ended}"
            )
        elif base.oplog is not None and self.chain.limit == base.oplog.end:
            found.append("the state at the end of this dump; what was written later is not in this restore")
        if any(n.db in NOT_RESTORED for n in base.namespaces or []):
            found.append(
                f"not restored: the databases {', '.join(NOT_RESTORED)}"
                " (accounts come from the host's set-up)"
            )
        return found

    def to_json(self) -> dict[str, Any]:
        """The plan for programs."""
        limit = self.chain.limit
        return {
            "exact": self.chain.exact,
            "target_time": _moment(limit) if limit else rfc3339(self.chain.base.finished_at),
            "target_entry": str(limit) if limit else None,
            "databases": self.restored_databases,
            "base": _piece(self.chain.base, self.chain.base.object, self.chain.base.oplog),
            "slices": [_piece(p.backup, p.object, p.oplog) for p in self.chain.slices],
            "objects": len(self.chain.objects),
            "stored_bytes": sum(data.size for data in self.chain.objects),
            "raw_bytes": sum(data.raw_size for data in self.chain.objects),
            "documents": sum(n.count for n in self.chain.base.namespaces or []),
            "oplog_entries": sum(p.oplog.count or 0 for p in self.chain.slices),
            "encryption": {"format": "age", "recipients": self.recipients, "opens": not self.key_problem}
            if self.recipients
            else None,
            "estimate_seconds": self.estimate_seconds,
            "estimate_basis": self.estimate_basis,
            "notes": self.notes,
            "recoverable": [
                {"from": utc(r.first), "to": utc(r.last), "base": r.base.id} for r in self.ranges
            ],
        }


def make_plan(chain: Chain, configured: Iterable[str], scan: Scan) -> Plan:
    """The plan of a chain that was chosen from a look at the store.

    Args:
        configured: databases of the configuration; a full of the whole server is
            reduced to them, for they are what belongs to the application.
    """
    held = chain.base.databases or []
    wanted = [d for d in configured if not held or d in held] or held
    intact = [m for m in scan.manifests if scan.intact(m)]
    damaged = [data.key for data in chain.objects if not scan.holds(data)]
    return Plan(chain, tuple(wanted), tuple(ranges(intact)), tuple(damaged))


def _ts(point: OplogTime) -> tuple[int, int]:
    return point.t, point.i


def _moment(point: OplogTime) -> str:
    return datetime.fromtimestamp(point.t, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _piece(backup: Manifest, data: DataObject, oplog: OplogRange | None) -> dict[str, Any]:
    return {
        "id": backup.id,
        "class": backup.class_,
        "key": data.key,
        "stored_bytes": data.size,
        "raw_bytes": data.raw_size,
        "finished_at": rfc3339(backup.finished_at),
        "from": str(oplog.start) if oplog else None,
        "to": str(oplog.end) if oplog else None,
        "entries": oplog.count if oplog else None,
    }
