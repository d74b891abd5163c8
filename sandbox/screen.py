"""The last screen of ``make up``: what runs where, what was proven, how long it took."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from sandbox.proof import Proof
from sandbox.settings import HOSTS, REPOSITORY, Sandbox
from steward.appfile import AppFile

WIDTH = 78


def _size(number: int) -> str:
    value = float(number)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if value < 1024 or unit == "GiB":
            return f"{value:.0f} {unit}" if unit == "B" else f"{value:.1f} {unit}"
        value /= 1024
    raise AssertionError("unreachable")


def _title(text: str) -> str:
    return f"-- {text} " + "-" * (WIDTH - len(text) - 4)


def render(
    sandbox: Sandbox,
    apps: Mapping[str, AppFile],
    proofs: Sequence[Proof],
    taken: Sequence[tuple[str, float]],
    total: float,
) -> str:
    """The screen as text that ends with a newline."""
    lines = ["", _title("what runs where")]
    for host, (_, app, kind) in HOSTS.items():
        what = f"{app} {kind}".strip()
        lines.append(f"  {host:<15} {sandbox.address(host):<12} {what:<14} sandbox/hosts ssh {host}")
    lines += [
        f"  {'AWS endpoint':<28} {sandbox.aws_url}",
        f"  {'Razorpay stand-in':<28} {sandbox.razorpay_url}",
        f"  {'mail that was sent':<28} {sandbox.smtp_inbox_url}",
        "",
        "  health, by name and certificate of the sandbox's CA:",
    ]
    for host, (_, app, kind) in HOSTS.items():
        if kind == "app":
            domain = apps[app].domains["local"]
            lines.append(
                f"  curl --cacert {sandbox.state.relative_to(REPOSITORY)}/ca/ca.pem"
                f" --resolve {domain}:443:{sandbox.address(host)} \\\n"
                f"    https://{domain}{apps[app].health.path}   # {host}"
            )
    for proof in proofs:
        lines += [
            "",
            _title(f"{proof.app}: proven in this run"),
            f"  full backup          {proof.full_id} ({_size(proof.full_bytes)} stored"
            f"{', encrypted' if proof.encrypted else ''}),"
            f" {proof.orders_during_full} orders written during it",
            f"  oplog slices after   {len(proof.slice_ids)} with {proof.slice_entries} entries",
            f"  disaster             orders dropped at {proof.disaster_at};"
            f" {proof.after_disaster} written since",
            f"  restored to          {proof.restored_to} on a scratch server,"
            f" in {proof.restore_seconds:.1f} s",
            f"  compared             {proof.documents} documents in {proof.collections} collections,"
            " byte by byte: equal",
        ]
    lines += ["", _title(f"how long it took: {total:.0f} s")]
    lines += [f"  {seconds:7.1f} s  {name}" for name, seconds in taken]
    lines += ["", "  again: make up     end: make down     tests: make test", ""]
    return "\n".join(lines) + "\n"
