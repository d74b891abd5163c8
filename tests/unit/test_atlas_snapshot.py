"""``steward backup snapshot`` against a server of Atlas' API."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from steward import cli
from steward.atlas import snapshot as module
from steward.errors import EXIT_FAILED, EXIT_USAGE
from steward.metrics import read
from tests.support.atlas import CLIENT, CLIENT_SECRET, CLUSTER, PRIVATE, PROJECT, PUBLIC, AtlasServer, serving

ACCOUNT = f'client_id = "{CLIENT}"\nclient_secret = "{CLIENT_SECRET}"\n'
KEY = f'public_key = "{PUBLIC}"\nprivate_key = "{PRIVATE}"\n'
OURS = "steward: bitesbay (production), 2026-11-22 02:10:00 UTC"


@pytest.fixture
def atlas(monkeypatch: pytest.MonkeyPatch) -> Iterator[AtlasServer]:
    """A cluster without snapshots, of which nobody waits long."""
    monkeypatch.setattr(module, "POLL_SECONDS", 0.01)
    with serving() as found:
        yield found


@pytest.fixture
def config(tmp_path: Path, atlas: AtlasServer) -> Path:
    """A configuration with the login of a service account."""
    path = tmp_path / "steward.toml"
    path.write_text(
        f"""
app = "bitesbay"
environment = "production"
state_dir = "{tmp_path}/state"
[mongodb]
uri = "mongodb+srv://bitesbay.example.mongodb.net/"
[storage]
bucket = "bitesbay-backups"
region = "us-east-1"
[backup]
retention_days = {{ daily = 10, weekly = 29, monthly = 187, oplog = 8 }}
[atlas]
project_id = "{PROJECT}"
cluster = "{CLUSTER}"
endpoint_url = "{atlas.url}"
[metrics]
textfile_dir = "{tmp_path}"
"""
    )
    login(path, ACCOUNT)
    return path


def login(config: Path, text: str) -> None:
    secrets = config.with_name("secrets.toml")
    secrets.touch(mode=0o600)
    secrets.write_text(f"[atlas]\n{text}")


def outcome(config: Path) -> float:
    """The metric of the last run."""
    [value] = [
        value
        for name, labels, value in read(config.parent / "steward_backup_bitesbay.prom")
        if name == "steward_backup_last_run_success" and labels["kind"] == "snapshot"
    ]
    return value


class Run:
    """What a run answered."""

    def __init__(self, config: Path, capsys: pytest.CaptureFixture[str], *more: str) -> None:
        self.status = cli.main(["--config", str(config), "backup", "snapshot", "--json", *more])
        self.out, self.err = capsys.readouterr()
        for secret in (CLIENT_SECRET, PRIVATE):
            assert secret not in self.out + self.err

    @property
    def json(self) -> Any:
        assert self.status == 0, self.err
        return json.loads(self.out)

    def fails(self, status: int = EXIT_FAILED) -> str:
        assert (self.status, self.err.count("\n")) == (status, 1), self.err
        return self.err


@pytest.mark.parametrize("text", [ACCOUNT, KEY], ids=["account", "key"])
def test_a_snapshot_is_taken_and_waited_for(
    config: Path, atlas: AtlasServer, capsys: pytest.CaptureFixture[str], text: str
) -> None:
    login(config, text)
    found = Run(config, capsys).json
    [made] = atlas.snapshots
    assert found == {
        "id": made["id"],
        "status": "completed",
        "description": made["description"],
        "created_at": "2026-11-22T02:10:00.000Z",
        "expires_at": "2026-12-02T02:10:00.000Z",  # as long as a daily full
        "size": 123_456_789,
        "mongod": "7.0.14",
        "adopted": False,
    }
    assert made["description"].startswith("steward: bitesbay (production), 20")
    samples = {
        (n, labels.get("kind")): v for n, labels, v in read(config.parent / "steward_backup_bitesbay.prom")
    }
    assert samples["steward_backup_last_run_success", "snapshot"] == 1


def test_an_expired_token_is_renewed_in_the_middle(
    config: Path, atlas: AtlasServer, capsys: pytest.CaptureFixture[str]
) -> None:
    atlas.states = ["queued", *["inProgress"] * 3, "completed"]

    def expire(name: str) -> None:
        if sum(r.startswith("GET /") for r in atlas.requests) == 3 and name != "POST /api/oauth/token":
            atlas.tokens.clear()

    atlas.rule = expire
    assert Run(config, capsys).json["status"] == "completed"
    assert atlas.requests.count("POST /api/oauth/token") == 2


def test_one_that_a_killed_run_has_begun_is_waited_for_and_no_other_is_taken(
    config: Path, atlas: AtlasServer, capsys: pytest.CaptureFixture[str]
) -> None:
    begun = atlas.begin(OURS)
    found = Run(config, capsys).json
    assert (found["id"], found["adopted"], len(atlas.snapshots)) == (begun["id"], True, 1)


@pytest.mark.parametrize(
    ("description", "states"),
    [("by hand", None), ("steward: kampyn (production), x", None), (OURS, ["inProgress", "failed"])],
)
def test_another_one_is_waited_for_and_ours_follows(
    config: Path,
    atlas: AtlasServer,
    capsys: pytest.CaptureFixture[str],
    description: str,
    states: list[str] | None,
) -> None:
    good, atlas.states = atlas.states, states or atlas.states
    begun = atlas.begin(description)
    atlas.states = good
    atlas.begin("of the schedule", snapshotType="scheduled")
    found = Run(config, capsys).json
    assert found["id"] != begun["id"]
    assert (found["adopted"], len(atlas.snapshots)) == (False, 3)


def test_one_that_fails_is_an_error_and_told_by_the_metrics(
    config: Path, atlas: AtlasServer, capsys: pytest.CaptureFixture[str]
) -> None:
    atlas.states = ["queued", "failed"]
    assert "Atlas says that it failed" in Run(config, capsys).fails()
    samples = {
        (n, labels.get("kind")): v for n, labels, v in read(config.parent / "steward_backup_bitesbay.prom")
    }
    assert samples["steward_backup_last_run_success", "snapshot"] == 0


def test_one_that_never_ends_is_given_up_and_the_next_run_waits_for_it(
    config: Path, atlas: AtlasServer, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    atlas.states = ["queued"]
    genuine, now = module.take_snapshot, iter(range(0, 10**9, 3600))
    monkeypatch.setattr(
        module,
        "take_snapshot",
        lambda *given: genuine(*given, clock=lambda: next(now), sleep=lambda _: None),
    )
    message = Run(config, capsys).fails()
    assert "is not complete after 180 minutes (queued)" in message
    monkeypatch.undo()
    atlas.snapshots[0]["_left"] = ["completed"]
    assert Run(config, capsys).json["adopted"]
    assert len(atlas.snapshots) == 1


def test_a_lost_answer_makes_no_second_snapshot(
    config: Path, atlas: AtlasServer, capsys: pytest.CaptureFixture[str]
) -> None:
    atlas.rule = lambda name: "lose" if name == "POST " else None
    assert "cannot be reached" in Run(config, capsys).fails()
    atlas.rule = lambda _: None
    assert Run(config, capsys).json["adopted"]
    assert len(atlas.snapshots) == 1


@pytest.mark.parametrize("trouble", [503, 429, "reset"])
def test_what_passes_is_tried_again(
    config: Path, atlas: AtlasServer, capsys: pytest.CaptureFixture[str], trouble: int | str
) -> None:
    seen: set[str] = set()

    def once(name: str) -> int | str | None:
        if name in seen or name == "POST ":
            return None
        seen.add(name)
        return trouble

    atlas.rule = once
    assert Run(config, capsys).json["status"] == "completed"


@pytest.mark.parametrize(
    ("status", "words"),
    [
        (401, "the login is refused; check [atlas] of the secrets file (As the test says.)"),
        (403, "it needs the role Project Backup Manager"),
        (404, "no such project or cluster; check atlas.project_id and atlas.cluster"),
        (402, "status 402 (As the test says.)"),
    ],
)
def test_a_refusal_is_one_line(
    config: Path, atlas: AtlasServer, capsys: pytest.CaptureFixture[str], status: int, words: str
) -> None:
    atlas.rule = lambda name: status if name == "GET " else None
    assert words in Run(config, capsys).fails()


@pytest.mark.parametrize("text", [ACCOUNT.replace("hidden", "other"), KEY.replace("hidden", "other")])
def test_a_wrong_login_is_refused(
    config: Path, atlas: AtlasServer, capsys: pytest.CaptureFixture[str], text: str
) -> None:
    login(config, text)
    assert "the login is refused" in Run(config, capsys).fails()


def test_nobody_answers(
    config: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("steward.atlas.api._ATTEMPTS", 1)
    config.write_text(config.read_text().replace("127.0.0.1", "127.0.0.2"))
    assert "Atlas at 127.0.0.2: cannot be reached" in Run(config, capsys).fails()


def test_a_dry_run_takes_none(config: Path, atlas: AtlasServer, capsys: pytest.CaptureFixture[str]) -> None:
    assert Run(config, capsys, "--dry-run").json == {
        "dry_run": True,
        "cluster": CLUSTER,
        "days": 10,
        "newest": "there is none yet",
    }
    assert atlas.snapshots == []


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "atlas: needs client_id and client_secret, or public_key and private_key"),
        (f'client_id = "{CLIENT}"\n', "atlas: needs client_id and client_secret"),
        (ACCOUNT + KEY, "atlas: needs client_id and client_secret"),
        (ACCOUNT + f'private_key = "{PRIVATE}"\n', "atlas: needs"),
        ("client_id = 5\nclient_secret = 87654321\n", "atlas.client_id"),
        ('public_key = "x"\nprivate_key = 87654321\n', "atlas.private_key"),
    ],
)
def test_a_wrong_login_in_the_file_is_one_line_and_not_repeated(
    config: Path, capsys: pytest.CaptureFixture[str], text: str, words: str
) -> None:
    login(config, text)
    message = Run(config, capsys).fails(EXIT_USAGE)
    assert words in message
    assert "87654321" not in message


def test_without_a_section_it_says_what_is_missing(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    secrets = config.with_name("secrets.toml")
    secrets.write_text("")
    assert "atlas: is required in the secrets file" in Run(config, capsys).fails(EXIT_USAGE)
    text = config.read_text()
    config.write_text(text[: text.index("[atlas]")] + text[text.index("[metrics]") :])
    assert "atlas: is required in the configuration" in Run(config, capsys).fails(EXIT_USAGE)
