"""The policy pack's process; ``PolicyPack`` serves the Pulumi CLI until that ends it."""

import sys
from pathlib import Path

from pulumi_policy import PolicyPack

# Pulumi starts this file with infra/policy/ as the folder of the program; the package lies above it.
sys.path.insert(0, str(Path(__file__).resolve().parent.parent.parent))

from infra.policy.pack import policies

if __name__ == "__main__":
    PolicyPack("steward", policies())
