"""Which collections of a server a full backup holds.

A pattern is ``database.collection``. ``*`` stands for any run of characters in either part
(``*.sessions``, ``logs_*.*``). The first dot ends the database; names of collections may hold more.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from functools import lru_cache

#: The collection that holds the documents of a time series has this before its name.
BUCKETS = "system.buckets."
#: Collections that a server makes for a moment and renames to their real name: of ``$out`` and
#: ``mapReduce``, and of ``convertToCapped``. Left out, what they become would have no documents.
_TEMPORARY = re.compile(r"tmp\.(agg_out|mr)\.|tmp[A-Za-z0-9]{5}\.convertToCapped\.")


def public(ns: str) -> str:
    """The name that users know: of the buckets of a time series, the series."""
    database, _, collection = ns.partition(".")
    return f"{database}.{collection.removeprefix(BUCKETS)}"


def check_pattern(text: str) -> str:
    """A pattern as it was written.

    Raises:
        ValueError: it is not ``database.collection``.
    """
    database, _, collection = text.partition(".")
    if not database or not collection or "\0" in text:
        raise ValueError(f"{text!r} is not database.collection, or database.* for all of one")
    return text


@dataclass(frozen=True)
class Choice:
    """Databases by name (none: all), of them what ``include`` says (none: everything), less ``exclude``."""

    databases: tuple[str, ...] = ()
    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()

    @property
    def everything(self) -> bool:
        """Nothing is left out."""
        return not (self.databases or self.patterns)

    @property
    def patterns(self) -> bool:
        """Something is chosen within the databases."""
        return bool(self.include or self.exclude)

    def wants_database(self, database: str) -> bool:
        """Whether anything in this database can be wanted."""
        if self.databases and database not in self.databases:
            return False
        if any(p.endswith(".*") and _matches(p[:-2], database) for p in self.exclude if p.count(".") == 1):
            return False
        return not self.include or any(_matches(p.partition(".")[0], database) for p in self.include)

    def wants(self, ns: str) -> bool:
        """Whether the collection ``database.collection`` is wanted."""
        name = public(ns)
        database, _, collection = name.partition(".")
        if not self.wants_database(database):
            return False
        if _TEMPORARY.match(collection):
            return True
        if self.include and not any(_fits(pattern, name) for pattern in self.include):
            return False
        return not any(_fits(pattern, name) for pattern in self.exclude)

    def idle(self, namespaces: Iterable[str]) -> list[str]:
        """Patterns that are about none of these: of a collection that is not there yet, or a typing error."""
        names = {public(ns) for ns in namespaces}
        return [
            f"{key} {pattern}"
            for key, patterns in (("include", self.include), ("exclude", self.exclude))
            for pattern in patterns
            if not any(_fits(pattern, name) for name in names)
        ]

    def foreign(self) -> str | None:
        """The first pattern of a database that is not among :attr:`databases`; None without one."""
        known: Collection[str] = self.databases
        for pattern in (*self.include, *self.exclude):
            if known and not any(_matches(pattern.partition(".")[0], database) for database in known):
                return pattern
        return None


def _fits(pattern: str, name: str) -> bool:
    """Both parts apart, so that no star reaches over the first dot."""
    (database, _, collection), (own, _, rest) = pattern.partition("."), name.partition(".")
    return _matches(database, own) and _matches(collection, rest)


def _matches(pattern: str, text: str) -> bool:
    return _compiled(pattern).fullmatch(text) is not None


@lru_cache(maxsize=1024)
def _compiled(pattern: str) -> re.Pattern[str]:
    # Runs of stars are one star: each of them alone would be tried against each other.
    parts = [re.escape(part) for part in re.sub(r"\*+", "*", pattern).split("*")]
    return re.compile(".*".join(parts), re.DOTALL)
