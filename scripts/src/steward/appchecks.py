"""What must be true of an application's data, declared in its app file (``backup.drill.checks``).

A restore that equals its backup may still hold nonsense. These say what sense is. The model alone, so
that :mod:`steward.appfile` can import it; :mod:`steward.drill.check` evaluates it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Annotated, Literal

from pydantic import Field

from steward.strict import Strict

_NAME = r"[A-Za-z_][A-Za-z0-9_-]*"
_PATH = rf"{_NAME}(\.{_NAME})*"

Collection = Annotated[str, Field(pattern=rf"^{_NAME}$")]
#: A field of a document, or of the elements of an array in it: ``items.quantity``.
FieldPath = Annotated[str, Field(pattern=rf"^{_PATH}$")]
#: ``collection.field``.
CollectionField = Annotated[str, Field(pattern=rf"^{_NAME}\.{_PATH}$")]
#: Fields that are multiplied. Those below one array are, element by element, and the products added.
Product = Annotated[str, Field(pattern=rf"^{_PATH}( \* {_PATH})*$")]


class ReferenceCheck(Strict):
    """Every value of a field exists in another collection; a value that is missing or null does not."""

    kind: Literal["reference"]
    source: CollectionField
    target: CollectionField

    @property
    def text(self) -> str:
        """The check in words."""
        return f"{self.source} -> {self.target}"

    @property
    def collections(self) -> tuple[str, ...]:
        """The collections it looks at."""
        return self.source.partition(".")[0], self.target.partition(".")[0]


class SumCheck(Strict):
    """In every document of a collection, ``total`` is the sum of ``terms``."""

    kind: Literal["sum"]
    collection: Collection
    total: FieldPath
    terms: Annotated[list[Product], Field(min_length=1)]

    @property
    def text(self) -> str:
        """The check in words."""
        return f"{self.collection}.{self.total} == sum({' + '.join(self.terms)})"

    @property
    def collections(self) -> tuple[str, ...]:
        """The collection it looks at."""
        return (self.collection,)


class NewestCheck(Strict):
    """The newest date of a field lies so many hours before the restored second at most."""

    kind: Literal["newest"]
    collection: Collection
    field: FieldPath
    within_hours: Annotated[int, Field(ge=1, le=8784)]

    @property
    def text(self) -> str:
        """The check in words."""
        return f"newest {self.collection}.{self.field} within {self.within_hours} h"

    @property
    def collections(self) -> tuple[str, ...]:
        """The collection it looks at."""
        return (self.collection,)


class CountCheck(Strict):
    """A collection has at least so many documents."""

    kind: Literal["count"]
    collection: Collection
    at_least: Annotated[int, Field(ge=1)]

    @property
    def text(self) -> str:
        """The check in words."""
        return f"at least {self.at_least} {self.collection}"

    @property
    def collections(self) -> tuple[str, ...]:
        """The collection it looks at."""
        return (self.collection,)


Check = Annotated[ReferenceCheck | SumCheck | NewestCheck | CountCheck, Field(discriminator="kind")]


def first_unseen(checks: Iterable[Check], sees: Callable[[str], bool]) -> tuple[Check, str] | None:
    """The first check that needs a collection which is not seen, and that collection; None without one."""
    for check in checks:
        for collection in check.collections:
            if not sees(collection):
                return check, collection
    return None
