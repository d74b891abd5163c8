"""steward.notify and steward.operations.pings against real servers on this machine."""

from __future__ import annotations

import contextlib
import json
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from sandbox import ca
from sandbox.services.pinned import PinnedClient
from steward.notify import Message, http, incidents
from steward.notify.channels import Channel, DeliveryError, Mail, Webhook
from steward.notify.http import ATTEMPTS, PostError, post
from steward.operations.pings import ping
from steward.operations.settings import MailSettings, NotifySecrets
from tests.sandbox.services import service
from tests.support.mongod import free_port

MESSAGE = Message("bitesbay", "local", "db1", "full", "failed", "mongodump failed: größer als 5 MiB")
SECRET = "c0ffee-secret-path"


class Receiver:
    """An HTTP server that remembers what came and answers with the next status of a list, else 200."""

    def __init__(self) -> None:
        self.came: list[tuple[str, bytes]] = []
        self.statuses: list[int] = []


@pytest.fixture
def receiver() -> Iterator[tuple[Receiver, str]]:
    found = Receiver()
    with _serving(found) as url:
        yield found, url


@contextmanager
def _serving(receiver: Receiver) -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            receiver.came.append((self.path, body))
            self.send_response(receiver.statuses.pop(0) if receiver.statuses else 200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: Any) -> None:
            return

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()


def test_pings_are_start_success_and_fail(receiver: tuple[Receiver, str]) -> None:
    found, url = receiver
    ping(f"{url}/{SECRET}", "full", "start", "")
    ping(f"{url}/{SECRET}/", "full", "success", "12.0 s")
    ping(f"{url}/{SECRET}?create=1", "full", "fail", "disk full")
    assert found.came == [
        (f"/{SECRET}/start", b""),
        (f"/{SECRET}", b"12.0 s"),
        (f"/{SECRET}/fail?create=1", b"disk full"),
    ]


def test_a_ping_is_repeated_where_that_helps(receiver: tuple[Receiver, str]) -> None:
    found, url = receiver
    found.statuses = [503, 429]
    ping(url, "full", "success", "")
    assert len(found.came) == 3
    found.came.clear()
    found.statuses = [404]
    ping(url, "full", "success", "")
    assert len(found.came) == 1


@pytest.mark.parametrize("status", [500, 404, 302])
def test_a_ping_that_fails_is_a_note_without_its_secret(
    receiver: tuple[Receiver, str], capsys: pytest.CaptureFixture[str], status: int
) -> None:
    found, url = receiver
    found.statuses = [status] * ATTEMPTS
    ping(f"{url}/{SECRET}", "full", "start", "")
    said = capsys.readouterr().err
    assert said == (
        f"steward: the ping (start) of the job full did not arrive: 127.0.0.1 answered with status {status}\n"
    )


@pytest.mark.parametrize("begin", ["http://127.0.0.1:{port}/", "http://[bad/", "x://"])
def test_nobody_there_is_a_note_without_its_secret(begin: str, capsys: pytest.CaptureFixture[str]) -> None:
    url = begin + SECRET
    ping(url.format(port=free_port()), "full", "start", "")
    said = capsys.readouterr().err
    assert "did not arrive" in said
    assert "/" + SECRET not in said
    with pytest.raises(PostError) as caught:
        post(url.format(port=free_port()), content=b"", content_type="text/plain")
    assert caught.value.__cause__ is None


def test_an_answer_that_never_ends_holds_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http, "LIMIT_S", 0.5)
    ended = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as server:

        def drip() -> None:
            connection, _ = server.accept()
            with connection, contextlib.suppress(OSError):
                while not ended.wait(0.1):
                    connection.sendall(b"H")

        thread = threading.Thread(target=drip)
        thread.start()
        try:
            with pytest.raises(PostError, match=r"127\.0\.0\.1 did not answer within 0\.5 s"):
                post(f"http://127.0.0.1:{server.getsockname()[1]}/", content=b"", content_type="text/plain")
        finally:
            ended.set()
            thread.join()


def test_a_webhook_gets_the_words_and_their_parts(receiver: tuple[Receiver, str]) -> None:
    found, url = receiver
    Webhook(f"{url}/{SECRET}").send(MESSAGE)
    [(path, body)] = found.came
    document = json.loads(body)
    assert path == f"/{SECRET}"
    assert document["text"] == document["content"]
    assert document["text"] == f"[bitesbay local] backup full failed on db1: {MESSAGE.text}"
    assert (document["app"], document["job"], document["state"]) == ("bitesbay", "full", "failed")
    found.statuses = [403]
    with pytest.raises(DeliveryError, match="status 403") as caught:
        Webhook(f"{url}/{SECRET}").send(MESSAGE)
    assert SECRET not in str(caught.value)


