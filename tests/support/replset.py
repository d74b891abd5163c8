"""A replica set of several servers that are none: a proxy before each changes what ``hello`` answers.

It stands for the topology alone: who is primary, who secondary, how far each has come. Nothing is
replicated, so a test puts into each server what it is to be told apart by.
"""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlsplit

import bson
from bson.timestamp import Timestamp

from tests.support.mongod import MongoServer

_HEADER = struct.Struct("<iiii")  # length, request, response to, code
_OP_REPLY, _OP_QUERY, _OP_MSG = 1, 2004, 2013
_HELLOS = {"hello", "isMaster", "ismaster"}


@dataclass
class Member:
    """One member as it shows itself."""

    server: MongoServer
    #: ``primary``, ``secondary`` or ``recovering``.
    state: str
    behind: timedelta = timedelta(0)
    set_name: str = "rs0"
    #: Commands that reached it, by name.
    commands: list[str] = field(default_factory=list)
    port: int = 0

    @property
    def name(self) -> str:
        """``host:port``."""
        return f"127.0.0.1:{self.port}"


class ReplicaSet:
    """Proxies on loopback; use it as a context."""

    def __init__(self, *members: Member) -> None:
        self.members = members
        self._listeners: list[socket.socket] = []
        self._open: set[socket.socket] = set()

    def __enter__(self) -> ReplicaSet:
        for member in self.members:
            listener = socket.create_server(("127.0.0.1", 0))
            member.port = listener.getsockname()[1]
            self._listeners.append(listener)
            threading.Thread(target=self._accept, args=(listener, member), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        for each in [*self._listeners, *self._open]:
            self._end(each)

    @property
    def uri(self) -> str:
        """All members."""
        return f"mongodb://{','.join(m.name for m in self.members)}/?replicaSet=rs0"

    def stop(self, member: Member) -> None:
        """Let a member answer no more."""
        self._end(self._listeners[self.members.index(member)])

    @staticmethod
    def _end(each: socket.socket) -> None:
        with contextlib.suppress(OSError):
            each.shutdown(socket.SHUT_RDWR)
        each.close()

    def _accept(self, listener: socket.socket, member: Member) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = listener.accept()
                threading.Thread(target=self._serve, args=(client, member), daemon=True).start()

    def _serve(self, client: socket.socket, member: Member) -> None:
        port = urlsplit(member.server.uri).port
        with (
            contextlib.suppress(OSError, EOFError),
            client,
            socket.create_connection(("127.0.0.1", port)) as server,
        ):
            self._open |= {client, server}
            hellos: set[int] = set()
            answers = threading.Thread(
                target=self._answers, args=(server, client, member, hellos), daemon=True
            )
            answers.start()
            try:
                while True:
                    message = _message(client)
                    name = _command(message)
                    member.commands.append(name)
                    if name in _HELLOS:
                        hellos.add(_HEADER.unpack_from(message)[1])
                    server.sendall(message)
            finally:
                self._end(server)
                answers.join(5)

    def _answers(
        self, server: socket.socket, client: socket.socket, member: Member, hellos: set[int]
    ) -> None:
        with contextlib.suppress(OSError, EOFError):
            while True:
                message = _message(server)
                if _HEADER.unpack_from(message)[2] in hellos:
                    message = self._changed(message, member)
                client.sendall(message)
        self._end(client)

    def _changed(self, message: bytes, member: Member) -> bytes:
        _, request, response_to, code = _HEADER.unpack_from(message)
        # Flags and the kind of the section; or flags, cursor and two numbers.
        start = 16 + (5 if code == _OP_MSG else 20)
        document: dict[str, Any] = bson.decode(message[start:])
        primary = next((m.name for m in self.members if m.state == "primary"), None)
        at = datetime.now(UTC) - member.behind
        time = {"ts": Timestamp(int(at.timestamp()), 0xFFFF_FFFF), "t": 1}
        document |= {
            "setName": member.set_name,
            "setVersion": 1,
            "hosts": [m.name for m in self.members],
            "me": member.name,
            "isWritablePrimary": member.state == "primary",
            "ismaster": member.state == "primary",
            "secondary": member.state == "secondary",
            "lastWrite": {
                "opTime": time,
                "lastWriteDate": at,
                "majorityOpTime": time,
                "majorityWriteDate": at,
            },
        }
        if primary is not None:
            document["primary"] = primary
        body = message[16:start] + bson.encode(document)
        return _HEADER.pack(16 + len(body), request, response_to, code) + body


def _message(source: socket.socket) -> bytes:
    head = _exactly(source, 16)
    return head + _exactly(source, _HEADER.unpack(head)[0] - 16)


def _exactly(source: socket.socket, size: int) -> bytes:
    data = bytearray()
    while len(data) < size:
        chunk = source.recv(size - len(data))
        if not chunk:
            raise EOFError
        data += chunk
    return bytes(data)


def _command(message: bytes) -> str:
    """The name of the command of a request."""
    code = _HEADER.unpack_from(message)[3]
    if code == _OP_MSG:
        start = 21
    elif code == _OP_QUERY:
        start = message.index(b"\0", 20) + 9
    else:
        return ""
    size = int.from_bytes(message[start : start + 4], "little")
    return next(iter(bson.decode(message[start : start + size])), "")
