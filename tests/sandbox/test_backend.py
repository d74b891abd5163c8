"""The sample backend as it is deployed: its archive, its own tests, and the traffic through its API."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from sandbox import traffic
from sandbox.customers import Result
from sandbox.services.pinned import PinnedClient, UnreachableError
from sandbox.settings import REPOSITORY, current
from steward.appfile import load
from tests.sandbox.services import service, wait_for
from tests.support.backend import BACKEND, BUILD_SECONDS, build, unpack
from tests.support.mongod import MongoServer, free_port

NPM_TEST_SECONDS = 300

pytestmark = pytest.mark.timeout(BUILD_SECONDS + NPM_TEST_SECONDS)


@pytest.fixture(scope="module")
def release(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path]:
    """Release id and folder of an unpacked archive."""
    return unpack(tmp_path_factory.mktemp("release"))


class TestBuild:
    """``sandbox/backend/build``."""

    def test_the_archive_bears_its_id_and_no_native_add_on(self, release: tuple[str, Path]) -> None:
        name, folder = release
        assert (folder / "RELEASE").read_text() == f"{name}\n"
        assert len(name) == 12
        assert int(name, 16) >= 0
        assert not list(folder.rglob("*.node"))
        assert not (folder / "test").exists()
        assert {p.stat().st_mode & 0o022 for p in folder.rglob("*") if not p.is_symlink()} == {0}

    def test_unchanged_sources_are_not_built_again(self, release: tuple[str, Path]) -> None:
        out = current().cache / "backend"
        before = {p.name: p.stat().st_mtime_ns for p in out.glob("*.tar.gz")}
        assert build(out)[0] == release[0]
        assert {p.name: p.stat().st_mtime_ns for p in out.glob("*.tar.gz")} == before

    def test_changed_sources_are_another_release(self, release: tuple[str, Path], tmp_path: Path) -> None:
        """The id follows the sources, before npm is asked: here npm fails, and no archive is left."""
        copy = tmp_path / "backend"
        shutil.copytree(BACKEND, copy, ignore=shutil.ignore_patterns("node_modules", "test"))
        with (copy / "src/menu.js").open("a") as file:
            file.write("// changed\n")
        tools = tmp_path / "bin"
        tools.mkdir()
        (tools / "npm").write_text("#!/bin/sh\necho 'npm: broken on purpose'\nexit 7\n")
        (tools / "npm").chmod(0o755)
        out = tmp_path / "out"
        done = subprocess.run(
            [str(copy / "build"), str(out)],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
            env={**os.environ, "PATH": f"{tools}:{os.environ['PATH']}"},
        )
        assert (done.returncode, done.stdout) == (1, "")
        assert "npm: broken on purpose" in done.stderr
        assert release[0] not in done.stderr
        assert [p.name for p in out.iterdir()] == [".lock"]

    @pytest.mark.parametrize("arguments", [[], ["-x"], ["a", "b"]])
    def test_wrong_usage_is_2(self, arguments: list[str]) -> None:
        done = subprocess.run(
            [str(BACKEND / "build"), *arguments], capture_output=True, text=True, timeout=60, check=False
        )
        assert done.returncode == 2
        assert "usage: build OUT" in done.stderr

    def test_the_lock_names_no_registry(self) -> None:
        lock = json.loads((BACKEND / "package-lock.json").read_text())
        packages = {name: entry for name, entry in lock["packages"].items() if name}
        assert packages
        assert all("integrity" in entry and "resolved" not in entry for entry in packages.values())


def test_npm_test_of_the_release(release: tuple[str, Path]) -> None:
    """The backend's own tests, run against what would be deployed."""
    _, folder = release
    shutil.copytree(BACKEND / "test", folder / "test", dirs_exist_ok=True)
    done = subprocess.run(
        ["npm", "test"],
        cwd=folder,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=NPM_TEST_SECONDS,
        check=False,
        env={**os.environ, "STEWARD_MONGOD": str(current().tools / "steward-mongod")},
    )
    failed = re.findall(r"^ *not ok .*\n(?:.*\n){,25}", done.stdout, flags=re.MULTILINE)
    assert done.returncode == 0, "\n".join([*failed, done.stdout[-500:], done.stderr[-1000:]])
    passed = re.search(r"^\S+ pass (\d+)$", done.stdout, flags=re.MULTILINE)
    assert passed, done.stdout[-500:]
    assert int(passed[1]) > 50


