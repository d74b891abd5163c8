"""Which hosts of an application a run is about, and which of them speaks for all."""

from __future__ import annotations

from tests.roles.rendering import evaluate

#: So many that no order comes about by chance.
HOSTS = [f"bitesbay-app{number}" for number in range(1, 31)]
OTHERS = ["bitesbay-db1", "kampyn-app1"]


def test_hosts_keep_the_order_of_the_inventory() -> None:
    """What the first one got must be on the first one in the next run, too."""
    scenario = {
        "ansible_play_hosts_all": [*OTHERS, *HOSTS],
        "ansible_play_hosts": [*OTHERS, *HOSTS[1:]],
        "groups": {"bitesbay_app": HOSTS},
    }
    assert evaluate("app", "__app_hosts", **scenario) == HOSTS
    assert evaluate("app", "__app_builder", **scenario) == HOSTS[0]
    assert evaluate("app", "__app_teller", **scenario) == HOSTS[1], "the first that is still there"
