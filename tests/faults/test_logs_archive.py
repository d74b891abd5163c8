"""``steward logs archive``: what leaves the disk is in the archive, and nothing else leaves it."""

from __future__ import annotations

import contextlib
import gzip
import io
import json
import os
import secrets
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import zstandard

from infra.documents.archive import archive_bucket_policy, host_archive_policy
from steward import cli
from steward.errors import EXIT_USAGE
from steward.logs import files
from steward.metrics import read
from tests.faults.backup_site import FaultProxy, Step
from tests.support.aws import REGION, AwsEndpoint, AwsUser, refused

pytestmark = pytest.mark.timeout(120)

TODAY = datetime.now(UTC).date()
OLD, YOUNG = TODAY - timedelta(days=31), TODAY - timedelta(days=30)
DAY_S = 86_400


class LogHost:
    """A host with a log folder and its way to an archive."""

    def __init__(self, folder: Path, aws: AwsEndpoint, proxy: FaultProxy) -> None:
        self.folder, self.aws = folder, aws
        self.logs = folder / "log"
        self.logs.mkdir(parents=True)
        self.bucket = aws.new_bucket("logs")
        self.metrics = folder / "metrics"
        self.metrics.mkdir()
        self.config = folder / "logs.toml"
        self.write(proxy.url, aws.admin_access_key_id, aws.admin_secret_access_key)

    def write(self, url: str, key_id: str, secret: str, more: str = "") -> None:
        self.config.write_text(
            f"""
app = "bitesbay"
environment = "local"
host = "app1"
state_dir = "{self.folder}/state"
[[source]]
name = "api"
paths = ["{self.logs}/*"]
[archive]
older_than_days = 30
[archive.storage]
bucket = "{self.bucket}"
region = "{REGION}"
endpoint_url = "{url}"
ca_file = "{self.aws.ca_file}"
{more}
[metrics]
textfile_dir = "{self.metrics}"
"""
        )
        path = self.folder / "secrets.toml"
        path.touch(mode=0o600)
        path.write_text(f'[storage]\naccess_key_id = "{key_id}"\nsecret_access_key = "{secret}"\n')

    def log(self, name: str, content: bytes = b"a line\n" * 100, days_quiet: float = 20) -> Path:
        """A file; ``{old}`` and ``{young}`` in its name are days beyond the limit and just within."""
        path = self.logs / name.format(old=f"{OLD:%Y%m%d}", young=f"{YOUNG:%Y%m%d}")
        path.write_bytes(content)
        quiet(path, days_quiet)
        return path

    def command(self, *arguments: str) -> list[str]:
        return ["logs", "archive", "--logs-config", str(self.config), *arguments]

    def run(self, *arguments: str, status: int = 0) -> Any:
        out, err = io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            found = cli.main(self.command(*arguments, "--json"))
        assert found == status, err.getvalue()
        if status:
            assert err.getvalue().count("\n") == 1, err.getvalue()
        return json.loads(out.getvalue()) if out.getvalue() else err.getvalue()

    def objects(self) -> dict[str, bytes]:
        s3 = self.aws.client("s3")
        keys = [o["Key"] for o in s3.list_objects_v2(Bucket=self.bucket).get("Contents", [])]
        return {key: s3.get_object(Bucket=self.bucket, Key=key)["Body"].read() for key in keys}

    def uploads(self) -> list[Any]:
        found: list[Any] = self.aws.client("s3").list_multipart_uploads(Bucket=self.bucket).get("Uploads", [])
        return found


def quiet(path: Path, days: float) -> None:
    """Let a file have been written to so many days ago."""
    at = time.time() - days * DAY_S
    os.utime(path, (at, at))


@pytest.fixture
def host(tmp_path: Path, aws_endpoint: AwsEndpoint, proxy: FaultProxy) -> LogHost:
    """A host whose requests pass ``proxy``."""
    return LogHost(tmp_path / "host", aws_endpoint, proxy)


def at_step(name: str, number: int, act: Callable[[], str]) -> Callable[[Step], str]:
    """A rule: ``act`` decides about the request of this name with this number (from 1)."""
    seen = 0

    def rule(step: Step) -> str:
        nonlocal seen
        if step.name == name:
            seen += 1
            if seen == number:
                return act()
        return "pass"

    return rule


