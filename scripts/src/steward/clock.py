"""This host's clock, compared with the store's.

Ids, classes and retain-until dates are made of this host's time. A clock that is ahead by weeks
would lock objects for years nobody asked for, and take the month's one monthly full away from it;
one that is behind would let a lock end before its time.
"""

from __future__ import annotations

from datetime import datetime

from steward.errors import StewardError
from steward.manifest import rfc3339

#: Seconds by which clocks may differ; S3 itself refuses requests beyond 900
#: (Amazon S3 error ``RequestTimeTooSkewed``).
CLOCK_TOLERANCE_S = 300


def check_clock(host: datetime, store: datetime, consequence: str) -> None:
    """Refuse to go by a clock that is wrong.

    Args:
        consequence: what does not happen because of it, for the message.

    Raises:
        StewardError: the two times differ by more than :data:`CLOCK_TOLERANCE_S`.
    """
    seconds = (host - store).total_seconds()
    if abs(seconds) > CLOCK_TOLERANCE_S:
        raise StewardError(
            f"this host's clock says {rfc3339(host)}, the store's {rfc3339(store)}: {abs(seconds):.0f} s"
            f" {'ahead' if seconds > 0 else 'behind'}; {consequence}, check its time synchronisation"
        )
