"""``python -m convoy``: the same as the console script ``convoy``."""

import sys

from convoy.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
