"""The stand-in for a mail provider, and the command line of the stand-ins."""

from __future__ import annotations

import json
import smtplib
import socket
import ssl
import subprocess
import sys
from collections.abc import Iterator
from email.message import EmailMessage
from pathlib import Path

import pytest

from sandbox import ca
from sandbox.services.pinned import PinnedClient, UnreachableError
from sandbox.services.smtp import REMEMBERED, Inbox
from sandbox.settings import REPOSITORY
from tests.sandbox.services import service, serving
from tests.support.mongod import free_port

LOGINS = {
    "bitesbay": {"username": "mailer", "password": "password-b"},
    "kampyn": {"username": "mailer", "password": "password-k"},
}


class Sink:
    """A running mail stand-in."""

    def __init__(self, port: int, inbox_port: int) -> None:
        self.port = port
        self.inbox = PinnedClient(f"http://127.0.0.1:{inbox_port}")

    def connect(self) -> smtplib.SMTP:
        return smtplib.SMTP("127.0.0.1", self.port, timeout=10)


def _message(to: str, text: str = "your code is 123456") -> EmailMessage:
    message = EmailMessage()
    message["From"], message["To"], message["Subject"] = "no-reply@bitesbay.test", to, "Grüße"
    message.set_content(text)
    return message


@pytest.fixture
def keys_file(tmp_path: Path) -> Path:
    path = tmp_path / "smtp.json"
    path.write_text(json.dumps(LOGINS))
    return path


@pytest.fixture
def sink(tmp_path: Path, keys_file: Path) -> Iterator[Sink]:
    port, inbox = free_port(), free_port()
    arguments = ["smtp", "--port", str(port), "--inbox-port", str(inbox), "--keys-file", str(keys_file)]
    with service(tmp_path / "log", arguments):
        yield Sink(port, inbox)


def test_mail_needs_a_login_and_is_shown(sink: Sink) -> None:
    with sink.connect() as client:
        with pytest.raises(smtplib.SMTPSenderRefused) as refused:
            client.send_message(_message("a@example.test"))
        assert refused.value.smtp_code == 530
        with pytest.raises(smtplib.SMTPAuthenticationError):
            client.login("mailer", "wrong")
    for password, to in (("password-b", "a@example.test"), ("password-k", "B@example.test")):
        with sink.connect() as client:
            client.login("mailer", password)
            client.send_message(_message(to))

    everything = sink.inbox.request("GET", "/messages").content["messages"]
    assert [m["to"] for m in everything] == [["B@example.test"], ["a@example.test"]]
    [mine] = sink.inbox.request("GET", "/messages?to=b@EXAMPLE.test&limit=5").content["messages"]
    assert mine["subject"] == "Grüße"
    assert mine["text"].strip() == "your code is 123456"
    assert mine["login"] == "mailer"
    assert sink.inbox.request("GET", "/messages?limit=1").content["messages"] == everything[:1]
    assert sink.inbox.request("GET", "/messages?limit=x").status == 400
    assert sink.inbox.request("DELETE", "/messages").status == 200
    assert sink.inbox.request("GET", "/messages").content["messages"] == []
    assert sink.inbox.request("GET", "/health").content == {"status": "ok", "received": 2}
    assert sink.inbox.request("GET", "/").status == 404


def test_a_login_that_was_rotated_is_taken_at_once(sink: Sink, keys_file: Path) -> None:
    keys_file.write_text(json.dumps({"bitesbay": {"username": "mailer", "password": "rotated"}}))
    with sink.connect() as client:
        with pytest.raises(smtplib.SMTPAuthenticationError):
            client.login("mailer", "password-b")
        client.login("mailer", "rotated")


def test_with_a_certificate_a_login_needs_starttls(tmp_path: Path, keys_file: Path) -> None:
    authority = ca.ensure(tmp_path / "ca")
    leaf = ca.issue(tmp_path / "ca", "mail", dns_names=["localhost"], addresses=["127.0.0.1"])
    port = free_port()
    arguments = ["smtp", "--port", str(port), "--inbox-port", str(free_port()), "--keys-file", str(keys_file)]
    tls = ["--tls-certificate", str(leaf.certificate), "--tls-key", str(leaf.key)]
    with service(tmp_path / "log", arguments + tls), smtplib.SMTP("localhost", port, timeout=10) as client:
        with pytest.raises(smtplib.SMTPException):
            client.login("mailer", "password-b")
        client.starttls(context=ssl.create_default_context(cafile=str(authority.certificate)))
        client.login("mailer", "password-b")


