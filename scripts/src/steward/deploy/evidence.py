"""What the checklist is judged by: results of tests, facts of hosts, what a release brings.

Each is a JSON document that says what it is about and when it was taken, so that the results of another
commit or the facts of last month cannot pass for those of today.
"""

from __future__ import annotations

import re
import tarfile
from collections.abc import Iterable
from datetime import datetime
from pathlib import Path
from typing import Annotated, TypeVar

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError

from steward.errors import ConfigError

Name = Annotated[str, Field(min_length=1, max_length=200)]
Count = Annotated[int, Field(ge=0)]

#: Folder of a release with its migrations: ``0007-names.js``, or ``0007-names.after.js`` for one that runs
#: after the release, and ``0007-names.down.js`` for the way back. As ``roles/migrations`` reads it.
MIGRATIONS = "migrations"
_MIGRATION = re.compile(r"(\d+-[A-Za-z0-9._-]+?)(\.after|\.down)?\.[cm]?js")


class _Document(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Suite(_Document):
    """One kind of tests."""

    tests: Count
    failures: Count
    errors: Count
    skipped: Count


class TestResults(_Document):
    """What the tests of one commit said; ``steward deploy results`` writes it."""

    __test__ = False  # for pytest: no test

    commit: Name
    taken_at: AwareDatetime
    suites: dict[str, Suite]


class HostFacts(_Document):
    """What one application host runs; ``playbooks/facts.yml`` writes it. No values of secrets."""

    host: Name
    app: Name
    environment: Name
    taken_at: AwareDatetime
    node: str
    pm2: str
    packages: dict[str, str]
    """Installed package -> version."""
    environment_keys: list[str]
    """Names in the application's environment file."""
    config: str
    """Names the content of the ecosystem file."""
    release: str
    """The release that runs, "" for none."""
    releases: dict[str, bool]
    """Unpacked release -> whether it may be gone back to."""


class Applied(_Document):
    """The migrations that the database has; ``playbooks/facts.yml`` writes it."""

    environment: Name
    taken_at: AwareDatetime
    migrations: list[str]


class Release(_Document):
    """What a release brings along."""

    migrations: list[str]
    reversible: list[str]
    """Those of them that can be taken back."""


_Kind = TypeVar("_Kind", bound=BaseModel)


def read(path: Path, kind: type[_Kind]) -> _Kind:
    """A document of this kind.

    Raises:
        ConfigError: it cannot be read, or is none.
    """
    try:
        return kind.model_validate_json(path.read_bytes())
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}") from error
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"]) or "the document"
        raise ConfigError(f"{path}: {place}: {first['msg']}; write it anew") from error


def facts(folder: Path, app: str, environment: str) -> list[HostFacts]:
    """The facts of an application's hosts in one environment, from ``FOLDER/ENVIRONMENT/*.json``.

    Raises:
        ConfigError: a document cannot be read, or lies in the wrong place.
    """
    found = [read(path, HostFacts) for path in sorted((folder / environment).glob("*.json"))]
    for one in found:
        if one.environment != environment:
            raise ConfigError(
                f"{folder / environment}: {one.host} is of {one.environment}; gather the facts anew"
            )
    return [one for one in found if one.app == app]


def release(archive: Path) -> Release:
    """What is in the archive of a release.

    Raises:
        ConfigError: it is no archive.
    """
    try:
        with tarfile.open(archive) as content:
            names = [member.name for member in content if member.isfile()]
    except (OSError, tarfile.TarError) as error:
        raise ConfigError(f"{archive}: {error}") from error
    return _release(names)


def _release(names: Iterable[str]) -> Release:
    paths = (Path(name.removeprefix("./")) for name in names)
    found = [
        match.groups()
        for path in paths
        if path.parent == Path(MIGRATIONS) and (match := _MIGRATION.fullmatch(path.name))
    ]
    down = {name for name, kind in found if kind == ".down"}
    migrations = sorted((name for name, kind in found if kind != ".down"), key=order)
    return Release(migrations=migrations, reversible=[name for name in migrations if name in down])


def order(migration: str) -> tuple[int, str]:
    """What migrations are sorted by: their number, so that 9 comes before 10."""
    return int(migration.split("-", 1)[0]), migration


def applied(folder: Path, app: str, environment: str) -> Applied | None:
    """What the database has, from ``FOLDER/ENVIRONMENT/migrations/APP.json``; None when nobody asked it.

    Raises:
        ConfigError: the document cannot be read.
    """
    path = folder / environment / MIGRATIONS / f"{app}.json"
    return read(path, Applied) if path.exists() else None


def age_seconds(taken_at: datetime, now: datetime) -> float:
    """How old a document is; one from the future is as old as it is wrong."""
    return abs((now - taken_at).total_seconds())