def with_host_rights(host: LogHost) -> AwsUser:
    """Give the bucket the policy of the stack, and the host the rights of its hosts."""
    aws = host.aws
    key = aws.client("kms").create_key()["KeyMetadata"]["Arn"]
    bucket = f"arn:aws:s3:::{host.bucket}"
    aws.client("s3").put_bucket_encryption(
        Bucket=host.bucket,
        ServerSideEncryptionConfiguration={
            "Rules": [
                {
                    "ApplyServerSideEncryptionByDefault": {
                        "SSEAlgorithm": "aws:kms",
                        "KMSMasterKeyID": key,
                    }
                }
            ]
        },
    )
    user = aws.new_user(host_archive_policy(bucket_arn=bucket, kms_key_arn=key, region=REGION))
    policy = archive_bucket_policy(
        bucket_arn=bucket, kms_key_arn=key, host_arns=[user.arn], deleter_arns=["arn:aws:iam::1:role/x"]
    )
    aws.client("s3").put_bucket_policy(Bucket=host.bucket, Policy=json.dumps(policy))
    host.write(aws.https_url, user.access_key_id, user.secret_access_key, f'kms_key_arn = "{key}"')
    return user


def test_old_logs_are_archived_with_the_rights_of_a_host_and_the_others_stay(host: LogHost) -> None:
    user = with_host_rights(host)
    packed = gzip.compress(b"packed\n" * 50)
    host.log("api.log-{old}.gz", packed)
    host.log(f"access-{OLD:%Y-%m-%d}.log", b"plain\n" * 5000)  # as Winston's daily files are called
    stay = [
        host.log("api.log"),
        host.log("api.log-{young}.gz"),
        host.log("api.log.1"),
        host.log("api.log-20261399"),
    ]
    planned = host.run("--dry-run")
    assert len(planned["archived"]) == 2
    assert host.objects() == {}

    report = host.run()
    folder = f"logs/app1/{OLD:%Y/%m/%d}/api/"
    stored = host.objects()
    assert sorted(stored) == sorted(one["key"] for one in report["archived"])
    by_name = {key.removeprefix(folder).partition("-")[2]: body for key, body in stored.items()}
    assert by_name.pop(f"api.log-{OLD:%Y%m%d}.gz") == packed
    unpacked = zstandard.ZstdDecompressor().decompressobj().decompress(by_name.pop(f"access-{OLD}.log.zst"))
    assert (unpacked, by_name) == (b"plain\n" * 5000, {})
    assert sorted(host.logs.iterdir()) == sorted(stay)
    assert (report["bytes"], report["kept"], report["failed"]) == (len(packed) + 30_000, {}, {})
    assert host.run()["archived"] == []
    # What the host has put, it cannot read.
    s3 = user.client("s3")
    assert refused(s3.get_object, Bucket=host.bucket, Key=next(iter(stored))) == "AccessDenied"
    samples = {name: value for name, _, value in read(host.metrics / "steward_logs_bitesbay.prom")}
    assert samples["steward_logs_archived_bytes"] == 0
    assert samples["steward_logs_archive_last_success_timestamp_seconds"] > time.time() - 60


@pytest.mark.parametrize(
    ("step", "number", "stored"), [("create", 1, 0), ("part", 1, 0), ("complete", 1, 0), ("list", 3, 1)]
)
def test_a_run_that_is_killed_anywhere_loses_nothing_and_the_next_one_goes_on(
    host: LogHost, proxy: FaultProxy, step: str, number: int, stored: int
) -> None:
    path = host.log("api.log-{old}")
    proxy.rule = at_step(step, number, lambda: "stall")
    process = subprocess.Popen([sys.executable, "-m", "steward.cli", *host.command()], stdout=subprocess.PIPE)
    assert proxy.stalled.wait(60)
    process.kill()
    process.communicate()
    assert path.exists()
    assert len(host.objects()) == stored
    proxy.rule = lambda _: "pass"
    proxy.steps.clear()
    [archived] = host.run()["archived"]
    assert (archived["stored"] is None) == bool(stored)
    assert ("part" in {s.name for s in proxy.steps}) == (not stored)
    assert not path.exists()
    assert len(host.objects()) == 1


