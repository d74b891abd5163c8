"""What docs/aws.md says and the code can tell: settings, import ids, retention, the worked example."""

from __future__ import annotations

import re
from datetime import date, timedelta

import pytest
from pydantic.alias_generators import to_camel

from infra.config import REPOSITORY
from infra.estate import build
from infra.lifecycle import effective_retention
from infra.settings import StackSettings
from steward.appfile import BACKUP_CLASSES, ENVIRONMENTS, BackupClass, Environment
from tests.infra.conftest import APP_NAMES, stack_config
from tests.infra.recording import ACCOUNT, CALLER, record

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:pulumi_aws.*")

DOCS = (REPOSITORY / "docs/aws.md").read_text(encoding="utf-8")


def section(title: str) -> str:
    """The text below a heading, up to the next one of its level."""
    return DOCS.split(f"\n## {title}\n")[1].split("\n## ")[0]


def first_cells(text: str) -> list[str]:
    """The first cell of every row of the tables of a text, without its head."""
    return [line.split("|")[1].strip() for line in text.splitlines() if re.match(r"\s*\| `", line)]


def test_every_setting_is_explained_and_no_other() -> None:
    explained = [cell.strip("`").removeprefix("steward:") for cell in first_cells(section("Settings"))]
    assert sorted(explained) == sorted(map(to_camel, StackSettings.model_fields))


@pytest.mark.usefixtures("mocked_pulumi")
@pytest.mark.parametrize("environment", ENVIRONMENTS)
def test_every_output_is_explained(environment: Environment) -> None:
    stack, outputs = stack_config(environment=environment), set[str]()
    record(stack, lambda: outputs.update(build(stack, ACCOUNT, CALLER)))
    rows = [line for line in section("Outputs").splitlines() if line.startswith("| `")]
    assert outputs <= {name for row in rows for name in re.findall(r"`(\w+)`", row.split("|")[1])}


@pytest.mark.parametrize("app", APP_NAMES)
def test_the_retention_of_the_table_is_that_of_the_rules(app: str) -> None:
    rows = re.findall(r"\| `(\w+)` \| [^|]+ \| (\d+) days \| (\d+) days \|", section("Object Lock"))
    said = {name: (int(visible), int(gone)) for name, visible, gone in rows}
    kept = effective_retention(stack_config(app).app.backup.retention)
    assert said == {c: (kept[c].visible_days, kept[c].removed_after_days) for c in BACKUP_CLASSES}


@pytest.mark.usefixtures("mocked_pulumi")
def test_the_store_can_be_imported_by_what_is_written_here() -> None:
    stack = stack_config(environment="production")
    seen = record(stack, lambda: build(stack, ACCOUNT, CALLER))
    text = section("Importing existing buckets")
    named = set(re.findall(r"`(aws:\w+/\w+:\w+)`", text))
    of_buckets = {
        r.type for r in seen if r.parent.endswith(("-backups", "-logs")) and r.type.startswith("aws:")
    }
    assert of_buckets <= named
    (store,) = [r for r in seen if r.type == "steward:backup:BackupBucket"]
    assert f"::steward::{store.type}::STACK-backups" in text
    by_name = {r.name: r for r in seen}
    bucket = by_name[f"{store.name}-bucket"].inputs["bucket"]
    assert f"STACK{bucket.removeprefix(stack.name)}".replace(ACCOUNT, "ACCOUNT") == "STACK-backups-ACCOUNT"
    assert by_name[f"{store.name}-versioning"].type == "aws:s3/bucketVersioning:BucketVersioning"


def class_of(day: date) -> BackupClass:
    """As steward chooses it: the first full of a month is monthly, of an ISO week weekly, else daily."""
    before = day - timedelta(days=1)
    if before.month != day.month:
        return "monthly"
    return "weekly" if before.isocalendar().week != day.isocalendar().week else "daily"


def test_the_worked_example_adds_up() -> None:
    kept = effective_retention(stack_config().app.backup.retention)
    start, totals = date(2026, 1, 1), dict.fromkeys(BACKUP_CLASSES, 0.0)
    days = [start + timedelta(days=n) for n in range(365 * 2)]
    steady = days[365:]
    for now in steady:
        for day in days[: days.index(now) + 1]:
            if (now - day).days < kept[class_of(day)].removed_after_days:
                totals[class_of(day)] += 10
            if (now - day).days < kept["oplog"].removed_after_days:
                totals["oplog"] += 1
    mean = {c: total / len(steady) for c, total in totals.items()}
    said = re.search(
        r"holds about (\d+) GB: (\d+) daily, (\d+) weekly, (\d+) monthly, (\d+) oplog",
        DOCS.replace("\n", " "),
    )
    assert said
    total, *parts = map(int, said.groups())
    for value, name in zip(parts, BACKUP_CLASSES, strict=True):
        assert value == pytest.approx(mean[name], rel=0.1), name
    assert total == pytest.approx(sum(mean.values()), rel=0.05)

    prices = [float(p) for p in re.findall(r"^\| [^|]+ \| \$(\d+\.\d+)", section("Cost"), re.MULTILINE)]
    summed = re.search(r"\*\*about \$(\d+)\*\*", section("Cost"))
    assert summed
    table = section("Cost").split("| component | a month |")[1]
    rows = [float(p) for p in re.findall(r"^\| [^*|]+ \| \$(\d+\.\d+)", table, re.MULTILINE)]
    assert len(rows) >= 8
    assert int(summed[1]) == pytest.approx(sum(rows), abs=1)
    storage = re.search(r"S3 Standard \| \$(\d+\.\d+)", section("Cost"))
    assert storage
    assert prices[prices.index(rows[0])] == pytest.approx(total * float(storage[1]) + 0.11, abs=0.02)
