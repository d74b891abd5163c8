"""What a restore will do: pure data from a chain, for people and for programs."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from typing import Any

from steward.manifest import DataObject, Manifest, Namespace, OplogRange, OplogTime, Scan, rfc3339
from steward.restore.applier import Replay
from steward.restore.chain import Chain, Range, ranges, utc
from steward.restore.entries import NOT_RESTORED
from steward.restore.rates import DEFAULT, INDEX_SHARE, Rates
from steward.restore.selection import Selection


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
    #: A choice within these databases: patterns, and ``FROM=TO``; see :class:`Selection`.
    only: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    rename: tuple[str, ...] = ()
    rates: Rates = DEFAULT

    @cached_property
    def selection(self) -> Selection:
        """The namespaces that are restored."""
        return Selection(
            self.databases,
            only=self.only,
            exclude=self.exclude,
            rename=self.rename,
            backed_up=self.chain.base.choice,
        )

    @property
    def held(self) -> list[str]:
        """The namespaces that the full holds."""
        return [_name(n) for n in self.chain.base.namespaces or []]

    @property
    def wanted(self) -> list[Namespace]:
        """What of the full is restored."""
        return [n for n in self.chain.base.namespaces or [] if self.selection.wants(_name(n))]

    def writes(self, born: Iterable[str] = ()) -> list[str]:
        """What a restore writes on the target: databases, or ``database.collection`` for a part.

        Args:
            born: namespaces that come into being in the oplog.

        Raises:
            ConfigError: two collections would get one name.
        """
        if self.selection.whole:
            return self.restored_databases
        return sorted(self.selection.targets([*self.held, *born]).values())

    @property
    def restored_databases(self) -> list[str]:
        """Names of the databases that will be written, sorted."""
        named = {n.db for n in self.chain.base.namespaces or []}
        asked = {d for d in self.databases if self.selection.wants_database(d)}
        return sorted({d for d in named if self.selection.wants_database(d)} | asked)

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
        documents, rates = sum(n.count for n in self.wanted), self.rates
        check = sum(data.raw_size for data in self.chain.objects) / 1e6 / rates.check_mb_per_s
        # Of a part all of the archive is read still, but less is written.
        load = max(raw / rates.load_mb_per_s, documents / rates.load_documents_per_s)
        if not self.selection.whole:
            load = max(raw / rates.check_mb_per_s, documents / rates.load_documents_per_s)
        return max(1, round(check + load * (1 + INDEX_SHARE) + self.entries / rates.replay_entries_per_s))

    @property
    def entries(self) -> int:
        """Oplog entries that are read."""
        return sum(p.oplog.count or 0 for p in self.chain.slices)

    @property
    def estimate_basis(self) -> str:
        """How the estimate was made, in words."""
        return self.rates.text

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
        if (left_out := base.left_out) is not None:
            names = ", ".join(left_out.namespaces) or "nothing that existed then"
            found.append(f"left out of this full by its configuration: {names}")
        found += [
            f"{option}: nothing in the full is called so; unless the oplog makes it, this restore is refused"
            for option in self.selection.unused(self.held)
        ]
        if self.selection.renames and (views := [_name(n) for n in self.wanted if n.type == "view"]):
            found.append(f"views keep their text, which names collections as before: {', '.join(views)}")
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
            "documents": sum(n.count for n in self.wanted),
            "collections": self._collections(),
            "oplog_entries": self.entries,
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

    def _collections(self) -> list[dict[str, Any]]:
        """Each collection that is restored, its new name, and its documents in the full."""
        targets = self.selection.targets(self.held)
        counts = {_name(n): n.count for n in self.wanted}
        return [{"name": s, "restored_as": t, "documents": counts[s]} for s, t in targets.items()]


def make_plan(
    chain: Chain,
    configured: Iterable[str],
    scan: Scan,
    *,
    only: Iterable[str] = (),
    exclude: Iterable[str] = (),
    rename: Iterable[str] = (),
    rates: Rates = DEFAULT,
) -> Plan:
    """The plan of a chain that was chosen from a look at the store.

    Args:
        configured: databases of the configuration; a full of the whole server is
            reduced to them, for they are what belongs to the application.
        only, exclude, rename: a choice within them; see :class:`Selection`.

    Raises:
        ConfigError: the choice cannot be understood, or gives two collections one name.
    """
    held = chain.base.databases or []
    wanted = [d for d in configured if not held or d in held] or held
    intact = [m for m in scan.manifests if scan.intact(m)]
    damaged = [data.key for data in chain.objects if not scan.holds(data)]
    plan = Plan(
        chain,
        tuple(wanted),
        tuple(ranges(intact)),
        tuple(damaged),
        only=tuple(only),
        exclude=tuple(exclude),
        rename=tuple(rename),
        rates=rates,
    )
    plan.writes()
    return plan


def _name(namespace: Namespace) -> str:
    return f"{namespace.db}.{namespace.collection}"


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