def test_a_file_that_changes_after_it_was_sent_stays_with_all_of_it(host: LogHost, proxy: FaultProxy) -> None:
    path = host.log("api.log-{old}", b"first\n")

    def append() -> str:
        with path.open("ab") as file:
            file.write(b"late\n")
        return "pass"

    proxy.rule = at_step("complete", 1, append)
    report = host.run()
    assert report["kept"] == {str(path): "was changed while it was archived"}
    assert path.read_bytes() == b"first\nlate\n"
    proxy.rule = lambda _: "pass"
    assert host.run()["kept"] == {str(path): "was written to within the last day"}
    quiet(path, 2)
    host.run()
    unpack = zstandard.ZstdDecompressor
    contents = [unpack().decompressobj().decompress(body) for body in host.objects().values()]
    assert sorted(contents) == [b"first\n", b"first\nlate\n"]
    assert not path.exists()


def test_a_file_that_changes_while_it_is_sent_makes_no_object(host: LogHost, proxy: FaultProxy) -> None:
    path = host.log("api.log-{old}.gz", secrets.token_bytes(80 * 1024 * 1024))

    def append() -> str:
        with path.open("ab") as file:
            file.write(b"late\n")
        return "pass"

    proxy.rule = at_step("part", 1, append)
    assert host.run()["kept"] == {str(path): "was changed while it was archived"}
    assert host.objects() == {}
    assert host.uploads() == []


def test_another_file_put_in_its_place_is_not_removed(host: LogHost, proxy: FaultProxy) -> None:
    path = host.log("api.log-{old}", b"read\n")

    def replace() -> str:
        path.rename(path.with_name("api.log"))
        path.write_bytes(b"read\n")
        quiet(path, 20)
        return "pass"

    proxy.rule = at_step("complete", 1, replace)
    assert list(host.run()["kept"]) == [str(path)]
    assert path.exists()


def test_a_file_that_is_open_for_writing_stays(host: LogHost) -> None:
    path = host.log("api.log-{old}")
    with path.open("ab"):
        assert host.run()["kept"] == {str(path): "is open for writing"}
        assert host.objects() == {}
    with path.open("rb"):  # a reader keeps nobody from it
        assert len(host.run()["archived"]) == 1


def test_links_and_pipes_of_the_user_who_writes_the_logs_lead_nowhere(host: LogHost) -> None:
    secret = host.folder / "secret"
    secret.write_text("for root alone")
    quiet(secret, 20)
    soft, hard = host.logs / f"soft-{OLD:%Y%m%d}", host.logs / f"hard-{OLD:%Y%m%d}"
    soft.symlink_to(secret)
    hard.hardlink_to(secret)
    os.mkfifo(host.logs / f"pipe-{OLD:%Y%m%d}")
    report = host.run()
    assert report["archived"] == []
    assert report["kept"] == {str(hard): "has 2 names (hard links)"}
    assert host.objects() == {}
    # Also when it is put there between the listing and the opening.
    with (
        pytest.raises(files.NotYet, match="is a link"),
        files.hold(files.LogFile("api", host.logs, soft.name, 1, 0.0)),
    ):
        pass
    host.logs.rename(host.folder / "elsewhere")
    host.logs.symlink_to(host.folder / "elsewhere")
    with (
        pytest.raises(OSError, match=r"Not a directory|Too many levels"),
        files.hold(files.LogFile("api", host.logs, hard.name, 1, 0.0)),
    ):
        pass


def test_a_name_that_is_not_utf_8_keeps_no_other_log_from_the_archive(host: LogHost) -> None:
    bad = os.fsencode(host.logs) + f"/\udcff-{OLD:%Y%m%d}.gz".encode("utf-8", "surrogateescape")
    Path(os.fsdecode(bad)).write_bytes(b"x")
    quiet(Path(os.fsdecode(bad)), 20)
    good = host.log("z-{old}.gz")
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        assert cli.main(host.command("--json")) == 1
    assert "its name is not UTF-8" in err.getvalue()
    report = json.loads(out.getvalue())
    assert [one["path"] for one in report["archived"]] == [str(good)]
    assert list(report["failed"]) == [f"{host.logs}/\\udcff-{OLD:%Y%m%d}.gz"]
    assert Path(os.fsdecode(bad)).exists()


