"""The manifests of the backup store: what a stored backup is and holds.

A backup exists when its manifest does. The data object is written first and
``manifest.json`` last, so whatever a killed run leaves has no manifest and
counts for nothing.
"""

from __future__ import annotations

import functools
import secrets
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import (
    AwareDatetime,
    BaseModel,
    ConfigDict,
    Field,
    PlainSerializer,
    ValidationError,
    model_validator,
)

from steward.choice import Choice
from steward.config import BackupClass
from steward.encryption import SUFFIX
from steward.errors import FaultError

if TYPE_CHECKING:
    from bson.timestamp import Timestamp

    from steward.storage import ObjectInfo, Store

SCHEMA = 1
MANIFEST_NAME = "manifest.json"
FULL_CLASSES: tuple[BackupClass, ...] = ("monthly", "weekly", "daily")
ALL_CLASSES: tuple[BackupClass, ...] = (*FULL_CLASSES, "oplog")
#: The largest ordinal of an oplog timestamp: "to the end of that second".
MAX_ORDINAL = 0xFFFF_FFFF

BackupId = Annotated[str, Field(pattern=r"^\d{8}T\d{6}Z-[0-9a-f]{6}$")]
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


def rfc3339(moment: datetime) -> str:
    """A moment as RFC 3339 in UTC with milliseconds."""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


Moment = Annotated[AwareDatetime, PlainSerializer(rfc3339, return_type=str, when_used="json")]


def new_id(started_at: datetime) -> str:
    """A new backup id: the UTC start time, and 24 random bits for two hosts in one second."""
    return f"{started_at.astimezone(UTC):%Y%m%dT%H%M%SZ}-{secrets.token_hex(3)}"


class _Model(BaseModel):
    # Keys of later versions are kept out: a reader that ignored one could
    # restore something else than what was stored.
    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)


@functools.total_ordering
class OplogTime(_Model):
    """An oplog timestamp: seconds since 1970 and the ordinal within the second."""

    t: Annotated[int, Field(ge=0, le=0xFFFF_FFFF)]
    i: Annotated[int, Field(ge=0, le=MAX_ORDINAL)]

    def __lt__(self, other: OplogTime) -> bool:
        return (self.t, self.i) < (other.t, other.i)

    def __str__(self) -> str:
        return f"{self.t}:{self.i}"

    @classmethod
    def of(cls, timestamp: Timestamp) -> OplogTime:
        """From BSON."""
        return cls(t=timestamp.time, i=timestamp.inc)

    def bson(self) -> Timestamp:
        """To BSON."""
        from bson.timestamp import Timestamp as BsonTimestamp

        return BsonTimestamp(self.t, self.i)

    def whole_second(self) -> int:
        """The last second (Unix time) that lies completely at or before this point."""
        return self.t if self.i == MAX_ORDINAL else self.t - 1


class Encryption(_Model):
    """How a stream was encrypted, and the public keys whose private ones open it (any one of them)."""

    format: Literal["age"] = "age"
    recipients: Annotated[list[str], Field(min_length=1)]


class DataObject(_Model):
    """The stored stream: ``size`` and ``sha256`` of what is stored, bytes and hex.

    ``raw_*`` describe it before compression, which comes before encryption.
    """

    key: str
    size: Annotated[int, Field(ge=1)]
    sha256: Sha256
    raw_size: Annotated[int, Field(ge=1)]
    raw_sha256: Sha256
    compression: Literal["zstd"] = "zstd"
    #: Absent: stored as it was compressed.
    encryption: Encryption | None = None
    parts: Annotated[int, Field(ge=1)]

    @model_validator(mode="after")
    def _named_as_it_is_stored(self) -> DataObject:
        if self.key.endswith(SUFFIX) != (self.encryption is not None):
            raise ValueError(f"encryption and the ending of {self.key!r} do not fit")
        return self

    @property
    def recipients(self) -> list[str]:
        """Public keys of those who can open it; empty: it is not encrypted."""
        return self.encryption.recipients if self.encryption else []


