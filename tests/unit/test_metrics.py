"""steward.metrics: a textfile replaced whole, values kept that are not set."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from steward.metrics import Metric, read, update

SIZE = Metric("steward_test_size_bytes", "A size.", ("app", "kind"))
GAP = Metric("steward_test_gap", "A gap.")
BOTH = (SIZE, GAP)


def values(folder: Path) -> dict[tuple[str, ...], float]:
    return {(name, *labels.values()): value for name, labels, value in read(folder / "test.prom")}


def test_what_is_not_set_keeps_its_value(tmp_path: Path) -> None:
    update(tmp_path, "test", BOTH, {(SIZE, ("shop", "full")): 5.0, (GAP, ("shop",)): 1.0})
    update(tmp_path, "test", BOTH, {(SIZE, ("shop", "oplog")): 2.0, (GAP, ("shop",)): 0.0})
    assert values(tmp_path) == {
        (SIZE.name, "shop", "full"): 5.0,
        (SIZE.name, "shop", "oplog"): 2.0,
        (GAP.name, "shop"): 0.0,
    }
    assert [p.name for p in tmp_path.iterdir()] == ["test.prom"]
    assert (tmp_path / "test.prom").stat().st_mode & 0o777 == 0o644


@pytest.mark.parametrize("text", ["", "garbage{", 'steward_test_gap{other="x"} 1\n', "\x00\xff"])
def test_a_damaged_or_foreign_file_is_replaced(tmp_path: Path, text: str) -> None:
    (tmp_path / "test.prom").write_text(text)
    update(tmp_path, "test", BOTH, {(GAP, ("shop",)): 1.0})
    assert values(tmp_path) == {(GAP.name, "shop"): 1.0}


def test_a_missing_folder_is_an_oserror(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="No such file"):
        update(tmp_path / "none", "test", BOTH, {})


def test_writers_at_the_same_time_lose_nothing(tmp_path: Path) -> None:
    def write(kind: str) -> None:
        for _ in range(10):
            update(tmp_path, "test", BOTH, {(SIZE, ("shop", kind)): 1.0})

    threads = [threading.Thread(target=write, args=(f"kind{n}",)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {key[-1] for key in values(tmp_path)} == {"kind0", "kind1", "kind2", "kind3"}