def test_a_file_that_vanishes_is_no_error_and_one_that_cannot_be_removed_is(
    host: LogHost, proxy: FaultProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = host.log("a-{old}.gz"), host.log("b-{old}.gz")

    def vanish() -> str:
        second.unlink()
        return "pass"

    proxy.rule = at_step("create", 1, vanish)
    report = host.run()
    assert (len(report["archived"]), report["vanished"]) == (1, 1)
    first, second = host.log("a-{old}.gz"), host.log("b-{old}.gz")
    genuine = os.unlink

    def refuse(path: Any, **more: Any) -> None:
        if path == first.name:
            raise PermissionError(1, "Operation not permitted")
        genuine(path, **more)

    monkeypatch.setattr(os, "unlink", refuse)
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        assert cli.main(host.command()) == 1
    assert err.getvalue() == f"steward: {first}: not archived: Operation not permitted\n"
    assert (first.exists(), second.exists()) == (True, False)


@pytest.mark.parametrize("seconds", [2 * DAY_S, -2 * DAY_S])
def test_a_host_whose_clock_is_wrong_archives_nothing(host: LogHost, proxy: FaultProxy, seconds: int) -> None:
    path = host.log("api.log-{old}")
    proxy.rule = lambda _: f"shift {seconds}"
    assert "no log is archived, check its time synchronisation" in host.run(status=1)
    assert path.exists()


def test_a_file_from_a_time_when_the_clock_was_wrong_is_archived_all_the_same(host: LogHost) -> None:
    host.log("api.log-{old}", days_quiet=-400)
    assert len(host.run()["archived"]) == 1


def test_what_changed_on_its_way_is_refused_and_stays(host: LogHost, proxy: FaultProxy) -> None:
    path = host.log("api.log-{old}.gz")
    proxy.rule = lambda step: "spoil" if step.name == "part" else "pass"
    host.run(status=1)
    assert path.exists()
    assert (host.objects(), host.uploads()) == ({}, [])


def test_a_store_that_does_not_show_the_object_is_not_believed(host: LogHost, proxy: FaultProxy) -> None:
    path = host.log("api.log-{old}.gz")

    def hide() -> str:
        s3 = host.aws.client("s3")
        for key in host.objects():
            s3.delete_object(Bucket=host.bucket, Key=key)
        return "pass"

    proxy.rule = at_step("list", 3, hide)
    assert "nothing can be seen in the bucket" in host.run(status=3)
    assert path.exists()


def test_a_full_disk_keeps_no_log_from_leaving_it(
    small_disk: Path, aws_endpoint: AwsEndpoint, proxy: FaultProxy
) -> None:
    host = LogHost(small_disk / "host", aws_endpoint, proxy)
    path = host.log("api.log-{old}.gz", secrets.token_bytes(2 * 1024 * 1024))
    with (small_disk / "rest").open("wb", 0) as file, contextlib.suppress(OSError):
        while True:
            file.write(bytes(4096))
    assert os.statvfs(small_disk).f_bavail == 0
    assert len(host.run()["archived"]) == 1
    assert not path.exists()
    assert len(host.objects()) == 1
    # The next run has room again, and no remains are in its way.
    host.log("api.log-{old}.gz")
    assert len(host.run()["archived"]) == 1
    assert [p.name for p in host.metrics.iterdir()] == ["steward_logs_bitesbay.prom"]


def test_only_one_run_at_a_time(host: LogHost, proxy: FaultProxy) -> None:
    host.log("api.log-{old}")
    proxy.rule = at_step("create", 1, lambda: "stall")
    process = subprocess.Popen([sys.executable, "-m", "steward.cli", *host.command()], stdout=subprocess.PIPE)
    try:
        assert proxy.stalled.wait(60)
        assert "another run holds the lock" in host.run(status=4)
    finally:
        process.kill()
        process.communicate()


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ('paths = ["', 'paths = ["log', "no absolute path with '*' in its last part"),
        ("/log/*", "/l*g/*", "no absolute path with '*' in its last part"),
        ("/log/*", "/../log/*", "no absolute path with '*' in its last part"),
        ("older_than_days = 30", "older_than_days = 0", "archive.older_than_days"),
        ('host = "app1"', 'host = "App 1"', "host: "),
        ("[metrics]", "[metric]", "metric: is not a known key"),
        ("[archive]", "[usage]\nwarn_percent = 95\n[archive]", "warn_percent (95) must be below"),
        ("[archive]", '[[source]]\nname = "api"\npaths = ["/x/*"]\n[archive]', "two sources are called api"),
    ],
)
def test_a_mistake_in_the_file_is_one_line(host: LogHost, old: str, new: str, words: str) -> None:
    host.config.write_text(host.config.read_text().replace(old, new, 1))
    assert words in host.run(status=EXIT_USAGE)
