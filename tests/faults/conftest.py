"""Fixtures that the fault tests share."""

from tests.faults.backup_fixtures import proxy, server, site, small_disk
from tests.faults.drill_bench import drill_store
from tests.faults.restore_bench import stored
from tests.faults.verify_chain import chain, made

__all__ = ["chain", "drill_store", "made", "proxy", "server", "site", "small_disk", "stored"]