class OplogRange(_Model):
    """Where in the oplog a backup stands.

    Of a full: ``start`` is the entry from which slices must be replayed (taken
    before the dump began), ``end`` the newest entry once the dump was over. The
    dump is consistent only when everything up to ``end`` is replayed, or at once
    when both are the same.

    Of a slice: its first and last entry, both inside it. ``overlaps`` says that
    the first entry is the previous end, which proves that nothing is missing
    between. ``covered_to`` is how far the oplog was read: no entry lies between
    ``end`` and it.
    """

    start: OplogTime
    end: OplogTime
    count: Annotated[int, Field(ge=1)] | None = None
    overlaps: bool | None = None
    covered_to: OplogTime | None = None

    @model_validator(mode="after")
    def _ordered(self) -> OplogRange:
        if self.end < self.start:
            raise ValueError(f"ends at {self.end}, before its start {self.start}")
        if self.covered_to is not None and self.covered_to < self.end:
            raise ValueError(f"covers to {self.covered_to}, before its end {self.end}")
        return self


class Closing(_Model):
    """The oplog from a full's ``oplog.start`` to its ``oplog.end``, stored beside its dump.

    With it the full restores to one moment for as long as it is kept; the slices
    of class ``oplog`` expire earlier than weekly and monthly fulls.
    """

    object: DataObject
    count: Annotated[int, Field(ge=1)]


class Namespace(_Model):
    """One collection or view of a full backup.

    ``options`` and ``indexes`` are canonical extended JSON as listCollections
    and listIndexes gave them. ``count`` is what mongodump wrote of it.
    """

    db: str
    collection: str
    type: str
    count: Annotated[int, Field(ge=0)]
    options: dict[str, Any]
    indexes: list[dict[str, Any]]


class LeftOut(_Model):
    """What a full leaves out of its databases on purpose; see :class:`steward.choice.Choice`."""

    include: list[str]
    exclude: list[str]
    #: Collections that existed when the dump began.
    namespaces: list[str]


class Versions(_Model):
    """The programs that made the backup."""

    steward: str
    mongodump: str | None = None
    server: str


class Manifest(_Model):
    """``manifest.json``."""

    schema_: Annotated[Literal[1], Field(alias="schema")] = 1
    kind: Literal["full", "oplog"]
    id: BackupId
    app: str
    environment: str
    class_: Annotated[BackupClass, Field(alias="class")]
    host: str
    started_at: Moment
    finished_at: Moment
    retain_until: Moment
    object: DataObject
    oplog: OplogRange | None = None
    #: Fulls: what was written during the dump.
    closing: Closing | None = None
    namespaces: list[Namespace] | None = None
    #: Databases that a full holds; empty: the whole server.
    databases: list[str] | None = None
    #: Fulls: absent where all of these databases was wanted.
    left_out: LeftOut | None = None
    #: Slices: the slice or full it continues.
    previous: str | None = None
    #: A full that was taken because the chain of slices before it was broken.
    new_chain: bool = False
    versions: Versions
    server_id: str | None = None
    #: Fulls: the secondary of the replica set that was dumped; absent: the primary, or a server by itself.
    secondary: str | None = None

    @model_validator(mode="after")
    def _kind_fits(self) -> Manifest:
        if (self.kind == "oplog") != (self.class_ == "oplog"):
            raise ValueError(f"kind {self.kind!r} cannot have class {self.class_!r}")
        if self.kind == "oplog" and (self.oplog is None or self.oplog.count is None or not self.previous):
            raise ValueError("a slice needs oplog, oplog.count and previous")
        if self.kind == "full" and self.namespaces is None:
            raise ValueError("a full backup needs namespaces")
        if self.closing is not None and (self.kind != "full" or self.oplog is None):
            raise ValueError("only a full with oplog has a closing slice")
        for data in self.objects:
            if data.key.rpartition("/")[0] != self.prefix:
                raise ValueError(f"object.key {data.key!r} is not inside {self.prefix}/")
        return self

    @property
    def choice(self) -> Choice:
        """What of the server a full holds."""
        databases = tuple(self.databases or ())
        if self.left_out is None:
            return Choice(databases)
        return Choice(databases, tuple(self.left_out.include), tuple(self.left_out.exclude))

    @property
    def objects(self) -> list[DataObject]:
        """The data objects of this backup; it is whole when all of them are."""
        return [self.object, *([self.closing.object] if self.closing else [])]

    @property
    def consistent_alone(self) -> bool:
        """A full that needs no other backup to be restored to one moment."""
        return self.oplog is not None and (self.closing is not None or self.oplog.start == self.oplog.end)

    @property
    def piece(self) -> Piece | None:
        """The stretch of the oplog in this backup; None when it holds none."""
        if self.oplog is None:
            return None
        if self.kind == "oplog":
            return Piece(self, f"oplog {self.id}", self.object, self.oplog)
        if self.closing is None:
            return None
        span = OplogRange(start=self.oplog.start, end=self.oplog.end, count=self.closing.count)
        return Piece(self, f"the closing slice of {self.id}", self.closing.object, span)

    @property
    def prefix(self) -> str:
        """The folder of this backup in the store, without the last slash."""
        return f"{self.class_}/{self.id}"

    @property
    def manifest_key(self) -> str:
        """The key of this manifest."""
        return f"{self.prefix}/{MANIFEST_NAME}"

    def to_json(self) -> dict[str, Any]:
        """The JSON document that is stored; absent values are left out."""
        return self.model_dump(mode="json", by_alias=True, exclude_none=True)


