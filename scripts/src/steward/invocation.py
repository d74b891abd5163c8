"""The options that stand before the command, and what follows from them.

Commands get an :class:`Invocation` as typer's context object::

    @app.command()
    def full(context: typer.Context, ...) -> None:
        invocation = Invocation.of(context)
        config = invocation.config()
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import typer

    from steward.config import Config
    from steward.storage import Store


@dataclass(frozen=True)
class Invocation:
    """``steward --config FILE --secrets FILE --debug``."""

    config_path: Path
    secrets_path: Path | None
    debug: bool

    @classmethod
    def of(cls, context: typer.Context) -> Invocation:
        """The invocation that a command belongs to."""
        found = context.find_object(cls)
        if found is None:
            raise RuntimeError("the command was not started through steward.cli")
        return found

    def config(self) -> Config:
        """Read the configuration.

        Raises:
            ConfigError: it cannot be used.
        """
        from steward.config import load

        return load(self.config_path, self.secrets_path)

    def store(self, config: Config, identities: Iterable[Path] = ()) -> Store:
        """The backup store of the configuration.

        Args:
            identities: files of private keys, beside the one of the configuration.
        """
        from steward.encryption import Identities
        from steward.storage import open_store

        own = config.encryption.identity_file
        return open_store(config.storage, Identities((*identities, *([own] if own else []))))