class World:
    """A backend and everything around it."""

    def __init__(self, folder: Path, mongo: MongoServer) -> None:
        self.folder = folder
        self.mongo = mongo
        self.ports = {name: free_port() for name in ("redis", "razorpay", "smtp", "inbox")}
        self.keys = {"key_id": "rzp_test_x", "key_secret": "secret-x", "webhook_secret": "hook-x"}

    def url(self, name: str) -> str:
        return f"http://127.0.0.1:{self.ports[name]}"

    def environment(self, app: str, port: int, logs: Path) -> dict[str, str]:
        login = f"{self.mongo.username}:{self.mongo.password}"
        options = "authSource=admin&authMechanism=SCRAM-SHA-256&directConnection=true"
        return {
            "APP_NAME": app,
            "APP_TITLE": app.title(),
            "PORT": str(port),
            "MONGODB_URI": f"mongodb://{login}@{self.mongo.host}:{self.mongo.port}/{app}?{options}",
            "REDIS_URL": f"redis://:redis-password@127.0.0.1:{self.ports['redis']}/0",
            "JWT_SECRET": "j" * 40,
            "RAZORPAY_KEY_ID": self.keys["key_id"],
            "RAZORPAY_KEY_SECRET": self.keys["key_secret"],
            "RAZORPAY_WEBHOOK_SECRET": self.keys["webhook_secret"],
            "RAZORPAY_BASE_URL": self.url("razorpay"),
            "SMTP_HOST": "127.0.0.1",
            "SMTP_PORT": str(self.ports["smtp"]),
            "SMTP_USERNAME": "mailer",
            "SMTP_PASSWORD": "mail-password",
            "SMTP_TLS": "none",
            "MAIL_FROM": "Test <no-reply@test.example>",
            "LOG_DIR": str(logs),
        }


@contextmanager
def _process(log: Path, command: list[str], **options: object) -> Iterator[subprocess.Popen[bytes]]:
    with log.open("ab") as out:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=out, stderr=out, **options)  # type: ignore[call-overload]
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(15)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(15)


@pytest.fixture
def world(tmp_path: Path, mongod: Callable[..., MongoServer]) -> Iterator[World]:
    """MongoDB, Redis, Razorpay and mail, all real processes on free ports."""
    world = World(tmp_path, mongod())
    redis = tmp_path / "redis.conf"
    redis.write_text(
        f'bind 127.0.0.1\nport {world.ports["redis"]}\nrequirepass redis-password\ndir {tmp_path}\nsave ""\n'
    )
    razorpay_keys, smtp_keys = tmp_path / "razorpay.json", tmp_path / "smtp.json"
    razorpay_keys.write_text(json.dumps({"bitesbay": world.keys}))
    smtp_keys.write_text(json.dumps({"bitesbay": {"username": "mailer", "password": "mail-password"}}))
    razorpay = ["razorpay", "--port", str(world.ports["razorpay"]), "--keys-file", str(razorpay_keys)]
    smtp = ["smtp", "--port", str(world.ports["smtp"]), "--inbox-port", str(world.ports["inbox"])]
    with (
        _process(tmp_path / "redis.log", ["redis-server", str(redis)]),
        service(tmp_path / "razorpay.log", razorpay),
        service(tmp_path / "smtp.log", [*smtp, "--keys-file", str(smtp_keys)]),
    ):
        yield world


@contextmanager
def _backend(world: World, folder: Path, app: str) -> Iterator[tuple[subprocess.Popen[bytes], str]]:
    port = free_port()
    logs = world.folder / f"logs-{app}"
    logs.mkdir()
    env_file = world.folder / f"{app}.env"
    variables = world.environment(app, port, logs)
    env_file.write_text("".join(f"{name}='{value}'\n" for name, value in variables.items()))
    log = world.folder / f"{app}.log"
    environment = {"PATH": os.environ["PATH"], "ENV_FILE": str(env_file)}
    with _process(log, ["node", "src/server.js"], cwd=folder, env=environment) as process:
        client = PinnedClient(f"http://127.0.0.1:{port}")

        def healthy() -> bool:
            assert process.poll() is None, log.read_text()
            try:
                return client.request("GET", "/api/health").status == 200
            except UnreachableError:
                return False

        wait_for(f"{app} healthy", healthy, 40)
        yield process, f"http://{app}.steward.test:{port}"


