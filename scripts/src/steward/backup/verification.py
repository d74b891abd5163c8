"""What a run of ``backup verify`` found, and how it is told."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Literal

from steward.backup.documents import Seconds, VerifyDocument, VerifyFinding, VerifyUnknown
from steward.backup.loss import Loss, Span, loss, without
from steward.backup.timeline import coverage
from steward.config import Config
from steward.manifest import Manifest, Scan

Kind = Literal["missing", "damaged", "unlocked", "manifest", "vanished", "unconnected"]
#: So many problems stand in the line of an error; all of them are printed.
NAMED = 3


@dataclass(frozen=True)
class Finding:
    """Something that is not as it must be."""

    kind: Kind
    backup: str
    key: str
    problem: str
    #: Keys of objects that nothing can be restored from; None: what it costs cannot be told.
    unusable: tuple[str, ...] | None = ()


@dataclass(frozen=True)
class Unknown:
    """What the store did not tell."""

    backup: str
    key: str
    reason: str


@dataclass
class Verification:
    """One run, and what it found."""

    now: datetime
    scan: Scan
    findings: list[Finding] = field(default_factory=list)
    unknown: list[Unknown] = field(default_factory=list)
    #: Every backup as it must be there: with those that were removed and, as far as they can be told,
    #: those that vanished.
    whole: list[Manifest] = field(default_factory=list)
    #: Objects that were asked for.
    objects: int = 0
    #: Backups that were read as a whole and found good.
    read: list[str] = field(default_factory=list)
    #: Those of them that no key of this host opens: their stored bytes are good, and that is all it can tell.
    sealed: list[str] = field(default_factory=list)
    bytes_read: int = 0

    @property
    def unusable(self) -> set[str]:
        """Keys of objects that nothing can be restored from."""
        return {key for finding in self.findings for key in finding.unusable or ()}

    @property
    def problem(self) -> str:
        """Everything that is wrong or unknown, in one line; empty if nothing is."""
        texts = []
        if self.findings:
            texts.append(_some([f.problem for f in self.findings], "found wrong"))
        if self.unknown:
            texts.append(_some([f"{u.key} ({u.reason})" for u in self.unknown], "not known"))
        return "; ".join(texts)

    def document(self, config: Config) -> VerifyDocument:
        """For ``--json``."""
        told = {f.backup for f in self.findings}
        total = loss(self.whole, self.unusable)
        intact = [m for m in self.scan.manifests if self.scan.intact(m)]
        return VerifyDocument(
            app=config.app,
            environment=config.environment,
            bucket=config.storage.bucket,
            at=self.now,
            good=not self.findings and not self.unknown,
            backups=len(self.scan.manifests),
            objects=self.objects,
            read=self.read,
            sealed=self.sealed,
            bytes_read=self.bytes_read,
            findings=[self._finding(f) for f in self.findings],
            unknown=[VerifyUnknown(backup=u.backup, key=u.key, reason=u.reason) for u in self.unknown],
            lost=_seconds(total.seconds),
            lost_points=list(total.points),
            holes=_seconds(coverage(without(intact, self.unusable)).holes),
            unfinished=[f for f in self.scan.unfinished if f.rpartition("/")[2] not in told],
        )

    def _finding(self, finding: Finding) -> VerifyFinding:
        cost = None if finding.unusable is None else loss(self.whole, finding.unusable)
        return VerifyFinding(
            kind=finding.kind,
            backup=finding.backup,
            key=finding.key,
            problem=finding.problem,
            lost=_seconds(cost.seconds) if cost else None,
            lost_points=list(cost.points) if cost else None,
        )

    def text(self) -> str:
        """For people: a line a finding with what it costs, then the sum."""
        lines = []
        for finding in self.findings:
            lines += [f"WRONG    {finding.problem}", f"         {self._cost(finding)}"]
        lines += [f"UNKNOWN  {one.key}: {one.reason}" for one in self.unknown]
        verdict = f"{len(self.findings)} wrong, {len(self.unknown)} not known"
        read = f"; {len(self.read)} read whole, {self.bytes_read} bytes" if self.bytes_read else ""
        if self.sealed:
            read += f", {len(self.sealed)} of them not opened, for no key is here"
        lines.append(
            f"{len(self.scan.manifests)} backups, {self.objects} objects{read}:"
            f" {verdict if self.findings or self.unknown else 'nothing wrong'}"
        )
        return "\n".join(lines)

    def _cost(self, finding: Finding) -> str:
        if finding.kind == "unlocked":
            return "nothing is lost yet"
        if finding.unusable is None:
            return "what this costs cannot be told"
        cost = loss(self.whole, finding.unusable)
        if cost == Loss():
            return "every second can still be restored by other backups"
        parts = [f"{_utc(first)} .. {_utc(last)}" for first, last in cost.seconds]
        parts += [f"the moment of {point}" for point in cost.points]
        return f"cannot be restored any more: {', '.join(parts)}"


def _some(texts: list[str], what: str) -> str:
    more = f", and {len(texts) - NAMED} more" if len(texts) > NAMED else ""
    return f"{len(texts)} {what}: {', '.join(texts[:NAMED])}{more}"


def _moment(second: int) -> datetime:
    return datetime.fromtimestamp(second, UTC)


def _utc(second: int) -> str:
    return f"{_moment(second):%Y-%m-%dT%H:%M:%SZ}"


def _seconds(spans: Iterable[Span]) -> list[Seconds]:
    return [Seconds(from_=_moment(first), to=_moment(last)) for first, last in spans]
