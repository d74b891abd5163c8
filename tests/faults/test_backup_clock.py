"""A host whose clock is wrong takes no backup: its ids, classes and locks would be of another time."""

from __future__ import annotations

import pytest

from tests.faults.backup_site import FaultProxy, Site

HOUR, DAY = 3600, 86_400


@pytest.mark.parametrize(
    ("ahead", "words"),
    [(-HOUR, "3600 s behind"), (42 * DAY, f"{42 * DAY} s ahead")],
    ids=["set back an hour", "forward 42 days"],
)
def test_a_wrong_clock_stores_nothing(site: Site, proxy: FaultProxy, ahead: int, words: str) -> None:
    site.run("full")
    site.insert(5)
    keys = site.keys()
    # Only the difference counts: the store is as far off as this host would be.
    proxy.rule = lambda _: f"shift {-ahead}"
    for verb, consequence in (("full", "no backup is taken"), ("oplog", "no slice is stored")):
        message = site.fails(verb)
        seconds, _, direction = words.partition(" s ")
        assert f" s {direction}; {consequence}, check its time synchronisation" in message
        assert abs(int(message.partition(" s " + direction)[0].rpartition(" ")[2]) - int(seconds)) < 60
    assert "no backup is taken" in site.fails("full", "--dry-run")
    assert site.keys() == keys
    proxy.rule = lambda _: "pass"
    assert site.json("oplog")["slice"]["oplog"]["count"] == 6
    assert site.json("full")["class"] == "daily"