def _counts(world: World, database: str) -> dict[str, int]:
    with world.mongo.client() as client:
        names = client[database].list_collection_names()
        return {name: client[database][name].count_documents({}) for name in names}


def test_traffic_through_the_api(release: tuple[str, Path], world: World) -> None:
    """Users, orders, payments by checkout and by webhook; again with the same seed: nothing is doubled."""
    name, folder = release

    def run(url: str, seed: int) -> Result:
        return traffic.run(
            url,
            orders=30,
            seed=seed,
            connect="127.0.0.1",
            razorpay_url=world.url("razorpay"),
            inbox_url=world.url("inbox"),
        )

    with _backend(world, folder, "bitesbay") as (process, url):
        health = PinnedClient(url, connect="127.0.0.1").request("GET", "/api/health").content
        assert (health["app"], health["release"]) == ("bitesbay", name)
        raw = httpx.get(f"http://127.0.0.1:{url.rpartition(':')[2]}/api/health", timeout=5).text
        asked_for = load(REPOSITORY / "apps/bitesbay.yml").health.healthy_text
        assert asked_for in raw[:5120], "what the checks from outside look for, where they look"
        first = run(url, seed=7)
        assert first.errors == 0, first.error_texts
        assert (first.orders_created, first.users_created) == (30, 3)
        assert first.payments > 0
        assert first.cancelled > 0
        counts = _counts(world, "bitesbay")
        assert (counts["orders"], counts["users"], counts["menuitems"]) == (30, 3, 12)
        assert counts["payments"] == first.payments
        assert counts["webhookevents"] > 0
        with world.mongo.client() as client:
            paid = client["bitesbay"]["orders"].count_documents({"status": "paid"})
            assert paid == first.payments
            [entry] = client["local"]["oplog.rs"].find({"ns": "bitesbay.orders"}).sort("$natural", 1).limit(1)
            assert entry["op"] == "i"

        again = run(url, seed=7)
        assert again.errors == 0, again.error_texts
        assert (again.orders_created, again.orders_existing, again.users_reused) == (0, 30, 3)
        assert _counts(world, "bitesbay")["orders"] == 30

        world.mongo.kill()
        broken = run(url, seed=8)
        assert broken.errors == 1
        assert "503" in (broken.first_error or "")
        world.mongo.start()

        process.send_signal(signal.SIGINT)
        assert process.wait(15) == 0
        gone = run(url, seed=9)
        assert gone.errors == 1
        assert "refused" in (gone.first_error or "")


def test_the_same_release_runs_as_the_other_application(release: tuple[str, Path], world: World) -> None:
    _, folder = release
    with _backend(world, folder, "kampyn") as (_, url):
        client = PinnedClient(url, connect="127.0.0.1")
        assert client.request("GET", "/api/health").content["app"] == "kampyn"
        user = {"name": "Asha", "email": "asha@example.test", "password": "long enough 1"}
        assert client.request("POST", "/api/users", content=user).status == 201
        inbox = PinnedClient(world.url("inbox"))
        [mail] = inbox.request("GET", "/messages?to=asha@example.test").content["messages"]
        assert mail["subject"] == "Kampyn: your code"
        assert set(_counts(world, "kampyn")) >= {"users", "menuitems"}


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--url", "host"], "is not http"),
        (["--url", "https://host", "--ca", "/nonexistent"], "--ca: /nonexistent is not a file"),
        (["--url", "https://host", "--orders", "0"], "must be 1 or more"),
        (["--url", "https://host", "--rate", "0"], "--rate: must be more than 0"),
    ],
)
def test_wrong_options_of_traffic_are_2(
    arguments: list[str], expected: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        traffic.main(arguments)
    assert ended.value.code == 2
    assert expected in capsys.readouterr().err


def test_traffic_to_nobody_is_3_and_json(capsys: pytest.CaptureFixture[str]) -> None:
    url = f"http://127.0.0.1:{free_port()}"
    assert traffic.main(["--url", url, "--orders", "1", "--json"]) == 3
    result = json.loads(capsys.readouterr().out)
    assert result["errors"] == 1
    assert "refused" in result["error_texts"][0]
