"""Connections to MongoDB, and what a server says about itself."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, quote_plus, urlencode, urlsplit, urlunsplit

from steward.errors import StewardError

if TYPE_CHECKING:
    from pymongo import MongoClient

    from steward.manifest import OplogTime

#: Until then a server counts as unreachable.
CONNECT_TIMEOUT_S = 8.0
#: A single answer may take this long (a first batch of a large oplog, say).
SOCKET_TIMEOUT_S = 120.0
#: MongoDB's error codes for a login or a right that is missing.
_UNAUTHORIZED = {13: "not authorized", 18: "login failed", 11: "login failed", 8000: "login failed"}

Document = dict[str, Any]


@dataclass(frozen=True)
class ServerInfo:
    """What a server says about itself in one ``hello``."""

    version: str
    #: The server's clock.
    time: datetime
    set_name: str | None
    #: Up to here no entry can be rolled back; None on a server that has no such point.
    majority: OplogTime | None


def address(uri: str) -> str:
    """The hosts of a URI, for messages; never its credentials."""
    return urlsplit(uri).netloc.rpartition("@")[2]


def connect(
    uri: str,
    username: str | None = None,
    password: str | None = None,
    auth_source: str = "admin",
    timeout: float | None = None,
) -> MongoClient[Document]:
    """A client that has reached the server and logged in.

    Args:
        timeout: seconds until the server counts as unreachable; :data:`CONNECT_TIMEOUT_S` by default.

    Raises:
        StewardError: not reachable, login refused, or an unusable URI.
    """
    from pymongo import MongoClient

    login: dict[str, Any] = {}
    if username is not None:
        login = {"username": username, "password": password, "authSource": auth_source}
    milliseconds = int((timeout or CONNECT_TIMEOUT_S) * 1000)
    with mongo_errors(uri):
        client: MongoClient[Document] = MongoClient(
            uri,
            appname="steward",
            serverSelectionTimeoutMS=milliseconds,
            connectTimeoutMS=milliseconds,
            socketTimeoutMS=int(SOCKET_TIMEOUT_S * 1000),
            tz_aware=True,
            **login,
        )
        try:
            # hello alone is answered without a login; this one is not.
            client.admin.command("listDatabases", nameOnly=True)
        except BaseException:
            client.close()
            raise
    return client


@contextmanager
def mongo_errors(uri: str) -> Iterator[None]:
    """Turn an error of the driver into a one-line :class:`StewardError`."""
    from bson.errors import BSONError
    from pymongo.errors import (
        AutoReconnect,
        ConfigurationError,
        NetworkTimeout,
        OperationFailure,
        PyMongoError,
        ServerSelectionTimeoutError,
    )

    where = f"MongoDB at {address(uri)}"
    try:
        yield
    except ServerSelectionTimeoutError as error:
        reason = str(error).split(" (configured timeouts", 1)[0].split(", Timeout:", 1)[0]
        raise StewardError(
            f"{where}: cannot be reached; check mongodb.uri and that the server runs ({reason})"
        ) from error
    except OperationFailure as error:
        known = _UNAUTHORIZED.get(error.code or 0)
        said = (error.details or {}).get("errmsg") or str(error)
        if known:
            raise StewardError(
                f"{where}: {known}; check [mongodb] of the secrets file, auth_source and roles ({said})"
            ) from error
        raise StewardError(f"{where}: {said}") from error
    except NetworkTimeout as error:
        raise StewardError(f"{where}: no answer within {SOCKET_TIMEOUT_S:g} s: {error}") from error
    except AutoReconnect as error:
        raise StewardError(f"{where}: the connection was lost: {error}") from error
    except ConfigurationError as error:
        raise StewardError(f"{where}: mongodb.uri cannot be used: {error}") from error
    except (PyMongoError, BSONError) as error:
        raise StewardError(f"{where}: {error}") from error


def server_info(client: MongoClient[Document]) -> ServerInfo:
    """Version, clock and majority point of the server.

    The majority point is ``hello.lastWrite.majorityOpTime``, but never beyond
    what this very member has applied itself.

    Raises:
        PyMongoError: wrap the call in :func:`mongo_errors`.
    """
    from steward.manifest import OplogTime

    hello = client.admin.command("hello", codec_options=client.codec_options)
    written = hello.get("lastWrite") or {}
    majority = None
    if "majorityOpTime" in written:
        majority = OplogTime.of(written["majorityOpTime"]["ts"])
        if "opTime" in written:
            majority = min(majority, OplogTime.of(written["opTime"]["ts"]))
    return ServerInfo(
        version=str(client.server_info()["version"]),
        time=hello["localTime"],
        set_name=hello.get("setName"),
        majority=majority,
    )


def replica_set_id(client: MongoClient[Document]) -> str | None:
    """The identity of the replica set, which changes when it is set up anew.

    None where the server has none or does not show it.
    """
    from pymongo.errors import OperationFailure

    try:
        found = client.local["system.replset"].find_one({}, {"settings.replicaSetId": 1})
    except OperationFailure:
        return None
    identity = ((found or {}).get("settings") or {}).get("replicaSetId")
    return str(identity) if identity is not None else None


def tool_uri(
    uri: str,
    username: str | None = None,
    password: str | None = None,
    auth_source: str = "admin",
) -> str:
    """The URI for mongodump and mongorestore, with login and time limits in it.

    It holds the password: give it to the tool in its configuration file
    (``uri:``), never as an argument.
    """
    parts = urlsplit(uri)
    options = dict(parse_qsl(parts.query, keep_blank_values=True))
    milliseconds = str(int(CONNECT_TIMEOUT_S * 1000))
    options.setdefault("connectTimeoutMS", milliseconds)
    options.setdefault("serverSelectionTimeoutMS", milliseconds)
    hosts = address(uri)
    if username is not None:
        hosts = f"{quote_plus(username)}:{quote_plus(password or '')}@{hosts}"
        options.setdefault("authSource", auth_source)
    return urlunsplit((parts.scheme, hosts, parts.path or "/", urlencode(options), ""))
