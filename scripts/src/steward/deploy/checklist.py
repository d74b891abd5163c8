"""The manual's deployment checklist: each item passes, fails, or is waived by a person with a reason.

What is not known does not pass: a missing or old document fails its item, with what to do.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, Literal

from steward.deploy.evidence import Applied, HostFacts, Release, TestResults, age_seconds, order

#: Kinds of tests that the manual asks for.
SUITES = ("unit", "integration", "e2e")
#: Seconds after which facts of hosts and databases say nothing about now.
FACTS_AGE_S = 24 * 3600
#: Seconds that the newest restorable moment may be away when a migration cannot be taken back.
BACKUP_AGE_S = 3600
#: So many differences are named, the others counted.
NAMED = 5

State = Literal["pass", "fail", "waived"]


@dataclass(frozen=True)
class Item:
    """One line of the checklist."""

    name: str
    title: str
    findings: tuple[str, ...] = ()
    waived_by: str = ""
    reason: str = ""

    @property
    def state(self) -> State:
        """Whether it holds."""
        if not self.findings:
            return "pass"
        return "waived" if self.waived_by else "fail"

    def to_json(self) -> dict[str, Any]:
        """For ``--json``."""
        return {
            "name": self.name,
            "title": self.title,
            "state": self.state,
            "findings": list(self.findings),
            "waived_by": self.waived_by or None,
            "reason": self.reason or None,
        }


@dataclass
class _Findings:
    """What speaks against an item."""

    lines: list[str] = field(default_factory=list)

    def some(self, text: str, names: Sequence[str]) -> None:
        """Add one line for all of these, unless there are none."""
        if names:
            more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
            self.lines.append(f"{text}: {', '.join(sorted(names)[:NAMED])}{more}")


def tests(results: TestResults | None, commit: str) -> Item:
    """All tests pass, of this commit."""
    found = _Findings()
    if results is None:
        found.lines.append("no results; give --results (steward deploy results writes them)")
    elif results.commit != commit:
        found.lines.append(
            f"the results are of commit {results.commit}, not of {commit}; run the tests of this one"
        )
    else:
        for name in SUITES:
            suite = results.suites.get(name)
            if suite is None or suite.tests == suite.skipped:
                found.lines.append(f"{name}: no test ran")
            elif bad := suite.failures + suite.errors:
                found.lines.append(f"{name}: {bad} of {suite.tests} tests failed")
    return Item("tests", "All tests pass (unit, integration, E2E)", tuple(found.lines))


def parity(staging: Sequence[HostFacts], production: Sequence[HostFacts], now: datetime) -> Item:
    """Staging matches production, but for the release that is to go there."""
    found = _Findings()
    for environment, hosts in (("staging", staging), ("production", production)):
        if not hosts:
            found.lines.append(f"no facts of {environment}; run playbooks/facts.yml with its inventory")
        old = [one.host for one in hosts if age_seconds(one.taken_at, now) > FACTS_AGE_S]
        found.some(f"facts of {environment} older than a day", old)
    if staging and production:
        for what in ("node", "pm2", "config"):
            _compare_values(found, what, staging, production)
        _compare_sets(
            found, "environment variables", staging, production, lambda one: set(one.environment_keys)
        )
        _compare_packages(found, staging, production)
    return Item("parity", "Staging environment matches production", tuple(found.lines))


def _compare_values(
    found: _Findings, what: str, staging: Sequence[HostFacts], production: Sequence[HostFacts]
) -> None:
    here, there = ({str(getattr(one, what)) for one in hosts} for hosts in (staging, production))
    if here != there or len(here) > 1:
        found.lines.append(
            f"{what}: {', '.join(sorted(here))} in staging, {', '.join(sorted(there))} in production"
        )


def _compare_sets(
    found: _Findings, what: str, staging: Sequence[HostFacts], production: Sequence[HostFacts], of: Any
) -> None:
    here, there = (set().union(*(of(one) for one in hosts)) for hosts in (staging, production))
    found.some(f"{what} in staging alone", sorted(here - there))
    found.some(f"{what} in production alone", sorted(there - here))


def _compare_packages(
    found: _Findings, staging: Sequence[HostFacts], production: Sequence[HostFacts]
) -> None:
    def versions(hosts: Sequence[HostFacts]) -> Mapping[str, set[str]]:
        names = set().union(*(one.packages for one in hosts))
        return {name: {one.packages[name] for one in hosts if name in one.packages} for name in names}

    here, there = versions(staging), versions(production)
    _compare_sets(found, "packages", staging, production, lambda one: set(one.packages))
    other = [
        f"{name} ({'/'.join(sorted(here[name]))}, {'/'.join(sorted(there[name]))})"
        for name in here.keys() & there.keys()
        if here[name] != there[name]
    ]
    found.some("packages of other versions in staging and production", other)


def migrations(release: Release | None, applied: Applied | None, now: datetime) -> tuple[Item, list[str]]:
    """Migrations are applied, or pending with this release; also returns the pending ones."""
    found, pending = _Findings(), list[str]()
    if release is None:
        found.lines.append("the release is not known; give --archive")
    elif release.migrations:
        if applied is None:
            found.lines.append(
                "the release has migrations, and what is applied is not known; run playbooks/facts.yml"
            )
        elif age_seconds(applied.taken_at, now) > FACTS_AGE_S:
            found.lines.append("what is applied was asked more than a day ago; run playbooks/facts.yml again")
        else:
            pending = [name for name in release.migrations if name not in applied.migrations]
            unknown = [name for name in applied.migrations if name not in release.migrations]
            found.some("applied, but not part of this release", unknown)
            first = min(pending, key=order, default="")
            last = max(applied.migrations, key=order, default="")
            if first and last and order(first) < order(last):
                found.lines.append(f"{first} is pending, but a later one is applied: {last}")
    return Item("migrations", "Database migrations applied", tuple(found.lines)), pending


def rollback(
    production: Sequence[HostFacts],
    release: Release | None,
    pending: Sequence[str],
    restorable_age_s: float | None,
) -> Item:
    """There is a way back: the release that runs, and for the data a migration's own or a backup.

    Args:
        production: facts of the hosts.
        release: what the new release brings.
        pending: migrations that will run.
        restorable_age_s: seconds since the newest moment that can be restored; None when not known.
    """
    found = _Findings()
    if not production:
        found.lines.append("no facts of production; run playbooks/facts.yml with its inventory")
    running = {one.release for one in production}
    found.some("no release runs on", [one.host for one in production if not one.release])
    if len(running) > 1:
        found.lines.append(f"the hosts run different releases: {', '.join(sorted(running))}")
    found.some(
        "the release that runs was marked bad on",
        [one.host for one in production if one.release and not one.releases.get(one.release, False)],
    )
    final = [name for name in pending if release is None or name not in release.reversible]
    if final:
        if restorable_age_s is None:
            found.some("no way back for migrations, and no backup is known (give --backup-status)", final)
        elif restorable_age_s > BACKUP_AGE_S:
            age = f"{restorable_age_s / 60:.0f} minutes"
            found.some(f"no way back for migrations, and the newest restorable moment is {age} ago", final)
    return Item("rollback", "Rollback plan in place", tuple(found.lines))


def monitoring(alarms: Mapping[str, str] | None, silent: Sequence[str] = ()) -> Item:
    """Monitoring is enabled and green.

    Args:
        alarms: name -> state (``OK``, ``ALARM``, ``INSUFFICIENT_DATA``); None when they cannot be asked.
        silent: alarms whose actions are switched off.
    """
    found = _Findings()
    if alarms is None:
        found.lines.append("the alarms were not asked; leave out --no-alarms")
    elif not alarms:
        found.lines.append("there is no alarm; run pulumi up")
    else:
        found.some("in alarm", [name for name, state in alarms.items() if state == "ALARM"])
        found.some("without data", [name for name, state in alarms.items() if state not in ("OK", "ALARM")])
        found.some("switched off", silent)
    return Item("monitoring", "Monitoring enabled", tuple(found.lines))


def waive(items: Sequence[Item], waivers: Mapping[str, str], person: str) -> list[Item]:
    """The items, those that fail waived by ``person`` for the reasons in ``waivers`` (name -> reason)."""
    return [
        replace(item, waived_by=person, reason=waivers[item.name])
        if item.findings and item.name in waivers
        else item
        for item in items
    ]
