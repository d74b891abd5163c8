"""The sandbox's own certificate authority: ECDSA P-256, files in one folder.

Safe to kill at any moment: every file is written beside its name and renamed,
the key before the certificate, and a certificate that does not belong to the
key at its side is made again.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from sandbox.files import write_atomically

#: Certificates live this long, and are renewed when less than RENEW_BEFORE is left.
CA_LIFETIME = timedelta(days=3650)
LEAF_LIFETIME = timedelta(days=365)
RENEW_BEFORE = timedelta(days=7)

#: Where the system keeps its bundle: Debian and Ubuntu, Fedora, Alpine and macOS.
SYSTEM_BUNDLES = (
    Path("/etc/ssl/certs/ca-certificates.crt"),
    Path("/etc/pki/tls/certs/ca-bundle.crt"),
    Path("/etc/ssl/cert.pem"),
)


class CaError(Exception):
    """The authority cannot be made or used; the message is one line for the user."""


@dataclass(frozen=True)
class Authority:
    """The files of the authority."""

    certificate: Path
    key: Path
    bundle: Path


@dataclass(frozen=True)
class Leaf:
    """The files of one issued certificate."""

    certificate: Path
    key: Path


def _key_bytes(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def _load_key(path: Path) -> ec.EllipticCurvePrivateKey | None:
    try:
        key = serialization.load_pem_private_key(path.read_bytes(), password=None)
    except (OSError, ValueError):
        return None
    return key if isinstance(key, ec.EllipticCurvePrivateKey) else None


def _load_certificate(path: Path) -> x509.Certificate | None:
    try:
        return x509.load_pem_x509_certificate(path.read_bytes())
    except (OSError, ValueError):
        return None


def _fresh(certificate: x509.Certificate, key: ec.EllipticCurvePrivateKey) -> bool:
    now = datetime.now(UTC)
    return (
        certificate.not_valid_before_utc <= now
        and now + RENEW_BEFORE < certificate.not_valid_after_utc
        and certificate.public_key() == key.public_key()
    )


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey, lifetime: timedelta
) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        # An hour back: hosts whose clock is a little behind accept it too.
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + lifetime)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )


def _usage(*, sign_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not sign_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=sign_certificates,
        crl_sign=sign_certificates,
        encipher_only=False,
        decipher_only=False,
    )


def system_bundle() -> Path:
    """The system's bundle of certificate authorities.

    Raises:
        CaError: when there is none.
    """
    for path in SYSTEM_BUNDLES:
        if path.is_file() and path.stat().st_size:
            return path
    raise CaError(
        f"no bundle of certificate authorities at {SYSTEM_BUNDLES[0]}: install the package ca-certificates"
    )


def ensure(folder: Path) -> Authority:
    """Make the authority in ``folder``, or keep it while it is good.

    Writes ``ca.key`` (0600), ``ca.pem``, and ``bundle.pem``: the system's
    authorities and this one.

    Raises:
        CaError: when the folder cannot be written or the system has no bundle.
    """
    authority = Authority(folder / "ca.pem", folder / "ca.key", folder / "bundle.pem")
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o755)
        key, certificate = _load_key(authority.key), _load_certificate(authority.certificate)
        if key is None:
            key = ec.generate_private_key(ec.SECP256R1())
            write_atomically(authority.key, _key_bytes(key), 0o600)
        authority.key.chmod(0o600)
        if certificate is None or not _fresh(certificate, key):
            certificate = _self_signed(key)
            write_atomically(
                authority.certificate, certificate.public_bytes(serialization.Encoding.PEM), 0o644
            )
        own = certificate.public_bytes(serialization.Encoding.PEM)
        bundle = system_bundle().read_bytes().rstrip(b"\n") + b"\n" + own
        if not authority.bundle.is_file() or authority.bundle.read_bytes() != bundle:
            write_atomically(authority.bundle, bundle, 0o644)
    except OSError as error:
        raise CaError(f"{folder}: cannot keep the sandbox's certificate authority: {error}") from error
    return authority


def _self_signed(key: ec.EllipticCurvePrivateKey) -> x509.Certificate:
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Steward sandbox CA")])
    return (
        _builder(name, name, key, CA_LIFETIME)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(sign_certificates=True), critical=True)
        .sign(key, hashes.SHA256())
    )


def _names(dns_names: Iterable[str], addresses: Iterable[str]) -> x509.SubjectAlternativeName:
    names: list[x509.GeneralName] = [x509.DNSName(name) for name in sorted(set(dns_names))]
    names += [x509.IPAddress(ipaddress.ip_address(address)) for address in sorted(set(addresses))]
    return x509.SubjectAlternativeName(names)


def _good_leaf(
    certificate: x509.Certificate,
    key: ec.EllipticCurvePrivateKey,
    issuer: x509.Certificate,
    names: x509.SubjectAlternativeName,
) -> bool:
    try:
        certificate.verify_directly_issued_by(issuer)
        present = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (InvalidSignature, ValueError, TypeError, x509.ExtensionNotFound):
        return False
    return _fresh(certificate, key) and present == names


def issue(folder: Path, name: str, dns_names: Iterable[str] = (), addresses: Iterable[str] = ()) -> Leaf:
    """Issue ``<name>.crt`` and ``<name>.key``, or keep them while they are good.

    A certificate is made again when it ends within seven days, when its names
    differ, when another authority issued it, or when its key is not at its side.

    Raises:
        CaError: when :func:`ensure` did not run in ``folder``, no name is given, or it cannot be written.
    """
    issuer, issuer_key = _load_certificate(folder / "ca.pem"), _load_key(folder / "ca.key")
    if issuer is None or issuer_key is None:
        raise CaError(f"{folder}: holds no usable ca.pem and ca.key: call ensure first")
    try:
        names = _names(dns_names, addresses)
    except ValueError as error:
        raise CaError(f"{name}: {error}") from error
    if not list(names):
        raise CaError(f"{name}: a certificate needs a DNS name or an address")
    leaf = Leaf(folder / f"{name}.crt", folder / f"{name}.key")
    try:
        key, certificate = _load_key(leaf.key), _load_certificate(leaf.certificate)
        if key is None:
            key = ec.generate_private_key(ec.SECP256R1())
            write_atomically(leaf.key, _key_bytes(key), 0o600)
        if certificate is None or not _good_leaf(certificate, key, issuer, names):
            certificate = (
                _builder(
                    x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]),
                    issuer.subject,
                    key,
                    LEAF_LIFETIME,
                )
                .add_extension(names, critical=False)
                .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
                .add_extension(_usage(sign_certificates=False), critical=True)
                .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
                .add_extension(
                    x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key()),
                    critical=False,
                )
                .sign(issuer_key, hashes.SHA256())
            )
            write_atomically(leaf.certificate, certificate.public_bytes(serialization.Encoding.PEM), 0o644)
    except OSError as error:
        raise CaError(f"{folder}: cannot issue {name}: {error}") from error
    return leaf
