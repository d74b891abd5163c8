"""Names of the CloudWatch metrics that hosts publish and that the alarms of ``infra/`` watch.

Beside :mod:`steward.appfile` the only module that both sides import; it imports nothing itself.
Every metric has the dimensions of :func:`dimensions`. An alarm treats a missing one as breaching, except
``DamagedObjects``: that nothing is known of damage is what the alarm on ``VerifyAgeSeconds`` says.
"""

from __future__ import annotations

NAMESPACE = "Steward"

#: Seconds since the newest good full backup that serves as this class; dimension ``Class`` is ``daily``,
#: ``weekly`` or ``monthly``. A weekly full also serves as the daily one of its day, a monthly one as both.
BACKUP_AGE_SECONDS = "BackupAgeSeconds"
#: Seconds between now and the newest moment that can be restored.
RECOVERABLE_LAG_SECONDS = "RecoverableLagSeconds"
#: Holes in what can be restored since the newest full; 0 is good.
OPLOG_GAPS = "OplogGaps"
#: Seconds since the last restore that was compared and found equal.
DRILL_AGE_SECONDS = "DrillAgeSeconds"
#: Seconds since stored backups were last verified, and nothing was wrong or not known.
VERIFY_AGE_SECONDS = "VerifyAgeSeconds"
#: Objects that the last verification found missing, damaged or unlocked; 0 is good.
DAMAGED_OBJECTS = "DamagedObjects"

#: How often hosts publish, in minutes; alarms wait for three missed ones.
PUBLISH_EVERY_MINUTES = 15


def dimensions(app: str, environment: str) -> dict[str, str]:
    """The dimensions of every metric; ``BackupAgeSeconds`` has ``Class`` as well."""
    return {"App": app, "Environment": environment}
