"""Which namespaces a restore brings back, and under which names.

A namespace is ``database.collection``. In a pattern, ``*`` stands for any run of
characters of the collection's name (``shop.*``: the whole database); the database is
named in full. Names are those of the moment: a collection that is renamed in the
oplog is selected by the name that it has then.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

from steward.choice import BUCKETS, Choice, public
from steward.errors import ConfigError
from steward.restore.entries import MARK_DATABASE, NOT_RESTORED


@dataclass(frozen=True)
class Pattern:
    """One ``--only`` or ``--exclude``."""

    option: str
    text: str

    @classmethod
    def parse(cls, option: str, text: str) -> Pattern:
        """Check what was typed.

        Raises:
            ConfigError: not ``database.collection`` or ``database.*``.
        """
        _check_namespace(option, text)
        return cls(option, text)

    @property
    def database(self) -> str:
        """The database it names."""
        return self.text.partition(".")[0]

    def matches(self, ns: str) -> bool:
        """Whether a namespace is meant."""
        return re.fullmatch(".*".join(map(re.escape, self.text.split("*"))), ns, re.DOTALL) is not None

    def __str__(self) -> str:
        return f"{self.option} {self.text}"


@dataclass(frozen=True)
class Rename:
    """One ``--rename FROM=TO``: two names, or two patterns with one ``*`` each."""

    source: str
    target: str

    @classmethod
    def parse(cls, text: str) -> Rename:
        """Check what was typed.

        Raises:
            ConfigError: not two namespaces, unlike stars, or a name that no collection may have.
        """
        source, found, target = text.partition("=")
        if not found or "=" in target:
            raise ConfigError(f"--rename {text!r}: write FROM=TO, such as shop.orders=shop.orders_restored")
        for name in (source, target):
            _check_namespace("--rename", name)
            if name.count("*") > 1 or "$" in name:
                raise ConfigError(f"--rename {text!r}: a name may hold one '*' and no '$'")
        if source.count("*") != target.count("*"):
            raise ConfigError(f"--rename {text!r}: both names need the '*', or none")
        if target.partition(".")[2].startswith("system."):
            raise ConfigError(f"--rename {text!r}: {target} is a name of the server's own")
        return cls(source, target)

    def apply(self, ns: str) -> str | None:
        """The new name; None when this rename is not about ``ns``."""
        head, star, tail = self.source.partition("*")
        if not star:
            return self.target if ns == self.source else None
        if len(ns) < len(head) + len(tail) or not (ns.startswith(head) and ns.endswith(tail)):
            return None
        return self.target.replace("*", ns[len(head) : len(ns) - len(tail)])

    def __str__(self) -> str:
        return f"--rename {self.source}={self.target}"


def _check_namespace(option: str, text: str) -> None:
    database, _, collection = text.partition(".")
    if not database or not collection or "*" in database or "\0" in text:
        raise ConfigError(f"{option} {text!r}: write database.collection, or database.* for all of it")
    if database in (MARK_DATABASE, *NOT_RESTORED):
        raise ConfigError(f"{option} {text!r}: the database {database} is never restored")


class Selection:
    """What is restored: databases, of them patterns, less patterns, under other names."""

    def __init__(
        self,
        databases: Collection[str] = (),
        *,
        only: Sequence[str] = (),
        exclude: Sequence[str] = (),
        rename: Sequence[str] = (),
        backed_up: Choice | None = None,
    ) -> None:
        """
        Args:
            databases: none named: all of the server.
            only: patterns; none: everything.
            exclude: patterns that are left out, whatever ``only`` says.
            rename: ``FROM=TO``; of several that fit, the first one counts.
            backed_up: what the full held of the server; the oplog tells of the rest as well.

        Raises:
            ConfigError: a pattern that cannot be understood, or of a database that is not restored.
        """
        self.databases = frozenset(databases)
        self.only = tuple(Pattern.parse("--only", text) for text in only)
        self.exclude = tuple(Pattern.parse("--exclude", text) for text in exclude)
        self.renames = tuple(Rename.parse(text) for text in rename)
        self.backed_up = backed_up or Choice()
        #: Every oplog entry asks; there are few names.
        self._wanted: dict[str, bool] = {}
        for pattern in self.only:
            if self.databases and pattern.database not in self.databases:
                raise ConfigError(
                    f"{pattern}: the database {pattern.database} is not part of the restore"
                    f" ({', '.join(sorted(self.databases))})"
                )

    @property
    def whole(self) -> bool:
        """Whether databases are restored as they were backed up, without a choice within them."""
        return not (self.only or self.exclude or self.renames)

    def wants_database(self, database: str) -> bool:
        """Whether anything of this database can be part of the restore.

        Never: the server's own databases and steward's mark.
        """
        if database in ("", MARK_DATABASE, *NOT_RESTORED) or database.startswith("__mdb_internal"):
            return False
        if self.databases and database not in self.databases:
            return False
        if not self.backed_up.wants_database(database):
            return False
        return not self.only or any(pattern.database == database for pattern in self.only)

    def wants(self, ns: str) -> bool:
        """Whether this namespace ``database.collection`` is part of the restore."""
        known = self._wanted.get(ns)
        if known is None:
            known = self._wanted[ns] = self._wants(ns)
        return known

    def _wants(self, ns: str) -> bool:
        if not self.wants_database(ns.partition(".")[0]):
            return False
        name = public(ns)
        if not self.backed_up.wants(name):
            return False
        if self.only and not any(pattern.matches(name) for pattern in self.only):
            return False
        return not any(pattern.matches(name) for pattern in self.exclude)

    def target(self, ns: str) -> str:
        """The name under which ``ns`` is restored."""
        name = public(ns)
        new = next((new for rename in self.renames if (new := rename.apply(name)) is not None), name)
        if name == ns:
            return new
        database, _, collection = new.partition(".")
        return f"{database}.{BUCKETS}{collection}"

    def targets(self, namespaces: Iterable[str]) -> dict[str, str]:
        """The new name of each selected namespace of ``namespaces``.

        Raises:
            ConfigError: two would become one.
        """
        found = {
            name: self.target(name) for name in sorted({public(ns) for ns in namespaces if self.wants(ns)})
        }
        sources: dict[str, str] = {}
        for source, target in found.items():
            other = sources.setdefault(target, source)
            if other != source:
                raise ConfigError(f"{other} and {source} would both be restored as {target}; change --rename")
        return found

    def unused(self, namespaces: Iterable[str]) -> list[str]:
        """Options that are about none of these namespaces: most likely a typing error."""
        names = {public(ns) for ns in namespaces}
        idle: list[Pattern | Rename] = [p for p in self.only if not any(map(p.matches, names))]
        selected = [name for name in names if self.wants(name)]
        idle += [r for r in self.renames if all(r.apply(name) is None for name in selected)]
        return [str(option) for option in idle]
