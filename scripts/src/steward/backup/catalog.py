"""The store as this configuration may use it, and where the next slice begins."""

from __future__ import annotations

import platform
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime

from steward.backup.timeline import Chain, Coverage, chains, coverage
from steward.config import Config
from steward.errors import FaultError, StewardError
from steward.manifest import MAX_ORDINAL, Manifest, OplogTime, Scan, pieces, scan
from steward.storage import Store


@dataclass(frozen=True)
class Resume:
    """From where the next slice is read."""

    start: OplogTime
    #: Id of the slice or full that it continues.
    previous: str
    server_id: str | None


@dataclass(frozen=True)
class Catalog:
    """Every backup of this application, and what they allow."""

    scan: Scan

    @property
    def intact(self) -> list[Manifest]:
        """Backups whose data objects are there in full size."""
        return [m for m in self.scan.manifests if self.scan.intact(m)]

    @property
    def damaged(self) -> list[Manifest]:
        """Backups of which a data object is missing or has another size, before their time is over."""
        now = datetime.now(UTC)
        return [m for m in self.scan.manifests if not self.scan.intact(m) and m.retain_until > now]

    @property
    def fulls(self) -> list[Manifest]:
        """Intact full backups, oldest first."""
        return [m for m in self.intact if m.kind == "full"]

    def coverage(self) -> Coverage:
        """What can be restored."""
        return coverage(self.intact)

    def newest_chain(self) -> Chain | None:
        """The chain of class ``oplog`` with the newest entry."""
        found = chains(pieces(m for m in self.intact if m.kind == "oplog"))
        return max(found, key=lambda c: c.end, default=None)

    def newest_full(self) -> Manifest | None:
        """The newest full backup that slices can continue."""
        return self.base_at(OplogTime(t=0xFFFF_FFFF, i=MAX_ORDINAL))

    def base_at(self, position: OplogTime) -> Manifest | None:
        """The newest full backup that entries from ``position`` on can be added to."""
        return max(
            (m for m in self.fulls if m.oplog is not None and m.oplog.start <= position),
            key=lambda m: (m.oplog.start, m.started_at) if m.oplog else (),
            default=None,
        )

    def has_base(self, chain: Chain) -> bool:
        """A full backup lies under this chain, or a newer one goes on from it."""
        return any(chain.holds(m) or _after(m, chain) for m in self.fulls)

    def resume(self) -> Resume | None:
        """Where the next slice begins; None without anything it could continue.

        That is the newest slice, or the newest full when it was taken because
        the chain before it was broken, or when there is no slice yet.
        """
        chain, full = self.newest_chain(), self.newest_full()
        if chain is not None and not (full is not None and full.new_chain and _after(full, chain)):
            if not self.has_base(chain):
                return None
            last = max(chain.slices, key=lambda p: p.oplog.end)
            return Resume(chain.end, last.id, chain.server_id)
        return self.resume_from_full()

    def resume_from_full(self) -> Resume | None:
        """Where a slice would begin that continues the newest full."""
        full = self.newest_full()
        if full is None or full.oplog is None:
            return None
        return Resume(full.oplog.start, full.id, full.server_id)


def _after(full: Manifest, chain: Chain) -> bool:
    """The full begins after everything the chain holds."""
    return full.oplog is not None and full.oplog.start > chain.end


def read_catalog(config: Config, store: Store, on_unreadable: Callable[[str], None] | None = None) -> Catalog:
    """Read the store's manifests.

    Args:
        on_unreadable: told of each manifest that cannot be used; without it the first one is an error.
            What stores backups goes on without them: one damaged object, which nobody may delete
            before its time, must not end all backups that follow.

    Raises:
        StewardError: the store cannot be read, or holds another application's backups.
        FaultError: a damaged manifest.
    """
    found = scan(store)
    for problem in found.unreadable.values():
        if on_unreadable is None:
            raise FaultError(problem)
        on_unreadable(f"{problem}; its backup counts as lost, see `steward backup verify`")
    check_owner(config, found.manifests)
    return Catalog(found)


def check_owner(config: Config, manifests: Iterable[Manifest]) -> None:
    """Refuse a store that another application's backups are in.

    Raises:
        StewardError: naming both applications.
    """
    for manifest in manifests:
        if (manifest.app, manifest.environment) != (config.app, config.environment):
            raise StewardError(
                f"bucket {config.storage.bucket} holds backups of {manifest.app} ({manifest.environment}),"
                f" this configuration is for {config.app} ({config.environment}); check storage.bucket"
            )


def host_name() -> str:
    """This host's name, for manifests."""
    return platform.node() or "unknown"
