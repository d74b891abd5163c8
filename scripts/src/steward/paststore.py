"""An S3 bucket as it was at the end of one second, for what was written over or deleted since.

Every key shows the newest version that is not younger than that second, and a key whose newest
entry by then is a delete marker is not there. Nothing can be written: a run that adds to the
present from what it sees of the past would break the chain of slices.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Never

from steward.encryption import Identities
from steward.errors import ConfigError, StewardError
from steward.manifest import rfc3339
from steward.s3errors import s3_errors
from steward.s3store import S3Store
from steward.storage import ObjectInfo

if TYPE_CHECKING:
    from steward.config import StorageSettings


@dataclass(frozen=True)
class Entry:
    """One version of a key, or one delete marker on it (``info`` None)."""

    key: str
    version_id: str
    modified: datetime
    info: ObjectInfo | None


@dataclass(frozen=True)
class Past:
    """What a key was at that second."""

    #: The newest entry.
    shown: Entry
    #: The newest version; another than ``shown`` when that is a delete marker.
    version: Entry | None


def as_of(entries: Iterable[Entry], second: datetime) -> dict[str, Past]:
    """Keys as they were at the end of ``second``; those that came later are left out.

    S3 tells times in whole seconds, and those of versions and delete markers apart from each other.
    So of a version and a marker of one second the version counts: data that were deleted in it are
    compared with their digests, data that were not are not missed. Of two versions of one second the
    first in ``entries`` counts: S3 lists the newest first.
    """
    found: dict[str, Past] = {}
    for entry in entries:
        if entry.modified.replace(microsecond=0) > second:
            continue
        old = found.get(entry.key)
        shown = entry if old is None or _after(entry, old.shown) else old.shown
        version = old.version if old else None
        if entry.info is not None and (version is None or _after(entry, version)):
            version = entry
        found[entry.key] = Past(shown, version)
    return dict(sorted(found.items()))


def _after(entry: Entry, other: Entry) -> bool:
    ours, theirs = (e.modified.replace(microsecond=0) for e in (entry, other))
    return ours > theirs or (ours == theirs and entry.info is not None and other.info is None)


class PastS3Store(S3Store):
    """The bucket of ``[storage]`` as it was at ``as_of``."""

    def __init__(self, settings: StorageSettings, identities: Identities | None = None) -> None:
        super().__init__(settings, identities)
        if settings.as_of is None:
            raise ValueError("as_of is missing")
        self._second = settings.as_of
        # What was listed need not be asked for again.
        self._versions: dict[str, str] = {}

    def _past(self, prefix: str) -> dict[str, Past]:
        with s3_errors(self._endpoint, self.settings.bucket):
            return as_of(self._entries(prefix), self._second)

    def _entries(self, prefix: str) -> Iterator[Entry]:
        pages = self._s3.get_paginator("list_object_versions").paginate(
            Bucket=self.settings.bucket, Prefix=prefix
        )
        for page in pages:
            for item in page.get("Versions", []):
                info = ObjectInfo(item["Key"], item["Size"], item["LastModified"], item["ETag"])
                yield Entry(item["Key"], item["VersionId"], item["LastModified"], info)
            for marker in page.get("DeleteMarkers", []):
                yield Entry(marker["Key"], marker["VersionId"], marker["LastModified"], None)

    def _version(self, key: str) -> str | None:
        """The id of the version that the key shows; None when it showed none."""
        if key not in self._versions:
            past = self._past(key).get(key)
            if past is None or past.shown.info is None:
                return None
            self._versions[key] = past.shown.version_id
        return self._versions[key]

    def open_read(self, key: str, version_id: str | None = None) -> Iterator[bytes]:
        """See :meth:`Store.open_read`."""
        version_id = version_id or self._version(key)
        if version_id is None:
            raise StewardError(f"bucket {self.settings.bucket}, {key}: no such object at {self._text}")
        yield from super().open_read(key, version_id)

    def head(self, key: str, version_id: str | None = None) -> ObjectInfo | None:
        """See :meth:`Store.head`."""
        version_id = version_id or self._version(key)
        return super().head(key, version_id) if version_id else None

    def list_prefix(self, prefix: str) -> Iterator[ObjectInfo]:
        """See :meth:`Store.list_prefix`."""
        for key, past in self._past(prefix).items():
            if past.shown.info is not None:
                self._versions[key] = past.shown.version_id
                yield past.shown.info

    def list_hidden(self, prefix: str) -> Iterator[tuple[str, str]]:
        """See :meth:`Store.list_hidden`."""
        for key, past in self._past(prefix).items():
            if past.shown.info is None and past.version is not None:
                yield key, past.version.version_id

    @property
    def _text(self) -> str:
        return rfc3339(self._second)

    def _refuse(self, key: str, *_: object, **_more: object) -> Never:
        raise ConfigError(
            f"{key}: not written: storage.as_of shows the bucket as it was at {self._text}, for reading"
            " alone; write with a configuration without it"
        )

    put_stream = put_json = put_versioned = _refuse
    #: What is read with it is read to be written over.
    get_versioned = _refuse
