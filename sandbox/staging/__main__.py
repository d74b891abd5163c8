"""``python -m sandbox.staging``: the command behind ``sandbox/hosts``."""

import sys

from sandbox.staging.cli import main

if __name__ == "__main__":
    sys.exit(main())
