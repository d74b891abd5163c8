"""Requests that are lost while hosts are deployed to, scaled, patched and rotated: none, if all is well."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from bench.load import RATE, Load, Target, under_load
from bench.measure import BenchError
from bench.section import Say, Section
from bench.staging import staging
from bench.stats import table
from sandbox.customers import Customers
from sandbox.env import environment
from sandbox.leftovers import leftovers
from sandbox.releases import FAILS_UNDER_PM2, fails_on, variant
from sandbox.settings import REPOSITORY, Sandbox
from steward.appfile import load

APP, FIRST, SECOND = "bitesbay", "bitesbay-app1", "bitesbay-app2"
TITLE = "Requests while hosts change"
#: Seconds of load with nothing beside it, for the p99 that the others are compared with.
QUIET_S = 30.0
_LIMIT_S = 900.0


class Hosts:
    """The running staging hosts of one application."""

    def __init__(self, sandbox: Sandbox, folder: Path, aside: Sequence[str]) -> None:
        """``aside`` is put before a playbook, so that it takes only the processor time that is left."""
        self.sandbox = sandbox
        self.folder = folder
        self.aside = aside
        self.environment: Mapping[str, str] = environment(sandbox)
        self.app = load(REPOSITORY / "apps" / f"{APP}.yml")

    def ssh(self, host: str, command: str) -> str:
        """Run a command on a host as root.

        Raises:
            BenchError: it failed.
        """
        return self._run("ssh", "-F", str(self.sandbox.state / "ssh/config"), host, "--", command)

    def play(
        self, name: str, extra: Mapping[str, object], *, fails: bool = False, limit: str = f"{APP}_app"
    ) -> None:
        """Run a playbook with these variables.

        Raises:
            BenchError: it failed though it should not, or the other way round.
        """
        # Aside: elsewhere the controller is no machine that serves.
        argv = ("ansible-playbook", f"playbooks/{name}.yml", "--limit", limit)
        self._run(*self.aside, *argv, "-e", json.dumps(extra), fails=fails)

    def release(self) -> str:
        """The release that both hosts run.

        Raises:
            BenchError: they run different ones.
        """
        linked = {self.ssh(host, f"readlink /srv/{APP}/current") for host in (FIRST, SECOND)}
        if len(linked) != 1:
            raise BenchError(f"the hosts run different releases: {linked}")
        return Path(linked.pop().strip()).name

    def make(self, release: str, start: str = "") -> dict[str, object]:
        """A new release, as the variables that deploy it."""
        build = self.sandbox.state / "build"
        running = sorted(build.glob("backend-*.tar.gz"), key=lambda path: path.stat().st_mtime)[-1]
        base = running.name.removeprefix("backend-").removesuffix(".tar.gz")
        archive = variant(build, base, release, self.folder, start)
        return {"app_release_id": release, "app_release_archive": str(archive)}

    def _run(self, *argv: str, fails: bool = False) -> str:
        done = subprocess.run(
            argv, cwd=REPOSITORY, env=dict(self.environment), capture_output=True, text=True,
            timeout=_LIMIT_S, check=False,
        )  # fmt: skip
        if bool(done.returncode) != fails:
            raise BenchError(
                f"{' '.join(argv[:5])}: exit {done.returncode}\n{(done.stdout + done.stderr)[-2000:]}"
            )
        return done.stdout


def downtime(folder: Path, _size: int, _runs: int, say: Say) -> Section:
    """Each change once, under :data:`RATE` requests a second through the nginx of both hosts.

    Raises:
        BenchError: no sandbox is up, or a change did not do what it should.
    """
    sandbox = staging("downtime")
    with leftovers(f"{sandbox.bridge}-bench") as aside:
        return _measure(Hosts(sandbox, folder, aside), say)


def _measure(hosts: Hosts, say: Say) -> Section:
    sandbox, folder = hosts.sandbox, hosts.folder
    target = Target(
        hosts.app.domains["local"],
        [sandbox.address(FIRST), sandbox.address(SECOND)],
        sandbox.state / "ca/ca.pem",
    )
    other = Target(target.domain, [sandbox.address(SECOND)], target.ca)
    requests = folder / "requests.json"
    target.write(requests, _requests(hosts, target))
    before = hosts.release()
    found: dict[str, Load] = {}
    try:
        for name, at, event in _events(hosts, target, other):
            say(f"downtime: {name}")
            found[name] = under_load(at, requests, folder, event)
            reasons = "; ".join(found[name].errors[:5])
            say(f"downtime: {name}: {found[name].failed} of {found[name].requests} failed {reasons}".rstrip())
    finally:
        if hosts.release() != before:
            hosts.play("deploy", {"app_release_id": before, "app_allow_bad": True})
        hosts.ssh(FIRST, f"rm -rf /srv/{APP}/releases/bench-*")
        hosts.ssh(SECOND, f"rm -rf /srv/{APP}/releases/bench-*")
    return _section(found)


def _events(hosts: Hosts, target: Target, other: Target) -> list[tuple[str, Target, Callable[[], None]]]:
    """What happens, in this order: a name, who is asked meanwhile, and the event."""
    good = hosts.make("bench-good")
    instances = hosts.app.node.instances

    def both(command: str) -> Callable[[], None]:
        def event() -> None:
            for host in (FIRST, SECOND):
                hosts.ssh(host, command)

        return event

    return [
        ("nothing", target, lambda: time.sleep(QUIET_S)),
        ("deploy", target, lambda: hosts.play("deploy", good)),
        (
            "bad deploy, taken back by its first host",
            target,
            lambda: hosts.play("deploy", hosts.make("bench-dies", FAILS_UNDER_PM2), fails=True),
        ),
        (
            "bad deploy on the second host, taken back by both",
            target,
            lambda: hosts.play("deploy", hosts.make("bench-second", fails_on(SECOND)), fails=True),
        ),
        ("rollback", target, lambda: hosts.play("rollback", {"app_why": "measured"})),
        ("restart", target, lambda: hosts.play("restart", {"app_why": "measured"})),
        ("pm2 reload on both hosts", target, both(f"systemctl reload pm2-{APP}")),
        ("scale up", target, lambda: hosts.play("scale", {"app_instances": instances + 1})),
        ("scale down", target, lambda: hosts.play("scale", {})),
        # A load balancer would leave the nginx of the host that reboots; here the clients ask the other one.
        (
            "patch with reboot of one host",
            other,
            lambda: hosts.play(
                "patch", {"patching_reboot": "always", "patching_upgrade": False}, limit=FIRST
            ),
        ),
        ("log rotation on both hosts", target, both("logrotate --force /etc/logrotate.conf")),
    ]


def _requests(hosts: Hosts, target: Target) -> list[dict[str, Any]]:
    """What is asked in turn: mostly reads, and a POST, which nginx never sends twice.

    Not the health: it rightly says no when the machine is too busy for an answer of the database in time.
    """
    customers = Customers(
        f"https://{target.domain}",
        seed=6,
        connect=target.addresses[0],
        ca_file=target.ca,
        razorpay_url=hosts.sandbox.razorpay_url,
        inbox_url=hosts.sandbox.smtp_inbox_url,
        workers=1,
    )
    token = customers.user(0)
    sku = customers.call("GET", "/api/menu").content["items"][0]["sku"]
    order = {
        "method": "POST",
        "path": "/api/orders",
        "header": {
            "Authorization": f"Bearer {token}",
            "Content-Type": "application/json",
            "Idempotency-Key": "bench-downtime",
        },
        "body": {"items": [{"sku": sku, "quantity": 1}]},
    }
    menu = {"method": "GET", "path": "/api/menu"}
    me = {"method": "GET", "path": "/api/users/me", "header": {"Authorization": f"Bearer {token}"}}
    return [menu, menu, me, order, menu, me]


def _section(found: dict[str, Load]) -> Section:
    quiet = found["nothing"].p99
    rows = [
        [
            name,
            f"{one.seconds:.0f}",
            str(one.requests),
            str(one.failed),
            f"{one.p99 * 1000:.0f}",
            "" if name == "nothing" else f"{one.p99 / quiet:.1f}",
        ]
        for name, one in found.items()
    ]
    header = ["what happens", "seconds", "requests", "failed", "p99, ms", "times the quiet p99"]
    text = (
        f"{RATE} requests a second through the nginx of both hosts of {APP}, one in six a POST, over TLS,"
        " once each; clients, hosts and databases share the machine's cores with the controller, which gets"
        " what they leave. Failed is every answer that is not 2xx, and every connection that was refused"
        " or reset; wanted are none. Wanted of p99 is less than three times the quiet one.\n\n"
    )
    figures = {name: vars(one) for name, one in found.items()}
    return Section(TITLE, text + table(header, rows), figures)
