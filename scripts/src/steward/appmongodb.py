"""The section ``mongodb`` of an app file."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from steward.strict import Strict

Port = Annotated[int, Field(ge=1024, le=65535)]
Megabytes = Annotated[int, Field(ge=16, le=1_048_576)]


class Atlas(Strict):
    """MongoDB Atlas' own backups, beside steward's; only where the database is an Atlas cluster."""

    restore_window_days: Annotated[int, Field(ge=1, le=35)]
    """Days back to any point in time; hourly snapshots are kept as long."""
    compliance_policy: bool
    """Whether Atlas itself refuses to shorten the schedule; only Atlas' support can undo it."""


class ShardedCollection(Strict):
    """A collection that is spread over the shards of a cluster, by the values of its key."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_.-]{0,119}$")]
    key: Annotated[dict[str, Literal[1, "hashed"]], Field(min_length=1)]
    """Fields in their order: 1 for ranges, or hashed, which one field at most may be."""
    unique: bool = False

    @model_validator(mode="after")
    def _one_that_the_server_takes(self) -> ShardedCollection:
        """https://www.mongodb.com/docs/manual/reference/command/shardCollection/."""
        hashed = [field for field, how in self.key.items() if how == "hashed"]
        if len(hashed) > 1:
            raise ValueError(f"only one field of a key may be hashed, got {', '.join(hashed)}")
        if hashed and self.unique:
            raise ValueError("a key with a hashed field cannot be unique")
        return self


class MongoDB(Strict):
    """The application's database and the size of the server's oplog."""

    port: Port
    database: Annotated[str, Field(pattern=r"^[A-Za-z][A-Za-z0-9_-]{0,62}$")]
    oplog_size_mb: Megabytes
    sharded_collections: list[ShardedCollection] = Field(default_factory=list)
    """Read only where the database is a sharded cluster."""
    atlas: Atlas | None = None

    @field_validator("sharded_collections")
    @classmethod
    def _named_once(cls, collections: list[ShardedCollection]) -> list[ShardedCollection]:
        names = [collection.name for collection in collections]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise ValueError(f"{', '.join(twice)} is named twice")
        return collections
