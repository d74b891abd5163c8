"""Fixtures that the fault tests share."""

from tests.faults.backup_fixtures import proxy, server, site

__all__ = ["proxy", "server", "site"]
