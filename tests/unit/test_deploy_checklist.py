"""The deployment checklist: what is not known, old or of another commit does not pass."""

from __future__ import annotations

import json
import tarfile
from datetime import UTC, datetime, timedelta
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from steward.cli import main
from steward.deploy import alarms, checklist, evidence
from steward.deploy.evidence import Applied, HostFacts, Release, Suite, TestResults
from steward.errors import EXIT_FAULT, EXIT_USAGE

NOW = datetime(2026, 11, 28, 4, 0, tzinfo=UTC)
GOOD = Suite(tests=9, failures=0, errors=0, skipped=1)
JUNIT = """<?xml version="1.0"?><testsuites><testsuite tests="99" errors="0">
<testcase name="a"/><testcase name="b">{inside}</testcase>{outside}</testsuite></testsuites>"""


def host(name: str, environment: str, **changes: Any) -> HostFacts:
    known: dict[str, Any] = {
        "host": name, "app": "bitesbay", "environment": environment, "taken_at": NOW, "node": "v18.20.4",
        "pm2": "7.0.4", "packages": {"nginx": "1.22.1", "openssl": "3.0.15"}, "config": "c1",
        "environment_keys": ["PORT", "JWT_SECRET"], "release": "r1", "releases": {"r0": True, "r1": True},
    }  # fmt: skip
    return HostFacts(**(known | changes))


STAGING = [host("s1", "staging")]
PRODUCTION = [host("p1", "production"), host("p2", "production")]


def results(**changes: Any) -> TestResults:
    known = {"commit": "c0ffee", "taken_at": NOW, "suites": dict.fromkeys(checklist.SUITES, GOOD)}
    return TestResults(**(known | changes))


def test_tests_of_this_commit_that_pass() -> None:
    assert checklist.tests(results(), "c0ffee").state == "pass"


@pytest.mark.parametrize(
    ("found", "says"),
    [
        (None, "no results"),
        (results(commit="other"), "of commit other, not of c0ffee"),
        (results(suites={"unit": GOOD, "e2e": GOOD}), "integration: no test ran"),
        (
            results(suites=dict.fromkeys(checklist.SUITES, Suite(tests=3, failures=0, errors=0, skipped=3))),
            "unit: no test ran",
        ),
        (
            results(
                suites={**dict.fromkeys(checklist.SUITES, GOOD), "e2e": GOOD.model_copy(update={"errors": 2})}
            ),
            "e2e: 2 of 9 tests failed",
        ),
    ],
)
def test_tests_that_do_not_count(found: TestResults | None, says: str) -> None:
    item = checklist.tests(found, "c0ffee")
    assert item.state == "fail"
    assert any(says in finding for finding in item.findings)


def test_staging_that_matches_but_for_its_release() -> None:
    staging = [host("s1", "staging", release="r2", releases={"r2": True})]
    assert checklist.parity(staging, PRODUCTION, NOW).state == "pass"


@pytest.mark.parametrize(
    ("staging", "says"),
    [
        ([], "no facts of staging"),
        ([host("s1", "staging", taken_at=NOW - timedelta(hours=25))], "older than a day: s1"),
        ([host("s1", "staging", taken_at=NOW + timedelta(hours=25))], "older than a day: s1"),
        ([host("s1", "staging", node="v20.1.0")], "node: v20.1.0 in staging, v18.20.4 in production"),
        ([host("s1", "staging", pm2="7.0.5")], "pm2: 7.0.5"),
        ([host("s1", "staging", config="c2")], "config: c2"),
        (
            [host("s1", "staging", environment_keys=["PORT"])],
            "environment variables in production alone: JWT_SECRET",
        ),
        ([host("s1", "staging", packages={"nginx": "1.22.1"})], "packages in production alone: openssl"),
        (
            [host("s1", "staging", packages={"nginx": "1.24.0", "openssl": "3.0.15"})],
            "nginx (1.24.0, 1.22.1)",
        ),
        (
            [host("s1", "staging"), host("s2", "staging", node="v20.1.0")],
            "node: v18.20.4, v20.1.0 in staging",
        ),
    ],
)
def test_staging_that_does_not_match(staging: list[HostFacts], says: str) -> None:
    item = checklist.parity(staging, PRODUCTION, NOW)
    assert item.state == "fail"
    assert any(says in finding for finding in item.findings), item.findings


def test_many_differences_are_counted() -> None:
    many = {f"lib{n}": "1" for n in range(9)}
    [finding] = checklist.parity(
        [host("s1", "staging", packages=PRODUCTION[0].packages | many)], PRODUCTION, NOW
    ).findings
    assert finding.endswith("and 4 more")


