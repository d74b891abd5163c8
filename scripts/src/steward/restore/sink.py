"""What a replay does to its target, as an interface, and the one for a server."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from steward.restore.rawbson import (
    ARRAY,
    OBJECT,
    TIMESTAMP,
    Value,
    build,
    build_array,
    elements,
    field,
    first_field,
)

if TYPE_CHECKING:
    from pymongo import MongoClient
    from pymongo.collection import Collection

_EMPTY_TIMESTAMP = Value(TIMESTAMP, bytes(8))


@dataclass(frozen=True, slots=True)
class Write:
    """The state one document must have; the id is that of the document itself."""

    id: Value
    #: None: the document must be gone.
    document: bytes | None
    #: Whether the target holds a document with this id now.
    exists: bool


class Sink(Protocol):
    """A server as the replay needs it. Names are (database, collection)."""

    def fetch(self, database: str, collection: str, ids: Sequence[Value]) -> dict[Value, bytes]:
        """The documents with these ids that exist, by id."""

    def existing(self, database: str, collection: str, ids: Sequence[Value]) -> set[Value]:
        """Those of the ids that exist."""

    def write(self, database: str, collection: str, writes: Sequence[Write]) -> None:
        """Bring documents into the state given; each id appears once."""

    def exists(self, database: str, collection: str) -> bool:
        """Whether the collection or view exists."""

    def create(self, database: str, collection: str, options: Mapping[str, Any]) -> None:
        """Create a collection or view; nothing happens if it exists."""

    def drop(self, database: str, collection: str) -> None:
        """Drop a collection or view; nothing happens if there is none."""

    def drop_database(self, database: str) -> None:
        """Drop a database; nothing happens if there is none."""

    def rename(self, source: tuple[str, str], target: tuple[str, str]) -> None:
        """Rename a collection to a name that is free."""

    def modify(self, database: str, collection: str, options: Mapping[str, Any]) -> None:
        """``collMod`` with these options; nothing happens if there is no such collection."""

    def clear(self, database: str, collection: str) -> None:
        """Delete every document of a collection."""


def id_filter(ids: Sequence[Value]) -> bytes:
    """The filter that matches these ids exactly, whatever their type or field names."""
    if len(ids) == 1:
        return _condition(b"$eq", ids[0])
    return _condition(b"$in", Value(ARRAY, build_array(ids)))


def _condition(operator: bytes, value: Value) -> bytes:
    return build([(b"_id", Value(OBJECT, build([(operator, value)])))])


def _looks_like_operator(value: Value) -> bool:
    """An embedded document as id that begins with ``$`` cannot stand in ``$in``."""
    first = first_field(value.data) if value.kind == OBJECT else None
    return first is not None and first[0].startswith(b"$")


class MongoSink:
    """A server, written with ordinary commands only (no ``applyOps``, no special role)."""

    NAMESPACE_NOT_FOUND = 26
    NAMESPACE_EXISTS = 48
    UNKNOWN_FIELD = 40415

    def __init__(self, client: MongoClient[dict[str, Any]]) -> None:
        from bson.binary import UuidRepresentation
        from bson.codec_options import CodecOptions, DatetimeConversion
        from bson.raw_bson import RawBSONDocument

        self._client = client
        self._raw = RawBSONDocument
        self._options = CodecOptions(
            document_class=RawBSONDocument,
            tz_aware=True,
            datetime_conversion=DatetimeConversion.DATETIME_MS,
            uuid_representation=UuidRepresentation.UNSPECIFIED,
        )
        #: Documents with an empty timestamp at the top, which the server has set to its own time.
        self.replaced_timestamps = 0

    def _collection(self, database: str, collection: str) -> Collection[Any]:
        return self._client[database].get_collection(collection, codec_options=self._options)

    def fetch(self, database: str, collection: str, ids: Sequence[Value]) -> dict[Value, bytes]:
        found: dict[Value, bytes] = {}
        for part in _groups(ids):
            where = self._raw(id_filter(part), self._options)
            for document in self._collection(database, collection).find(where):
                identity = field(document.raw, b"_id")
                if identity is not None:
                    found[identity] = document.raw
        return found

    def existing(self, database: str, collection: str, ids: Sequence[Value]) -> set[Value]:
        found: set[Value] = set()
        for part in _groups(ids):
            cursor = self._collection(database, collection).find(
                self._raw(id_filter(part), self._options), {"_id": True}
            )
            found.update(value for document in cursor if (value := field(document.raw, b"_id")) is not None)
        return found

    def write(self, database: str, collection: str, writes: Sequence[Write]) -> None:
        from pymongo import DeleteOne, InsertOne, ReplaceOne

        deletes: list[Any] = []
        replaces: list[Any] = []
        inserts: list[Any] = []
        special: list[tuple[Any, Any]] = []
        for write in writes:
            where = self._raw(id_filter([write.id]), self._options)
            if write.document is None:
                if write.exists:
                    deletes.append(DeleteOne(where))
                continue
            fields = list(elements(write.document))
            if any(value == _EMPTY_TIMESTAMP and name != b"_id" for name, value in fields):
                special.append((where, self._raw(write.document, self._options)))
                continue
            document = self._raw(write.document, self._options)
            if write.exists and any(name.startswith(b"$") for name, _ in fields):
                # A server inserts such names but does not replace with them.
                deletes.append(DeleteOne(where))
                inserts.append(InsertOne(document))
            elif write.exists:
                replaces.append(ReplaceOne(where, document))
            else:
                inserts.append(InsertOne(document))
        # The driver adds the option to deletes too, where not every server knows it.
        self._bulk(database, collection, deletes, bypass=None)
        self._bulk(database, collection, replaces + inserts, bypass=True)
        for where, document in special:
            self._write_empty_timestamp(database, collection, where, document)

    def _bulk(self, database: str, collection: str, requests: list[Any], bypass: bool | None) -> None:
        from pymongo.errors import BulkWriteError, OperationFailure

        if not requests:
            return
        try:
            self._collection(database, collection).bulk_write(
                requests, ordered=True, bypass_document_validation=bypass
            )
        except BulkWriteError as error:
            # Its own text holds the documents; they do not belong into messages.
            first = (error.details.get("writeErrors") or error.details.get("writeConcernErrors") or [{}])[0]
            text = f"{database}.{collection}: {first.get('errmsg', 'bulk write failed')}"
            raise OperationFailure(text, first.get("code")) from error

    def _write_empty_timestamp(self, database: str, collection: str, where: Any, document: Any) -> None:
        """Keep an empty timestamp, which a server otherwise fills with its own time."""
        from pymongo.errors import OperationFailure

        command: dict[str, Any] = {
            "update": collection,
            "updates": [{"q": where, "u": document, "upsert": True}],
            "bypassDocumentValidation": True,
        }
        try:
            answer = self._client[database].command({**command, "bypassEmptyTsReplacement": True})
        except OperationFailure as error:
            if error.code != self.UNKNOWN_FIELD:
                raise
            answer = self._client[database].command(command)
            self.replaced_timestamps += 1
        for problem in answer.get("writeErrors", []):
            raise OperationFailure(str(problem.get("errmsg")), problem.get("code"), problem)

    def exists(self, database: str, collection: str) -> bool:
        return bool(self._client[database].list_collection_names(filter={"name": collection}))

    def create(self, database: str, collection: str, options: Mapping[str, Any]) -> None:
        self._command(database, {"create": collection, **options}, {self.NAMESPACE_EXISTS})

    def drop(self, database: str, collection: str) -> None:
        self._command(database, {"drop": collection}, {self.NAMESPACE_NOT_FOUND})

    def drop_database(self, database: str) -> None:
        self._command(database, {"dropDatabase": 1}, {self.NAMESPACE_NOT_FOUND})

    def rename(self, source: tuple[str, str], target: tuple[str, str]) -> None:
        self._command("admin", {"renameCollection": ".".join(source), "to": ".".join(target)}, set())

    def modify(self, database: str, collection: str, options: Mapping[str, Any]) -> None:
        self._command(database, {"collMod": collection, **options}, {self.NAMESPACE_NOT_FOUND})

    def clear(self, database: str, collection: str) -> None:
        self._collection(database, collection).delete_many({})

    def _command(self, database: str, command: dict[str, Any], acceptable: set[int]) -> None:
        from pymongo.errors import OperationFailure

        try:
            self._client[database].command(command)
        except OperationFailure as error:
            if error.code not in acceptable:
                raise


def _groups(ids: Sequence[Value]) -> list[list[Value]]:
    """Ids that can be asked for together."""
    plain = [value for value in ids if not _looks_like_operator(value)]
    groups = [[value] for value in ids if _looks_like_operator(value)]
    return [plain, *groups] if plain else groups
