"""The files that make a copy of the base image one certain host.

They are written into the upper layer of the host's overlay while it is not
mounted: name, address, keys, name server, and whom to trust.
"""

from __future__ import annotations

import base64
import hashlib
import re
import stat
import uuid
from pathlib import Path

from sandbox.settings import HOSTS, Sandbox
from sandbox.staging import keys
from sandbox.staging.commands import run

_PEM = re.compile(r"-----BEGIN CERTIFICATE-----\s(.+?)-----END CERTIFICATE-----", re.DOTALL)
_BUNDLE = "etc/ssl/certs/ca-certificates.crt"
#: Where update-ca-certificates(8) looks for authorities that the distribution does not ship.
LOCAL = "usr/local/share/ca-certificates"


def network_unit(sandbox: Sandbox, host: str) -> str:
    """The host's address, for systemd-networkd; IPv4 only."""
    return f"""\
[Match]
Name=host0

[Network]
Address={sandbox.address(host)}/24
Gateway={sandbox.gateway}
LinkLocalAddressing=no
IPv6AcceptRA=no
"""


def hosts_file(sandbox: Sandbox) -> str:
    """``/etc/hosts`` of every host: all hosts of the sandbox by name."""
    lines = ["127.0.0.1 localhost", f"{sandbox.gateway} sandbox"]
    lines += [f"{sandbox.address(name)} {name}" for name in HOSTS]
    return "".join(f"{line}\n" for line in lines)


def name_servers(etc: Path = Path("/etc"), resolved: Path = Path("/run/systemd/resolve")) -> str:
    """This machine's name servers as the hosts can reach them.

    With systemd-resolved, ``/etc/resolv.conf`` names a loopback address that
    means the host itself; the real servers are in resolved's own file.
    """
    text = (etc / "resolv.conf").read_text() if (etc / "resolv.conf").exists() else ""
    if "nameserver 127.0.0.53" in text and (resolved / "resolv.conf").exists():
        text = (resolved / "resolv.conf").read_text()
    kept = [line for line in text.splitlines() if line.split(" ")[0] in {"nameserver", "search", "options"}]
    return "".join(f"{line}\n" for line in kept)


def certificates(text: str) -> dict[str, str]:
    """The PEM certificates in a text, by the SHA-256 of their content."""
    found = {}
    for match in _PEM.finditer(text):
        body = "".join(match.group(1).split())
        name = hashlib.sha256(base64.b64decode(body)).hexdigest()
        lines = [body[i : i + 64] for i in range(0, len(body), 64)]
        found[name] = "\n".join(["-----BEGIN CERTIFICATE-----", *lines, "-----END CERTIFICATE-----", ""])
    return found


def machine_authorities(
    bundle: Path = Path("/") / _BUNDLE, stock: Path = Path("/usr/share/ca-certificates")
) -> dict[str, str]:
    """Authorities this machine trusts beyond those its distribution ships.

    A machine behind an inspecting proxy has such a one, and its hosts need it too.
    """
    if not bundle.exists():
        return {}
    trusted = certificates(bundle.read_text(errors="replace"))
    shipped: set[str] = set()
    for file in stock.rglob("*.crt"):
        shipped |= certificates(file.read_text(errors="replace")).keys()
    return {name: pem for name, pem in trusted.items() if name not in shipped}


def authorities(sandbox: Sandbox) -> dict[str, str]:
    """File name -> certificate of everything the hosts trust besides the stock authorities."""
    found = {f"machine-{name[:16]}.crt": pem for name, pem in machine_authorities().items()}
    ours = sandbox.state / "ca" / "ca.pem"
    if ours.exists():
        found["steward-sandbox.crt"] = "".join(certificates(ours.read_text()).values())
    return found


class Layer:
    """An overlay's upper layer being written while it is not mounted."""

    def __init__(self, image: Path, upper: Path) -> None:
        self.image = image
        self.upper = upper

    def folder(self, name: str) -> Path:
        """Make a folder with the mode it has in the image (the upper layer's mode is what counts)."""
        path = self.upper
        lower = self.image
        for part in Path(name).parts:
            path, lower = path / part, lower / part
            if not path.exists():
                path.mkdir()
                path.chmod(stat.S_IMODE(lower.stat().st_mode) if lower.exists() else 0o755)
        return path

    def put(self, name: str, data: str | bytes, mode: int = 0o644) -> None:
        """Write one file."""
        path = self.folder(str(Path(name).parent)) / Path(name).name
        path.unlink(missing_ok=True)
        path.touch(mode)
        path.write_bytes(data.encode() if isinstance(data, str) else data)
        path.chmod(mode)

    def read(self, name: str) -> str:
        """The file as the host will see it."""
        path = self.upper / name
        return (path if path.exists() else self.image / name).read_text()

    def link(self, name: str, target: str) -> None:
        """Make one symbolic link."""
        path = self.folder(str(Path(name).parent)) / Path(name).name
        path.unlink(missing_ok=True)
        path.symlink_to(target)


def write(sandbox: Sandbox, host: str, layer: Layer, extra: dict[str, str]) -> None:
    """Write all files of the host, which is to trust the authorities of ``extra``.

    On a later boot, those that the host itself may have changed are left alone.
    """
    first = not (layer.upper / "etc/machine-id").exists()
    if first:
        layer.put("etc/machine-id", f"{uuid.uuid4().hex}\n", 0o444)
        layer.folder("root/.ssh").chmod(0o700)
        layer.put("root/.ssh/authorized_keys", f"{keys.login_key(sandbox)}\n", 0o600)
        private, public = keys.host_key(sandbox, host)
        layer.put("etc/ssh/ssh_host_ed25519_key", private.read_bytes(), 0o600)
        layer.put("etc/ssh/ssh_host_ed25519_key.pub", f"{public}\n")
        layer.put("etc/hostname", f"{host}\n")
        layer.put("etc/hosts", hosts_file(sandbox))
    layer.put("etc/systemd/network/10-host0.network", network_unit(sandbox, host))
    layer.put("etc/resolv.conf", name_servers())
    trust(layer, extra)


def trust(layer: Layer, extra: dict[str, str]) -> None:
    """Do what update-ca-certificates(8) would do with ``extra``, without running the host.

    Both ways in are served: the bundle, and the hashed links that OpenSSL (and so
    Python) looks up. A later update-ca-certificates on the host finds the same files.
    """
    bundle = layer.read(_BUNDLE)
    present = certificates(bundle)
    added = ""
    for name, pem in extra.items():
        layer.put(f"{LOCAL}/{name}", pem)
        if certificates(pem).keys() <= present.keys():
            continue
        added += pem
        link = f"{Path(name).stem}.pem"
        layer.link(f"etc/ssl/certs/{link}", f"/{LOCAL}/{name}")
        subject = run(["openssl", "x509", "-noout", "-hash"], stdin=pem).strip()
        layer.link(f"etc/ssl/certs/{_free(layer, subject)}", link)
    if added:
        layer.put(_BUNDLE, bundle + added)


def _free(layer: Layer, subject: str) -> str:
    """The first link name for this subject that the image does not use."""
    folders = [root / "etc/ssl/certs" for root in (layer.image, layer.upper)]
    number = 0
    while any((folder / f"{subject}.{number}").is_symlink() for folder in folders):
        number += 1
    return f"{subject}.{number}"
