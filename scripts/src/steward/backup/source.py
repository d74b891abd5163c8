"""From which member of a replica set a dump is read.

A dump reads everything once, which drives the working set of the application out of the member's
memory. So it is read from a secondary that is up to date, and the primary keeps its own. Where the URI
says ``directConnection=true`` its author has chosen.

All of a full comes from one member: where its oplog stands, the dump, and the oplog that closes it. A
member that lags behind is then only older, and what it lacks is in the slices.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING
from urllib.parse import urlencode, urlunsplit

from steward.config import Config, MongoSettings
from steward.errors import StewardError
from steward.mongo import Document, connect, mongo_errors
from steward.output import note

if TYPE_CHECKING:
    from pymongo import MongoClient

#: A secondary further behind is left to catch up. MongoDB's own bound for reads of this kind is 90 s at
#: the least (``maxStalenessSeconds``).
MAX_LAG = timedelta(seconds=90)
#: Until then a secondary counts as unreachable, in seconds.
PROBE_TIMEOUT_S = 4.0
#: Options of a URI, in small letters, that mean nothing for one member.
_OF_A_SET = frozenset(
    {"replicaset", "readpreference", "readpreferencetags", "maxstalenessseconds", "directconnection"}
    | {"srvservicename", "srvmaxhosts"}
)


@dataclass(frozen=True)
class Source:
    """A connection, and the URI (without credentials) by which a tool reaches the same member."""

    client: MongoClient[Document]
    uri: str
    #: ``host:port`` of the secondary that was chosen; None: the server of the configuration.
    secondary: str | None


def open_mongo(config: Config) -> MongoClient[Document]:
    """The server of the configuration, reached and logged in."""
    return _connect(config.mongodb, config.mongodb.uri)


@contextmanager
def dump_source(config: Config) -> Iterator[Source]:
    """What a dump is read from; errors of the driver in the block are told in one line.

    Raises:
        StewardError: the server of the configuration cannot be reached.
    """
    settings = config.mongodb
    with mongo_errors(settings.uri), contextlib.closing(open_mongo(config)) as client:
        found = _secondary(settings, client) if settings.read_from == "secondary" else None
        if found is None:
            yield Source(client, settings.uri, None)
            return
        with mongo_errors(found.uri), contextlib.closing(found.client):
            yield found


def _connect(settings: MongoSettings, uri: str, timeout: float | None = None) -> MongoClient[Document]:
    login = settings.login
    return connect(
        uri,
        login.username if login else None,
        login.password.get_secret_value() if login else None,
        settings.auth_source,
        timeout,
    )


def _secondary(settings: MongoSettings, client: MongoClient[Document]) -> Source | None:
    """The secondary that is least behind; None where the primary, or the only member, must be read."""
    if client.topology_description.topology_type_name != "ReplicaSetWithPrimary":
        return None  # a single server, a direct connection, or a mongos
    hello = client.admin.command("hello")
    # Hidden members and arbiters are not told.
    others = [name for name in (*hello.get("hosts", ()), *hello.get("passives", ())) if name != hello["me"]]
    best: tuple[timedelta, Source] | None = None
    reasons = []
    for name in others:
        uri = member_uri(settings.uri, name)
        try:
            member = _connect(settings, uri, PROBE_TIMEOUT_S)
        except StewardError as error:
            reasons.append(str(error))
            continue
        lag = _lag(hello, member)
        if lag is None or lag > MAX_LAG:
            reasons.append(f"{name} is no secondary" if lag is None else f"{name} is {lag.seconds} s behind")
        elif best is None or lag < best[0]:
            if best is not None:
                best[1].client.close()
            best = lag, Source(member, uri, name)
            continue
        member.close()
    if best is None and others:
        note(f"the primary {hello['me']} is dumped, for no secondary can be: {'; '.join(reasons)}")
    return best[1] if best is not None else None


def _lag(primary: Document, member: MongoClient[Document]) -> timedelta | None:
    """How far a member is behind the primary; None when it is no secondary of this set."""
    from pymongo.errors import PyMongoError

    try:
        hello = member.admin.command("hello")
    except PyMongoError:
        return None
    if not hello.get("secondary") or hello.get("setName") != primary["setName"]:
        return None
    behind: timedelta = primary["lastWrite"]["lastWriteDate"] - hello["lastWrite"]["lastWriteDate"]
    return max(behind, timedelta(0))


def member_uri(uri: str, name: str) -> str:
    """The URI of one member of the replica set of ``uri``, with the same options."""
    from pymongo.uri_parser import parse_uri

    # As they were written, and of mongodb+srv:// also what DNS says.
    given = parse_uri(uri, validate=False, warn=False, normalize=False)["options"]
    options = {key: value for key, value in given.items() if key.lower() not in _OF_A_SET}
    plain = {key: str(value).lower() if isinstance(value, bool) else value for key, value in options.items()}
    return urlunsplit(("mongodb", name, "/", urlencode({**plain, "directConnection": "true"}), ""))