def test_the_memory_of_the_inbox_is_bounded() -> None:
    inbox = Inbox()
    assert inbox._messages.maxlen == REMEMBERED


@pytest.mark.parametrize("kind", ["razorpay", "smtp"])
def test_sigterm_ends_with_0(tmp_path: Path, kind: str) -> None:
    keys = tmp_path / "keys.json"
    keys.write_text("{}")
    extra = ["--inbox-port", str(free_port())] if kind == "smtp" else []
    with service(
        tmp_path / "log", [kind, "--port", str(free_port()), "--keys-file", str(keys), *extra]
    ) as process:
        process.terminate()
        assert process.wait(10) == 0
    assert (tmp_path / "log").read_text() == ""


@pytest.mark.parametrize("kind", ["razorpay", "smtp"])
def test_a_port_that_is_taken_is_one_line_and_1(tmp_path: Path, kind: str) -> None:
    keys = tmp_path / "keys.json"
    keys.write_text("{}")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        done = _run(kind, "--port", str(port), "--keys-file", str(keys))
    assert (done.returncode, done.stdout) == (1, "")
    assert (
        done.stderr == f"sandbox.services {kind}: cannot listen on 127.0.0.1:{port}: Address already in use\n"
    )


def test_a_keys_file_that_is_missing_is_one_line_and_2(tmp_path: Path) -> None:
    done = _run("razorpay", "--keys-file", str(tmp_path / "none"))
    assert done.returncode == 2
    assert done.stderr == (
        f"sandbox.services razorpay: {tmp_path / 'none'}: cannot be read: No such file or directory\n"
    )


def _run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "sandbox.services", *arguments],
        capture_output=True, text=True, timeout=60, check=False, cwd=REPOSITORY,
    )  # fmt: skip


class TestPinnedClient:
    """The client that the traffic and the webhooks use."""

    def test_the_certificate_is_checked_for_the_name_in_the_url(self, tmp_path: Path) -> None:
        authority = ca.ensure(tmp_path / "ca")
        leaf = ca.issue(tmp_path / "ca", "app", dns_names=["app.steward.test"], addresses=[])
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(leaf.certificate, leaf.key)
        with serving(Inbox(), context) as url:
            port = url.rpartition(":")[2]
            good = PinnedClient(
                f"https://app.steward.test:{port}", connect="127.0.0.1", ca_file=authority.certificate
            )
            assert good.request("GET", "/health").status == 200
            other = PinnedClient(
                f"https://other.steward.test:{port}", connect="127.0.0.1", ca_file=authority.certificate
            )
            with pytest.raises(UnreachableError, match=r"other\.steward\.test"):
                other.request("GET", "/health")
            untrusted = PinnedClient(f"https://app.steward.test:{port}", connect="127.0.0.1")
            with pytest.raises(UnreachableError, match="certificate verify failed"):
                untrusted.request("GET", "/health")

    def test_the_host_header_is_the_name_in_the_url(self) -> None:
        seen: list[str] = []

        def application(request):  # type: ignore[no-untyped-def]
            seen.append(request.headers["Host"])
            return Inbox()(request)

        with serving(application) as url:
            port = url.rpartition(":")[2]
            client = PinnedClient(f"http://app.steward.test:{port}", connect="127.0.0.1")
            assert client.request("GET", "/health").content["received"] == 0
        assert seen == [f"app.steward.test:{port}"]

    def test_nobody_there_is_one_line(self) -> None:
        with pytest.raises(UnreachableError, match="refused") as caught:
            PinnedClient(f"http://127.0.0.1:{free_port()}").request("GET", "/")
        assert "\n" not in str(caught.value)

    @pytest.mark.parametrize("url", ["ftp://host", "host", "http://"])
    def test_a_wrong_url_is_refused(self, url: str) -> None:
        with pytest.raises(ValueError, match="is not http"):
            PinnedClient(url)