@dataclass(frozen=True)
class Piece:
    """A stored stretch of the oplog: a slice, or the closing slice of a full."""

    backup: Manifest
    #: How it is called in messages.
    label: str
    object: DataObject
    oplog: OplogRange

    @property
    def id(self) -> str:
        """The id of the backup that it belongs to."""
        return self.backup.id

    @property
    def server_id(self) -> str | None:
        """The replica set it was read from."""
        return self.backup.server_id


def pieces(manifests: Iterable[Manifest]) -> list[Piece]:
    """Every stored stretch of the oplog."""
    return [m.piece for m in manifests if m.piece is not None]


@dataclass(frozen=True)
class Scan:
    """One look at the store."""

    #: By start time, oldest first.
    manifests: list[Manifest]
    #: Every object, by key.
    objects: dict[str, ObjectInfo]
    #: Key of a manifest that cannot be used -> what is wrong, as one line that names it.
    unreadable: dict[str, str] = field(default_factory=dict)

    @property
    def unfinished(self) -> list[str]:
        """``<class>/<id>`` of remains without a manifest; they count for nothing."""
        folders = {key.rpartition("/")[0] for key in self.objects}
        told = {key.rpartition("/")[0] for key in self.unreadable}
        return sorted(folders - {m.prefix for m in self.manifests} - told)

    def intact(self, manifest: Manifest) -> bool:
        """Every data object is there and has its size (its content is not read)."""
        return all(self.holds(data) for data in manifest.objects)

    def holds(self, data: DataObject) -> bool:
        """The object is there and has its size."""
        found = self.objects.get(data.key)
        return found is not None and found.size == data.size


def parse(key: str, document: object) -> Manifest:
    """One manifest, checked.

    Raises:
        FaultError: naming ``key`` and what is wrong.
    """
    try:
        manifest = Manifest.model_validate(document)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(part) for part in first["loc"]) or "manifest"
        raise FaultError(f"{key}: damaged manifest: {where}: {first['msg']}") from error
    if manifest.manifest_key != key:
        raise FaultError(f"{key}: damaged manifest: it describes {manifest.prefix}")
    return manifest


def scan(store: Store, classes: Iterable[BackupClass] = ALL_CLASSES) -> Scan:
    """List the store and read every manifest in it.

    Raises:
        StewardError: the store cannot be reached.
    """
    objects = {info.key: info for c in classes for info in store.list_prefix(f"{c}/")}
    keys = [key for key in objects if key.endswith("/" + MANIFEST_NAME)]
    with ThreadPoolExecutor(max_workers=8) as pool:
        found = list(pool.map(lambda key: _read(store, key), keys))
    manifests = [m for m in found if isinstance(m, Manifest)]
    manifests.sort(key=lambda m: (m.started_at, m.id))
    unreadable = {key: str(m) for key, m in zip(keys, found, strict=True) if isinstance(m, FaultError)}
    return Scan(manifests, objects, unreadable)


def _read(store: Store, key: str) -> Manifest | FaultError:
    """One manifest, or what is wrong with it."""
    try:
        return parse(key, store.get_json(key))
    except FaultError as fault:
        return fault
