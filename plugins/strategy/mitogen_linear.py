"""Ansible strategy: linear, with one process kept on each host instead of a new one for every task.

Mitogen's strategy under its own name, from wherever it is installed: ``ansible.cfg`` cannot name that folder.
Without Mitogen it is Ansible's own, and a run takes longer.
"""

from __future__ import annotations

import gc

from ansible.plugins.loader import filter_loader, test_loader
from ansible.utils.display import Display

DOCUMENTATION = r"""
name: mitogen_linear
short_description: Linear, with one process kept on each host
description:
  - As C(linear) in everything but the time - modules run in a process that stays on the host for the play.
  - C(ANSIBLE_STRATEGY=linear) does without.
author: steward
"""

try:
    from ansible_mitogen.plugins.strategy.mitogen_linear import StrategyModule
except ImportError:
    from ansible.plugins.strategy.linear import StrategyModule

    Display().warning("mitogen is not installed (make bootstrap): this run takes about twice as long")

__all__ = ["StrategyModule"]

# Ansible forks for each task and host, and what a fork loads is gone with it: here it is there before.
for loader in (filter_loader, test_loader):
    list(loader.all())

# And each fork searched all that was there for cycles of garbage, again and again, which also copies memory
# that they share: a fifth of the controller's processor time.
gc.collect()
gc.freeze()
gc.set_threshold(100_000, 50, 100)