def test_mail_goes_over_tls_with_a_login(tmp_path: Path) -> None:
    authority = ca.ensure(tmp_path / "ca")
    leaf = ca.issue(tmp_path / "ca", "mail", dns_names=["localhost"], addresses=["127.0.0.1"])
    keys = tmp_path / "smtp.json"
    keys.write_text(json.dumps({"bitesbay": {"username": "mailer", "password": "hidden-word"}}))
    port, inbox = free_port(), free_port()
    arguments = ["smtp", "--port", str(port), "--inbox-port", str(inbox), "--keys-file", str(keys)]
    settings = MailSettings(
        host="localhost",
        port=port,
        sender="steward@bitesbay.test",
        recipients=["a@example.test", "b@example.test"],
        ca_file=authority.certificate,
    )
    login = NotifySecrets(smtp_username="mailer", smtp_password=SecretStr("hidden-word"))
    with service(
        tmp_path / "log", [*arguments, "--tls-certificate", str(leaf.certificate), "--tls-key", str(leaf.key)]
    ):
        Mail(settings, login).send(MESSAGE)
        [mail] = PinnedClient(f"http://127.0.0.1:{inbox}").request("GET", "/messages").content["messages"]
        assert mail["to"] == ["a@example.test", "b@example.test"]
        assert mail["subject"] == "[bitesbay local] backup full failed on db1"
        assert mail["text"].strip() == MESSAGE.text
        wrong = NotifySecrets(smtp_username="mailer", smtp_password=SecretStr("wrong-word"))
        with pytest.raises(DeliveryError, match="localhost answered with status 535"):
            Mail(settings, wrong).send(MESSAGE)
        with pytest.raises(DeliveryError, match="SSLCertVerificationError"):
            Mail(settings.model_copy(update={"ca_file": None}), login).send(MESSAGE)
    with pytest.raises(DeliveryError, match=f"ConnectionRefusedError at localhost:{port}"):
        Mail(settings, login).send(MESSAGE)


class Listed:
    """A channel that keeps what it is given, and fails as often as it is told to."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.messages: list[Message] = []
        self.broken = False

    def send(self, message: Message) -> None:
        if self.broken:
            raise DeliveryError("it is down")
        self.messages.append(message)


def make(state: Any, text: str) -> Message:
    return Message("bitesbay", "local", "db1", "full", state, text)


@given(
    st.lists(st.sampled_from(["disk full at 1", "disk full at 22", "login failed", "", "down"]), max_size=12)
)
def test_one_message_a_reason_and_one_when_it_is_over(
    tmp_path_factory: pytest.TempPathFactory, runs: list[str]
) -> None:
    """An empty reason is a good run; ``down`` is a failure while the channel is down."""
    state = tmp_path_factory.mktemp("state") / "incident.json"
    way = Listed("mail")
    ways: list[Channel] = [way]
    expected: list[tuple[str, str]] = []
    known: set[str] = set()
    for reason in runs:
        way.broken = reason == "down"
        if reason:
            incidents.failed(state, ways, make, reason)
            kind = incidents.kind_of(reason)
            if kind not in known and not way.broken:
                known.add(kind)
                expected.append(("failed", reason))
        else:
            incidents.recovered(state, ways, make)
            if known:
                expected.append(("recovered", ""))
            known.clear()
            assert not state.exists()
    assert [(m.state, m.text if m.state == "failed" else "") for m in way.messages] == expected


def test_a_channel_that_was_down_is_told_later_and_the_others_are_not_told_again(tmp_path: Path) -> None:
    state, mail, hook = tmp_path / "s.json", Listed("mail"), Listed("webhook")
    ways: list[Channel] = [mail, hook]
    mail.broken = True
    incidents.failed(state, ways, make, "disk full")
    mail.broken = False
    incidents.failed(state, ways, make, "disk full")
    assert [len(w.messages) for w in (mail, hook)] == [1, 1]
    hook.broken = True
    incidents.recovered(state, ways, make)
    hook.broken = False
    incidents.recovered(state, ways, make)
    incidents.recovered(state, ways, make)
    assert [[m.state for m in w.messages] for w in (mail, hook)] == [["failed", "recovered"]] * 2
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"since": 1}', b"\xff"])
def test_a_damaged_state_is_a_second_message_and_not_silence(tmp_path: Path, content: bytes) -> None:
    state, mail = tmp_path / "s.json", Listed("mail")
    state.write_bytes(content)
    incidents.failed(state, [mail], make, "disk full")
    assert len(mail.messages) == 1


def test_a_state_that_cannot_be_written_is_a_note(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").touch()
    mail = Listed("mail")
    incidents.failed(tmp_path / "file" / "s.json", [mail], make, "disk full")
    assert len(mail.messages) == 1
    assert "the same message may come again" in capsys.readouterr().err


def test_reasons_that_differ_in_numbers_and_ids_are_one_kind() -> None:
    one = "oplog/20261122T000000Z-abc123/x: 5 bytes were sent, 4 are stored"
    other = "oplog/20261122T010000Z-0f0f0f/x: 77 bytes were sent, 41 are stored"
    assert incidents.kind_of(one) == incidents.kind_of(other)
    assert incidents.kind_of("login failed") != incidents.kind_of("disk full")
