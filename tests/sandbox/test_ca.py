"""The sandbox's certificate authority: names, renewal, interruption."""

from __future__ import annotations

import socket
import ssl
import stat
import threading
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec

from sandbox import ca


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    ca.ensure(tmp_path)
    return tmp_path


def certificate(path: Path) -> x509.Certificate:
    return x509.load_pem_x509_certificate(path.read_bytes())


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def handshake(folder: Path, leaf: ca.Leaf, name: str) -> None:
    """A real handshake between a server with ``leaf`` and a client that trusts the bundle."""
    ours, theirs = socket.socketpair()
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(leaf.certificate, leaf.key)

    def serve() -> None:
        try:
            server.wrap_socket(theirs, server_side=True).close()
        except OSError:
            theirs.close()

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        context = ssl.create_default_context(cafile=str(folder / "bundle.pem"))
        context.verify_flags |= ssl.VERIFY_X509_STRICT
        context.wrap_socket(ours, server_hostname=name).close()
    finally:
        ours.close()
        thread.join(timeout=30)


def test_a_client_with_the_bundle_trusts_its_names_only(folder: Path) -> None:
    leaf = ca.issue(folder, "aws", ["aws.steward.test"], ["10.77.1.1"])
    handshake(folder, leaf, "aws.steward.test")
    handshake(folder, leaf, "10.77.1.1")
    with pytest.raises(ssl.SSLCertVerificationError):
        handshake(folder, leaf, "10.77.1.2")


def test_keys_are_private_and_the_bundle_holds_the_systems_authorities(folder: Path) -> None:
    ca.issue(folder, "aws", ["aws.steward.test"])
    for name in ("ca.key", "aws.key"):
        assert stat.S_IMODE((folder / name).stat().st_mode) == 0o600
    bundle = (folder / "bundle.pem").read_bytes()
    assert bundle.startswith(ca.system_bundle().read_bytes().rstrip(b"\n"))
    assert bundle.endswith((folder / "ca.pem").read_bytes())
    assert isinstance(certificate(folder / "aws.crt").public_key(), ec.EllipticCurvePublicKey)


def test_a_second_run_changes_nothing(folder: Path) -> None:
    ca.issue(folder, "aws", ["b.test", "a.test"], ["10.77.1.1"])
    before = contents(folder)
    ca.ensure(folder)
    ca.issue(folder, "aws", ["a.test", "b.test"], ["10.77.1.1"])
    assert contents(folder) == before


def test_other_names_make_another_certificate_with_the_same_key(folder: Path) -> None:
    ca.issue(folder, "aws", ["a.test"])
    before = contents(folder)
    leaf = ca.issue(folder, "aws", ["b.test"])
    assert leaf.certificate.read_bytes() != before["aws.crt"]
    assert leaf.key.read_bytes() == before["aws.key"]
    handshake(folder, leaf, "b.test")


def test_what_ends_within_seven_days_is_renewed(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ca, "LEAF_LIFETIME", ca.RENEW_BEFORE - timedelta(minutes=1))
    short = ca.issue(folder, "aws", ["a.test"]).certificate.read_bytes()
    monkeypatch.setattr(ca, "LEAF_LIFETIME", ca.RENEW_BEFORE + timedelta(hours=1))
    renewed = ca.issue(folder, "aws", ["a.test"]).certificate.read_bytes()
    assert renewed != short
    assert ca.issue(folder, "aws", ["a.test"]).certificate.read_bytes() == renewed


@pytest.mark.parametrize("lost", ["ca.pem", "ca.key", "bundle.pem", "aws.crt", "aws.key"])
@pytest.mark.parametrize("torn", [False, True])
def test_it_repairs_what_an_interruption_left(folder: Path, lost: str, torn: bool) -> None:
    ca.issue(folder, "aws", ["a.test"])
    if torn:
        (folder / lost).write_bytes((folder / lost).read_bytes()[:100])
    else:
        (folder / lost).unlink()
    ca.ensure(folder)
    handshake(folder, ca.issue(folder, "aws", ["a.test"]), "a.test")


def test_a_write_that_fails_leaves_the_old_file_and_no_rest(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_args: object) -> None:
        raise OSError("disk full")

    before = contents(folder)
    monkeypatch.setattr("sandbox.files.os.fsync", fail)
    with pytest.raises(ca.CaError, match="disk full"):
        ca.issue(folder, "aws", ["a.test"])
    assert contents(folder) == before


def test_wrong_use_is_one_line(tmp_path: Path, folder: Path) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    for call in (
        lambda: ca.issue(empty, "aws", ["a.test"]),
        lambda: ca.issue(folder, "aws"),
        lambda: ca.issue(folder, "aws", [], ["not-an-address"]),
    ):
        with pytest.raises(ca.CaError) as caught:
            call()
        assert "\n" not in str(caught.value)
