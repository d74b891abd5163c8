"""The policy pack's process; ``PolicyPack`` serves the Pulumi CLI until that ends it."""

import io
import sys
from pathlib import Path

from pulumi_policy import PolicyPack

# Pulumi starts this file with infra/policy/ as the folder of the program; the package lies above it.
sys.path.insert(0, str(Path(__file__).resolve().parent.parent.parent))

from infra.policy.pack import policies

if __name__ == "__main__":
    # PolicyPack writes its port into the buffer below stdout and serves; on a pipe the CLI would wait for it
    # for ever, so there is none.
    sys.stdout = io.TextIOWrapper(io.FileIO(1, "w", closefd=False), write_through=True)
    PolicyPack("steward", policies())
