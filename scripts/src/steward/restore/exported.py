"""The README that lies in an exported folder: what it is, and every command."""

from __future__ import annotations

from steward.restore.chain import utc
from steward.restore.plan import Plan

_HEAD = """\
# {app} ({environment}), state of {time}

Made by `steward restore export`. Full backup {base}{slices}.
Databases: {databases}. {documents} documents in the dump, {operations} operations in `dump/oplog.bson`.
Not in it: accounts (database `admin`), `config` and `local`.

## Restore it

Needed: mongorestore 100.x; an empty server of version {version} or the next major one;
an account with {role}.

```
sha256sum --quiet --check SHA256SUMS
install -m 600 /dev/null target.yml     # then write into it:  uri: mongodb://user:password@host:port/
{command}
```

The last line must say `0 document(s) failed to restore`: the exit status is 0 even when documents failed.
"""

_OPLOG = """
The oplog ends with the chosen second, so it needs no limit. To stop earlier, add `--oplogLimit SECONDS:0`:
everything before that second (Unix time; `date -u -d 2026-11-22T14:03:06Z +%s`). No earlier than {dump_end}
({dump_end_text}): until then the dump is not the state of one moment.

Limits: mongorestore replays with `applyOps`, which shared Atlas tiers refuse; it replays all or nothing (no
`--nsInclude` together with `--oplogReplay`). `steward restore run` has neither limit. Indexes are built after
the replay.
"""

_NO_OPLOG = """
There is no oplog: {why}
"""


def readme(plan: Plan, documents: int, operations: int) -> str:
    """The text, for this plan and what was written of it."""
    base, limit = plan.chain.base, plan.chain.limit
    replayed = limit is not None
    time = plan.to_json()["target_time"]
    options = "--oplogReplay " if replayed else ""
    text = _HEAD.format(
        app=base.app,
        environment=base.environment,
        time=time,
        base=base.id,
        slices=f" and {len(plan.chain.slices)} stretch(es) of oplog" if plan.chain.slices else "",
        databases=", ".join(plan.restored_databases) or "none",
        documents=documents,
        operations=operations,
        version=base.versions.server,
        role="`anyAction` on `anyResource`, for the replay" if replayed else "the role `restore`",
        command=f"mongorestore --config target.yml {options}dump/",
    )
    if replayed and base.oplog is not None:
        end = base.oplog.end.t
        return text + _OPLOG.format(dump_end=end + 1, dump_end_text=utc(end + 1))
    return text + _NO_OPLOG.format(why=" ".join(plan.notes) or "the dump is the state of one moment.")
