"""Fixtures that the fault tests share."""

from tests.faults.backup_fixtures import proxy, server, site
from tests.faults.verify_chain import chain, made

__all__ = ["chain", "made", "proxy", "server", "site"]