def applied(*names: str, **changes: Any) -> Applied:
    return Applied(**({"environment": "production", "taken_at": NOW, "migrations": list(names)} | changes))


def release(*names: str, reversible: tuple[str, ...] = ()) -> Release:
    return Release(migrations=list(names), reversible=list(reversible))


def test_release_without_migrations_needs_no_database() -> None:
    item, pending = checklist.migrations(release(), None, NOW)
    assert (item.state, pending) == ("pass", [])


def test_pending_migrations_are_told() -> None:
    item, pending = checklist.migrations(release("0001-a", "0002-b"), applied("0001-a"), NOW)
    assert (item.state, pending) == ("pass", ["0002-b"])


@pytest.mark.parametrize(
    ("new", "there", "says"),
    [
        (None, None, "the release is not known"),
        (release("0001-a"), None, "what is applied is not known"),
        (release("0001-a"), applied(taken_at=NOW - timedelta(days=2)), "more than a day ago"),
        (release("0001-a"), applied("0001-a", "0009-z"), "not part of this release: 0009-z"),
        (
            release("0001-a", "0002-b", "0003-c"),
            applied("0003-c", "0001-a"),
            "0002-b is pending, but a later one",
        ),
        (release("9-a", "10-b"), applied("10-b"), "9-a is pending, but a later one is applied: 10-b"),
    ],
)
def test_migrations_that_cannot_be_judged_or_are_in_disorder(
    new: Release | None, there: Applied | None, says: str
) -> None:
    item, _ = checklist.migrations(new, there, NOW)
    assert item.state == "fail"
    assert any(says in finding for finding in item.findings), item.findings


def test_way_back_is_the_release_that_runs() -> None:
    assert checklist.rollback(PRODUCTION, release(), [], None).state == "pass"


@pytest.mark.parametrize(
    ("hosts", "says"),
    [
        ([], "no facts of production"),
        ([host("p1", "production", release="")], "no release runs on: p1"),
        ([PRODUCTION[0], host("p2", "production", release="r0")], "different releases: r0, r1"),
        ([host("p1", "production", releases={"r1": False})], "marked bad on: p1"),
    ],
)
def test_no_way_back(hosts: list[HostFacts], says: str) -> None:
    item = checklist.rollback(hosts, release(), [], None)
    assert any(says in finding for finding in item.findings), item.findings


@pytest.mark.parametrize(
    ("reversible", "age", "state"),
    [((), None, "fail"), ((), 3601.0, "fail"), ((), 3600.0, "pass"), (("0002-b",), None, "pass")],
)
def test_migration_goes_back_by_itself_or_by_a_backup(
    reversible: tuple[str, ...], age: float | None, state: str
) -> None:
    new = release("0001-a", "0002-b", reversible=reversible)
    assert checklist.rollback(PRODUCTION, new, ["0002-b"], age).state == state


@pytest.mark.parametrize(
    ("found", "silent", "says"),
    [
        (None, (), "not asked"),
        ({}, (), "there is no alarm"),
        ({"a": "OK", "b": "ALARM"}, (), "in alarm: b"),
        ({"a": "INSUFFICIENT_DATA"}, (), "without data: a"),
        ({"a": "OK"}, ("a",), "switched off: a"),
    ],
)
def test_monitoring_that_is_not_green(
    found: dict[str, str] | None, silent: tuple[str, ...], says: str
) -> None:
    item = checklist.monitoring(found, silent)
    assert any(says in finding for finding in item.findings), item.findings
    assert checklist.monitoring({"a": "OK"}).state == "pass"


@given(
    st.sets(st.sampled_from(["tests", "parity", "migrations"])), st.sets(st.sampled_from(["tests", "parity"]))
)
def test_only_what_fails_is_waived_and_only_by_name(failing: set[str], waived: set[str]) -> None:
    items = [checklist.Item(n, n, ("x",) if n in failing else ()) for n in ("tests", "parity", "migrations")]
    for item in checklist.waive(items, dict.fromkeys(waived, "why"), "asha"):
        expected = "pass" if item.name not in failing else "waived" if item.name in waived else "fail"
        assert item.state == expected
        assert bool(item.waived_by) == (expected == "waived")


def archive(folder: Path, *names: str) -> Path:
    path = folder / "release.tar.gz"
    with tarfile.open(path, "w:gz") as content:
        for name in names:
            content.addfile(tarfile.TarInfo(name), BytesIO())
    return path


def test_migrations_are_read_from_the_archive(tmp_path: Path) -> None:
    path = archive(
        tmp_path, "./migrations/0002-b.js", "./migrations/0001-a.js", "./migrations/0001-a.down.js",
        "./migrations/README.md", "./src/migrations/0003-c.js", "./server.js", "./migrations/helpers.js",
        "./migrations/0010-c.after.mjs", "./migrations/0010-c.down.cjs", "./migrations/9-d.js",
    )  # fmt: skip
    assert evidence.release(path) == release(
        "0001-a", "0002-b", "9-d", "0010-c", reversible=("0001-a", "0010-c")
    )


def test_what_the_database_has_lies_beside_the_facts(tmp_path: Path) -> None:
    """``playbooks/facts.yml`` writes it; an application without is not known."""
    (tmp_path / "production/migrations").mkdir(parents=True)
    document = applied("0001-a")
    (tmp_path / "production/migrations/shop.json").write_text(document.model_dump_json())
    assert evidence.applied(tmp_path, "shop", "production") == document
    assert evidence.applied(tmp_path, "other", "production") is None


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Evidence of a release that is ready."""
    for environment, hosts in (("staging", STAGING), ("production", PRODUCTION)):
        (tmp_path / "facts" / environment).mkdir(parents=True)
        for one in hosts:
            fresh = one.model_copy(update={"taken_at": datetime.now(UTC)})
            (tmp_path / "facts" / environment / f"{one.host}.json").write_text(fresh.model_dump_json())
    for name in checklist.SUITES:
        (tmp_path / f"{name}.xml").write_text(JUNIT.format(inside="", outside=""))
    archive(tmp_path, "./server.js")
    return tmp_path


def run(folder: Path, *more: str) -> int:
    suites = [f"{name}={folder / name}.xml" for name in checklist.SUITES]
    out = str(folder / "results.json")
    status = main(["deploy", "results", "--commit", "c0ffee", "--out", out, *suites])
    assert status == 0
    return main(
        ["deploy", "preflight", "--app", "bitesbay", "--commit", "c0ffee", "--results", out,
         "--facts", str(folder / "facts"), "--archive", str(folder / "release.tar.gz"), *more]
    )  # fmt: skip


@pytest.fixture
def green(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(alarms, "states", lambda stack, _: ({f"{stack}-backup-age": "OK"}, []))


@pytest.mark.usefixtures("green")
def test_everything_is_ready(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(folder) == 0
    said = capsys.readouterr().out
    assert said.count("[x]") == 5
    assert "unit: 2 tests, 0 failed, 0 skipped" in said


@pytest.mark.usefixtures("green")
def test_failed_test_stops_it_until_somebody_takes_the_blame(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "e2e.xml").write_text(JUNIT.format(inside="<failure/>", outside=""))
    assert run(folder, "--json") == EXIT_FAULT
    captured = capsys.readouterr()
    assert "not ready for production: tests" in captured.err
    document = json.loads(captured.out[captured.out.index("{") :])
    assert [item["state"] for item in document["items"]] == ["fail", "pass", "pass", "pass", "pass"]
    assert run(folder, "--waive", "tests=known and harmless") == EXIT_USAGE, "nobody has waived it"
    assert run(folder, "--waive", "tests=known and harmless", "--by", "asha") == 0
    assert "waived by asha: known and harmless" in capsys.readouterr().out
    assert run(folder, "--waive", "test=x", "--by", "asha") == EXIT_USAGE
    assert "no item is called test" in capsys.readouterr().err


def test_results_count_cases_and_what_could_not_be_loaded(folder: Path) -> None:
    (folder / "unit.xml").write_text(JUNIT.format(inside="<skipped/>", outside="<error/>"))
    main(["deploy", "results", "--commit", "c", "--out", str(folder / "r.json"), f"unit={folder}/unit.xml"])
    suites = json.loads((folder / "r.json").read_text())["suites"]
    assert suites == {"unit": {"tests": 2, "failures": 0, "errors": 1, "skipped": 1}}


@pytest.mark.parametrize("text", ["", "no xml", "<html/>"])
def test_results_that_are_none(folder: Path, text: str, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "unit.xml").write_text(text)
    argv = ["deploy", "results", "--commit", "c", "--out", str(folder / "r.json"), f"unit={folder}/unit.xml"]
    assert main(argv) == EXIT_USAGE
    assert "no JUnit XML" in capsys.readouterr().err
    assert not (folder / "r.json").exists()


def test_facts_in_the_wrong_folder_are_refused(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    fresh = STAGING[0].model_dump_json()
    (folder / "facts/production/p1.json").write_text(fresh)
    assert run(folder, "--no-alarms") == EXIT_USAGE
    assert "s1 is of staging; gather the facts anew" in capsys.readouterr().err
